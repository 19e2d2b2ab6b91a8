"""Batch norm, ReLU and max-pooling of a batch of images as one autograd node, for networks trained by plain gradients.

A map of 360 images with 64 channels of 28x28 has 72 MB, so what counts is how often it is read and written:

* The statistics are taken by torch's kernel, of every position of the map by itself, and then combined. So no sum is
  long, and they are right to 1e-6 in float32. The same kernel over all positions at once is no faster and off by 8e-5
  at 100 images, since in this memory layout it adds up in float32 without care.
* Max-pooling comes before normalising, which then has a quarter of the values. That is the same: with a positive gain
  normalising keeps the order of values, and where the gain is negative the signs are turned first.
* The backward pass writes the gradient for a few images at a time, and adds the part of the pooled values while these
  images are in the processor's cache.

Maps have their channels innermost in memory (torch's ``channels_last``). There torch pools five times as fast and
convolves a third faster on a CPU.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from metaexp.models.nodes.twice import gradients_for_more

_PIECE = 1024
"""Numbers that torch's kernel may add up one after another."""

IN_CACHE = 3_000_000
"""Bytes of a map that stay in the processor's cache until the next pass. Measured: 1 and 8 MB are slower."""


class Activated(NamedTuple):
    """The result (B, C, h, w), and the batch's mean (C,) and biased variance (C,) as constants."""

    values: Tensor
    mean: Tensor
    variance: Tensor


def normalise_and_activate(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, pool: bool, offset: Tensor | None = None
) -> Activated:
    """ReLU of batch-normalised maps, max-pooled by 2x2 where ``pool``.

    Args:
        x: maps (B, C, H, W) on a CPU, in float32 or float64.
        weight: gamma (C,), or None for one.
        bias: beta (C,), or None for zero.
        eps: is added to the variance.
        pool: whether 2x2 max-pooling follows.
        offset: the bias (C,) of the convolution before, where ``x`` is without. Batch norm takes it away, so that only
            the mean depends on it, and its gradient is zero.

    Returns:
        Values (B, C, H, W), or (B, C, H // 2, W // 2) with ``pool``, and the statistics of the batch.
    """
    inputs = (x.contiguous(memory_format=torch.channels_last), weight, bias, offset, eps, pool)
    values, mean, variance = _NormaliseAndActivate.apply(*inputs)  # type: ignore[no-untyped-call]
    return Activated(values, mean, variance)


def activate_with(
    x: Tensor, mean: Tensor, spread: Tensor, weight: Tensor | None, bias: Tensor | None, pool: bool
) -> Tensor:
    """ReLU of maps that are normalised by given statistics, max-pooled by 2x2 where ``pool``.

    Args:
        x: maps (B, C, H, W).
        mean: is subtracted (C,).
        spread: one over the standard deviation (C,).
        weight: gamma (C,), or None for one.
        bias: beta (C,), or None for zero.
        pool: whether 2x2 max-pooling follows.

    Returns:
        Values (B, C, H, W), or (B, C, H // 2, W // 2) with ``pool``.
    """
    gain = spread if weight is None else spread * weight
    shift = -mean * gain if bias is None else bias - mean * gain
    if pool:
        signs = _signs(weight)
        x = F.max_pool2d(x, 2) if signs is None else F.max_pool2d(x * signs, 2) * signs
    return torch.addcmul(_column(shift), x, _column(gain)).relu()


def batch_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (C,) and biased variance (C,) of ``x`` (B, C, H, W), whose channels are innermost in memory."""
    rows = x.permute(0, 2, 3, 1)  # (B, H, W, C)
    batch, channels = x.shape[0], x.shape[1]
    images = next(n for n in range(1, batch + 1) if batch % n == 0 and batch // n <= _PIECE)
    pieces = rows.reshape(batch // images, -1)  # (B / images, images * H * W * C)
    means, variances = torch.batch_norm_update_stats(pieces, None, None, 0.0)
    means, variances = means.view(-1, channels), variances.view(-1, channels)  # (images * H * W, C)
    mean = means.mean(0)
    return mean, variances.mean(0) + (means - mean).square().mean(0)


def by_elementary_operations(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, pool: bool) -> Tensor:
    """Compute :func:`normalise_and_activate` by operations that can be differentiated any number of times.

    Args:
        x: The maps (B, C, H, W).
        weight: Scale of each channel; None for 1.
        bias: Shift of each channel; None for 0.
        eps: Added to the variance.
        pool: Whether to pool at the end.
    """
    centred = x - x.mean((0, 2, 3), keepdim=True)
    gain = torch.rsqrt((centred * centred).mean((0, 2, 3)) + eps)
    if weight is not None:
        gain = gain * weight
    out = centred * gain.view(1, -1, 1, 1)
    if bias is not None:
        out = out + bias.view(1, -1, 1, 1)
    return (F.max_pool2d(out, 2) if pool else out).relu()


def unpool(g: Tensor, places: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (B, C, H, W) with ``g`` at the places that 2x2 pooling took, and zeros elsewhere. Channels are innermost.

    Args:
        g: (B, C, h, w), channels innermost in memory.
        places: where in its map each entry belongs, as torch's max-pooling returns it.
        size: (H, W).
    """
    maps = torch.empty((*g.shape[:2], *size), dtype=g.dtype, memory_format=torch.channels_last)
    backward = torch.ops.aten.max_pool2d_with_indices_backward.grad_input
    backward(g, maps, [2, 2], [2, 2], [0, 0], [1, 1], False, places, grad_input=maps)
    return maps


