"""A convolution, batch norm, ReLU and max-pooling in a row, by the fastest way there is for them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from metaexp.models.batch_norm import BatchNorm
from metaexp.models.nodes.first_block import convolve_and_activate, convolve_and_activate_with, is_first, map_size
from metaexp.models.nodes.mapped_conv import Conv2d


def convolve_normalise_activate(x: Tensor, conv: Conv2d, norm: BatchNorm, *, pool: bool) -> Tensor:
    """``norm.activate(conv(x), pool=pool)``, without its maps in memory where ``conv`` is a network's first layer.

    Args:
        x: maps (B, C, H, W).
        conv: the convolution.
        norm: batch norm of its outputs.
        pool: whether 2x2 max-pooling follows.

    Returns:
        (B, O, h, w), or (B, O, h // 2, w // 2) with ``pool``.
    """
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
    if conv.bias is not None and conv.is_mappable and norm.removes_offset(x) and not torch.is_autocast_enabled("cpu"):
        maps = F.conv2d(
            x, conv.weight, None, conv.stride, conv.padding
        )  # the sums that a bias' gradient takes are zero
        return norm.activate(maps, pool=pool, offset=conv.bias)
    return norm.activate(conv(x), pool=pool)
