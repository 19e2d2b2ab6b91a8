"""Batch norm, max-pooling and ReLU for inner loops mapped over tasks, with both derivatives written by hand.

Inside ``torch.func`` transforms a gradient is differentiated again, so nothing can be left to kernels whose second
derivative is wrong there (torch's batch norm). Elementary operations are right, but by autograd the second derivative
of batch norm alone passes some forty times over maps of megabytes. Here the block is one node, its gradient another,
and the gradient of that a formula with the few passes that it needs:

* With u = (x - mean) * t normalised over n values, t one over the standard deviation, p the pooled u, z = gamma * p +
  beta, y = relu(z) and g the gradient by z, put back at the places that pooling took,
  dx = t * gamma * (g - sum(g) / n - u * sum(g * u) / n), dgamma = sum(g * p), dbeta = sum(g).
* Max-pooling takes maxima of whole slices. torch's kernel for maps with channels outermost goes window by window and
  takes thirteen times as long. Of equal values in a window the first counts, as in torch.

The nodes take any number of leading axes, which ``torch.vmap`` puts there. Where the second derivative is itself
differentiated, it is computed from elementary operations, so any order is right.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import vjp

from metaexp.models.nodes.mapped_function import MappedFunction

_AXES = (-4, -2, -1)
"""All axes of maps (..., B, C, H, W) that a channel's statistics are taken over."""


class MappedActivated(NamedTuple):
    """The result (B, C, h, w), and the batch's mean and biased variance (1, C, 1, 1) as constants."""

    values: Tensor
    mean: Tensor
    variance: Tensor


def normalise_and_activate_mapped(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, pool: bool
) -> MappedActivated:
    """ReLU of batch-normalised maps, max-pooled by 2x2 where ``pool``.

    Args:
        x: maps (B, C, H, W).
        weight: gamma (C,), or None for one.
        bias: beta (C,), or None for zero.
        eps: is added to the variance.
        pool: whether 2x2 max-pooling follows. An odd last row or column is left out.

    Returns:
        Values (B, C, H, W), or (B, C, H // 2, W // 2) with ``pool``, and the statistics of the batch.
    """
    gamma = x.new_ones(1, x.shape[1], 1, 1) if weight is None else weight.view(1, -1, 1, 1)
    beta = x.new_zeros(1, x.shape[1], 1, 1) if bias is None else bias.view(1, -1, 1, 1)
    signs = None
    if pool and weight is not None:  # pooling comes first, and the greatest u is the least gamma * u of negative gammas
        signs = torch.where(gamma < 0, -1.0, 1.0).to(x.dtype)
        gamma = gamma * signs
    values, mean, variance, *_ = _Block.apply(x, gamma, beta, signs, eps, pool)  # type: ignore[no-untyped-call]
    return MappedActivated(values, mean, variance)


def max_pool(x: Tensor) -> Tensor:
    """2x2 max-pooling of maps (B, C, H, W): (B, C, H // 2, W // 2), whose gradient is shared among equal values."""
    a, b, c, d = _places(x)
    return torch.maximum(torch.maximum(a, b), torch.maximum(c, d))


class _Block(MappedFunction):
    """From maps, gamma, beta and signs: values, mean, variance, and what derivatives need: u, t, p and the winners.

    p is None where nothing is pooled, and so are the winners. These are (..., 4, B, C, h, w): 1 at the place of a
    window whose value was taken, 0 at the other three. All that belongs to channels is (..., 1, C, 1, 1).
    """

    @staticmethod
    def forward(
        x: Tensor, gamma: Tensor, beta: Tensor, signs: Tensor | None, eps: float, pool: bool
    ) -> tuple[Tensor | None, ...]:
        mean = x.mean(_AXES, keepdim=True)
        u = x - mean
        variance = (u * u).mean(_AXES, keepdim=True)
        t = torch.rsqrt(variance + eps)
        t = t if signs is None else t * signs
        u.mul_(t)
        p, winners = _maxima(u) if pool else (None, None)
        values = torch.addcmul(beta, u if p is None else p, gamma).relu_()
        return values, mean, variance, u, t, p, winners

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        x, gamma, _, signs, ctx.eps, _ = inputs
        values, *others = output
        ctx.save_for_backward(x, gamma, signs, values, *others[2:])
        ctx.mark_non_differentiable(*(item for item in others if item is not None))
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        if g is None:
            return None, None, None, None, None, None
        dx, dgamma, dbeta, _ = _BlockBackward.apply(g, *ctx.saved_tensors, ctx.eps)  # type: ignore[no-untyped-call]
        return dx, dgamma, dbeta, None, None, None


class _BlockBackward(MappedFunction):
    """The gradients by x, gamma and beta, and g (..., B, C, h, w), the gradient by z."""

    @staticmethod
    def forward(dy: Tensor, *saved: Any) -> tuple[Tensor, ...]:
        _, gamma, _, values, u, t, p, winners, _ = saved
        g: Tensor = torch.ops.aten.threshold_backward(dy, values, 0)
        dbeta = g.sum(_AXES, keepdim=True)
        dgamma = (g * (u if p is None else p)).sum(_AXES, keepdim=True)
        gain = t * gamma
        slope = gain / -_count(u)
        dx = torch.addcmul(slope * dbeta, u, slope * dgamma)
        return _add_spread(dx, g, gain, winners), dgamma, dbeta, g

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        dy, *saved, ctx.eps = inputs
        _, *sums, g = output
        ctx.save_for_backward(dy, *saved, *sums, g)
        ctx.mark_non_differentiable(g)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(
        ctx: Any, by_x: Tensor | None, by_gamma: Tensor | None, by_beta: Tensor | None, _: None
    ) -> tuple[Tensor | None, ...]:
        dy, x, gamma, signs, values, u, t, p, winners, dgamma, dbeta, g = ctx.saved_tensors
        v = torch.zeros_like(x) if by_x is None else by_x
        v_gamma = torch.zeros_like(gamma) if by_gamma is None else by_gamma
        v_beta = torch.zeros_like(gamma) if by_beta is None else by_beta
        if torch.is_grad_enabled():  # someone will differentiate this too
            found = _second_by_definition((dy, x, gamma), (v, v_gamma, v_beta), signs, values, winners, ctx.eps)
        else:
            saved = _Saved(gamma, values, u, t, p, winners, dgamma, dbeta, g)
            found = _second_derivative(saved, v, v_gamma, v_beta)
        return *found, None, None, None, None, None, None, None


