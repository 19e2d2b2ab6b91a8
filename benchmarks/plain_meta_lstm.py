"""Meta-LSTM for 5-way 1-shot Omniglot, and the plain way to write it in torch.

The plain way is that of published ports: torch's own LSTM cell over rows of coordinates, two linear layers for the
gates, a learner whose parameters are overwritten before each of its backward passes, torch's batch norm, and a loop
over tasks.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from metaexp.algorithms.meta_lstm import MetaLSTM
from metaexp.core.types import Episode, Examples, n_tasks, one_task
from metaexp.models.conv4 import Conv4

IMAGE, N_WAY, HIDDEN, UPDATES = (1, 28, 28), 5, 20, 12
GATES = [0, 1, 3, 2]
"""The order of torch's gates in ours."""
LEAST_GRADIENT = 1e-7
"""In parts of the whole gradient. The smallest that is more than rounding is that of the LSTM's recurrent weights, some
3e-6. Those of biases before batch norm are nothing but rounding, some 1e-15."""


def meta_lstm() -> MetaLSTM:
    """The published meta-learner and learner."""
    model = Conv4(IMAGE, N_WAY, 32, True, "uniform", 1e-3, 0.9, "default")
    return MetaLSTM(
        model,
        inner_epochs=UPDATES,
        inner_epochs_test=UPDATES,
        inner_batch_size=None,
        hidden=HIDDEN,
        preprocess_p=10.0,
        recurrent_gate="pre_sigmoid",
        divide_gradient_by_batch=True,
        init_range=0.01,
        forget_bias=[4.0, 5.0],
        input_bias=[-5.0, -4.0],
    )


class Plain(nn.Module):
    """The same in torch's own layers, coordinates as rows (P, ...)."""

    def __init__(self, algorithm: MetaLSTM) -> None:
        """Take the weights of ``algorithm``, whose gates stand in another order."""
        super().__init__()
        self.learner = nn.Sequential(
            *(layer for i in range(4) for layer in block(1 if i == 0 else 32, 32)),
            *(nn.Flatten(), nn.Linear(32, N_WAY)),
        )
        for p in self.learner.parameters():
            p.requires_grad_(False)
        self.start = nn.Parameter(torch.empty(sum(p.numel() for p in self.learner.parameters())))
        self.lstm = nn.LSTMCell(4, HIDDEN)
        self.forget_gate = nn.Linear(HIDDEN + 2, 1)
        self.input_gate = nn.Linear(HIDDEN + 2, 1)
        with torch.no_grad():
            self.start.copy_(torch.cat([p.flatten() for p in algorithm.model.parameters()]))
            weight = algorithm.lstm.weight.unflatten(0, (4, -1))[GATES].flatten(0, 1)
            self.lstm.weight_ih.copy_(weight[:, :4])
            self.lstm.weight_hh.copy_(weight[:, 4:])
            self.lstm.bias_ih.copy_(algorithm.lstm.bias.unflatten(0, (4, -1))[GATES].flatten())
            self.lstm.bias_hh.zero_()
            for row, gate in enumerate([self.forget_gate, self.input_gate]):
                gate.weight.copy_(algorithm.gate_weight[row : row + 1])
                gate.bias.copy_(algorithm.gate_bias[row : row + 1])

    def mean_loss(self, episodes: Episode) -> Tensor:
        """The meta-loss () over a batch of tasks."""
        losses = [self.loss(one_task(episodes, i)) for i in range(n_tasks(episodes))]
        return torch.stack(losses).mean()

    def loss(self, episode: Episode) -> Tensor:
        """The query loss () after adaptation."""
        for layer in self.learner:
            if isinstance(layer, nn.BatchNorm2d):
                layer.reset_running_stats()
        cell = self.start[:, None]  # (P, 1)
        forget = put_in = torch.zeros_like(cell)
        state: tuple[Tensor, Tensor] | None = None
        for _ in range(UPDATES):
            gradient, loss = self.learn(cell.detach()[:, 0], episode.support)
            inputs = torch.cat([preprocess(loss.expand_as(gradient)), preprocess(gradient)], 1)  # (P, 4)
            state = self.lstm(inputs, state)
            forget = self.forget_gate(torch.cat([state[0], cell, forget], 1))
            put_in = self.input_gate(torch.cat([state[0], cell, put_in], 1))
            cell = forget.sigmoid() * cell - put_in.sigmoid() * gradient[:, None]
        scores = functional_call(self.learner, self.by_name(cell[:, 0]), (episode.query.x,))
        return F.cross_entropy(scores, episode.query.y)

    def learn(self, flat: Tensor, support: Examples) -> tuple[Tensor, Tensor]:
        """Gradient (P,) and loss () of the learner at parameters ``flat`` (P,)."""
        params = {name: p.clone().requires_grad_() for name, p in self.by_name(flat).items()}
        loss = F.cross_entropy(functional_call(self.learner, params, (support.x,)), support.y)
        gradients = torch.autograd.grad(loss, list(params.values()))
        return torch.cat([g.flatten() for g in gradients]) / len(support.y), loss.detach()

    def by_name(self, flat: Tensor) -> dict[str, Tensor]:
        """The learner's parameters out of ``flat`` (P,)."""
        own = dict(self.learner.named_parameters())
        pieces = flat.split([p.numel() for p in own.values()])
        return {name: piece.view_as(p) for (name, p), piece in zip(own.items(), pieces, strict=True)}


def block(n_in: int, n_out: int) -> tuple[nn.Module, ...]:
    """Convolution, batch norm, ReLU, max-pool."""
    norm = nn.BatchNorm2d(n_out, eps=1e-3, momentum=0.9)
    return nn.Conv2d(n_in, n_out, 3, padding=1), norm, nn.ReLU(), nn.MaxPool2d(2)


def preprocess(x: Tensor, p: float = 10.0) -> Tensor:
    """Magnitude and direction (P, 2) of ``x`` (P,)."""
    large = (x.abs() > math.exp(-p)).to(x.dtype)
    magnitude = large * x.abs().clamp(min=1e-8).log() / p - (1 - large)
    direction = large * x.sign() + (1 - large) * math.exp(p) * x
    return torch.stack([magnitude, direction], 1)


def gradients_by_gate(algorithm: MetaLSTM, gradients: list[Tensor]) -> list[Tensor]:
    """The gradients by the parameters of ``algorithm`` in the order and form of :class:`Plain`."""
    names = [name for name, p in algorithm.named_parameters() if p.requires_grad]
    by_name = dict(zip(names, gradients, strict=True))
    start = torch.cat([g.flatten() for name, g in by_name.items() if name.startswith("model.")])
    weight = by_name["lstm.weight"].unflatten(0, (4, -1))[GATES].flatten(0, 1)
    bias = by_name["lstm.bias"].unflatten(0, (4, -1))[GATES].flatten()
    found = [start, weight[:, :4], weight[:, 4:], bias, bias]
    for row in range(2):  # forget and input gate
        found += [by_name["gate_weight"][row : row + 1], by_name["gate_bias"][row : row + 1]]
    return found
