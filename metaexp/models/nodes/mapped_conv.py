"""Convolution for inner loops mapped over tasks on a GPU, as one matrix product for all tasks.

Where each task has weights of its own, ``torch.vmap`` turns a convolution into a grouped one, for which cuDNN has no
fast kernels. Here the patches of the maps are laid out in rows, (..., B * h * w, 9 * C), and multiplied with the
weights, (..., 9 * C, O), so that all tasks are one batched matrix product. The result has its channels innermost in
memory, and batch norm and ReLU after it keep that.

A convolution is linear in its maps and in its weights, and so are its two gradients. Each of the three operations has
the other two as derivatives, which makes every order of gradient right.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaexp.core.inner import in_transform
from metaexp.models.nodes.mapped_function import MappedFunction

Geometry = tuple[int, int, int]
"""Kernel size, stride and padding, equal in both directions."""


class Conv2d(nn.Conv2d):
    """torch's convolution, fast on a GPU where each task has kernels of its own. Elsewhere it is torch's."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``x`` (B, C, H, W)."""
        if in_transform() and x.dim() == 4 and runs_on_gpu(x) and self.is_mappable:
            return convolve_mapped(x, self.weight, self.bias, self.stride[0], int(self.padding[0]))
        return super().forward(x)

    @property
    def is_mappable(self) -> bool:
        """Whether kernel, stride and padding are square, and nothing is dilated, grouped or padded but with zeros."""
        if isinstance(self.padding, str) or self.padding_mode != "zeros":
            return False
        square = all(len(set(pair)) == 1 for pair in (self.kernel_size, self.stride, self.padding))
        return square and self.dilation == (1, 1) and self.groups == 1


def runs_on_gpu(x: Tensor) -> bool:
    """Whether ``x`` (B, ...) is on a GPU, or on the meta device in its place, in full precision."""
    return (x.is_cuda and not torch.is_autocast_enabled("cuda")) or x.is_meta


