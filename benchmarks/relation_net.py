"""One training episode of Relation Network: metaexp against the plain way to write it in torch.

The plain way is that of the published code: torch's batch norm, and every class map repeated for every query,
concatenated with it, and convolved. Both have the same weights and give the same loss and gradients, which is checked
before anything is timed. Forward, backward, clipping and Adam's update are in the time; making the episode is not.
`python benchmarks/relation_net.py [--setting omniglot_5way_1shot] [--rounds 15] [--device cpu] [--output FILE]`
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from agreement import require_equal
from timing import compare, print_table, save
from torch import Tensor, nn

from metaexp.algorithms.relation_net import RelationNet
from metaexp.core.optim import ClipNormPerModule
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.machine.device import raise_malloc_thresholds
from metaexp.models.relation_embedding import RelationEmbedding

SETTINGS: dict[str, tuple[tuple[int, int, int], int, TaskShape]] = {
    "omniglot_5way_1shot": ((1, 28, 28), 1, TaskShape(5, 1, 19)),
    "omniglot_20way_1shot": ((1, 28, 28), 1, TaskShape(20, 1, 10)),
    "mini_imagenet_5way_1shot": ((3, 84, 84), 0, TaskShape(5, 1, 15)),
}
"""Published settings: shape of an image, padding of the relation module, shape of a training task."""


def main(arguments: list[str] | None = None) -> int:
    """Run and print; exit code 0."""
    parser = argparse.ArgumentParser(prog="python benchmarks/relation_net.py", description=__doc__)
    parser.add_argument("--setting", choices=list(SETTINGS), default="omniglot_5way_1shot")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, help="write the result as JSON")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    raise_malloc_thresholds()
    input_shape, padding, shape = SETTINGS[options.setting]
    algorithm = relation_net(input_shape, padding).to(device)
    plain = Plain(input_shape, padding).to(device)
    plain.copy_weights(algorithm)
    episode = task(input_shape, shape, device)
    check_equal(algorithm, plain, episode)
    candidates: dict[str, Callable[[], object]] = {
        "metaexp": update(algorithm, lambda: algorithm(episode)),
        "plain torch": update(plain, lambda: plain.loss(episode)),
    }
    results = compare(candidates, "plain torch", options.rounds)
    size = f"{shape.n_support + shape.n_queries} images, {shape.n_queries * shape.n_way} pairs"
    print_table(f"Relation Network, one training episode of {options.setting}: {size}", results, "plain torch")
    if options.output:
        save(
            options.output,
            "relation_net",
            results,
            rounds=options.rounds,
            baseline="plain torch",
            device=str(device),
            setting=options.setting,
        )
    return 0


def relation_net(input_shape: tuple[int, int, int], padding: int) -> RelationNet:
    """The published network under this package's algorithm."""
    torch.manual_seed(0)
    model = RelationEmbedding(input_shape, None, channels=64, norm_momentum=1.0)
    return RelationNet(
        model,
        input_shape,
        relation_channels=64,
        relation_hidden=8,
        relation_padding=padding,
        norm_momentum=1.0,
        class_map="sum",
        target_weights="softmax",
        batch_norm="transductive",
    )


class Plain(nn.Module):
    """The published network in torch's own layers."""

    def __init__(self, input_shape: tuple[int, int, int], padding: int) -> None:
        super().__init__()
        maps = input_shape[0]
        self.embedding = nn.Sequential(
            *(*block(maps, 64, 0), nn.MaxPool2d(2), *block(64, 64, 0), nn.MaxPool2d(2)),
            *(*block(64, 64, 1), *block(64, 64, 1)),
        )
        n_features = 64 if padding == 1 else 576
        self.relation = nn.Sequential(
            *(*block(128, 64, padding), nn.MaxPool2d(2), *block(64, 64, padding), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(n_features, 8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid()),
        )

    def forward(self, support: Examples, x: Tensor) -> Tensor:
        """Scores (M, N) of ``x`` (M, C, H, W)."""
        members = F.one_hot(support.y, support.n_way).to(x.dtype)  # (S, N)
        classes = torch.einsum("sn,schw->nchw", members, self.embedding(support.x))
        queries = self.embedding(x)
        left = classes.unsqueeze(0).expand(len(x), -1, -1, -1, -1)
        right = queries.unsqueeze(1).expand(-1, support.n_way, -1, -1, -1)
        scores: Tensor = self.relation(torch.cat([left, right], 2).flatten(0, 1))  # (M * N, 1)
        return scores.view(len(x), support.n_way)

    def loss(self, episode: Episode) -> Tensor:
        """The published loss ()."""
        y = F.one_hot(episode.query.y, episode.support.n_way).to(episode.query.x.dtype)
        return F.mse_loss(self(episode.support, episode.query.x), y)

    def copy_weights(self, algorithm: RelationNet) -> None:
        """Take the weights of ``algorithm``, whose layers come in the same order."""
        with torch.no_grad():
            for mine, theirs in zip(self.parameters(), algorithm.parameters(), strict=True):
                mine.copy_(theirs)


def block(n_in: int, n_out: int, padding: int) -> tuple[nn.Module, ...]:
    """Convolution, batch norm, ReLU."""
    return nn.Conv2d(n_in, n_out, 3, padding=padding), nn.BatchNorm2d(n_out, momentum=1.0), nn.ReLU()


def task(input_shape: tuple[int, int, int], shape: TaskShape, device: torch.device) -> Episode:
    """Random images; the arithmetic does not depend on what they show."""
    generator = torch.Generator().manual_seed(0)

    def draw(per_class: int) -> Examples:
        y = torch.arange(shape.n_way).repeat(per_class)
        y = y[torch.randperm(len(y), generator=generator)]
        x = torch.rand(len(y), *input_shape, generator=generator)
        return Examples(x.to(device), y.to(device), shape.n_way)

    return Episode(draw(shape.k_shot), draw(shape.n_query))


def check_equal(algorithm: RelationNet, plain: Plain, episode: Episode) -> None:
    """Stop unless both give the same loss and gradients for the same weights, in float64.

    Raises:
        SystemExit: The losses differ, or the gradients of a parameter, by more than rounding.
    """
    ours, theirs = copy.deepcopy(algorithm).double(), copy.deepcopy(plain).double()
    exact = Episode(*(Examples(side.x.double(), side.y, side.n_way) for side in episode))
    losses = ours(exact), theirs.loss(exact)
    names = [name for name, _ in theirs.named_parameters()]
    found, expected = (
        dict(zip(names, torch.autograd.grad(loss, list(module.parameters())), strict=True))
        for loss, module in zip(losses, (ours, theirs), strict=True)
    )
    require_equal("Relation Network", (losses[0], found), (losses[1], expected), 1e-5)


def update(module: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], object]:
    """A step of training as published."""
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    clip = ClipNormPerModule(0.5)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        clip.apply(module)
        optimizer.step()

    return step


if __name__ == "__main__":
    raise SystemExit(main())
