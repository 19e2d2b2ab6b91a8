"""Batch normalisation that maps over tasks and whose statistics are values, not side effects.

torch's own batch norm gives wrong second-order gradients under ``torch.vmap`` when gamma and beta are adapted
(seen in torch 2.13; tests/models/test_batch_norm.py keeps an eye on it), so this one is made of elementary
operations. It is faster too: the squares are taken of centred values, once. Where ReLU follows, as in convolutional
networks, :meth:`BatchNorm.activate` is faster still.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._C._functorch import TransformType, get_interpreter_stack

from metaexp.core.inner import in_transform
from metaexp.models.nodes.fused_batch_norm import activate_with, normalise_and_activate
from metaexp.models.nodes.mapped_block import max_pool, normalise_and_activate_mapped

Statistics = Literal["batch", "collect", "replace", "stored"]
"""Which statistics a forward pass normalises with.

batch: those of the batch itself, leaving the stored ones alone.
collect: those of the batch, and the stored ones move towards them (torch's training mode).
replace: those of the batch, which become the stored ones (variances biased, exactly those just used).
stored: the stored ones (torch's evaluation mode).
"""

_statistics: ContextVar[Statistics | None] = ContextVar("statistics", default=None)


@contextmanager
def normalise_with(statistics: Statistics) -> Iterator[None]:
    """Within this block every :class:`BatchNorm` uses ``statistics`` instead of following ``self.training``."""
    token = _statistics.set(statistics)
    try:
        yield
    finally:
        _statistics.reset(token)


class BatchNorm(nn.Module):
    """Batch normalisation over all axes but the second, of inputs (B, F) or (B, F, H, W) (Ioffe & Szegedy, 2015).

    Without :func:`normalise_with` it behaves as torch's: it uses batch statistics (and collects them) while training,
    and stored ones otherwise. Collecting *replaces* the buffers instead of writing into them. So a functional call
    sees the new ones, and a vectorised call can return one set per task. Stored variances are unbiased, as torch's.

    Args:
        n_features: F.
        scale: whether gamma exists.
        shift: whether beta exists.
        eps: added to the variance.
        momentum: weight of the new batch in ``collect``.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        n_features: int,
        *,
        scale: bool = True,
        shift: bool = True,
        eps: float = 1e-5,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        self.n_features = n_features
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(n_features)) if scale else None
        self.bias = nn.Parameter(torch.zeros(n_features)) if shift else None
        self.register_buffer("running_mean", torch.zeros(n_features))
        self.register_buffer("running_var", torch.ones(n_features))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` (B, F) or (B, F, H, W); same shape out."""
        x = _not_rounded(x)
        statistics = self.statistics_in_use()
        spread = (1, self.n_features) + (1,) * (x.dim() - 2)  # broadcasts a feature vector against x
        if statistics == "stored":
            gain = torch.rsqrt(self.running_var + self.eps)
            centred = x - self.running_mean.view(spread)
        else:
            axes = [axis for axis in range(x.dim()) if axis != 1]
            mean = x.mean(axes, keepdim=True)
            centred = x - mean
            variance = (centred * centred).mean(axes)  # (F,)
            gain = torch.rsqrt(variance + self.eps)
            if statistics == "collect":
                self.collect(mean.reshape(-1), variance, x.numel() // self.n_features)
            elif statistics == "replace":
                self.running_mean, self.running_var = mean.reshape(-1), variance
        if self.weight is not None:
            gain = gain * self.weight
        out = centred * gain.view(spread)
        return out if self.bias is None else out + self.bias.view(spread)

    def activate(self, x: Tensor, *, pool: bool = False, offset: Tensor | None = None) -> Tensor:
        """ReLU of the normalised ``x``, max-pooled by 2x2 where ``pool``: the same as calling one after the other.

        A single autograd node does all three: one for plain gradients on a CPU, another inside ``torch.func``
        transforms (``torch.vmap`` over tasks, an inner loop by ``torch.func.grad``) on CPU and CUDA, where torch's
        kernel has wrong second-order gradients. Otherwise it is torch's kernel, and elementary operations inside
        transforms.

        Args:
            x: maps (B, F, H, W), or vectors (B, F) without ``pool``.
            pool: whether 2x2 max-pooling follows.
            offset: the bias (F,) of the convolution before, where ``x`` is without. Only where :meth:`removes_offset`.

        Returns:
            (B, F, H, W), or (B, F, H // 2, W // 2) with ``pool``, or (B, F).
        """
        if offset is not None:
            return self._activate_at_once(x, pool, collects=self.statistics_in_use() == "collect", offset=offset)
        x = _not_rounded(x)
        statistics = self.statistics_in_use()
        has_one_value = x.numel() == self.n_features  # torch's kernel refuses it
        if x.dim() == 4 and not has_one_value and not in_transform():
            if statistics in ("batch", "collect"):
                return self._activate_at_once(x, pool, collects=statistics == "collect")
            if statistics == "stored" and x.is_cpu:
                gain = torch.rsqrt(self.running_var + self.eps)
                return activate_with(x, self.running_mean, gain, self.weight, self.bias, pool)
        if statistics in ("batch", "collect") and x.dim() == 4 and _mapped_block_applies(x):
            return self._activate_mapped(x, pool, collects=statistics == "collect")
        out = self(x)
        if pool and x.is_cpu and not torch.is_grad_enabled():
            return max_pool(out).relu()
        return (F.max_pool2d(out, 2) if pool else out).relu()  # ReLU commutes with the maximum

    def removes_offset(self, x: Tensor) -> bool:
        """Whether :meth:`activate` takes an offset: with statistics of the batch, by plain gradients on a CPU.

        Args:
            x: what the layer before will be applied to (B, C, H, W), with B > 1.
        """
        is_plain = x.is_cpu and x.dtype in (torch.float32, torch.float64) and not in_transform() and len(x) > 1
        return is_plain and self.statistics_in_use() in ("batch", "collect")

    def _activate_mapped(self, x: Tensor, pool: bool, collects: bool) -> Tensor:
        """:meth:`activate` with statistics of the batch, inside transforms."""
        out, mean, variance = normalise_and_activate_mapped(x, self.weight, self.bias, self.eps, pool)
        if collects:
            self.collect(mean.flatten(), variance.flatten(), x.numel() // self.n_features)
        return out

    def _activate_at_once(self, x: Tensor, pool: bool, collects: bool, offset: Tensor | None = None) -> Tensor:
        """:meth:`activate` with statistics of the batch, by plain gradients."""
        if x.is_cpu and x.dtype in (torch.float32, torch.float64):
            out, mean, variance = normalise_and_activate(x, self.weight, self.bias, self.eps, pool, offset)
            if collects:
                self.collect(mean, variance, x.numel() // self.n_features)
            return out
        mean, variance = self.running_mean.clone(), self.running_var.clone()  # the kernel writes into them
        # torch's kernel for CUDA has no gradient where gamma or beta alone is missing
        weight = x.new_ones(self.n_features) if self.weight is None else self.weight
        bias = x.new_zeros(self.n_features) if self.bias is None else self.bias
        out = F.batch_norm(x, mean, variance, weight, bias, True, self.momentum, self.eps)
        if collects:
            self.running_mean, self.running_var = mean, variance
        return (F.max_pool2d(out, 2) if pool else out).relu()

    def statistics_in_use(self) -> Statistics:
        """What a forward pass would normalise with at this moment."""
        return _statistics.get() or ("collect" if self.training else "stored")

    def collect(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the stored statistics towards those of a batch.

        Args:
            mean: of the batch (F,).
            variance: of the batch, biased (F,).
            count: how many values of each feature the batch has.
        """
        kept = self.running_mean.dtype  # a batch in lower precision may have statistics in it
        mean, variance = mean.detach().to(kept), variance.detach().to(kept)
        unbiased = variance * (count / max(count - 1, 1))
        self.running_mean = torch.lerp(self.running_mean, mean, self.momentum)
        self.running_var = torch.lerp(self.running_var, unbiased, self.momentum)

    def extra_repr(self) -> str:
        """Its settings, for ``print``."""
        return f"{self.n_features}, scale={self.weight is not None}, shift={self.bias is not None}, eps={self.eps}"


def _not_rounded(x: Tensor) -> Tensor:
    """On a CPU, bf16 as float32: its kernels take no float32 weights beside bf16 values."""
    return x.float() if x.is_cpu and x.dtype == torch.bfloat16 else x


def _mapped_block_applies(x: Tensor) -> bool:
    """Whether gradients are wanted inside transforms. In forward mode, for which it has no formula, it does not."""
    if x.device.type not in ("cpu", "cuda", "meta") or not in_transform() or not torch.is_grad_enabled():
        return False
    return all(level.key() != TransformType.Jvp for level in get_interpreter_stack() or [])
