"""A recurrent learner: an LSTM that reads a sequence, or an image row by row, and then answers."""

from __future__ import annotations

import itertools
import math
from typing import Literal

import torch
from torch import Tensor, nn

from metaexp.core.errors import ConfigError
from metaexp.core.fields import PositiveInt
from metaexp.models.base import Network


class LSTM(Network):
    """Layers of LSTM cells over a sequence, a reading of the top layer's hidden states, and a linear head.

    Hochreiter & Schmidhuber (1997) with forget gates (Gers et al., 2000). Sequences (L, D) are read as they are.
    An image (C, H, W) is read row by row from the top, as a sequence of H rows of C * W pixels (Le et al., 2015).
    It is written in elementary operations, so it can be a learner of MAML. ``nn.LSTM`` cannot: it does not map over
    tasks with weights of their own, and has no second derivatives on some devices.

    Args:
        input_shape: (L, D) or (C, H, W) of one example.
        n_outputs: outputs of the head; None for no head.
        hidden: units of every layer.
        layers: number of layers.
        reading: what the head sees: the ``last`` hidden state, or the ``mean`` over time.
        forget_bias: initial bias of the forget gates (Jozefowicz et al. 2015 advise 1). Other biases start at zero,
            weights in U(-1/sqrt(hidden), 1/sqrt(hidden)) as torch's.

    Raises:
        ConfigError: Examples are neither sequences nor images.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        n_outputs: int | None,
        hidden: PositiveInt,
        layers: PositiveInt,
        reading: Literal["last", "mean"],
        forget_bias: float,
    ) -> None:
        super().__init__()
        self.reads_last = reading == "last"
        widths = [_step_size(input_shape)] + [hidden] * layers
        self.layers = nn.ModuleList(LSTMLayer(a, b, forget_bias) for a, b in itertools.pairwise(widths))
        self.n_features = hidden
        self.head = nn.Identity() if n_outputs is None else nn.Linear(hidden, n_outputs)

    def features(self, x: Tensor) -> Tensor:
        """Features (B, hidden) of sequences ``x`` (B, L, D) or images ``x`` (B, C, H, W)."""
        if x.dim() == 4:
            x = x.transpose(1, 2).flatten(2)  # (B, H, C * W)
        x = x.transpose(0, 1)  # (L, B, D)
        states = x.unbind(0)
        for layer in self.layers:
            states = layer(x)
            if layer is not self.layers[-1]:
                x = torch.stack(states)  # (L, B, hidden)
        return states[-1] if self.reads_last else torch.stack(states).mean(0)


class LSTMLayer(nn.Module):
    """One layer of LSTM cells.

    The rows of the weights are in the order input, forget, output gate, candidate.

    Args:
        n_inputs: width of the input.
        hidden: units of the layer.
        forget_bias: initial bias of the forget gate.

    Attributes:
        weight_input: (4 * hidden, n_inputs).
        weight_hidden: (4 * hidden, hidden).
        bias: (4 * hidden,).
    """

    def __init__(self, n_inputs: int, hidden: int, forget_bias: float) -> None:
        super().__init__()
        self.hidden = hidden
        bound = 1 / math.sqrt(hidden)
        self.weight_input = nn.Parameter(torch.empty(4 * hidden, n_inputs).uniform_(-bound, bound))
        self.weight_hidden = nn.Parameter(torch.empty(4 * hidden, hidden).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(4 * hidden))
        nn.init.constant_(self.bias[hidden : 2 * hidden], forget_bias)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The hidden states, L times (B, hidden), for a sequence ``x`` (L, B, n_inputs), starting from zero."""
        from_input = nn.functional.linear(x, self.weight_input, self.bias).unbind(0)  # every step in one product
        recurrent = self.weight_hidden.t()
        cell: Tensor | None = None
        states: list[Tensor] = []
        for sums in from_input:
            before = torch.addmm(sums, states[-1], recurrent) if states else sums  # (B, 4 * hidden)
            gates, candidate = torch.split(before, [3 * self.hidden, self.hidden], 1)
            gate_in, gate_forget, gate_out = gates.sigmoid().chunk(3, 1)
            new = gate_in * candidate.tanh()
            cell = new if cell is None else gate_forget * cell + new
            states.append(gate_out * cell.tanh())
        return tuple(states)


def _step_size(input_shape: tuple[int, ...]) -> int:
    """Numbers read per step, or a ConfigError when the examples have no order to read them in."""
    if len(input_shape) == 3:
        channels, _, width = input_shape
        return channels * width
    if len(input_shape) == 2:
        return input_shape[1]
    raise ConfigError(
        f"LSTM reads sequences (length, size) or images (channels, height, width), but the dataset gives "
        f"examples of shape {tuple(input_shape)}. Choose another model, such as model=mlp, or a dataset of sequences."
    )
