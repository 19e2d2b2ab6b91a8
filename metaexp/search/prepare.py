"""Checks a search's command before anything is written. Without torch and optuna."""

from __future__ import annotations

import hashlib
import itertools
import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from metaexp.config.command_line.override_text import key_of
from metaexp.core.counted import listed
from metaexp.core.errors import ConfigError, RunFolderError
from metaexp.core.metric import Metric
from metaexp.run.folder import check_writable
from metaexp.run.initial.trained_before import Known
from metaexp.run.own_options import measure_command
from metaexp.search.comparable import NO_TEST, check_comparable, check_points, common_metric, keys_that_test
from metaexp.search.frozen_composer import FrozenComposer
from metaexp.search.options import SearchOptions, decides
from metaexp.search.space import Choices, Interval, Space, Value, read_space
from metaexp.sweep.expand import check_new_classes, sweep_name
from metaexp.sweep.folder import SWEEP_FILE, Sweep, create, open_sweep
from metaexp.sweep.freezer import Freezer
from metaexp.sweep.frozen_job import FrozenJob

_MOST_CHOICES = 64
_MOST_WORDS = 6
_OWN_FILES = ("--config-dir", "--config-name")
_NEVER_TESTED = "trials are never tested. search.test_best=true tests the best one, at the end."
_CHANGED = (
    "the configuration files{code} have changed since this search began, so that new trials could not be compared with "
    "its earlier ones. Undo the edit, or start a new search in another folder: search.folder=FOLDER."
)


class Prepared(NamedTuple):
    """A checked search that can start.

    Attributes:
        path: The search's folder.
        digest: Hash of what all its trials share.
        options: Options of the search.
        space: The search space.
        metric: Metric that trials are judged by.
        freezer: Composes and checks trials.
        corners: Checked corners of the space.
        notes: Lines that the user should read before it starts.
    """

    path: Path
    digest: str
    options: SearchOptions
    space: Space
    metric: Metric
    freezer: Freezer
    corners: list[FrozenJob]
    notes: list[str]

    @property
    def limit(self) -> int:
        """How many points to try."""
        wanted = self.options.trials
        if self.options.sampler != "grid":
            assert wanted is not None
            return wanted
        return len(self.grid()) if wanted is None else min(wanted, len(self.grid()))

    def grid(self) -> list[tuple[Value, ...]]:
        """Return every combination of values, in order."""
        return list(itertools.product(*(d.values for d in self.space.dimensions if not isinstance(d, Interval))))

    @property
    def validated_every(self) -> int:
        """Steps between validations."""
        every: int = self.corners[0].config["train"]["eval_every"]
        return every

    def open(self, command: Sequence[str]) -> Sweep:
        """Open the search's folder, or create it.

        Args:
            command: The command with its arguments.

        Raises:
            RunFolderError: The folder has other files in it, or another search.
        """
        if not (self.path / SWEEP_FILE).exists():
            if self.path.exists():
                raise RunFolderError(
                    f"{self.path} exists and is not the folder of a search; choose another search.folder."
                )
            check_writable(self.path)
            try:
                return create(self.path, command, self.digest, [])
            except RunFolderError:
                if not (self.path / SWEEP_FILE).exists():  # otherwise another process has just created it
                    raise
        found = open_sweep(self.path)
        if found.head.digest != self.digest:
            code = " or your own code" if any(job.own_code for job in self.corners) else ""
            changed = _CHANGED.format(code=code)
            raise RunFolderError(f"{self.path}: {_format_other(found.head.command, command) or changed}")
        return found


def _format_other(then: Sequence[str], now: Sequence[str]) -> str:
    """Format why a folder is not of this search, where the commands differ; empty where they do not."""
    if then[:2] == ["metaexp", "train"]:
        return f"it holds a sweep ({shlex.join(then)}). Choose another search.folder."
    before, after = _deciding_words(then), _deciding_words(now)
    if then[:2] != ["metaexp", "search"]:  # a search of an earlier version kept overrides only
        after = [word for word in after if not word.startswith("-")]
    if before == after:
        return ""
    only = [word for words, others in ((before, after), (after, before)) for word in words if word not in others]
    what = listed(only, _MOST_WORDS) if only else "the order of the overrides"
    return f"it holds another search ({shlex.join(then)}), which differs in {what}. Choose another search.folder."


