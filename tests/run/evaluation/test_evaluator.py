"""Evaluation: a fixed bank, an honest interval, no trace on the algorithm, a sealed test split."""

from __future__ import annotations

import math
from types import ModuleType

import pytest
import torch
from pure_tasks import Pure
from torch import Tensor, nn

from metaexp.algorithms.maml import MAML
from metaexp.algorithms.meta_lstm import MetaLSTM
from metaexp.algorithms.nearest_neighbour import NearestNeighbour
from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Examples
from metaexp.machine.device import Compute
from metaexp.models.lstm import LSTM
from metaexp.run.chunk_size import tasks_at_once, training_chunk
from metaexp.run.evaluation.chunks import Measure, Report, Rows
from metaexp.run.evaluation.evaluator import Evaluator, SealedSource

CPU = Compute(torch.device("cpu"), "test", "float32", 1, True, None)


def nothing(_: int) -> None:
    return None


@pytest.fixture
def algorithm(tiny: ModuleType) -> Algorithm:
    torch.manual_seed(0)
    made: Algorithm = tiny.TinyMAML(tiny.Net((1,), 1, 8, 0.5), 0.1)
    return made


def evaluator(tiny: ModuleType, chunk: int = 4, seed: int = 5) -> Evaluator:
    return Evaluator(tiny.LoadedLines(None, "1").tasks(TaskShape(0, 3, 6), seed), seed, CPU, chunk)


def test_mean_and_interval_are_those_of_the_episodes(tiny: ModuleType, algorithm: Algorithm) -> None:
    result = evaluator(tiny).evaluate(algorithm, "val", 10, nothing)
    episodes = result.per_episode
    assert episodes.dtype == torch.float64
    assert result.mean == pytest.approx(episodes.mean().item(), abs=1e-15)
    assert result.ci95 == pytest.approx(1.96 * episodes.std(correction=0).item() / math.sqrt(10), abs=1e-15)
    assert result.ci95 != pytest.approx(1.96 * episodes.std().item() / math.sqrt(10), abs=1e-9)  # ddof is 0, not 1


def test_an_episode_is_what_the_interface_gives_for_it_alone(tiny: ModuleType, algorithm: Algorithm) -> None:
    made = evaluator(tiny)
    result = made.evaluate(algorithm, "val", 10, nothing)
    one = made.source.episodes("val", torch.tensor([7]))
    support, query = (Examples(e.x[0], e.y[0]) for e in one)
    algorithm.eval()
    for steps, state in enumerate(algorithm.adaptation_path(support)):
        loss = ((algorithm.predict(state, query.x) - query.y) ** 2).mean()
        assert result.per_step[steps, 7].item() == pytest.approx(loss.item(), rel=1e-5)


def test_the_chunk_changes_rounding_only(tiny: ModuleType, algorithm: Algorithm) -> None:
    results = [evaluator(tiny, chunk).evaluate(algorithm, "val", 10, nothing).per_step for chunk in (1, 3, 10, 64)]
    for other in results[1:]:
        assert torch.allclose(results[0], other, atol=1e-6)
    assert not torch.allclose(results[0], evaluator(tiny, seed=6).evaluate(algorithm, "val", 10, nothing).per_step)


class LastFirst:
    """Measures the last chunk first, as one of several processes may do."""

    def rows(self, measure: Measure, chunk: int, n_episodes: int, report: Report) -> Rows:
        starts = range(0, n_episodes, chunk)
        found = {start: measure(start) for start in reversed(starts)}
        return [row for start in starts for row in found[start]]


def test_noise_does_not_depend_on_which_chunk_is_measured_first(tiny: ModuleType) -> None:
    noisy = Pure(lambda *_: torch.rand(()))
    source = tiny.LoadedLines(None, "1").tasks(TaskShape(0, 3, 6), 5)

    def per_episode(chunks: LastFirst | None, seed: int = 5) -> Tensor:
        return Evaluator(source, seed, CPU, 4, chunks=chunks).validate(noisy, 10, nothing).per_episode

    assert torch.equal(per_episode(LastFirst()), per_episode(None))
    assert not torch.equal(per_episode(None, seed=6), per_episode(None))


def test_the_first_episodes_do_not_depend_on_how_many_there_are(tiny: ModuleType, algorithm: Algorithm) -> None:
    few = evaluator(tiny).evaluate(algorithm, "val", 4, nothing).per_episode
    many = evaluator(tiny).evaluate(algorithm, "val", 10, nothing).per_episode
    assert torch.equal(few, many[:4])
    assert not torch.equal(few, many[4:8])


