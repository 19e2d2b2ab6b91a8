"""One small LSTM run on very many independent coordinates at once, with a backward pass written by hand.

A learned optimiser treats every parameter of the network that it trains as a batch row of its own: tens of
thousands of rows, twenty hidden units, four inputs. At that shape neither ``nn.LSTMCell`` nor a chain of
elementary operations is limited by arithmetic but by passes over memory, so here

* coordinates lie along the *last* axis, in tiles of at most :data:`TILE`: the four gates are contiguous blocks, and
  the matrix products work on aligned pieces that fit a core's cache;
* a step is one autograd node that keeps the activations and nothing else;
* on a CPU, all operations of a step work on a few tiles before the next few, which are then still in the cache.

benchmarks/learners.py measures what that is worth. Under ``torch.vmap`` and on a GPU a step is made of operations on
all tiles, whose backward is differentiable.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from metaexp.core.inner import in_transform

TILE = 1024
"""The most coordinates in a tile."""
AT_ONCE = 5
"""Tiles that are worked on at once, for each thread: enough work for an operation, and little enough for the cache."""


class State(NamedTuple):
    """Hidden and cell state, (n_tiles, hidden, width) each."""

    hidden: Tensor
    cell: Tensor


def tile(vector: Tensor) -> Tensor:
    """Cut ``vector`` (..., P) into tiles (..., n_tiles, width), the last one padded with zeros.

    Tiles are as few as can be, and the width is the least multiple of 16 with which they hold everything.
    """
    size = vector.shape[-1]
    n_tiles = -(-size // TILE)
    width = -(-size // (16 * n_tiles)) * 16
    padded = F.pad(vector, (0, -size % width))
    return padded.view(*padded.shape[:-1], -1, width)  # (..., n_tiles, width)


def untile(tiles: Tensor, size: int) -> Tensor:
    """The vector (..., size) whose tiles (..., n_tiles, width) these are.

    Args:
        tiles: (..., n_tiles, width).
        size: Length of the vector without what fills the last tile.
    """
    return tiles.flatten(-2)[..., :size]


def per_tile(weight: Tensor, tiles: Tensor) -> Tensor:
    """A view of ``weight`` (a, b) as (n_tiles, a, b) for torch.bmm: torch.matmul would copy the tiles instead.

    Args:
        weight: (a, b).
        tiles: Tiles along a leading axis, for their number.
    """
    return weight.expand(tiles.shape[0], *weight.shape)


class CoordinateLSTM(nn.Module):
    """An LSTM cell (Hochreiter & Schmidhuber, 1997, with forget gates) shared by all coordinates.

    Memory: a step keeps 7 * hidden + n_inputs + 1 numbers per coordinate for its backward. With 20 hidden units
    and the 32,901 coordinates of Meta-LSTM's mini-ImageNet learner that is 19 MB in float32.

    Args:
        n_inputs: inputs per coordinate.
        hidden: units per coordinate.

    Attributes:
        weight: (4 * hidden, n_inputs + hidden), with rows in the order input, forget, output gate, candidate. The
            owner fills it.
        bias: (4 * hidden,), which the owner fills. There is one, as in the Lua code of Meta-LSTM; ``nn.LSTMCell`` has
            two.
    """

    def __init__(self, n_inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.weight = nn.Parameter(torch.empty(4 * hidden, n_inputs + hidden))
        self.bias = nn.Parameter(torch.empty(4 * hidden))

    def start(self, tiles: Tensor) -> State:
        """Zero states for coordinates in ``tiles`` (n_tiles, width)."""
        zeros = tiles.new_zeros(tiles.shape[0], self.hidden, tiles.shape[1])
        return State(zeros, zeros)

    def forward(self, x: Tensor, state: State) -> State:
        """The state after input ``x`` (n_tiles, n_inputs, width), which is taken as a constant."""
        x = torch.cat([x.detach(), torch.ones_like(x[:, :1])], 1)  # a row of ones makes the bias a column of weights
        n_inputs = self.weight.shape[1] - self.hidden
        weight = torch.cat([self.weight[:, :n_inputs], self.bias[:, None], self.weight[:, n_inputs:]], 1)
        step = _StepInCache if fits_cache_step(x) else _Step
        hidden, cell, *_ = step.apply(x, *state, weight)  # type: ignore[no-untyped-call]
        return State(hidden, cell)


def fits_cache_step(x: Tensor) -> bool:
    """Whether a step for ``x`` (n_tiles, n_inputs, width) is made a few tiles at a time, written into tensors at hand.

    On a GPU that would only be more kernels, and transforms, autocast and the compiler need operations that return new
    tensors.
    """
    is_plain = not (in_transform() or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling())
    return x.device.type == "cpu" and is_plain


class _Step(torch.autograd.Function):
    """One LSTM step. Returns hidden and cell, then what the backward needs: inputs, activations, tanh(cell)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, hidden: Tensor, cell: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        n = hidden.shape[1]
        inputs = torch.cat([x, hidden], 1)
        # tanh(a) = 2 sigmoid(2a) - 1, at a third of the cost of tanh.
        doubled = torch.cat([weight[: 3 * n], weight[3 * n :] * 2.0])
        activations = torch.bmm(per_tile(doubled, x), inputs).sigmoid_()  # (n_tiles, 4n, width)
        activations[:, 3 * n :].mul_(2.0).sub_(1.0)
        gate_in, gate_forget, gate_out, candidate = activations.chunk(4, 1)
        cell = torch.addcmul(gate_forget * cell, gate_in, candidate)
        squashed = (cell + cell).sigmoid_().mul_(2.0).sub_(1.0)
        return gate_out * squashed, cell, inputs, activations, squashed

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        _, _, cell, weight = inputs
        ctx.save_for_backward(cell, weight, *output[2:])
        ctx.mark_non_differentiable(*output[2:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, d_hidden: Tensor | None, d_cell: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        cell, weight, inputs, activations, squashed = ctx.saved_tensors
        n = squashed.shape[1]
        gate_in, gate_forget, gate_out, candidate = activations.chunk(4, 1)
        d_hidden = torch.zeros_like(squashed) if d_hidden is None else d_hidden
        through_hidden = _tanh_backward(d_hidden * gate_out, squashed)
        d_cell = through_hidden if d_cell is None else d_cell + through_hidden
        d_sums = torch.cat(
            [
                _sigmoid_backward(d_cell * candidate, gate_in),
                _sigmoid_backward(d_cell * cell, gate_forget),
                _sigmoid_backward(d_hidden * squashed, gate_out),
                _tanh_backward(d_cell * gate_in, candidate),
            ],
            1,
        )  # (n_tiles, 4n, width), with respect to weight @ inputs
        d_weight = torch.bmm(inputs, d_sums.transpose(1, 2)).sum(0).t()  # a third faster than the other way round
        d_previous = torch.bmm(per_tile(weight[:, -n:].t(), d_sums), d_sums)
        return None, d_previous, d_cell * gate_forget, d_weight


class _StepInCache(torch.autograd.Function):
    """:class:`_Step` with all operations on a few tiles before the next few. Returns hidden and cell."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, hidden: Tensor, cell: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        n, (n_tiles, n_inputs, width) = hidden.shape[1], x.shape
        kept = n_tiles if any(ctx.needs_input_grad) else min(n_tiles, _at_once())
        inputs = x.new_empty(kept, n_inputs + n, width)
        activations = x.new_empty(kept, 4 * n, width)
        squashed = x.new_empty(kept, n, width)
        new_hidden, new_cell = torch.empty_like(hidden), torch.empty_like(cell)
        doubled = torch.cat([weight[: 3 * n], weight[3 * n :] * 2.0])  # for tanh(a) = 2 sigmoid(2a) - 1
        for here in _pieces(n_tiles):
            there = here if kept == n_tiles else slice(0, here.stop - here.start)
            both, active, tanh = inputs[there], activations[there], squashed[there]
            torch.cat([x[here], hidden[here]], 1, out=both)
            torch.bmm(per_tile(doubled, both), both, out=active)
            active.sigmoid_()
            active[:, 3 * n :].mul_(2.0).sub_(1.0)
            gate_in, gate_forget, gate_out, candidate = active.chunk(4, 1)
            torch.mul(gate_forget, cell[here], out=new_cell[here]).addcmul_(gate_in, candidate)
            torch.mul(new_cell[here], 2.0, out=tanh).sigmoid_().mul_(2.0).sub_(1.0)
            torch.mul(gate_out, tanh, out=new_hidden[here])
        if kept == n_tiles:
            ctx.save_for_backward(cell, weight, inputs, activations, squashed)
        ctx.set_materialize_grads(False)
        return new_hidden, new_cell

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_hidden: Tensor | None, d_cell: Tensor | None) -> tuple[Tensor | None, ...]:
        cell, weight, inputs, activations, squashed = ctx.saved_tensors
        n_tiles, n, _ = squashed.shape
        d_hidden = torch.zeros_like(squashed) if d_hidden is None else d_hidden
        all_sums = torch.empty_like(activations[: _at_once()])
        d_weight = weight.new_empty(n_tiles, *reversed(weight.shape))
        d_new = torch.empty_like(squashed)
        d_previous = torch.empty_like(squashed) if ctx.needs_input_grad[1] else None
        to_hidden = weight[:, -n:].t()
        for here in _pieces(n_tiles):
            active, tanh, d_out, d_here = activations[here], squashed[here], d_hidden[here], d_new[here]
            gate_in, gate_forget, gate_out, candidate = active.chunk(4, 1)
            sums = all_sums[: len(active)]  # with respect to weight @ inputs
            to_in, to_forget, to_out, to_candidate = sums.chunk(4, 1)
            torch.mul(d_out, gate_out, out=d_here)
            _TANH_BACKWARD(d_here, tanh, grad_input=d_here)
            if d_cell is not None:
                d_here.add_(d_cell[here])
            torch.mul(d_here, candidate, out=to_in)
            torch.mul(d_here, cell[here], out=to_forget)
            torch.mul(d_out, tanh, out=to_out)
            _SIGMOID_BACKWARD(sums[:, : 3 * n], active[:, : 3 * n], grad_input=sums[:, : 3 * n])
            torch.mul(d_here, gate_in, out=to_candidate)
            _TANH_BACKWARD(to_candidate, candidate, grad_input=to_candidate)
            torch.bmm(inputs[here], sums.transpose(1, 2), out=d_weight[here])
            if d_previous is not None:
                torch.bmm(per_tile(to_hidden, sums), sums, out=d_previous[here])
            d_here.mul_(gate_forget)
        return None, d_previous, d_new, d_weight.sum(0).t()


_SIGMOID_BACKWARD = torch.ops.aten.sigmoid_backward.grad_input
_TANH_BACKWARD = torch.ops.aten.tanh_backward.grad_input


def _at_once() -> int:
    """How many tiles to work on before the next."""
    return AT_ONCE * torch.get_num_threads()


def _pieces(n_tiles: int) -> list[slice]:
    """Slices of that many tiles, the last one shorter."""
    size = _at_once()
    return [slice(start, min(start + size, n_tiles)) for start in range(0, n_tiles, size)]


def _sigmoid_backward(gradient: Tensor, value: Tensor) -> Tensor:
    """Gradient * value * (1 - value) in one pass."""
    out: Tensor = torch.ops.aten.sigmoid_backward.default(gradient, value)
    return out


def _tanh_backward(gradient: Tensor, value: Tensor) -> Tensor:
    """Gradient * (1 - value^2) in one pass."""
    out: Tensor = torch.ops.aten.tanh_backward.default(gradient, value)
    return out
