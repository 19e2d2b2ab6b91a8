"""A convolution, batch norm, ReLU and max-pooling in a row, by the fastest way there is for them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.module import _has_any_global_hook

from metaexp.models.batch_norm import BatchNorm
from metaexp.models.nodes.first_block import convolve_and_activate, convolve_and_activate_with, is_first, map_size
from metaexp.models.nodes.mapped_conv import Conv2d


def convolve_normalise_activate(x: Tensor, conv: Conv2d, norm: BatchNorm, *, pool: bool) -> Tensor:
    """``norm.activate(conv(x), pool=pool)``, without its maps in memory where ``conv`` is a network's first layer.

    Layers that somebody has put there, changed or hooked are called as they are. So are those that the input does not
    fit, for torch's message, and those that torch traces, since the trace would keep the number of parts of its batch.

    Args:
        x: maps (B, C, H, W).
        conv: the convolution.
        norm: batch norm of its outputs.
        pool: whether 2x2 max-pooling follows.

    Returns:
        (B, O, h, w), or (B, O, h // 2, w // 2) with ``pool``.
    """
    is_plain = not torch.is_autocast_enabled("cpu") and not torch.jit.is_tracing()  # type: ignore[no-untyped-call]
    if not is_plain or not _are_our_own(conv, norm) or not _fits(x, conv):
        return norm.activate(conv(x), pool=pool)
    if pool and is_first(conv, x):
        statistics = norm.statistics_in_use()
        if statistics in ("batch", "collect"):
            out, mean, variance = convolve_and_activate(x, conv, norm.weight, norm.bias, norm.eps)
            if statistics == "collect":
                norm.collect(mean, variance, len(x) * math.prod(map_size(x, conv)))
            return out
        if statistics == "stored" and not torch.is_grad_enabled():
            spread = torch.rsqrt(norm.running_var + norm.eps)
            return convolve_and_activate_with(x, conv, norm.running_mean, spread, norm.weight, norm.bias)
    if conv.bias is not None and conv.is_mappable and norm.removes_offset(x):
        maps = F.conv2d(x, conv.weight, None, conv.stride, conv.padding)  # a bias would cost a pass over its gradients
        return norm.activate(maps, pool=pool, offset=conv.bias)
    return norm.activate(conv(x), pool=pool)


def _are_our_own(conv: object, norm: object) -> bool:
    """Whether both are the layers of this package, and nothing else has to happen when the convolution is called.

    A user may replace a layer, derive from it, or hook it, or hook all layers: to look at maps, or to compute the
    weights, as torch's spectral norm does. Weights that are computed at each use may be read only once.
    """
    if type(conv) is not Conv2d or _has_any_global_hook():  # type: ignore[no-untyped-call]
        return False
    if not isinstance(norm, BatchNorm) or type(norm).activate is not BatchNorm.activate:
        return False
    is_hooked = conv._forward_hooks or conv._forward_pre_hooks or conv._backward_hooks or conv._backward_pre_hooks
    return not is_hooked and getattr(conv.forward, "__func__", None) is Conv2d.forward


def _fits(x: Tensor, conv: Conv2d) -> bool:
    """Whether ``x`` is a batch of maps with the channels and the type of the kernels."""
    return x.dim() == 4 and x.shape[1] == conv.weight.shape[1] and x.dtype == conv.weight.dtype