def test_nothing_of_the_algorithm_changes(tiny: ModuleType, algorithm: Algorithm) -> None:
    before = {name: t.clone() for name, t in algorithm.state_dict().items()}
    algorithm.train()
    evaluator(tiny).evaluate(algorithm, "val", 10, nothing)
    assert algorithm.training
    assert algorithm.state_dict().keys() == before.keys()
    assert all(torch.equal(t, before[name]) for name, t in algorithm.state_dict().items())
    assert all(p.grad is None for p in algorithm.parameters())


def test_an_algorithm_that_updates_statistics_at_test_is_caught(tiny: ModuleType, algorithm: Algorithm) -> None:
    class Leaky(tiny.TinyMAML):  # type: ignore[name-defined,misc]
        def predict(self, adapted: dict[str, Tensor], x: Tensor) -> Tensor:
            self.model.norm.running_mean.add_(1.0)
            return super().predict(adapted, x)

    leaky = Leaky(algorithm.model, 0.1)
    with pytest.raises(ConfigError, match=r"Leaky changes model\.norm\.running_mean while it computes val tasks"):
        evaluator(tiny, chunk=1).evaluate(leaky, "val", 2, nothing)


def test_validation_is_the_last_row_of_an_evaluation(tiny: ModuleType, algorithm: Algorithm) -> None:
    whole = evaluator(tiny).evaluate(algorithm, "val", 10, nothing)
    last = evaluator(tiny).validate(algorithm, 10, nothing)
    assert torch.allclose(last.per_episode, whole.per_step[-1], atol=1e-6)
    assert last.per_step.shape == (1, 10)
    assert whole.per_step.shape == (2, 10)
    assert not torch.allclose(last.per_episode, whole.per_step[0])


def test_memory_for_gradients_is_not_kept(tiny: ModuleType, algorithm: Algorithm) -> None:
    seen: list[bool] = []

    class Watching(tiny.TinyMAML):  # type: ignore[name-defined,misc]
        def predict(self, adapted: dict[str, Tensor], x: Tensor) -> Tensor:
            out: Tensor = super().predict(adapted, x)
            seen.append(out.requires_grad)
            return out

    evaluator(tiny, chunk=1).evaluate(Watching(algorithm.model, 0.1), "val", 1, nothing)
    assert seen
    assert not any(seen)


def test_it_says_how_far_it_is(tiny: ModuleType, algorithm: Algorithm) -> None:
    told: list[int] = []
    evaluator(tiny).evaluate(algorithm, "val", 10, told.append)
    assert told == [4, 8, 10]


def test_test_episodes_cannot_be_had_before_the_end(tiny: ModuleType) -> None:
    source = SealedSource(tiny.LoadedLines(None, "1").tasks(TaskShape(0, 3, 6), 0))
    indices = torch.arange(2)
    with pytest.raises(RuntimeError, match="asked for before the final evaluation"):
        source.episodes("test", indices)
    assert source.episodes("val", indices).support.x.shape == (2, 3, 1)
    assert source.bank_hash("test", 2)
    source.open_test()
    assert source.episodes("test", indices).support.x.shape == (2, 3, 1)


def with_parameters(count: int) -> Algorithm:
    """An algorithm with so many parameters."""
    made: Algorithm = MAML(nn.Linear(count, 1, bias=False), 0.1, 1, 1, False, "mean", "all", "transductive")
    return made


def test_chunks_shrink_with_the_size_of_images_and_tasks() -> None:
    algorithm = with_parameters(1000)

    def chunk(input_shape: tuple[int, ...], shape: TaskShape, given: int | None = None) -> int:
        return tasks_at_once(shape, input_shape, algorithm, Compute(torch.device("cpu"), "", "float32", 1, True, given))

    omniglot = chunk((1, 28, 28), TaskShape(5, 1, 15))
    assert 10 <= omniglot <= 32
    assert chunk((1, 28, 28), TaskShape(20, 5, 15)) < omniglot
    assert chunk((3, 84, 84), TaskShape(20, 5, 15)) == 1
    assert chunk((1,), TaskShape(0, 10, 10)) == 1024
    assert chunk((1, 28, 28), TaskShape(5, 1, 15), given=3) == 3