class _Saved(NamedTuple):
    """What :func:`_second_derivative` needs of the two nodes before."""

    gamma: Tensor
    values: Tensor
    u: Tensor
    t: Tensor
    p: Tensor | None
    winners: Tensor | None
    dgamma: Tensor
    dbeta: Tensor
    g: Tensor


def _second_derivative(saved: _Saved, v: Tensor, v_gamma: Tensor, v_beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients by dy, x and gamma of v * dx + v_gamma * dgamma + v_beta * dbeta, summed."""
    gamma, values, u, t, p, winners, dgamma, dbeta, g = saved
    n = _count(u)
    gain = t * gamma
    v_mean, v_along = v.mean(_AXES, keepdim=True), (v * u).mean(_AXES, keepdim=True)
    taken = v if winners is None else _pick(v, winners)  # (..., B, C, h, w)
    along_p = v_gamma - gain * v_along
    by_g = torch.addcmul(v_beta - gain * v_mean, u if p is None else p, along_p).addcmul_(taken, gain)
    by_gain = (taken * g).sum(_AXES, keepdim=True) - v_mean * dbeta - v_along * dgamma
    # Directly by u it is c * v + along_p * g; the rest is how u and t depend on x.
    c = -gain * dgamma / n
    mean = c * v_mean + along_p * dbeta / n
    along = c * v_along + along_p * dgamma / n
    through_t = by_gain * gamma * t / n
    dx = torch.addcmul(-t * mean, u, -t * (along + through_t)).addcmul_(v, t * c)
    dx = _add_spread(dx, g, t * along_p, winners)
    return torch.ops.aten.threshold_backward(by_g, values, 0), dx, by_gain * t


def _second_by_definition(
    inputs: tuple[Tensor, Tensor, Tensor],
    cotangents: tuple[Tensor, Tensor, Tensor],
    signs: Tensor | None,
    values: Tensor,
    winners: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of :func:`_second_derivative`, in operations that can be differentiated any number of times."""
    passed = (values > 0).to(values.dtype)

    def block(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        centred = x - x.mean(_AXES, keepdim=True)
        t = torch.rsqrt((centred * centred).mean(_AXES, keepdim=True) + eps)
        u = centred * (t if signs is None else t * signs)
        return ((u if winners is None else _pick(u, winners)) * gamma + beta) * passed

    def gradient(dy: Tensor, x: Tensor, gamma: Tensor) -> tuple[Tensor, ...]:
        pull = vjp(block, x, gamma, torch.zeros_like(gamma))[1]
        found: tuple[Tensor, ...] = pull(dy)
        return found

    pull = vjp(gradient, *inputs)[1]
    found: tuple[Tensor, Tensor, Tensor] = pull(cotangents)
    return found


def _maxima(x: Tensor) -> tuple[Tensor, Tensor]:
    """The maxima (..., B, C, h, w) of 2x2 windows of ``x``, and the winners (..., 4, B, C, h, w)."""
    a, b, c, d = _places(x)
    upper, lower = torch.maximum(a, b), torch.maximum(c, d)
    is_lower = lower > upper
    is_right = torch.where(is_lower, d > c, b > a)
    winners = x.new_empty(*upper.shape[:-4], 4, *upper.shape[-4:])
    first, right, low, last = winners.unbind(-5)
    low.copy_(is_lower)
    right.copy_(is_right)
    torch.mul(low, right, out=last)
    low -= last
    right -= last
    torch.sub(1.0, is_lower.to(x.dtype), out=first).sub_(right)
    return torch.maximum(upper, lower), winners


def _add_spread(out: Tensor, g: Tensor, gain: Tensor, winners: Tensor | None) -> Tensor:
    """Add ``g * gain`` to ``out`` in place, at the places that pooling took."""
    if winners is None:
        return out.addcmul_(g, gain)
    scaled = g * gain
    for place, winner in zip(_places(out), winners.unbind(-5), strict=True):
        place.addcmul_(scaled, winner)
    return out


def _pick(x: Tensor, winners: Tensor) -> Tensor:
    """The values (..., B, C, h, w) of ``x`` at the places that pooling took."""
    a, b, c, d = (place * winner for place, winner in zip(_places(x), winners.unbind(-5), strict=True))
    return (a + b) + (c + d)


def _places(x: Tensor) -> list[Tensor]:
    """The four values of every 2x2 window, row by row, each (..., H // 2, W // 2)."""
    height, width = x.shape[-2] // 2 * 2, x.shape[-1] // 2 * 2
    return [x[..., row:height:2, column:width:2] for row in (0, 1) for column in (0, 1)]


def _count(u: Tensor) -> int:
    """The values that a channel's statistics are taken over."""
    return u.shape[-4] * u.shape[-2] * u.shape[-1]
