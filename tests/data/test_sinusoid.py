"""The sinusoid tasks of the MAML paper."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from metaexp.core.errors import ConfigError
from metaexp.core.shapes import SPLITS, TaskShape
from metaexp.core.types import Episode, map_tensors
from metaexp.data.regression.tasks import FunctionFamily, FunctionTasks
from metaexp.data.sinusoid import Sinusoid

SHAPE = TaskShape(0, 10, 10)


def family(amplitude: tuple[float, float] = (0.1, 5.0)) -> FunctionFamily:
    dataset = Sinusoid(list(amplitude), [0.0, math.pi], [-5.0, 5.0])
    loaded = dataset.load(Path("nowhere"), lambda line: None)
    assert isinstance(loaded, FunctionFamily)
    return loaded


def tasks(shape: TaskShape = SHAPE, seed: int = 0) -> FunctionTasks:
    return family().tasks(shape, seed)


def same(a: Episode, b: Episode) -> bool:
    return all(
        torch.equal(x, y) for x, y in zip([*a.support[:2], *a.query[:2]], [*b.support[:2], *b.query[:2]], strict=True)
    )


def test_targets_are_the_sinusoid_of_the_task_at_the_inputs() -> None:
    source = tasks()
    indices = torch.arange(200)
    episodes = source.episodes("train", indices)
    waves = source.parameters("train", indices)
    amplitude, phase = waves.amplitude.double()[:, None], waves.phase.double()[:, None]
    for examples in episodes:
        x, y = examples.x[..., 0].double(), examples.y[..., 0].double()
        assert float((y - amplitude * (x - phase).sin()).abs().max()) < 3e-6
        assert float((y - amplitude * (x + phase).sin()).abs().max()) > 1.0


def test_ranges_are_those_of_the_paper_and_uniform() -> None:
    source = tasks(TaskShape(0, 1, 1))
    indices = torch.arange(50_000)
    waves = source.parameters("train", indices)
    x = source.episodes("train", indices).query.x.flatten()
    for values, low, high in ((waves.amplitude, 0.1, 5.0), (waves.phase, 0.0, math.pi), (x, -5.0, 5.0)):
        assert low <= float(values.min()) < low + 0.001 * (high - low)
        assert high - 0.001 * (high - low) < float(values.max()) <= high
        counts = torch.histc(values, 20, low, high)
        assert float(((counts - 2500.0) ** 2 / 2500.0).sum()) < 50.0  # chi squared, 19 degrees of freedom
    together = torch.stack([waves.amplitude, waves.phase, x])
    assert float((torch.corrcoef(together) - torch.eye(3)).abs().max()) < 0.02


def test_shapes_are_one_number_in_and_one_out() -> None:
    loaded = family()
    episodes = loaded.tasks(TaskShape(0, 5, 7), 0).episodes("test", torch.arange(3))
    assert (loaded.kind, loaded.input_shape, loaded.target_size) == ("regression", (1,), 1)
    assert episodes.support.x.shape == episodes.support.y.shape == (3, 5, 1)
    assert episodes.query.x.shape == episodes.query.y.shape == (3, 7, 1)
    assert episodes.support.n_way == 0
    assert {t.dtype for part in episodes for t in part[:2]} == {torch.float32}
    assert loaded.capacity() is None


def test_a_task_is_the_same_in_every_batch() -> None:
    source = tasks()
    together = source.episodes("val", torch.arange(100))
    shuffled = torch.tensor([99, 3, 3, 41])
    apart = source.episodes("val", shuffled)
    assert same(apart, map_tensors(lambda t: t[shuffled], together))
    assert not same(apart, map_tensors(lambda t: t[:4], together))


def test_splits_and_seeds_have_different_tasks() -> None:
    drawn = [tasks(seed=seed).parameters(split, torch.arange(2000)) for seed in (0, 1) for split in SPLITS]
    pairs = torch.cat([torch.stack(list(waves[:2]), dim=1) for waves in drawn])
    assert len(torch.unique(pairs, dim=0)) == 6 * 2000


def test_shots_and_queries_are_added_not_replaced() -> None:
    indices = torch.arange(20)
    small = tasks(TaskShape(0, 5, 5)).episodes("test", indices)
    large = tasks(TaskShape(0, 10, 200)).episodes("test", indices)
    assert torch.equal(small.support.x, large.support.x[:, :5])
    assert torch.equal(small.query.y, large.query.y[:, :5])
    assert not torch.equal(small.support.x, small.query.x)


def test_the_true_curve_goes_through_the_examples() -> None:
    source = tasks()
    indices = torch.tensor([4, 8, 15])
    episodes = source.episodes("test", indices)
    assert torch.equal(source.curve("test", indices, episodes.query.x[..., 0]), episodes.query.y[..., 0])
    assert not torch.equal(source.curve("val", indices, episodes.query.x[..., 0]), episodes.query.y[..., 0])
    grid = source.curve("test", indices, torch.linspace(-5.0, 5.0, 101))
    assert grid.shape == (3, 101)
    assert torch.equal(grid[1:2], source.curve("test", indices[1:2], torch.linspace(-5.0, 5.0, 101)))


def test_the_bank_hash_differs_between_banks_and_never_changes() -> None:
    hashes = {
        tasks().bank_hash("test", 600),
        tasks().bank_hash("test", 599),
        tasks().bank_hash("val", 600),
        tasks(seed=1).bank_hash("test", 600),
        tasks(TaskShape(0, 5, 10)).bank_hash("test", 600),
        tasks(TaskShape(0, 10, 5)).bank_hash("test", 600),
        family((0.1, 4.0)).tasks(SHAPE, 0).bank_hash("test", 600),
    }
    assert len(hashes) == 7
    assert tasks(seed=1000).bank_hash("test", 600) == "bf2beb0740de6ea545ef22325847917905f7c08aba9a422a4a7d7f760f87ae53"


def test_the_digest_follows_the_ranges() -> None:
    assert family().digest == family().digest
    assert family().digest != family((0.1, 4.0)).digest


def test_the_same_bits_on_another_device() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no other device here")
    indices = torch.arange(1000)
    moved = family().to(torch.device("cuda")).tasks(SHAPE, 0).episodes("train", indices)
    assert moved.query.y.is_cuda
    assert same(tasks().episodes("train", indices), map_tensors(lambda t: t.cpu(), moved))


def test_classes_and_supervised_batches_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"task\.n_way=5, but sinusoid is a family of regression tasks.*n_way=0"):
        family().tasks(TaskShape(5, 1, 15), 0)
    with pytest.raises(ConfigError, match=r"task\.k_shot=0 and task\.n_query=5 must be at least 1"):
        family().tasks(TaskShape(0, 0, 5), 0)
    with pytest.raises(ConfigError, match="sinusoid has no classes to train on under fixed labels"):
        family().batches(16, 0)


@pytest.mark.parametrize("amplitude", [[5.0, 0.1], [1.0], [0.0, math.nan], [0.0, math.inf], [1.0, 2.0, 3.0]])
def test_a_range_must_be_two_numbers_in_order(amplitude: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.amplitude=.* must be \[lowest, highest\]: two finite numbers"):
        Sinusoid(amplitude, [0.0, 3.0], [-5.0, 5.0])
    assert Sinusoid([2.0, 2.0], [0.0, 3.0], [-5.0, 5.0]).amplitude == (2.0, 2.0)


def test_the_oracle_gets_amplitude_and_phase_beside_the_same_inputs_and_targets() -> None:
    known = Sinusoid([0.1, 5.0], [0.0, math.pi], [-5.0, 5.0], task_as_input=True).load(Path("nowhere"), lambda _: None)
    assert isinstance(known, FunctionFamily)
    indices = torch.arange(20)
    told, usual = known.tasks(SHAPE, 0).episodes("val", indices), tasks().episodes("val", indices)
    for with_task, without in zip(told[:2], usual[:2], strict=True):
        assert torch.equal(with_task.x[..., :1], without.x)
        assert torch.equal(with_task.y, without.y)
        x, amplitude, phase = with_task.x.double().unbind(-1)
        assert float((with_task.y[..., 0] - amplitude * (x - phase).sin()).abs().max()) < 3e-6
    assert known.input_shape == (3,)
    assert known.digest != family().digest


def test_a_drawn_frequency_is_uniform_and_changes_neither_amplitude_nor_phase_nor_inputs() -> None:
    ranges = [0.1, 5.0], [0.0, math.pi], [-5.0, 5.0]
    varied = Sinusoid(*ranges, frequency=[0.8, 1.2]).load(Path("nowhere"), lambda _: None)
    assert isinstance(varied, FunctionFamily)
    source, indices = varied.tasks(SHAPE, 0), torch.arange(5000)
    waves, usual = source.parameters("train", indices), tasks().parameters("train", indices)
    assert torch.equal(waves.amplitude, usual.amplitude)
    assert torch.equal(waves.phase, usual.phase)
    counts = torch.histc(waves.frequency, 20, 0.8, 1.2)
    assert int(counts.sum()) == 5000
    assert float(((counts - 250.0) ** 2 / 250.0).sum()) < 50.0  # chi squared, 19 degrees of freedom
    support = source.episodes("train", indices[:100]).support
    assert torch.equal(support.x, tasks().episodes("train", indices[:100]).support.x)
    amplitude, phase, frequency = (w[:100, None].double() for w in waves)
    x, y = support.x[..., 0].double(), support.y[..., 0].double()
    assert float((y - amplitude * (frequency * x - phase).sin()).abs().max()) < 6e-6
    assert float((y - amplitude * (x - phase).sin()).abs().max()) > 1.0
    assert varied.digest not in (
        family().digest,
        Sinusoid(*ranges, frequency=[0.8, 1.3]).load(Path(), print).digest,
    )


def test_the_oracle_of_several_frequencies_gets_the_frequency_too() -> None:
    ranges = [0.1, 5.0], [0.0, math.pi], [-5.0, 5.0]
    known = Sinusoid(*ranges, task_as_input=True, frequency=[0.8, 1.2]).load(Path("nowhere"), lambda _: None)
    support = known.tasks(SHAPE, 0).episodes("val", torch.arange(20)).support
    x, amplitude, phase, frequency = support.x.double().unbind(-1)
    assert float((support.y[..., 0] - amplitude * (frequency * x - phase).sin()).abs().max()) < 6e-6


def test_a_frequency_must_be_two_numbers_in_order() -> None:
    with pytest.raises(ConfigError, match=r"dataset\.frequency=.* must be \[lowest, highest\]: two finite numbers"):
        Sinusoid([0.1, 5.0], [0.0, 3.0], [-5.0, 5.0], frequency=[1.2, 0.8])
