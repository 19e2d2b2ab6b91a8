"""The tiny tasks and the tiny network with which algorithms are examined.

Support and query are shuffled separately, so that positions say nothing about classes. An axis of seven
entries stands for the classes, since no other axis has that size.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.models.base import Network
from metaexp.models.batch_norm import BatchNorm

Kind = Literal["classification", "regression"]
Features = Literal["maps", "vectors"]

IMAGE = (1, 8, 8)
N_WAY = 7
N_TARGETS = 2
"""D_out, the outputs of a regression task."""
TRAIN_CLASSES = 11
"""Classes of supervised training, which has fixed labels."""
SHAPES: dict[Kind, TaskShape] = {
    "classification": TaskShape(n_way=N_WAY, k_shot=2, n_query=2),
    "regression": TaskShape(n_way=0, k_shot=14, n_query=14),
}
_NOISE = 0.5
_LIGHT = 1.0
"""How much the brightness of whole images varies, which an embedding has to learn to ignore."""


class TinyConv(Network):
    """One convolution, batch norm if wanted, and a smooth nonlinearity. Features are maps (B, 3, 4, 4) or (B, 48)."""

    def __init__(self, n_outputs: int | None, use_batch_norm: bool, features: Features) -> None:
        super().__init__()
        self.gives_maps = features == "maps"
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.norm = BatchNorm(3) if use_batch_norm else nn.Identity()
        self.head = nn.Identity() if n_outputs is None else nn.Sequential(nn.Flatten(), nn.Linear(48, n_outputs))

    def features(self, x: Tensor) -> Tensor:
        """Return maps (B, 3, 4, 4), or these flattened (B, 48), of images ``x`` (B, 1, 8, 8)."""
        maps = F.avg_pool2d(self.norm(self.conv(x)).tanh(), 2)
        return maps if self.gives_maps else maps.flatten(1)


def task(shape: TaskShape, seed: int) -> Episode:
    """Return the task of a shape and a seed, in float64.

    Args:
        shape: Ways, shots and queries; 0 ways make a regression task.
        seed: Another seed gives another task.
    """
    generator = torch.Generator().manual_seed(seed)
    if shape.n_way == 0:
        rule = torch.randn(2, N_TARGETS, generator=generator, dtype=torch.float64)
        return Episode(draw_points(generator, rule, shape.k_shot), draw_points(generator, rule, shape.n_query))
    centres = torch.randn(shape.n_way, *IMAGE, generator=generator, dtype=torch.float64)
    return Episode(draw_images(generator, centres, shape.k_shot), draw_images(generator, centres, shape.n_query))


def supervised_task(seed: int) -> Episode:
    """Return a batch with the fixed labels of all training classes, as support and as query."""
    centres = torch.randn(TRAIN_CLASSES, *IMAGE, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    batch = draw_images(torch.Generator().manual_seed(seed), centres, 3)
    return Episode(batch, batch)


def draw_images(generator: torch.Generator, centres: Tensor, per_class: int) -> Examples:
    """Return shuffled noisy images, dark and bright, of classes with the given centres (N, 1, 8, 8).

    Args:
        generator: Draws the noise.
        centres: The mean image of each class.
        per_class: How many images of each class.
    """
    y = torch.randperm(len(centres) * per_class, generator=generator) % len(centres)
    noise = torch.randn(len(y), *IMAGE, generator=generator, dtype=torch.float64)
    light = torch.randn(len(y), 1, 1, 1, generator=generator, dtype=torch.float64)
    return Examples(centres[y] + _NOISE * noise + _LIGHT * light, y, len(centres))


def draw_points(generator: torch.Generator, rule: Tensor, number: int) -> Examples:
    """Return noisy images of a pattern in different strengths s, with targets rule[0] + s * rule[1].

    Args:
        generator: Draws strengths and noise.
        rule: (2, D_out).
        number: How many images.
    """
    pattern = torch.randn(*IMAGE, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    strength = torch.rand(number, 1, generator=generator, dtype=torch.float64) * 3 - 1.5
    noise = torch.randn(number, *IMAGE, generator=generator, dtype=torch.float64)
    return Examples(strength[:, :, None, None] * pattern + 0.2 * noise, rule[0] + strength * rule[1])


def stack(tasks: list[Episode]) -> Episode:
    """Stack tasks of one shape along a leading T."""
    stacked = [
        Examples(torch.stack([e.x for e in parts]), torch.stack([e.y for e in parts]), parts[0].n_way)
        for parts in zip(*tasks, strict=True)
    ]
    return Episode(*stacked)


def reordered(examples: Examples, order: Tensor) -> Examples:
    """Return the same examples in another order (S,).

    Args:
        examples: Examples of one set, S of them.
        order: Their new order (S,), int64.
    """
    return Examples(examples.x[order], examples.y[order], examples.n_way)


def shuffled(examples: Examples, seed: int) -> Examples:
    """Return the same examples in the random order of a seed.

    Args:
        examples: Examples of one set.
        seed: Another seed gives another order.
    """
    return reordered(examples, torch.randperm(len(examples.x), generator=torch.Generator().manual_seed(seed)))


def mislabelled(examples: Examples) -> Examples:
    """Return the same examples, each with the label or target of another."""
    return Examples(examples.x, examples.y.roll(1, 0), examples.n_way)
