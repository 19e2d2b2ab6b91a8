"""One training episode of Meta-LSTM: metaexp against the plain way to write it in torch.

The plain way is that of published ports: torch's own LSTM cell over rows of coordinates, two linear layers for the
gates, a learner whose parameters are overwritten before each of its backward passes, torch's batch norm, and a loop
over tasks. Both start from the same weights, and give the same loss and meta-gradient, which is checked before
anything is timed. Forward, backward, clipping and Adam's update are in the time; making the episode is not.
`python benchmarks/meta_lstm.py [--setting omniglot_5way_1shot] [--tasks 1] [--rounds 15] [--device cpu]
[--output FILE]`
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from agreement import require_equal
from timing import compare, print_table, save
from torch import Tensor, nn
from torch.func import functional_call

from metaexp.algorithms.meta_lstm import MetaLSTM
from metaexp.core.optim import ClipNorm
from metaexp.core.over_tasks import over_tasks
from metaexp.core.types import Episode, Examples, n_tasks, one_task
from metaexp.machine.device import raise_malloc_thresholds
from metaexp.models.conv4 import Conv4

N_WAY, N_QUERY, HIDDEN = 5, 15, 20
GATES = [0, 1, 3, 2]
"""The order of torch's gates in ours."""
LEAST_GRADIENT = 1e-7
"""In parts of the whole gradient. The smallest that is more than rounding is that of the LSTM's recurrent weights, some
3e-6. Those of biases before batch norm are nothing but rounding, some 1e-15."""


class Setting(NamedTuple):
    """Shape of an image, shots, and updates of the learner."""

    image: tuple[int, int, int]
    k_shot: int
    updates: int


SETTINGS = {
    "omniglot_5way_1shot": Setting((1, 28, 28), 1, 12),
    "omniglot_5way_5shot": Setting((1, 28, 28), 5, 8),
    "mini_imagenet_5way_1shot": Setting((3, 84, 84), 1, 12),
    "mini_imagenet_5way_5shot": Setting((3, 84, 84), 5, 8),
}


def main(arguments: list[str] | None = None) -> int:
    """Run and print; exit code 0."""
    parser = argparse.ArgumentParser(prog="python benchmarks/meta_lstm.py", description=__doc__)
    parser.add_argument("--setting", choices=list(SETTINGS), default="omniglot_5way_1shot")
    parser.add_argument("--tasks", type=int, default=1, help="tasks of a step; 1 as published")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, help="write the result as JSON")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    raise_malloc_thresholds()
    setting = SETTINGS[options.setting]
    algorithm = meta_lstm(setting).to(device)
    plain = Plain(setting).to(device)
    plain.copy_weights(algorithm)
    episodes = tasks(setting, options.tasks, device)
    check_equal(algorithm, plain, episodes)
    candidates: dict[str, Callable[[], object]] = {
        "metaexp": update(algorithm, lambda: over_tasks(algorithm, episodes).mean()),
        "plain torch": update(plain, lambda: plain.mean_loss(episodes)),
    }
    results = compare(candidates, "plain torch", options.rounds)
    title = f"Meta-LSTM, one step of {options.setting}: {options.tasks} task(s), {setting.updates} learner updates"
    print_table(title, results, "plain torch")
    if options.output:
        about = {"setting": options.setting, "tasks": options.tasks, "rounds": options.rounds, "device": str(device)}
        save(options.output, "meta_lstm", results, baseline="plain torch", **about)
    return 0


def meta_lstm(setting: Setting) -> MetaLSTM:
    """The published meta-learner and learner."""
    torch.manual_seed(0)
    model = Conv4(setting.image, N_WAY, 32, True, "uniform", 1e-3, 0.9, "default")
    return MetaLSTM(
        model,
        inner_epochs=setting.updates,
        inner_epochs_test=setting.updates,
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

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.updates = setting.updates
        channels, height, width = setting.image
        self.learner = nn.Sequential(
            *(layer for i in range(4) for layer in block(channels if i == 0 else 32, 32)),
            *(nn.Flatten(), nn.Linear(32 * (height // 16) * (width // 16), N_WAY)),
        )
        for p in self.learner.parameters():
            p.requires_grad_(False)
        self.start = nn.Parameter(torch.empty(sum(p.numel() for p in self.learner.parameters())))
        self.lstm = nn.LSTMCell(4, HIDDEN)
        self.forget_gate = nn.Linear(HIDDEN + 2, 1)
        self.input_gate = nn.Linear(HIDDEN + 2, 1)

    def copy_weights(self, algorithm: MetaLSTM) -> None:
        """Take the weights of ``algorithm``, whose gates stand in another order."""
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
        for _ in range(self.updates):
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


def tasks(setting: Setting, count: int, device: torch.device) -> Episode:
    """Random images; the arithmetic does not depend on what they show."""
    generator = torch.Generator().manual_seed(0)

    def draw(per_class: int) -> Examples:
        y = torch.stack([torch.randperm(N_WAY * per_class, generator=generator) % N_WAY for _ in range(count)])
        x = torch.rand(count, N_WAY * per_class, *setting.image, generator=generator)
        return Examples(x.to(device), y.to(device), N_WAY)

    return Episode(draw(setting.k_shot), draw(N_QUERY))


def check_equal(algorithm: MetaLSTM, plain: Plain, episodes: Episode) -> None:
    """Stop unless both give the same meta-loss and meta-gradients for the same weights, in float64.

    Raises:
        SystemExit: The meta-losses differ, or the meta-gradients of a parameter, by more than rounding.
    """
    ours, theirs = copy.deepcopy(algorithm).double(), copy.deepcopy(plain).double()
    exact = Episode(*(Examples(side.x.double(), side.y, side.n_way) for side in episodes))
    our_loss, their_loss = over_tasks(ours, exact).mean(), theirs.mean_loss(exact)
    found = gradients_by_gate(ours, list(torch.autograd.grad(our_loss, list(ours.parameters()))))
    trained = {name: p for name, p in theirs.named_parameters() if p.requires_grad}
    expected = torch.autograd.grad(their_loss, list(trained.values()))
    by_name, expected_by_name = (dict(zip(trained, side, strict=True)) for side in (found, expected))
    require_equal("Meta-LSTM", (our_loss, by_name), (their_loss, expected_by_name), LEAST_GRADIENT)


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


def update(module: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], object]:
    """A step of training as published."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    clip = ClipNorm(0.25)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        clip.apply(module)
        optimizer.step()

    return step


if __name__ == "__main__":
    raise SystemExit(main())
