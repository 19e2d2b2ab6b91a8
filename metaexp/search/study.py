"""The search as optuna keeps it: which points were asked for, how they went. The only file that imports optuna.

Every point is asked for by a sampler of its own, seeded by the search's seed and the trial's number. So a search that
was interrupted goes on with the points that it would have asked for, and several processes never draw the same ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from metaexp.core.errors import ConfigError, RunFolderError
from metaexp.core.extras import install_command
from metaexp.core.locks import acquire
from metaexp.core.metric import Metric
from metaexp.search.options import SearchOptions
from metaexp.search.space import Choices, Dimension, Interval, Value, write

try:
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
    from optuna.storages import BaseStorage, JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
    from optuna.trial import FrozenTrial, Trial, TrialState
except ImportError as error:
    raise ConfigError(f"metaexp search needs optuna. Install it with: {install_command('search')}.") from error

JOURNAL_FILE = "study.journal"
SQLITE_FILE = "study.db"
_NAME = "search"
_REDUCTION = 3
_SECONDS_FOR_A_LOCK = 60.0

optuna.logging.set_verbosity(optuna.logging.ERROR)


class Point(NamedTuple):
    """One trial as the study has it. values: of the dimensions. notes: ours, see ``Study.note``."""

    number: int
    state: str
    value: float | None
    values: tuple[Value, ...]
    reported: dict[int, float]
    notes: dict[str, Any]

    @property
    def is_counted(self) -> bool:
        """Whether it is one of ``search.trials``: points that repeat an earlier one are not."""
        return "same_as" not in self.notes


class Study:
    """Opens the study in ``folder``, or begins it. reported_every: meta-updates between validations."""

    def __init__(
        self, folder: Path, options: SearchOptions, dimensions: Sequence[Dimension], metric: Metric, reported_every: int
    ) -> None:
        self.dimensions = list(dimensions)
        self.options = options
        self._distributions = {d.key: _distribution(d) for d in dimensions}
        try:
            self._study = optuna.create_study(
                storage=_storage(folder, options),
                study_name=_NAME,
                direction="maximize" if metric.larger_is_better else "minimize",
                pruner=_pruner(options, reported_every),
                load_if_exists=True,
            )
        except Exception as error:  # of whatever keeps it
            raise RunFolderError(f"the study in {folder} cannot be opened: {type(error).__name__}: {error}.") from error

    def points(self) -> list[Point]:
        """All trials so far, by number."""
        found = self._study.get_trials(deepcopy=False, states=_ASKED)
        return [self._point(trial) for trial in found]

    def ask(self, point: Sequence[Value] | None = None) -> Point:
        """A new trial at ``point``, or where the sampler wants it."""
        if point is not None:
            self._study.sampler = _At(dict(zip(self._distributions, point, strict=True)), self.dimensions)
        else:
            self._study.sampler = self._sampler(len(self._study.get_trials(deepcopy=False)))
        trial = self._study.ask(self._distributions)
        return self._point(self._frozen(trial.number))

    def note(self, number: int, key: str, value: Any) -> None:
        """Keep something of ours with a trial."""
        self._trial(number).set_user_attr(key, value)

    def report(self, number: int, step: int, value: float) -> bool:
        """Tell what a trial measured on validation tasks after ``step`` updates. True: it is not worth more."""
        trial = self._trial(number)
        trial.report(value, step)
        return trial.should_prune()

    def is_hopeless(self, number: int) -> bool:
        """What :meth:`report` last said of a trial."""
        return self._trial(number).should_prune()

    def complete(self, number: int, value: float) -> None:
        """The trial ended with ``value``."""
        self._study.tell(number, value)

    def prune(self, number: int) -> None:
        """The trial was stopped early."""
        self._study.tell(number, state=TrialState.PRUNED)

    def fail(self, number: int, why: str, exit_code: int | None = None) -> None:
        """The trial has no value. exit_code: of its process, where it had one."""
        self.note(number, "error", why)
        self.note(number, "exit_code", exit_code)
        self._study.tell(number, state=TrialState.FAIL)

    def importances(self) -> dict[str, float]:
        """Share of each key in what made trials good (PED-ANOVA); empty where there are too few trials to tell."""
        done = [t for t in self._study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]) if _is_counted(t)]
        if len(done) < max(4, 2 * len(self.dimensions)) or len({t.value for t in done}) < 2:
            return {}
        try:
            found = optuna.importance.get_param_importances(self._study)
        except (ValueError, RuntimeError):  # a dimension of which all trials have the same value
            return {}
        return dict(sorted(found.items(), key=lambda pair: -pair[1]))

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        seed = _mixed(self.options.seed, number)
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


class _At(optuna.samplers.BaseSampler):
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
    """Lets one process at a time write to the journal, and is gone when that process is killed.

    Optuna's own lock stays behind then: the next process waits for half a minute, and forever where the path is
    relative.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".locks" / "journal"

    def acquire(self) -> bool:
        self._path.parent.mkdir(exist_ok=True)
        self._release = acquire(self._path, wait=True)
        return True

    def release(self) -> None:
        self._release()


def _storage(folder: Path, options: SearchOptions) -> BaseStorage:
    if options.storage == "journal":
        return JournalStorage(JournalFileBackend(str(folder / JOURNAL_FILE), _JournalLock(folder)))
    waits = {"connect_args": {"timeout": _SECONDS_FOR_A_LOCK}}
    return RDBStorage(f"sqlite:///{(folder / SQLITE_FILE).resolve()}", engine_kwargs=waits)


def _pruner(options: SearchOptions, reported_every: int) -> optuna.pruners.BasePruner:
    if options.pruner == "median":
        return optuna.pruners.MedianPruner(options.startup_trials, options.warmup_steps)
    if options.pruner == "halving":
        first = max(options.warmup_steps, reported_every)
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=_REDUCTION)
    return optuna.pruners.NopPruner()


def _distribution(dimension: Dimension) -> BaseDistribution:
    if isinstance(dimension, Choices):
        return CategoricalDistribution([write(value) for value in dimension.values])
    if isinstance(dimension, Interval):
        if dimension.integer:
            return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
        return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
    return IntDistribution(0, len(dimension.values) - 1)  # the place in the range: exact, and in order


def _to_optuna(dimension: Dimension, value: Value) -> Any:
    if isinstance(dimension, Choices):
        return write(value)
    return value if isinstance(dimension, Interval) else list(dimension.values).index(value)  # type: ignore[arg-type]


def _from_optuna(dimension: Dimension, value: Any) -> Value:
    if isinstance(dimension, Choices):
        return next(known for known in dimension.values if write(known) == value)
    if isinstance(dimension, Interval):
        return int(value) if dimension.integer else float(value)
    values: tuple[Value, ...] = dimension.values
    return values[int(value)]


def _mixed(seed: int, number: int) -> int:
    """A seed of 32 bits for one trial."""
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4], "big")