def test_more_tasks_fit_where_there_is_no_network() -> None:
    """Without one the images themselves are the largest maps, and small chunks of them cost time."""
    shape, task_floats = TaskShape(5, 1, 5), 30 * 28 * 28
    unused = LSTM((10, 1), 1, 64, 1, "last", 1.0)
    neighbours = NearestNeighbour(unused, (1, 28, 28), 5, shape, "inputs", "euclidean")
    with_buffer = NearestNeighbour(unused, (1, 28, 28), 5, shape, "inputs", "euclidean")
    with_buffer.register_buffer("filters", torch.ones(1))
    many, few = (tasks_at_once(shape, (1, 28, 28), made, CPU) for made in (neighbours, with_buffer))
    assert many > 10 * few
    assert many * task_floats * 4 * 4 <= 256 << 20


class AllPairs(NearestNeighbour):
    """Code of users that keeps the difference of each query and each example."""


@pytest.mark.parametrize(("cls", "fits"), [(AllPairs, True), (NearestNeighbour, False)])
def test_pairs_of_examples_fit_where_an_algorithm_of_users_has_no_network(
    cls: type[NearestNeighbour], fits: bool
) -> None:
    shape = TaskShape(20, 5, 15)
    algorithm = cls(LSTM((10, 1), 1, 64, 1, "last", 1.0), (1, 28, 28), 20, shape, "inputs", "euclidean")
    pair_bytes = shape.n_support * shape.n_queries * 28 * 28 * 4
    assert (tasks_at_once(shape, (1, 28, 28), algorithm, CPU) * pair_bytes <= 512 << 20) == fits


@pytest.mark.parametrize("trains", [False, True])
def test_chunks_shrink_with_the_number_of_parameters_that_a_task_adapts(trains: bool) -> None:
    """A network may have many parameters and few activations, as perceptrons and LSTMs do."""
    compute, shape = Compute(torch.device("cpu"), "", "float32", 1, True, None), TaskShape(0, 10, 10)

    def chunk(algorithm: Algorithm) -> int | None:
        if trains:
            return training_chunk(shape, (1,), algorithm, compute, 1000)
        return tasks_at_once(shape, (1,), algorithm, compute)

    few, many = chunk(with_parameters(1000)), chunk(with_parameters(10_000_000))
    assert few is not None
    assert many is not None
    assert many * 10_000_000 * 2 * 4 <= (512 << 20)
    assert few >= 1000 > many


def test_meta_lstm_counts_the_activations_of_its_lstm() -> None:
    """17,000 coordinates with 173 numbers each have 12 MB: 600 test tasks at once took 12 GB."""
    network = LSTM((10, 1), 1, 64, 1, "last", 1.0)
    algorithm = MetaLSTM(network, 3, 3, 4, 20, 10.0, "pre_sigmoid", True, 0.01, [4.0, 5.0], [-5.0, -4.0])
    compute = Compute(torch.device("cpu"), "", "float32", 1, True, None)
    assert 10 <= tasks_at_once(TaskShape(0, 10, 10), (10, 1), algorithm, compute) <= 30
    assert tasks_at_once(TaskShape(0, 10, 10), (10, 1), with_parameters(17_000), compute) == 1024
    in_training = algorithm.numbers_per_parameter(10, trains=True)
    assert in_training == 3 * 3 * algorithm.numbers_per_parameter(10, trains=False), "3 epochs of 3 batches"


def test_training_tasks_are_computed_in_equal_chunks_that_fit_the_memory_of_a_small_machine() -> None:
    def chunk(tasks: int, n_way: int, k_shot: int, given: int | None = None, device: str = "cpu") -> int | None:
        compute = Compute(torch.device(device), "", "float32", 1, True, given)
        shape = TaskShape(n_way, k_shot, k_shot)
        return training_chunk(shape, (1, 28, 28), with_parameters(112_005), compute, tasks)

    assert chunk(32, 5, 1) == 32, "whole, so that rounding is as it was"
    assert chunk(32, 5, 5) == 32
    assert chunk(16, 20, 5) == 8
    assert chunk(15, 20, 5) == 8
    assert chunk(3, 400, 5) == 1
    assert chunk(16, 20, 5, given=16) == 16
    assert chunk(16, 20, 5, device="cuda") is None


@pytest.mark.parametrize(("size", "n_query", "expected"), [(84, 15, 1), (84, 1, 4), (64, 15, 1), (28, 15, 4)])
def test_training_tasks_of_many_large_images_are_computed_one_at_a_time(size: int, n_query: int, expected: int) -> None:
    """Several such tasks at once take longer on a CPU: their convolutions have weights of each task."""
    shape, algorithm = TaskShape(5, 1, n_query), with_parameters(32_901)
    assert training_chunk(shape, (3, size, size), algorithm, CPU, 4) == expected
    gpu = Compute(torch.device("cuda"), "", "float32", 1, True, None)
    assert training_chunk(shape, (3, size, size), algorithm, gpu, 4) is None
