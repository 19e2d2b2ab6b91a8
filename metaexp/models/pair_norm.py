"""Batch norm, ReLU and pooling of all pairs of two sets of maps, on the two sets.

A pair is the sum memory_n + query_m. With both sets centred, the variance over all pairs and positions p is

    mean(memory^2) + mean(query^2) + 2 * mean over p of (mean over n of memory) * (mean over m of query).

On a CPU, by plain gradients, it is all one autograd node. With u one of the centred maps, t one over the standard
deviation, q and m the two means over a set, n the values in the set, and g the gradient by t * gamma * u, which is the
sum over all pairs that the map is in, the gradient by a map of the queries is

    t * gamma * (g - sum(g) / n) - t^2 * dgamma * gamma / n * (u + m),   dgamma = t * sum of g * u over both sets,

and that by a map of the memory is the same with q in place of m.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from metaexp.models.batch_norm import BatchNorm
from metaexp.models.nodes.fused_batch_norm import unpool
from metaexp.models.nodes.twice import gradients_for_more


class PairNorm(BatchNorm):
    """Batch norm of all sums memory_n + query_m, computed on the N + M halves."""

    def activate_pairs(self, memory: Tensor, query: Tensor, offset: Tensor | None = None) -> Tensor:
        """ReLU of all normalised sums, max-pooled by 2x2: (M * N, F, h // 2, w // 2), the pairs of a query together.

        Args:
            memory: One map per class (N, F, h, w).
            query: One map per query (M, F, h, w).
            offset: The bias (F,) of the convolution before, where the maps are without. Batch norm takes it away again.
        """
        if not self.removes_offset(query):
            query = query if offset is None else query + offset.view(1, -1, 1, 1)
            return pooled_pairs(*self.halves(memory, query))
        inputs = (memory, query, offset, self.weight, self.bias, self.eps)
        values: Tensor
        values, mean, variance = _Pairs.apply(*inputs)  # type: ignore[no-untyped-call]
        if self.statistics_in_use() == "collect":
            self.collect(mean, variance, len(memory) * query.numel() // self.n_features)
        return values

    def halves(self, memory: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """(N, F, h, w) and (M, F, h, w) whose sums for all pairs are the normalised sums of the given halves.

        Args:
            memory: One map per class (N, F, h, w).
            query: One map per query (M, F, h, w).
        """
        statistics = self.statistics_in_use()
        if statistics == "stored":
            mean, variance = self.running_mean, self.running_var
            query = query - mean.view(1, -1, 1, 1)
        else:
            memory, query, mean, variance = centred(memory, query)
            if statistics == "collect":
                self.collect(mean, variance, len(memory) * query.numel() // self.n_features)
            elif statistics == "replace":
                self.running_mean, self.running_var = mean, variance
        return scaled(memory, query, torch.rsqrt(variance + self.eps), self.weight, self.bias)


def centred(memory: Tensor, query: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Both halves with mean zero, and mean (F,) and biased variance (F,) of all their sums.

    Args:
        memory: (N, F, h, w).
        query: (M, F, h, w).
    """
    axes = (0, 2, 3)
    mean_of_memory, mean_of_query = memory.mean(axes, keepdim=True), query.mean(axes, keepdim=True)
    memory, query = memory - mean_of_memory, query - mean_of_query
    together = 2 * (memory.mean(0) * query.mean(0)).mean((1, 2))  # (F,)
    # A variance is not negative, but the sum of its rounded parts could be.
    variance = ((memory * memory).mean(axes) + (query * query).mean(axes) + together).clamp_min(0)
    return memory, query, (mean_of_memory + mean_of_query).flatten(), variance


def scaled(
    memory: Tensor, query: Tensor, spread: Tensor, weight: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Both halves (N, F, h, w) and (M, F, h, w) times the gain, and beta added to the queries.

    Args:
        memory: Centred (N, F, h, w).
        query: Centred (M, F, h, w).
        spread: One over the standard deviation (F,).
        weight: Gamma (F,), or None for one.
        bias: Beta (F,), or None for zero.
    """
    gain = (spread if weight is None else spread * weight).view(1, -1, 1, 1)
    query = query * gain
    return memory * gain, query if bias is None else query + bias.view(1, -1, 1, 1)


def pooled_pairs(memory: Tensor, query: Tensor) -> Tensor:
    """ReLU of the sums of all pairs, max-pooled by 2x2 (M * N, F, h // 2, w // 2).

    Args:
        memory: (N, F, h, w).
        query: (M, F, h, w).
    """
    return F.max_pool2d(_sums(memory, query), 2).relu()  # ReLU commutes with the maximum


class _Pairs(torch.autograd.Function):
    """See the top of this file. Returns values (M * N, F, h // 2, w // 2), mean (F,) and biased variance (F,)."""

    @staticmethod
    def forward(
        ctx: Any,
        memory: Tensor,
        query: Tensor,
        offset: Tensor | None,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        m, q, mean, variance = centred(memory, query)
        spread = torch.rsqrt(variance + eps)
        sums = _sums(*scaled(m, q, spread, weight, bias))
        values, places = F.max_pool2d(sums, 2, return_indices=True)
        values.relu_()
        ctx.save_for_backward(memory, query, offset, weight, bias, m, q, spread, values, places)
        ctx.eps, mean = eps, mean if offset is None else mean + offset
        ctx.mark_non_differentiable(mean, variance)
        return values, mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        memory, query, offset, weight, bias, m, q, spread, values, places = ctx.saved_tensors
        by_offset = None if offset is None else torch.zeros_like(offset)
        if torch.is_grad_enabled():  # someone will differentiate this gradient

            def again(memory: Tensor, query: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
                m, q, _, variance = centred(memory, query)
                return pooled_pairs(*scaled(m, q, torch.rsqrt(variance + ctx.eps), weight, bias))

            dm, dq, *others = gradients_for_more(again, (memory, query, weight, bias), gradients[0])
            by_offset = None if offset is None else 0 * offset  # a zero that can be differentiated
            return dm, dq, by_offset, *others, None
        by_sums = _gradient_by_sums(gradients[0], values, places, query, len(memory))  # (M, N, F, h, w)
        by_query, by_memory = by_sums.sum(1), by_sums.sum(0)
        axes, height, width = (0, 2, 3), *by_sums.shape[-2:]
        total = by_query.sum(axes)
        along = (by_query * q[..., :height, :width]).sum(axes) + (by_memory * m[..., :height, :width]).sum(axes)
        by_weight = along * spread
        gain = spread if weight is None else spread * weight
        slope = -gain * spread * by_weight
        dm = _by_half(by_memory, m, q.mean(0), gain, slope, total) if ctx.needs_input_grad[0] else None
        dq = _by_half(by_query, q, m.mean(0), gain, slope, total) if ctx.needs_input_grad[1] else None
        return dm, dq, by_offset, None if weight is None else by_weight, None if bias is None else total, None


def _sums(memory: Tensor, query: Tensor) -> Tensor:
    """Sums of all pairs (M * N, F, h, w), without what 2x2 pooling would not look at."""
    height, width = memory.shape[-2] // 2 * 2, memory.shape[-1] // 2 * 2
    sums = query[..., :height, :width].unsqueeze(1) + memory[..., :height, :width]
    return sums.flatten(0, 1)


def _gradient_by_sums(gradient: Tensor, values: Tensor, places: Tensor, query: Tensor, n_memory: int) -> Tensor:
    """The gradient by the sums (M, N, F, h, w), from that by the ``values`` (M * N, F, h // 2, w // 2).

    Args:
        gradient: By ``values``.
        values: What ReLU returned.
        places: Where in its map each maximum was.
        query: (M, F, H, W).
        n_memory: N.
    """
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    g = torch.ops.aten.threshold_backward(gradient, values, 0)
    sums = unpool(g, places, (query.shape[-2] // 2 * 2, query.shape[-1] // 2 * 2))
    return sums.view(len(query), n_memory, *sums.shape[1:])


def _by_half(g: Tensor, u: Tensor, other: Tensor, gain: Tensor, slope: Tensor, total: Tensor) -> Tensor:
    """The gradient by one half (B, F, H, W).

    Args:
        g: By the normalised maps (B, F, h, w), without what pooling does not look at.
        u: The centred maps (B, F, H, W).
        other: The mean of the other half (F, H, W).
        gain: (F,).
        slope: By the squares, times the values (F,).
        total: The sum of ``g`` (F,).
    """
    count = u.numel() // u.shape[1]
    gain, slope, constant = (c.view(1, -1, 1, 1) for c in (gain, slope / count, -gain * total / count))
    found = torch.addcmul(constant + slope * other, u, slope)
    found[..., : g.shape[-2], : g.shape[-1]].addcmul_(g, gain)
    return found