class _NormaliseAndActivate(torch.autograd.Function):
    """See :func:`normalise_and_activate`. The axes of channels stand last in here: (B, H, W, C) and (C,)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        offset: Tensor | None,
        eps: float,
        pool: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = batch_statistics(x)
        spread = torch.rsqrt(variance + eps)
        gain = spread if weight is None else spread * weight
        kept, places = x, None
        if pool:
            signs = _signs(weight)
            kept, places = F.max_pool2d(x if signs is None else x * signs, 2, return_indices=True)
            kept = kept if signs is None else kept * signs
        shift = -mean * gain if bias is None else bias - mean * gain
        values = torch.addcmul(_column(shift), kept, _column(gain)).relu_()
        ctx.save_for_backward(x, weight, bias, offset, mean, spread, kept, places, values)
        ctx.eps, ctx.pool = eps, pool
        mean = mean.clone() if offset is None else mean + offset
        ctx.mark_non_differentiable(mean, variance)
        return values, mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, offset, mean, spread, kept, places, values = ctx.saved_tensors
        by_offset = None if offset is None else torch.zeros_like(offset)
        if torch.is_grad_enabled():  # someone will differentiate this gradient
            again = partial(by_elementary_operations, eps=ctx.eps, pool=ctx.pool)
            by_offset = None if offset is None else 0 * offset  # a zero that can be differentiated
            return *gradients_for_more(again, (x, weight, bias), gradients[0]), by_offset, None, None
        g = torch.ops.aten.threshold_backward(gradients[0].contiguous(memory_format=torch.channels_last), values, 0)
        rows = (0, 2, 3)
        sum_g = g.sum(rows)
        along = ((g * kept).sum(rows) - mean * sum_g) * spread  # the gradient of gamma
        dx = None
        if ctx.needs_input_grad[0]:
            gain = spread if weight is None else spread * weight
            count = x.numel() // x.shape[1]
            slope = -gain * spread * along / count
            shift = -gain * sum_g / count - slope * mean
            dx = _input_gradient(x, _column(slope), _column(shift), g, _column(gain), places)
        return dx, None if weight is None else along, None if bias is None else sum_g, by_offset, None, None


def _input_gradient(x: Tensor, slope: Tensor, shift: Tensor, g: Tensor, gain: Tensor, places: Tensor | None) -> Tensor:
    """``slope * x + shift + gain * g`` (B, C, H, W).

    Args:
        x: maps (B, C, H, W), channels innermost in memory, as all maps here.
        slope: (1, C, 1, 1).
        shift: (1, C, 1, 1).
        g: (B, C, H, W), or (B, C, h, w) with ``places``.
        gain: (1, C, 1, 1).
        places: where in its map of H * W positions each entry of ``g`` belongs, (B, C, h, w); None: where it is.
    """
    found = torch.empty_like(x)
    images = max(1, IN_CACHE // (x.shape[1:].numel() * x.element_size()))
    for start in range(0, len(x), images):
        part = slice(start, start + images)
        torch.addcmul(shift, x[part], slope, out=found[part])
        if places is None:
            found[part].addcmul_(g[part], gain)
        else:
            _positions(found[part]).scatter_add_(1, _positions(places[part]), _positions(g[part] * gain))
    return found


def _positions(maps: Tensor) -> Tensor:
    """Maps (B, C, H, W), channels innermost in memory, as a view (B, H * W, C)."""
    return maps.permute(0, 2, 3, 1).view(len(maps), -1, maps.shape[1])


def _column(channels: Tensor) -> Tensor:
    """(C,) as (1, C, 1, 1)."""
    return channels.view(1, -1, 1, 1)


def _signs(weight: Tensor | None) -> Tensor | None:
    """Minus one (1, C, 1, 1) where gamma is negative and one elsewhere; None where none is negative."""
    if weight is None or not bool((weight < 0).any()):
        return None
    return _column(torch.where(weight < 0, -1.0, 1.0).to(weight.dtype))
