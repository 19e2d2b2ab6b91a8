import math

import pytest
import torch
from torch import nn

from metaexp.core.optim import (
    Clip,
    ClipNorm,
    ClipNormPerModule,
    ClipValue,
    Constant,
    Cosine,
    Linear,
    NoClip,
    Step,
    total_norm,
)


@pytest.mark.parametrize(
    ("every", "step", "factor"),
    [(100_000, 99_999, 1.0), (100_000, 100_000, 0.5), (100_000, 200_000, 0.25), (2000, 1999, 1.0), (2000, 2000, 0.5)],
)
def test_step_schedule_changes_at_the_published_episode(every: int, step: int, factor: float) -> None:
    assert Step(every=every, gamma=0.5).factor(step, 10**6) == factor


def test_linear_and_cosine_end_where_they_say() -> None:
    assert Linear(final=0.0).factor(0, 10) == 1.0
    assert Linear(final=0.0).factor(5, 10) == pytest.approx(0.5)
    assert Linear(final=0.2).factor(10, 10) == pytest.approx(0.2)
    cosine = Cosine(final=0.01, every=1)
    assert cosine.factor(0, 100) == 1.0
    assert cosine.factor(50, 100) == pytest.approx(0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi / 2)))
    assert cosine.factor(100, 100) == pytest.approx(0.01)


def test_cosine_is_constant_within_a_period() -> None:
    cosine = Cosine(final=0.01, every=500)
    assert cosine.factor(499, 5000) == 1.0
    assert cosine.factor(500, 5000) < 1.0
    third = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi / 3))
    assert cosine.factor(500, 1001) == pytest.approx(third)  # the last period, of one step, counts as a whole one
    assert cosine.factor(500, 1000) != pytest.approx(third)
    assert Constant().factor(10**9, 1) == 1.0


class TwoParts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(1, 1, bias=False)
        self.right = nn.Linear(1, 1, bias=False)
        self.own = nn.Parameter(torch.zeros(1))

    def set_gradients(self, left: float, right: float, own: float) -> "TwoParts":
        self.left.weight.grad = torch.full((1, 1), left)
        self.right.weight.grad = torch.full((1, 1), right)
        self.own.grad = torch.full((1,), own)
        return self

    def gradients(self) -> list[float]:
        return [self.left.weight.grad.item(), self.right.weight.grad.item(), self.own.grad.item()]


@pytest.mark.parametrize(
    ("clip", "after"),
    [
        (NoClip(), [3.0, 0.4, -12.0]),
        (ClipValue(threshold=10.0), [3.0, 0.4, -10.0]),
        (ClipNorm(threshold=1.0), [3 / 12.3757, 0.4 / 12.3757, -12 / 12.3757]),
        (ClipNormPerModule(threshold=0.5), [0.5, 0.4, -0.5]),
    ],
)
def test_each_clipper_does_what_its_name_says(clip: Clip, after: list[float]) -> None:
    parts = TwoParts().set_gradients(3.0, 0.4, -12.0)
    clip.apply(parts)
    assert parts.gradients() == pytest.approx(after, rel=1e-4)


def test_clipping_passes_over_parameters_without_a_gradient() -> None:
    parts = TwoParts()
    parts.left.weight.grad = torch.full((1, 1), 3.0)
    ClipNormPerModule(threshold=0.5).apply(parts)
    assert parts.left.weight.grad.item() == pytest.approx(0.5, rel=1e-4)
    assert parts.right.weight.grad is None


@pytest.mark.parametrize(
    "dtypes", [(torch.float32,), (torch.float64,), (torch.float32, torch.float64), (torch.bfloat16,)]
)
def test_the_total_norm_is_that_of_torch_to_the_last_digit(dtypes: tuple[torch.dtype, ...]) -> None:
    generator = torch.Generator().manual_seed(1)
    shapes = [(40, 1), (40,), (1000, 77), (), (64, 3, 3, 3), (0,), (5,)]
    tensors = [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtypes[i % len(dtypes)])
        for i, shape in enumerate(shapes)
    ]
    tensors.append(tensors[2].t()[3:50])  # with gaps in memory
    own, expected = total_norm(tensors), nn.utils.get_total_norm(tensors)
    assert own.dtype == expected.dtype
    assert own.item() == expected.item()
    assert total_norm(tensors[3:]).item() != expected.item()


def test_the_total_norm_of_nothing_is_zero() -> None:
    assert total_norm([]).item() == 0.0
