"""Measures a metric on a fixed bank of episodes, and seals the test split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import torch
from torch import Tensor

from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.core.inner import last
from metaexp.core.intervals import mean_interval
from metaexp.core.losses import check_labels, require_predictions, task_metric
from metaexp.core.metric import PER_CLASS
from metaexp.core.over_tasks import over_tasks
from metaexp.core.shapes import Split
from metaexp.core.types import Adapted, Episode, EvalResult, Examples, one_task
from metaexp.data.base import SourceOver, TaskSource
from metaexp.machine.collector import collect_as_usual
from metaexp.machine.device import Compute
from metaexp.machine.single_rank import SINGLE, Ranks
from metaexp.run.evaluation.answers import count_answers, split_answers
from metaexp.run.evaluation.chunks import Chunks, InTurn, Report, Rows
from metaexp.run.evaluation.own_metrics import further_metric
from metaexp.run.side_effects.detect import Repeats, Weights, refuse_side_effects
from metaexp.run.side_effects.first_predictions import warn_of_predictions
from metaexp.run.side_effects.own_generators import keep_generators
from metaexp.run.step import noise_seed


class SealedSource(SourceOver):
    """The tasks of an evaluation. Test episodes cannot be read before :meth:`open_test`. The rest reveals no episode.

    So no validation, no choice of a checkpoint and no early look can use them by mistake.
    """

    def __init__(self, source: TaskSource) -> None:
        super().__init__(source)
        self._open = False

    def open_test(self) -> None:
        """Allow test episodes from now on, because training has ended."""
        self._open = True

    def episodes(self, split: Split, indices: Tensor) -> Episode:
        """Return episodes of the source.

        Raises:
            RuntimeError: Test episodes were requested while they were sealed.
        """
        if split == "test" and not self._open:
            raise RuntimeError("test episodes were asked for before the final evaluation; choose on val instead")
        return self._source.episodes(split, indices)

    def class_names(self, split: Split, n_episodes: int) -> list[tuple[str, ...]]:
        """Return the classes of the source's episodes.

        Raises:
            RuntimeError: Those of test episodes were requested while they were sealed.
        """
        if split == "test" and not self._open:
            raise RuntimeError("the classes of test episodes were asked for before the final evaluation")
        return self._source.class_names(split, n_episodes)


class Evaluator:
    """Measures algorithms on the tasks of one source.

    Args:
        source: The tasks.
        seed: The seed of the noise that an algorithm draws.
        compute: The device.
        chunk: How many tasks are computed at once.
        ranks: The ranks that share the episodes, chunk by chunk, so an episode is computed with the same others for any
            number of ranks.
        extra: Names of further metrics, measured after the last step of adaptation when testing.
        chunks: Who measures which chunk; None for the ranks in turn.
    """

    def __init__(
        self,
        source: TaskSource,
        seed: int,
        compute: Compute,
        chunk: int,
        ranks: Ranks = SINGLE,
        extra: Sequence[str] = (),
        chunks: Chunks | None = None,
    ) -> None:
        self.source = source
        self.seed = seed
        self.compute = compute
        self.chunk = chunk
        self.chunks = InTurn(ranks) if chunks is None else chunks
        self.extra = tuple(extra)
        self._repeats = Repeats(ranks)

    def validate(self, algorithm: Algorithm, n_episodes: int, report: Report) -> EvalResult:
        """Measure the metric on validation episodes 0 ... n_episodes - 1, after all steps of adaptation.

        Args:
            algorithm: The algorithm.
            n_episodes: How many episodes.
            report: Called with the number of episodes done so far.

        Returns:
            The metric, with one row in ``per_step``.
        """
        return self._measure(algorithm, "val", n_episodes, report, lambda support: [algorithm.adapt(support)], ())

    def evaluate(self, algorithm: Algorithm, split: Split, n_episodes: int, report: Report) -> EvalResult:
        """Measure the metric on episodes 0 ... n_episodes - 1 of ``split`` after 0, 1, ... steps of adaptation.

        The algorithm is in evaluation mode meanwhile, and gradients reach only as far as it asks with torch.func (or
        under its own ``torch.enable_grad``).

        Args:
            algorithm: The algorithm.
            split: The split.
            n_episodes: How many episodes.
            report: Called with the number of episodes done so far.

        Raises:
            ConfigError: A task changes what another one is computed from.
        """
        names = self.source.class_names(split, n_episodes) if PER_CLASS in self.extra else []
        result = self._measure(algorithm, split, n_episodes, report, algorithm.adaptation_path, self.extra, names)
        return result._replace(domains=tuple(self.source.domain_names(split, n_episodes)))

    def _measure(
        self,
        algorithm: Algorithm,
        split: Split,
        n_episodes: int,
        report: Report,
        states: Callable[[Examples], Iterable[Adapted]],
        extra: Sequence[str],
        names: Sequence[tuple[str, ...]] = (),
    ) -> EvalResult:
        def metrics(episode: Episode) -> Tensor:
            x, y = episode.query.x, episode.query.y
            found: list[Tensor] = []
            for state in states(episode.support):
                scores = algorithm.predict(state, x)
                found.append(task_metric(scores, y))
            if not found:
                raise _no_state(algorithm)
            values = torch.stack([*found, *(further_metric(name, scores, y) for name in extra)])
            return torch.cat([values, count_answers(scores, y)]) if names else values

        def measure(start: int) -> Rows:
            """The metric (T, steps + 1), further ones, answers, on the chunk from ``start``; none beyond the last."""
            indices = torch.arange(start, min(start + self.chunk, n_episodes), device=self.compute.tasks_on)
            if len(indices) == 0:
                return []
            self.compute.reseed(noise_seed(self.seed, start))
            return in_groups(self.source, split, indices, values_of)

        def values_of(indices: Tensor) -> Rows:
            episodes = self.source.episodes(split, indices)
            check_labels(episodes)
            at_once = algorithm.tasks_at_once(episodes.support.x.shape[1], self.chunk)
            with self.compute.autocast(), refuse_side_effects(algorithm, episodes, f"{split} tasks", weights):
                values: Rows = over_tasks(metrics, episodes, at_once).tolist()
            return values

        collect_as_usual()
        is_first = not self._repeats.is_done
        repeats = self._check_first(algorithm, split)
        with _use_eval_mode(algorithm), torch.no_grad(), repeats:
            weights = Weights(algorithm)  # every group of episodes is to leave these as they are
            rows = self.chunks.rows(measure, self.chunk, n_episodes, report)
        if is_first:
            self._look_at_predictions(algorithm, split)
        return _result(rows, extra, names)

    def _check_first(self, algorithm: Algorithm, split: Split) -> AbstractContextManager[None]:
        """What compares the first task before and after the others."""
        predict = partial(self._predictions, algorithm, split)
        has_path = type(algorithm).adaptation_path is not Algorithm.adaptation_path
        by_path = partial(self._predictions, algorithm, split, by_path=True) if has_path else None
        return self._repeats.check(algorithm, predict, f"{split} task 0", by_path)

    def _look_at_predictions(self, algorithm: Algorithm, split: Split) -> None:
        with _use_eval_mode(algorithm), torch.no_grad():
            warn_of_predictions(algorithm, partial(self._first_task, algorithm, split))

    def _predictions(self, algorithm: Algorithm, split: Split, *, by_path: bool = False) -> Tensor:
        """The predictions (M, N) for the first task, after ``adapt`` or from the last state of ``adaptation_path``."""
        with self._first_task(algorithm, split) as (support, query):
            state = _last_state(algorithm, support) if by_path else algorithm.adapt(support)
            scores = algorithm.predict(state, query.x)
            require_predictions(scores)
            return scores.float()

    @contextmanager
    def _first_task(self, algorithm: Algorithm, split: Split) -> Iterator[Episode]:
        """Yield the first task, with the same seed for noise each time, and refuse side effects of the block."""
        self.compute.reseed(noise_seed(self.seed, 0))
        episodes = self.source.episodes(split, torch.zeros(1, dtype=torch.int64, device=self.compute.tasks_on))
        with (
            keep_generators(algorithm),
            self.compute.autocast(),
            refuse_side_effects(algorithm, episodes, f"{split} tasks"),
        ):
            yield one_task(episodes, 0)


def _last_state(algorithm: Algorithm, support: Examples) -> Adapted:
    try:
        return last(algorithm.adaptation_path(support))
    except StopIteration:
        raise _no_state(algorithm) from None


def _no_state(algorithm: Algorithm) -> ConfigError:
    return ConfigError(
        f"adaptation_path of {type(algorithm).__name__} gives no state. Let it give those after 0, 1, ... steps; the "
        "last one is what adapt returns."
    )


def _result(rows: Sequence[list[float]], extra: Sequence[str], names: Sequence[tuple[str, ...]]) -> EvalResult:
    """What an evaluation returns: of each episode, the metric after every step, further metrics, and answers."""
    metrics, classes = split_answers(rows, names)
    columns = torch.tensor(metrics, dtype=torch.float64).T.contiguous()  # (steps + 1 + len(extra), n_episodes)
    per_step = columns[: len(columns) - len(extra)]
    further = dict(zip(extra, columns[len(per_step) :], strict=True))
    mean, ci95 = mean_interval(per_step[-1].tolist())
    return EvalResult(mean, ci95, len(rows), per_step[-1].clone(), per_step, further, classes=classes)


def in_groups(
    source: TaskSource, split: Split, indices: Tensor, values_of: Callable[[Tensor], list[list[float]]]
) -> list[list[float]]:
    """Return values of episodes, computed in groups of one shape.

    Args:
        source: The tasks.
        split: The split.
        indices: Numbers of the episodes (T,).
        values_of: Returns the values of episodes of one shape.
    """
    if not source.varies:
        return values_of(indices)
    rows: dict[int, list[float]] = {}
    for places in source.alike(split, indices):
        rows |= dict(zip(places.tolist(), values_of(indices[places.to(indices.device)]), strict=True))
    return [rows[place] for place in range(len(indices))]


@contextmanager
def _use_eval_mode(algorithm: Algorithm) -> Iterator[None]:
    training = algorithm.training
    algorithm.eval()
    try:
        yield
    finally:
        algorithm.train(training)