def _deciding_words(command: Sequence[str]) -> list[str]:
    """The overrides of a command that decide what its trials are, and the user's own files."""
    files = [f"{option} {value}" for option, value in itertools.pairwise(command) if option in _OWN_FILES]
    return [word for word in command if not word.startswith("-") and "=" in word and decides(word)] + files


def prepare(overrides: Sequence[str], config_dir: Path | None, config_name: str) -> Prepared:
    """Read a search's command and check the corners of its space.

    Args:
        overrides: Overrides of the command line.
        config_dir: The user's own configuration folder; None if there is none.
        config_name: Name of the root file.

    Raises:
        ConfigError: The search is wrong. The message lists all mistakes that the first failing check finds.
    """
    composer = FrozenComposer(config_dir, config_name)
    options, trial_overrides = SearchOptions.parse(overrides, composer)
    _check_fixed(trial_overrides)
    space = read_space([*trial_overrides, NO_TEST], composer)
    _check_grid(space, options)
    corners = check_points(space, composer, on_this_machine=True)
    if keys := keys_that_test(space, corners):
        raise ConfigError([f"{key} varies: {_NEVER_TESTED}" for key in keys])
    metric = common_metric(corners, options.metric, "search.metric=")
    check_comparable(space, corners)
    notes = check_new_classes(corners, lambda _: options.test_best, _format_refusal, one_is_chosen=True)
    keys = [d.key.lstrip("+") for d in space.dimensions]
    where = None if config_dir is None else str(config_dir.resolve())
    command_hash = _hash([trial_overrides, where, config_name, options.deciding()])
    outputs = Path(corners[0].config["paths"]["outputs"]).expanduser()
    name = sweep_name(None, keys, command_hash)
    path = Path(options.folder).expanduser() if options.folder else outputs / "searches" / name
    freezer = Freezer(composer, path.name, frozenset(keys))
    _read_all_choices(space, Freezer(composer, path.name, frozenset(keys), keeps_files=False))
    digest = _hash(
        [command_hash, [job.config_hash for job in corners], *[[job.own_code] for job in corners if job.own_code]]
    )
    corners = [replace(job, group=path.name) for job in corners]
    return Prepared(path, digest, options, space, metric, freezer, corners, notes)


def _format_refusal(known: Known) -> str:
    return (
        f"search.test_best=true: {known.test}. So the test of the best trial would not be on new classes. "
        f"{known.advice}, or leave search.test_best out. {measure_command()} measures a trial nevertheless."
    )


def _check_fixed(overrides: Sequence[str]) -> None:
    problems = []
    for line in overrides:
        key = key_of(line)
        if key == "eval.test":
            problems.append(f"{line}: {_NEVER_TESTED}")
        elif key.startswith("hydra") and key != "hydra.searchpath":
            problems.append(f"{line}: a search starts its trials itself; use search.workers and search.folder instead.")
        elif key == "sweep" or key.startswith("sweep."):
            problems.append(f"{line} is about a sweep; use it with metaexp train -m.")
        elif key in ("from", "resume"):
            problems.append(
                f"{line} continues a run; use it with metaexp train. A search can start from the weights of a run: "
                "model.weights=RUN."
            )
    if problems:
        raise ConfigError(problems)


def _check_grid(space: Space, options: SearchOptions) -> None:
    endless = [d.key for d in space.dimensions if isinstance(d, Interval)]
    if options.sampler == "grid" and endless:
        raise ConfigError(
            f"{', '.join(endless)}: search=grid tries every combination, and an interval has too many; give "
            "choices or range(...), or use search=tpe or search=random."
        )


def _read_all_choices(space: Space, freezer: Freezer) -> None:
    """Read the files of every combination of groups now, so that editing them during the search changes nothing."""
    if space.is_small:  # the corners include all combinations
        return
    groups = [d.values if isinstance(d, Choices) and d.is_group else (d.ends()[0],) for d in space.dimensions]
    for point in itertools.islice(itertools.product(*groups), _MOST_CHOICES):
        try:
            freezer.freeze(0, space.overrides(point))
        except ConfigError:  # these values do not fit together, but the files have been read
            continue


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