def convolve_mapped(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """Convolve maps with square kernels, for use under ``torch.vmap``.

    Args:
        x: maps (B, C, H, W).
        weight: kernels (O, C, k, k).
        bias: (O,), or None.
        stride: the distance between two positions, in both directions.
        padding: zeros on every side.

    Returns:
        Maps (B, O, h, w), as ``torch.nn.functional.conv2d`` returns them up to rounding.
    """
    y: Tensor = _Convolve.apply(x, weight, (weight.shape[-1], stride, padding))[0]  # type: ignore[no-untyped-call]
    return y if bias is None else y + bias.view(1, -1, 1, 1)


class _Convolve(MappedFunction):
    """(maps, kernels) -> maps."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, geometry: Geometry) -> tuple[Tensor]:
        patches, (h, w) = _patches(x, geometry)
        rows = patches @ _matrix(weight)  # (..., B * h * w, O)
        return (_maps(rows, x.shape[-4], h, w),)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:  # noqa: ARG004
        x, weight, ctx.geometry = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        by_x, by_weight, _ = ctx.needs_input_grad
        dx = _by_maps(dy, weight, x, ctx.geometry) if by_x else None
        return dx, _by_kernels(x, dy, ctx.geometry) if by_weight else None, None


class _GradientByMaps(MappedFunction):
    """(gradient of the result, kernels) -> gradient of the maps."""

    @staticmethod
    def forward(dy: Tensor, weight: Tensor, height: int, width: int, geometry: Geometry) -> tuple[Tensor]:
        size, stride, padding = geometry
        h, w = dy.shape[-2:]
        rows = _rows(dy) @ _matrix(weight).transpose(-1, -2)  # (..., B * h * w, k * k * C)
        patches = rows.view(*dy.shape[:-3], h, w, size, size, -1)  # (..., B, h, w, k, k, C)
        full = _add_patches(patches, (height + 2 * padding, width + 2 * padding), stride)
        inner = full[..., padding : padding + height, padding : padding + width, :]
        return (inner.movedim(-1, -3),)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:  # noqa: ARG004
        dy, weight, *_, ctx.geometry = inputs
        ctx.save_for_backward(dy, weight)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
        dy, weight = ctx.saved_tensors
        by_dy, by_weight, *_ = ctx.needs_input_grad
        found = _Convolve.apply(v, weight, ctx.geometry)[0] if by_dy else None  # type: ignore[no-untyped-call]
        return found, _by_kernels(v, dy, ctx.geometry) if by_weight else None, None, None, None


class _GradientByKernels(MappedFunction):
    """(maps, gradient of the result) -> gradient of the kernels."""

    @staticmethod
    def forward(x: Tensor, dy: Tensor, geometry: Geometry) -> tuple[Tensor]:
        patches, _ = _patches(x, geometry)
        size = geometry[0]
        product = patches.transpose(-1, -2) @ _rows(dy)  # (..., k * k * C, O)
        kernels = product.view(*product.shape[:-2], size, size, x.shape[-3], dy.shape[-3])
        return (kernels.movedim((-2, -1), (-3, -4)).contiguous(),)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:  # noqa: ARG004
        x, dy, ctx.geometry = inputs
        ctx.save_for_backward(x, dy)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
        x, dy = ctx.saved_tensors
        by_x, by_dy, _ = ctx.needs_input_grad
        found = _Convolve.apply(x, v, ctx.geometry)[0] if by_dy else None  # type: ignore[no-untyped-call]
        return _by_maps(dy, v, x, ctx.geometry) if by_x else None, found, None


def _by_maps(dy: Tensor, weight: Tensor, x: Tensor, geometry: Geometry) -> Tensor:
    found: Tensor = _GradientByMaps.apply(dy, weight, *x.shape[-2:], geometry)[0]  # type: ignore[no-untyped-call]
    return found


def _by_kernels(x: Tensor, dy: Tensor, geometry: Geometry) -> Tensor:
    found: Tensor = _GradientByKernels.apply(x, dy, geometry)[0]  # type: ignore[no-untyped-call]
    return found


def _patches(x: Tensor, geometry: Geometry) -> tuple[Tensor, tuple[int, int]]:
    """The patches (..., B * h * w, k * k * C) of maps (..., B, C, H, W), and (h, w)."""
    size, stride, padding = geometry
    channels_inside = F.pad(x.movedim(-3, -1), (0, 0, padding, padding, padding, padding))
    windows = channels_inside.unfold(-3, size, stride).unfold(-3, size, stride)  # (..., B, h, w, C, k, k)
    h, w = windows.shape[-5:-3]
    return windows.movedim(-3, -1).flatten(-3).flatten(-4, -2), (h, w)


def _add_patches(patches: Tensor, full: tuple[int, int], stride: int) -> Tensor:
    """Sum patches (..., B, h, w, k, k, C) at their places in maps (..., B, H, W, C)."""
    size = patches.shape[-3]
    windows = patches.movedim((-3, -2), (-2, -1))  # (..., B, h, w, C, k, k)
    wide = [*windows.shape[:-4], full[1], *windows.shape[-3:-1]]  # (..., B, h, W, C, k)
    by_rows = torch.ops.aten.unfold_backward(windows, wide, len(wide) - 3, size, stride)
    tall = [*wide[:-4], full[0], full[1], wide[-2]]  # (..., B, H, W, C)
    found: Tensor = torch.ops.aten.unfold_backward(by_rows, tall, len(tall) - 3, size, stride)
    return found


def _matrix(weight: Tensor) -> Tensor:
    """Kernels (..., O, C, k, k) as a matrix (..., k * k * C, O)."""
    return weight.movedim((-4, -3), (-1, -2)).flatten(-4, -2)


def _rows(y: Tensor) -> Tensor:
    """Maps (..., B, O, h, w) as rows (..., B * h * w, O)."""
    return y.movedim(-3, -1).flatten(-4, -2)


def _maps(rows: Tensor, batch: int, h: int, w: int) -> Tensor:
    """Rows (..., B * h * w, O) as maps (..., B, O, h, w), channels innermost in memory."""
    return rows.view(*rows.shape[:-2], batch, h, w, rows.shape[-1]).movedim(-1, -3)
