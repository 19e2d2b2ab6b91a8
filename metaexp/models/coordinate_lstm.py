"""One small LSTM run on very many independent coordinates at once, with a backward pass written by hand.

A learned optimiser treats every parameter of the network that it trains as a batch row of its own: tens of
thousands of rows, twenty hidden units, four inputs. At that shape neither ``nn.LSTMCell`` nor a chain of
elementary operations is limited by arithmetic but by passes over memory, so here

* coordinates lie along the *last* axis, in tiles of :data:`TILE`: the four gates are contiguous blocks, and
  the matrix products work on aligned pieces that fit a core's cache;
* a step is one autograd node that keeps the activations and nothing else.

benchmarks/meta_lstm.py measures what that is worth. The step maps over tasks with ``torch.vmap`` and its
backward is made of differentiable operations.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TILE = 512
"""Coordinates in a tile; shorter vectors are padded to a multiple of 16 instead."""


class State(NamedTuple):
    """Hidden and cell state, (n_tiles, hidden, width) each."""

    hidden: Tensor
    cell: Tensor


def tile(vector: Tensor) -> Tensor:
    """Cut ``vector`` (..., P) into tiles (..., n_tiles, width), the last one padded with zeros."""
    size = vector.shape[-1]
    width = TILE if size > TILE else -(-size // 16) * 16
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
        hidden, cell, *_ = _Step.apply(x, *state, weight)  # type: ignore[no-untyped-call]
        return State(hidden, cell)


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
        d_weight = torch.bmm(d_sums, inputs.transpose(1, 2)).sum(0)
        d_previous = torch.bmm(per_tile(weight[:, -n:].t(), d_sums), d_sums)
        return None, d_previous, d_cell * gate_forget, d_weight


def _sigmoid_backward(gradient: Tensor, value: Tensor) -> Tensor:
    """Gradient * value * (1 - value) in one pass."""
    out: Tensor = torch.ops.aten.sigmoid_backward.default(gradient, value)
    return out


def _tanh_backward(gradient: Tensor, value: Tensor) -> Tensor:
    """Gradient * (1 - value^2) in one pass."""
    out: Tensor = torch.ops.aten.tanh_backward.default(gradient, value)
    return out
