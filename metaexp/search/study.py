"""The study of a search: proposes points and keeps their results. The only file that imports optuna.

Every trial has its own sampler, seeded by the search's seed and the trial's number. An interrupted search therefore
continues with the points that it would have proposed, and two processes never draw the same point.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from metaexp.core.disk.errors import explain_disk_error
from metaexp.core.disk.locks import acquire
from metaexp.core.errors import ConfigError, RunFolderError, first_line
from metaexp.core.extras import install_command
from metaexp.core.metric import Metric
from metaexp.search.files import study_file
from metaexp.search.options import SearchOptions
from metaexp.search.point import Point
from metaexp.search.space import Choices, Dimension, Interval, Value, format_value, trials_for_importance
from metaexp.sweep.folder import LOCKS_FOLDER

try:
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
    from optuna.storages import BaseStorage, JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
    from optuna.trial import FrozenTrial, Trial, TrialState
except ImportError as error:
    raise ConfigError(f"metaexp search needs optuna. Install it with: {install_command('search')}.") from error

_NAME = "search"
_REDUCTION = 3
_SECONDS_FOR_A_LOCK = 60.0

optuna.logging.set_verbosity(optuna.logging.ERROR)


class Study:
    """The study of a search, opened or created.

    Args:
        folder: The search's folder.
        options: Options of the search.
        dimensions: What varies.
        metric: Metric that trials are judged by.
        reported_every: Steps between validations.

    Raises:
        RunFolderError: The study cannot be opened.
    """

    def __init__(
        self, folder: Path, options: SearchOptions, dimensions: Sequence[Dimension], metric: Metric, reported_every: int
    ) -> None:
        self.dimensions = list(dimensions)
        self.options = options
        self._file = study_file(folder, options.storage)
        self._distributions = {d.key: _distribution(d) for d in dimensions}
        self._direction: Literal["maximize", "minimize"] = "maximize" if metric.larger_is_better else "minimize"
        try:
            self._study = optuna.create_study(
                storage=_storage(folder, options),
                study_name=_NAME,
                direction=self._direction,
                pruner=_pruner(options, reported_every),
                load_if_exists=True,
            )
        except Exception as error:  # each storage raises its own errors
            if isinstance(error, OSError):
                error.filename = error.filename or str(folder)
                raise explain_disk_error(error) or error from error
            raise RunFolderError(
                f"{self._file} cannot be read ({type(error).__name__}: {first_line(error)}). Restore the file, or "
                "start a new search in another folder: search.folder=FOLDER."
            ) from error

    def belong_to(self, digest: str) -> None:
        """Note which search this study is of, or check it.

        Args:
            digest: Hash of what all trials of the search share.

        Raises:
            RunFolderError: It is the study of another search: it says so, or, of an earlier version, has other values.
        """
        known = self._study.user_attrs.get("search")
        if known is None and self._fits():
            self._study.set_user_attr("search", digest)
        elif known != digest:
            raise RunFolderError(
                f"{self._file} is the file of another search. Restore the one of this search, or start a new search "
                "in another folder: search.folder=FOLDER."
            )

    def _fits(self) -> bool:
        """Whether all trials so far are of this space, and judged in this direction."""
        known, trials = self._distributions.items(), self._study.get_trials(deepcopy=False)
        is_alike = self._study.direction.name.lower() == self._direction
        return is_alike and all(trial.distributions.items() <= known for trial in trials)

    def points(self) -> list[Point]:
        """Return all trials so far, in the order of their numbers.

        Without those that another process has created and not yet given all values, or was killed before it could.
        """
        found = self._study.get_trials(deepcopy=False, states=_ASKED)
        return [self._point(trial) for trial in found if trial.params.keys() >= self._distributions.keys()]

    def ask(self, point: Sequence[Value] | None = None) -> Point:
        """Create a trial.

        Args:
            point: Its values; None lets the sampler propose them.
        """
        if point is not None:
            self._study.sampler = _GivenPoint(dict(zip(self._distributions, point, strict=True)), self.dimensions)
        else:
            self._study.sampler = self._sampler(len(self.points()))
        trial = self._study.ask(self._distributions)
        return self._point(self._frozen(trial.number))

    def note(self, number: int, key: str, value: Any) -> None:
        """Keep a note with a trial.

        Args:
            number: The trial.
            key: Name of the note.
            value: Any JSON value.
        """
        self._trial(number).set_user_attr(key, value)

    def report(self, number: int, step: int, value: float) -> bool:
        """Report what a trial measured on validation tasks.

        Args:
            number: The trial.
            step: Steps done.
            value: The validation metric.

        Returns:
            Whether the pruner wants to stop the trial.
        """
        trial = self._trial(number)
        trial.report(value, step)
        return trial.should_prune()

    def is_hopeless(self, number: int) -> bool:
        """Return whether the pruner wants to stop a trial, by what it has reported so far."""
        return self._trial(number).should_prune()

    def complete(self, number: int, value: float) -> None:
        """Mark a trial as completed.

        Args:
            number: The trial.
            value: Its final validation metric.
        """
        self._study.tell(number, value)

    def prune(self, number: int) -> None:
        """Mark a trial as stopped early."""
        self._study.tell(number, state=TrialState.PRUNED)

    def fail(self, number: int, why: str, exit_code: int | None = None) -> None:
        """Mark a trial as failed.

        Args:
            number: The trial.
            why: The error.
            exit_code: Exit code of its process; None if it had none.
        """
        self.note(number, "error", why)
        self.note(number, "exit_code", exit_code)
        self._study.tell(number, state=TrialState.FAIL)

    def importances(self) -> dict[str, float]:
        """Return how much each key contributes (PED-ANOVA); empty with one key, or few trials for it."""
        done = [t for t in self._study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]) if _is_counted(t)]
        n_keys = len(self.dimensions)
        if n_keys < 2 or len(done) < trials_for_importance(n_keys) or len({t.value for t in done}) < 2:
            return {}
        try:
            found = optuna.importance.get_param_importances(self._study)
        except (ValueError, RuntimeError):  # all trials have the same value in one dimension
            return {}
        return dict(sorted(found.items(), key=lambda pair: -pair[1]))

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        seed = self.options.seed_of_trial(number)
        if self.options.sampler == "tpe":
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=self.options.startup_trials)
        return optuna.samplers.RandomSampler(seed=seed)

    def _trial(self, number: int) -> Trial:
        return Trial(self._study, self._frozen(number)._trial_id)

    def _frozen(self, number: int) -> FrozenTrial:
        return next(t for t in self._study.get_trials(deepcopy=False) if t.number == number)

    def _point(self, trial: FrozenTrial) -> Point:
        values = tuple(_from_optuna(d, trial.params[d.key]) for d in self.dimensions)
        is_done = trial.state == TrialState.COMPLETE
        return Point(
            trial.number,
            trial.state.name.lower(),
            trial.value if is_done else None,
            values,
            dict(trial.intermediate_values),
            dict(trial.user_attrs),
        )


class _GivenPoint(optuna.samplers.BaseSampler):
    """Proposes one given point."""

    def __init__(self, values: dict[str, Value], dimensions: Sequence[Dimension]) -> None:
        self.values = {d.key: _to_optuna(d, values[d.key]) for d in dimensions}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.values[param_name]


_ASKED = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def _is_counted(trial: FrozenTrial) -> bool:
    return "same_as" not in trial.user_attrs


class _JournalLock(JournalFileOpenLock):
    """Lets one process at a time write to the journal. The lock ends with the process, even if that is killed.

    Optuna's own lock stays behind after a kill: the next process waits for half a minute, and with a relative path
    forever.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCKS_FOLDER / "journal"

    def acquire(self) -> bool:
        self._path.parent.mkdir(exist_ok=True)
        self._release = acquire(self._path, wait=True)
        return True

    def release(self) -> None:
        self._release()


