"""After training: the selected weights, the one final test, what it leaves in the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from metaexp.config.schema import Settings
from metaexp.core.errors import NotFiniteError, RunFolderError
from metaexp.core.intervals import mean_interval
from metaexp.core.types import EvalResult
from metaexp.results.episodes import write_episodes
from metaexp.results.record import Score
from metaexp.runner.build import Interface
from metaexp.runner.checkpoint import Checkpoints, DamagedError, read, write
from metaexp.runner.evaluation import Evaluator, Report, SealedSource
from metaexp.runner.folder import RunFolder
from metaexp.runner.state import Best, TrainState, Weights, load_weights


class Selected(NamedTuple):
    """The weights that a run was tested with, or would be if it ended now.

    step: the meta-update after which they were taken. interface: what they were built for.
    """

    step: int
    weights: Weights
    interface: Interface


def select(state: TrainState, settings: Settings, folder: RunFolder, identity: Mapping[str, Any]) -> Best:
    """Put the weights that did best on validation into the algorithm and into ``checkpoints/best``.

    identity: what the file says of the run. Raises NotFiniteError when no validation gave a number.
    """
    best = best_of(state)
    write(folder.best, best.weights, {"step": best.step, "mean": best.mean, **identity})
    take(state, settings, best.step, best.weights)
    return best


def best_of(state: TrainState) -> Best:
    """The weights that did best on validation. Raises NotFiniteError when no validation gave a number."""
    best = state.best
    if best is None:
        raise NotFiniteError(
            "no validation gave a finite result, so there are no weights to test. Lower optimizer.lr or the "
            "algorithm's inner learning rate."
        )
    return best


def take(state: TrainState, settings: Settings, step: int, weights: Weights) -> None:
    """Make the algorithm what it was after meta-update ``step``."""
    load_weights(state.algorithm, weights)
    state.algorithm.begin_step(step, max(settings.train.steps, 1))


def selected(folder: RunFolder) -> Selected:
    """The selected weights of a run. Raises RunFolderError when there are none yet, or when they are damaged."""
    if folder.best.with_suffix(".json").exists():
        try:
            weights, values = read(folder.best)
        except DamagedError as error:
            raise RunFolderError(f"{error} Continue the run with resume={folder.path} to write it again.") from error
        return Selected(values["step"], weights, _interface(values))
    checkpoint = Checkpoints(folder.checkpoints).load() if folder.checkpoints.is_dir() else None
    if checkpoint is None or checkpoint.values["best"] is None:
        raise RunFolderError(f"{folder.path} has no weights to evaluate: the run has not been validated yet.")
    weights = {name.removeprefix("best/"): t for name, t in checkpoint.tensors.items() if name.startswith("best/")}
    return Selected(checkpoint.values["best"][0], weights, _interface(checkpoint.values))


def _interface(values: Mapping[str, Any]) -> Interface:
    shape, n_outputs = values["interface"]
    return Interface(tuple(shape), n_outputs)


def final_test(
    state: TrainState, evaluator: Evaluator, source: SealedSource, n_episodes: int, path: Path, report: Report
) -> EvalResult:
    """Open the test split, measure once, and keep every episode's result at ``path``.

    Raises NotFiniteError naming the episodes without a finite result.
    """
    source.open_test()
    result = evaluator.evaluate(state.algorithm, "test", n_episodes, report)
    write_episodes(path, result.per_step.tolist())
    check_finite(result)
    return result


def check_finite(result: EvalResult) -> None:
    """Raise NotFiniteError naming the episodes without a finite result."""
    bad = [str(i) for i in (~result.per_episode.isfinite()).nonzero().flatten().tolist()]
    if bad:
        shown = ", ".join(bad[:5]) + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
        raise NotFiniteError(f"the metric of test episode{'s' if len(bad) > 1 else ''} {shown} is not finite.")


def score(result: EvalResult, metric: str) -> Score:
    """The result as the record has it."""
    return Score(metric, result.mean, result.ci95, result.n_episodes)


def scores_after_steps(result: EvalResult, metric: str) -> list[Score]:
    """The metric after 0, 1, ... adaptation steps; empty for an algorithm without steps.

    A state that is not finite (too large a step) ends the list, for a record holds numbers only.
    """
    if len(result.per_step) == 1:
        return []
    found = []
    for row in result.per_step:
        if not row.isfinite().all():
            break
        interval = mean_interval(row.tolist())
        found.append(Score(metric, interval.mean, interval.ci95, result.n_episodes))
    return found
