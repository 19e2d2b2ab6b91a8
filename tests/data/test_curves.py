"""Curves to be continued from their beginning."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor

from metaexp.core.errors import ConfigError
from metaexp.core.shapes import SPLITS, TaskShape
from metaexp.core.types import map_tensors
from metaexp.data.curves import Curves
from metaexp.data.regression.function_families import CurveFamily, Signals
from metaexp.data.regression.tasks import FunctionTasks

Kind = Literal["sinusoid", "damped", "mixed"]
SHAPE = TaskShape(0, 10, 20)
ALL: tuple[Kind, ...] = ("sinusoid", "damped", "mixed")


def family(kinds: tuple[Kind, ...] = ALL, noise: float = 0.1, length: int = 10, horizon: int = 10) -> CurveFamily:
    dataset = Curves(list(kinds), length, horizon, 60.0, [0.5, 2.0], [10.0, 40.0], noise)
    loaded = dataset.load(Path("nowhere"), lambda line: None)
    assert isinstance(loaded, CurveFamily)
    return loaded


def tasks(kinds: tuple[Kind, ...] = ALL, noise: float = 0.1, shape: TaskShape = SHAPE) -> FunctionTasks:
    return family(kinds, noise).tasks(shape, 0)


def fitted(x: Tensor, y: Tensor) -> Tensor:
    """Ridge regression of ``y`` (..., S, H) on ``x`` (..., S, L): weights (..., L, H)."""
    weights: Tensor = torch.linalg.solve(x.mT @ x + torch.eye(x.shape[-1], dtype=x.dtype), x.mT @ y)
    return weights


def test_support_of_the_same_task_helps_and_that_of_another_does_not() -> None:
    """What makes it a meta-learning problem: one predictor for all tasks does not work either."""
    episodes = tasks().episodes("train", torch.arange(400))
    x, y = episodes.support.x[..., 0].double(), episodes.support.y.double()
    query_x, query_y = episodes.query.x[..., 0].double(), episodes.query.y.double()
    own, pooled = fitted(x, y), fitted(x.flatten(0, 1), y.flatten(0, 1))
    error = {
        "own": (query_x @ own - query_y).square().mean(),
        "other": (query_x @ own.roll(1, 0) - query_y).square().mean(),
        "pooled": (query_x @ pooled - query_y).square().mean(),
        "zero": query_y.square().mean(),
    }
    assert 0.01 < error["own"] < 0.06  # the noise alone makes 0.01
    assert error["other"] > 10 * error["own"]
    assert error["pooled"] > 5 * error["own"]
    assert error["zero"] > 10 * error["own"]


def test_an_example_is_a_window_of_the_tasks_signal() -> None:
    """Without noise and of known frequency, a sinusoid fitted to the beginning continues as the rest."""
    source = tasks(("sinusoid",), noise=0.0)
    indices = torch.arange(50)
    episodes = source.episodes("test", indices)
    signals = source.parameters("test", indices)
    angle = signals.frequency.double()[:, None] * torch.arange(20, dtype=torch.float64)
    basis = torch.stack([angle.sin(), angle.cos()], dim=-1)  # (T, 20, 2)
    window = torch.cat([episodes.query.x[..., 0], episodes.query.y], dim=-1).double().mT  # (T, 20, M)
    coefficients = torch.linalg.lstsq(basis[:, :10], window[:, :10]).solution
    assert float((basis @ coefficients - window).abs().max()) < 1e-3
    assert float((basis.roll(1, 0) @ coefficients - window).abs().max()) > 0.5
    assert torch.allclose(coefficients.norm(dim=1), signals.amplitude.double()[:, None], atol=1e-3)


def test_the_signal_is_what_its_parameters_say() -> None:
    source = tasks(noise=0.0)
    indices = torch.arange(60)
    times = torch.linspace(0.0, 79.0, 200)
    p = Signals(*(entry.double()[:, None] for entry in source.parameters("train", indices)))
    t = times.double()
    waves = (
        p.weight * (p.frequency * t + p.phase).sin() + (1 - p.weight) * (p.second_frequency * t + p.second_phase).sin()
    )
    expected = p.amplitude * waves * (-p.damping * t).exp()
    assert float((source.curve("train", indices, times).double() - expected).abs().max()) < 5e-5
    assert float((source.curve("val", indices, times).double() - expected).abs().max()) > 0.5


def test_families_are_equally_frequent_and_differ_as_their_names_say() -> None:
    signals = tasks().parameters("train", torch.arange(6000))
    assert torch.bincount(signals.kind).tolist() == pytest.approx([2000, 2000, 2000], abs=150)
    sinusoid, damped, mixed = (signals.kind == kind for kind in range(3))
    assert (signals.damping[damped] > 0).all()
    assert (signals.damping[~damped] == 0).all()
    assert ((signals.weight[mixed] >= 0.3) & (signals.weight[mixed] <= 0.7)).all()
    assert (signals.weight[~mixed] == 1).all()
    ratio = signals.second_frequency / signals.frequency
    assert 1.499 < float(ratio.min()) < 1.51
    assert 2.99 < float(ratio.max()) < 3.001
    assert int(sinusoid.sum()) > 0


def test_ranges_are_those_given() -> None:
    signals = tasks().parameters("train", torch.arange(20_000))
    period = 2 * math.pi / signals.frequency
    assert 10.0 <= float(period.min()) < 10.1
    assert 39.0 < float(period.max()) <= 40.001
    assert 0.5 <= float(signals.amplitude.min()) < 0.51
    assert 1.99 < float(signals.amplitude.max()) <= 2.0
    assert 0.5 / 79 <= float(signals.damping[signals.damping > 0].min()) < 0.51 / 79
    assert 2.49 / 79 < float(signals.damping.max()) <= 2.5001 / 79


def test_a_single_family_can_be_chosen() -> None:
    mixed = tasks(("mixed",)).parameters("train", torch.arange(100))
    assert (mixed.weight < 1).all()
    assert (mixed.damping == 0).all()


def test_noise_is_on_every_value_and_as_large_as_configured() -> None:
    indices = torch.arange(500)
    clean, noisy = (tasks(noise=n).episodes("train", indices) for n in (0.0, 0.3))
    for before, after in ((clean.query.x, noisy.query.x), (clean.query.y, noisy.query.y)):
        difference = (after - before).double()
        assert float(difference.std()) == pytest.approx(0.3, rel=0.02)
        assert abs(float(difference.mean())) < 0.005
    seen = (noisy.query.x[..., 0] - clean.query.x[..., 0]).flatten(0, 1)  # (T * M, L)
    assert float((torch.corrcoef(seen.T) - torch.eye(10)).abs().max()) < 0.05


def test_shapes_are_sequences_in_and_the_horizon_out() -> None:
    loaded = family(length=7, horizon=4)
    episodes = loaded.tasks(TaskShape(0, 5, 6), 0).episodes("val", torch.arange(3))
    assert (loaded.kind, loaded.input_shape, loaded.target_size) == ("regression", (7, 1), 4)
    assert episodes.support.x.shape == (3, 5, 7, 1)
    assert episodes.query.y.shape == (3, 6, 4)
    assert loaded.capacity() is None


def test_a_task_is_the_same_in_every_batch() -> None:
    source = tasks()
    together = source.episodes("test", torch.arange(64))
    apart = source.episodes("test", torch.tensor([63, 5]))
    rows = torch.tensor([63, 5])
    for mine, theirs in zip(apart, map_tensors(lambda t: t[rows], together), strict=True):
        assert torch.equal(mine.x, theirs.x)
        assert torch.equal(mine.y, theirs.y)
    assert not torch.equal(apart.query.y, together.query.y[:2])


def test_splits_have_different_tasks() -> None:
    drawn = [torch.stack(list(tasks().parameters(split, torch.arange(1000))[1:4]), dim=1) for split in SPLITS]
    assert len(torch.unique(torch.cat(drawn), dim=0)) == 3000


def test_shots_and_queries_are_added_not_replaced() -> None:
    small = tasks(shape=TaskShape(0, 2, 3)).episodes("test", torch.arange(8))
    large = tasks(shape=TaskShape(0, 5, 9)).episodes("test", torch.arange(8))
    assert torch.equal(small.support.y, large.support.y[:, :2])
    assert torch.equal(small.query.x, large.query.x[:, :3])


def test_the_bank_hash_follows_what_decides_the_examples() -> None:
    hashes = {source.bank_hash("test", 50) for source in (tasks(), tasks(noise=0.2), tasks(("damped",)))}
    assert len(hashes) == 3
    assert tasks().bank_hash("test", 50) in hashes


def test_an_impossible_description_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"dataset\.families=\[\] must name one or more"):
        family(())
    with pytest.raises(ConfigError, match=r"each once"):
        family(("damped", "damped"))
    with pytest.raises(ConfigError, match=r"dataset\.period=\[1\.0, 4\.0\] .* both greater than 2"):
        Curves(list(ALL), 10, 10, 60.0, [0.5, 2.0], [1.0, 4.0], 0.1)
    with pytest.raises(ConfigError, match="curves has no classes"):
        family().batches(16, 0)


def test_descriptions_are_made_without_torch() -> None:
    """The configuration is checked in a moment; loading torch takes seconds."""
    code = (
        "import sys; from metaexp.data.curves import Curves; from metaexp.data.sinusoid import Sinusoid; "
        "from metaexp.data.glyphs import Glyphs; Glyphs(1, 1, 1, 20, 0).capacity(); "
        "Sinusoid([0.1, 5.0], [0.0, 3.0], [-5.0, 5.0]); "
        "Curves(['mixed'], 10, 10, 60.0, [0.5, 2.0], [10.0, 40.0], 0.1); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