def _storage(folder: Path, options: SearchOptions) -> BaseStorage:
    if options.storage == "journal":
        return JournalStorage(JournalFileBackend(str(study_file(folder, options.storage)), _JournalLock(folder)))
    waits = {"connect_args": {"timeout": _SECONDS_FOR_A_LOCK}}
    return RDBStorage(f"sqlite:///{study_file(folder, options.storage).resolve()}", engine_kwargs=waits)


def _pruner(options: SearchOptions, reported_every: int) -> optuna.pruners.BasePruner:
    if options.pruner == "median":
        return optuna.pruners.MedianPruner(options.startup_trials, options.warmup_steps)
    if options.pruner == "halving":
        first = max(options.warmup_steps, reported_every)
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=_REDUCTION)
    return optuna.pruners.NopPruner()


def _distribution(dimension: Dimension) -> BaseDistribution:
    if isinstance(dimension, Choices):
        return CategoricalDistribution([format_value(value) for value in dimension.values])
    if isinstance(dimension, Interval):
        if dimension.integer:
            return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
        return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
    return IntDistribution(0, len(dimension.values) - 1)  # the index in the range, which is exact and ordered


def _to_optuna(dimension: Dimension, value: Value) -> Any:
    if isinstance(dimension, Choices):
        return format_value(value)
    return value if isinstance(dimension, Interval) else list(dimension.values).index(value)  # type: ignore[arg-type]


def _from_optuna(dimension: Dimension, value: Any) -> Value:
    if isinstance(dimension, Choices):
        return next(known for known in dimension.values if format_value(known) == value)
    if isinstance(dimension, Interval):
        return int(value) if dimension.integer else float(value)
    values: tuple[Value, ...] = dimension.values
    return values[int(value)]
