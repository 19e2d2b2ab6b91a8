"""The first block of a convolutional network as one autograd node: convolution, batch norm, ReLU, 2x2 max-pooling.

Its maps are the largest of the network: those of 360 images with 64 filters have 72 MB. But its input has few
channels and needs no gradient, so the maps never have to be in memory as a whole:

* Mean and variance of a filter's outputs follow from the patches of the input that the filter sees. With the patches'
  mean m and covariance S, kernel w and bias b they are w.m + b and w.S.w. A patch of one channel has nine numbers,
  where a map has 64 for each position. S is computed in float64, because smooth images leave little of w.S.w.
* Once these are known, normalising is a part of kernel and bias. A few images at a time are convolved, pooled and
  activated while their maps are in the processor's cache.
* Let g be the gradient at the places that pooling took, G the sum of g times the patch there, s the sum of g, and t one
  over the standard deviation. Then

      dbeta = s,   dgamma = t * (w.G - s * w.m),   dw = gamma * t * (G - s * m) - gamma * t^2 * dgamma * S.w.

  Only G passes over maps, again in the cache. Batch norm takes the bias away, so db is zero.

The gradient of kernels is right to 1e-6 in float32. Autograd through the maps is off by 1e-4 at 360 images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from metaexp.core.inner import in_transform
from metaexp.models.nodes.fused_batch_norm import IN_CACHE, Activated, by_elementary_operations, unpool
from metaexp.models.nodes.mapped_conv import Conv2d
from metaexp.models.nodes.twice import gradients_for_more

_MOST_NUMBERS = 32
"""Numbers in a patch up to which its covariance costs less than what it saves: 27 for three channels."""
_LARGE = 12_000_000
"""Bytes of maps from which this is faster where no gradient is wanted. Smaller maps are still in a cache when they are
pooled. Measured at 28x28 with 64 filters: 1.15 times the time of the layers for 40 images, 0.9 times for 100."""


class PatchMoments(NamedTuple):
    """Mean (P,) and covariance (P, P) of patches with P = C * k * k numbers, in float64."""

    mean: Tensor
    covariance: Tensor


def is_first(conv: Conv2d, x: Tensor) -> bool:
    """Whether a convolution is to be computed here, with the block that follows it.

    It can be on a CPU in float32 or float64, outside of ``torch.func`` transforms, for square kernels with stride 1,
    if the input has few channels and needs no gradient. Where gradients are not wanted at all, it is if the maps are
    large.

    Args:
        conv: the convolution.
        x: its input (B, C, H, W).
    """
    if not x.is_cpu or x.dtype not in (torch.float32, torch.float64) or x.requires_grad or in_transform():
        return False
    if conv.weight[0].numel() > _MOST_NUMBERS or x.dtype != conv.weight.dtype or len(x) == 0:
        return False
    if not conv.is_mappable or conv.stride != (1, 1):
        return False
    if min(map_size(x, conv)) < 2:
        return False  # pooling refuses it
    n_values = len(x) * conv.out_channels * math.prod(map_size(x, conv))
    return torch.is_grad_enabled() or n_values * x.element_size() > _LARGE


def convolve_and_activate(x: Tensor, conv: Conv2d, gamma: Tensor | None, beta: Tensor | None, eps: float) -> Activated:
    """ReLU of the batch-normalised convolution, max-pooled by 2x2.

    Args:
        x: images (B, C, H, W) that need no gradient.
        conv: a convolution that :func:`is_first` accepts.
        gamma: (O,), or None for one.
        beta: (O,), or None for zero.
        eps: is added to the variance.

    Returns:
        Values (B, O, h // 2, w // 2), and the statistics of the batch of maps (B, O, h, w).
    """
    inputs = (x, conv.weight, conv.bias, gamma, beta, eps, int(conv.padding[0]), torch.is_grad_enabled())
    values, mean, variance = _FirstBlock.apply(*inputs)  # type: ignore[no-untyped-call]
    return Activated(values, mean, variance)


def convolve_and_activate_with(
    x: Tensor, conv: Conv2d, mean: Tensor, spread: Tensor, gamma: Tensor | None, beta: Tensor | None
) -> Tensor:
    """:func:`convolve_and_activate` with given statistics, without gradients.

    Args:
        x: images (B, C, H, W).
        conv: a convolution that :func:`is_first` accepts.
        mean: is subtracted (O,).
        spread: one over the standard deviation (O,).
        gamma: (O,), or None for one.
        beta: (O,), or None for zero.

    Returns:
        Values (B, O, h // 2, w // 2).
    """
    gain = spread if gamma is None else spread * gamma
    shift = -mean if conv.bias is None else conv.bias - mean
    bias = gain * shift if beta is None else torch.addcmul(beta, gain, shift)
    return _in_parts(x, conv.weight * gain.view(-1, 1, 1, 1), bias, int(conv.padding[0]), keep_places=False)[0]


def map_size(x: Tensor, conv: Conv2d) -> tuple[int, int]:
    """Height and width of the maps of a convolution.

    Args:
        x: its input (B, C, H, W).
        conv: a convolution that :func:`is_first` accepts.
    """
    return _map_size(x, conv.kernel_size[0], int(conv.padding[0]))


def patch_moments(x: Tensor, size: int, padding: int) -> PatchMoments:
    """Moments of the patches that kernels see.

    Args:
        x: images (B, C, H, W).
        size: height and width of a patch.
        padding: zeros around the images.
    """
    numbers = x.shape[1] * size * size
    height, width = _map_size(x, size, padding)
    images = max(1, IN_CACHE // (numbers * height * width * 8))
    ones = x.new_ones(min(images, len(x)), numbers + 1, height * width, dtype=torch.float64)
    products = ones.new_zeros(numbers + 1, numbers + 1)  # the last row of ones makes the last column sums
    for start in range(0, len(x), images):
        part = x[start : start + images]
        windows = F.pad(part, (padding,) * 4).unfold(2, size, 1).unfold(3, size, 1)  # (b, C, h, w, k, k)
        patches = ones[: len(part)]
        patches[:, :-1].view(len(part), -1, size, size, height, width).copy_(windows.permute(0, 1, 4, 5, 2, 3))
        products += torch.bmm(patches, patches.transpose(1, 2)).sum(0)
    products /= len(x) * height * width
    mean = products[-1, :-1]
    return PatchMoments(mean, products[:-1, :-1] - torch.outer(mean, mean))


class _FirstBlock(torch.autograd.Function):
    """See :func:`convolve_and_activate`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        gamma: Tensor | None,
        beta: Tensor | None,
        eps: float,
        padding: int,
        has_backward: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        moments = patch_moments(x, weight.shape[-1], padding)
        kernels = weight.flatten(1).double()  # (O, P)
        mean = kernels @ moments.mean
        variance = ((kernels @ moments.covariance) * kernels).sum(1).clamp_min(0)
        spread = torch.rsqrt(variance + eps)
        gain = spread if gamma is None else spread * gamma
        shift = -gain * mean if beta is None else beta - gain * mean
        folded = (kernels * gain.unsqueeze(1)).view_as(weight)
        values, places = _in_parts(x, folded.to(x.dtype), shift.to(x.dtype), padding, has_backward)
        ctx.save_for_backward(x, weight, bias, gamma, beta, *moments, spread, values, places)
        ctx.eps, ctx.padding = eps, padding
        mean, variance = (mean if bias is None else mean + bias).to(x.dtype), variance.to(x.dtype)
        ctx.mark_non_differentiable(mean, variance)
        return values, mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, gamma, beta, patch_mean, covariance, spread, values, places = ctx.saved_tensors
        if torch.is_grad_enabled():  # someone will differentiate this gradient

            def again(weight: Tensor, bias: Tensor | None, gamma: Tensor | None, beta: Tensor | None) -> Tensor:
                maps = F.conv2d(x, weight, bias, padding=ctx.padding)
                return by_elementary_operations(maps, gamma, beta, ctx.eps, pool=True)

            return None, *gradients_for_more(again, (weight, bias, gamma, beta), gradients[0]), None, None, None
        at_places, total = _gradient_at_places(x, gradients[0], values, places, weight, ctx.padding)
        kernels = weight.flatten(1).double()
        by_gamma = spread * ((kernels * at_places).sum(1) - total * (kernels @ patch_mean))
        gain = (spread if gamma is None else spread * gamma).unsqueeze(1)
        by_kernels = gain * (at_places - torch.outer(total, patch_mean))
        by_kernels -= gain * (spread * by_gamma).unsqueeze(1) * (kernels @ covariance)
        return (
            None,
            by_kernels.view_as(weight).to(weight.dtype),
            None if bias is None else torch.zeros_like(bias),
            None if gamma is None else by_gamma.to(weight.dtype),
            None if beta is None else total.to(weight.dtype),
            None,
            None,
            None,
        )


def _in_parts(x: Tensor, weight: Tensor, bias: Tensor, padding: int, keep_places: bool) -> tuple[Tensor, Tensor | None]:
    """ReLU of the pooled convolution (B, O, h // 2, w // 2), and the places that pooling took, some images at a time.

    Args:
        x: images (B, C, H, W).
        weight: kernels (O, C, k, k).
        bias: (O,).
        padding: zeros around the images.
        keep_places: whether to return the places, which the gradient needs.
    """
    weight = weight.contiguous(memory_format=torch.channels_last)
    height, width = _map_size(x, weight.shape[-1], padding)
    shape = (len(x), len(weight), height // 2, width // 2)
    values = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
    places = torch.empty(shape, dtype=torch.int64, memory_format=torch.channels_last) if keep_places else None
    for part in _parts(x, weight, padding):
        maps = F.conv2d(x[part], weight, bias, padding=padding).contiguous(memory_format=torch.channels_last)
        if places is None:
            values[part] = F.max_pool2d(maps, 2)
        else:
            pool = torch.ops.aten.max_pool2d_with_indices.out
            pool(maps, [2, 2], [2, 2], out=values[part], indices=places[part])
        values[part].relu_()
    return values, places


def _gradient_at_places(
    x: Tensor, gradient: Tensor, values: Tensor, places: Tensor, weight: Tensor, padding: int
) -> tuple[Tensor, Tensor]:
    """The sum of gradients times patches at the places that pooling took (O, P), and their sum (O,), in float64."""
    weight = weight.contiguous(memory_format=torch.channels_last)
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    size = _map_size(x, weight.shape[-1], padding)
    by_kernels = torch.zeros_like(weight, dtype=torch.float64)
    total = by_kernels.new_zeros(len(weight))
    for part in _parts(x, weight, padding):
        g = torch.ops.aten.threshold_backward(gradient[part], values[part], 0)
        total += g.sum((0, 2, 3))
        maps = unpool(g, places[part], size)
        by_kernels += torch.ops.aten.convolution_backward(
            maps, x[part], weight, None, [1, 1], [padding] * 2, [1, 1], False, [0, 0], 1, [False, True, False]
        )[1]
    return by_kernels.flatten(1), total


def _parts(x: Tensor, weight: Tensor, padding: int) -> Iterator[slice]:
    """Slices of images whose maps stay in the processor's cache."""
    height, width = _map_size(x, weight.shape[-1], padding)
    images = max(1, IN_CACHE // (len(weight) * height * width * x.element_size()))
    return (slice(start, start + images) for start in range(0, len(x), images))


def _map_size(x: Tensor, size: int, padding: int) -> tuple[int, int]:
    """Height and width of the maps that kernels of ``size`` make."""
    return x.shape[2] + 2 * padding - size + 1, x.shape[3] + 2 * padding - size + 1
