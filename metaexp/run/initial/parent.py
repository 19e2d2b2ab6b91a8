"""``from=RUN``: a new run that continues from the last checkpoint of another one, to more steps. Without torch."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from metaexp.config.command_line.override_text import key_of, quote_home
from metaexp.config.command_line.section_overrides import FROM
from metaexp.config.compose import Composer
from metaexp.config.identity import OF_THE_TEST, deviations, with_added_keys, without_defaults
from metaexp.config.purpose import Purpose
from metaexp.config.revise import revise
from metaexp.config.schema import Settings
from metaexp.core.checkpoint_names import step_name
from metaexp.core.counted import counted, listed
from metaexp.core.disk.files import make_folder, open_regular, read_regular, write_atomically
from metaexp.core.disk.locks import RUN_LOCK, is_locked
from metaexp.core.errors import ConfigError, RunFolderError
from metaexp.core.json_lines import METRICS_FILE, TIMINGS_FILE, encode, read_lines
from metaexp.core.nested import values_by_key
from metaexp.results.beginning import ParentRun
from metaexp.results.checkpoint_values import OF_STATE, check_values, format_lost
from metaexp.results.record import RECORD_FILE, RunRecord, read_record
from metaexp.run.checkpoint import Checkpoints, read_files, write_files
from metaexp.run.folder import RunFolder, existing
from metaexp.run.integrity import check_config, check_saved_metrics, check_weights
from metaexp.run.own_options import resume_command

log = logging.getLogger(__name__)

MAY_CHANGE = (
    "train.steps", "train.eval_every", "train.checkpoint_every", "train.log_every", "train.patience",
    "train.profile",
    *OF_THE_TEST,
    "device.accelerator", "device.threads", "device.deterministic", "device.task_chunk", "device.cuda_graphs",
    "device.examples", "tracker", "paths", "tags", "notes",
)  # fmt: skip
"""Keys that a run may have otherwise than its parent: they leave what was trained already as it is."""
_OF_ANOTHER_TEST = (*OF_THE_TEST, "task.k_shot", "task.n_query")
"""If one of these changes, there is another test to make, even without further steps."""


@dataclass(frozen=True)
class Parent:
    """A run that another one continues.

    Attributes:
        folder: Its folder.
        run: What is recorded about it.
    """

    folder: Path
    run: ParentRun

    def copy_to(self, place: RunFolder, record: RunRecord) -> None:
        """Fill a new run folder as if its run had stopped after the parent's checkpoint, so that it can be continued.

        The checkpoint comes last: a folder without it has not begun. It holds the run's first record, too, because the
        run may be killed before it writes one.

        Args:
            place: The new folder.
            record: The first record of the new run.

        Raises:
            RunFolderError: The parent has changed since the new run was composed.
        """
        base = RunFolder(self.folder).checkpoints / step_name(self.run.step)
        content, values = read_files(base)
        if hashlib.sha256(content).hexdigest() != self.run.weights_sha256:
            raise RunFolderError(f"{base}.safetensors was changed since this run was composed. Give the command again.")
        position = values["metrics_position"]
        check_saved_metrics(self.folder / METRICS_FILE, position, values.get("metrics_sha256"))
        with open_regular(self.folder / METRICS_FILE) as file:
            write_atomically(place.path / METRICS_FILE, file.read(position))
        lines = [encode(step, v) for step, v in read_lines(self.folder / TIMINGS_FILE) if step <= self.run.step]
        write_atomically(place.path / TIMINGS_FILE, b"".join(lines))
        make_folder(place.checkpoints)
        mine = {"config_hash": record.config_hash, "record": dataclasses.asdict(record)}
        write_files(place.checkpoints / base.name, content, values | mine)


class Further(NamedTuple):
    """A run that continues another one, composed and checked.

    Attributes:
        settings: The parent's settings, with what was given on top.
        parent: The parent.
        record: The parent's record.
        overrides: The overrides of the parent and of the command; they compose the settings again.
        run_dir: The folder that ``hydra.run.dir`` asks for; None where it is left open.
        deviations: Settings that differ from the experiment file's, except steps and seeds.
    """

    settings: Settings
    parent: Parent
    record: RunRecord
    overrides: list[str]
    run_dir: Path | None
    deviations: list[str]


def read_further(
    overrides: Sequence[str], config_dir: Path | None = None, purpose: Purpose = Purpose.CONTINUE
) -> Further:
    """Compose a run that continues another one.

    Args:
        overrides: The overrides of the command, with ``from=RUN``.
        config_dir: The user's folder of groups and files.
        purpose: Whether the run is to be here, or perhaps elsewhere.

    Raises:
        ConfigError: An override would change what was trained already, or leaves nothing to train.
        RunFolderError: RUN is not a run folder, is in use, was changed, or has no checkpoint.
    """
    folder = _folder([line for line in overrides if key_of(line) == FROM])
    given = [line for line in overrides if key_of(line) not in (FROM, "hydra.run.dir")]
    place = existing(folder)
    config, choices = place.read_config()
    check_config(folder, config)
    record = read_record(folder)
    settings = revise(config, choices, given, config_dir, purpose)
    checkpoint = _checkpoint(place, config)
    problems = [*_changes(config, settings.resolved, folder), *_steps(settings, given, folder, checkpoint[0])]
    if problems:
        raise ConfigError(problems)
    if checkpoint[0] < record.steps:
        log.warning(
            "%s made %d steps, and its newest whole checkpoint is of step %d. This run continues from there.",
            folder, record.steps, checkpoint[0],
        )  # fmt: skip
    run = ParentRun(
        name=folder.resolve().name,
        config_hash=record.config_hash,
        record_sha256=hashlib.sha256(read_regular(folder / RECORD_FILE)).hexdigest(),
        step=checkpoint[0],
        steps=config["train"]["steps"],
        weights_sha256=checkpoint[1],
        not_from_start=[*_differences(config, settings.resolved, record, checkpoint[0]), *checkpoint[2]],
    )
    keys = {key_of(line) for line in given}
    earlier = [line for line in record.overrides if key_of(line) not in keys]
    run_dir = _run_dir(overrides, config_dir)
    parent = Parent(folder.absolute(), run)
    changed = _deviations(settings, record, config_dir)
    return Further(settings, parent, record, [*earlier, *given], run_dir, changed)


def format_parent(parent: ParentRun | None, step: int) -> str:
    """Format which run another one continues, to follow ``continues after step ...``.

    Args:
        parent: The run that is continued, if any.
        step: The step from which this run goes on.
    """
    if parent is None or parent.step != step:
        return ""
    if not parent.not_from_start:
        return f" of {parent.name}; a run of as many steps from the start would be the same"
    return f" of {parent.name}; a run of as many steps from the start would differ: {'; '.join(parent.not_from_start)}"


def _folder(lines: Sequence[str]) -> Path:
    if len(lines) > 1:
        raise ConfigError(f"{FROM}= is given {len(lines)} times; a run continues only one run.")
    value = lines[0].partition("=")[2]
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    if not value.strip():
        raise ConfigError(
            f"{FROM}= names no run folder. Give that of the run to continue: metaexp train {FROM}=outputs/RUN "
            "train.steps=N."
        )
    path = Path(value).expanduser()
    if "," in value and not path.exists():
        raise ConfigError(f"{lines[0]} holds several values; add -m to continue each of them.")
    return path


def _checkpoint(place: RunFolder, config: Mapping[str, Any]) -> tuple[int, str, list[str]]:
    """The step of the newest whole checkpoint of a run that has ended, the SHA-256 of its tensors, what it lacks."""
    try:
        busy = is_locked(place.path / RUN_LOCK)
    except OSError:  # it may be read only
        busy = False
    if busy:
        raise RunFolderError(f"{place.path} is still running; wait for it to end before another run continues it.")
    found = Checkpoints(place.checkpoints).newest(read_files)
    if found is None:
        raise RunFolderError(
            f"{place.path} has no checkpoint to continue from: it has not trained yet, its checkpoints are lost, or "
            "this is a published copy. Give a run folder with checkpoints."
        )
    step, (content, values) = found
    check_weights(place.checkpoints / step_name(step), values, config)
    check_values(place.checkpoints / step_name(step), values, (*OF_STATE, "metrics_position"))
    check_saved_metrics(place.path / METRICS_FILE, values["metrics_position"], values.get("metrics_sha256"))
    return step, hashlib.sha256(content).hexdigest(), format_lost(values)


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], folder: Path) -> list[str]:
    """A sentence if keys differ that may not."""
    then, now = (values_by_key(without_defaults(with_added_keys(config))) for config in (before, after))
    changed = [key for key in {**then, **now} if (key in then, then.get(key)) != (key in now, now.get(key))]
    tests_last = after["eval"].get("weights") == "last"  # then validation tasks, which the task shapes, choose nothing
    may_change = tuple(dict.fromkeys((*MAY_CHANGE, *(_OF_ANOTHER_TEST if tests_last else ()))))
    wrong = [key for key in changed if not key.startswith(may_change)]
    if not wrong:
        return []
    return [
        f"{listed(wrong, 6, more='more keys')} cannot change in a run "
        f"that continues another. These can: {', '.join(may_change)}. To start from the weights of that run, "
        f"with any settings, give model.weights={folder} instead of {FROM}={folder}."
    ]


def _steps(settings: Settings, given: Sequence[str], folder: Path, step: int) -> list[str]:
    """A sentence if nothing would be left to train."""
    steps = settings.train.steps
    is_tested_otherwise = any(key_of(line) in _OF_ANOTHER_TEST for line in given)
    if "train.steps" not in map(key_of, given):
        same = f", or {step} to only test it again" if is_tested_otherwise else ""
        return [
            f"give train.steps=N with {FROM}={folder}: to how many steps to train, more than the {step} that it "
            f"has{same}."
        ]
    if steps == step and is_tested_otherwise:
        return []
    if steps <= step:
        return [
            f"train.steps={steps} is not more than the {counted(step, 'step')} that {folder} has. Give more; "
            f"{resume_command(folder)} continues an interrupted run itself."
        ]
    return []


def _differences(before: Mapping[str, Any], after: Mapping[str, Any], record: RunRecord, step: int) -> list[str]:
    """Why the run differs from one from the start, by its intervals; what the parent's record says comes first.

    A run logs and validates after its last step, whether or not that is due.
    """
    found = [] if record.parent is None else list(record.parent.not_from_start)
    train = before["train"]
    if before["task"] != after["task"]:
        found.append(f"it was validated on other tasks up to step {step:,}")
    for key, what in (("eval_every", "it was validated"), ("log_every", "a line of metrics was written")):
        if train[key] != after["train"][key]:
            found.append(f"train.{key} was {train[key]} up to step {step:,}")
        elif step == train["steps"] and step % train[key]:
            found.append(f"{what} after step {step:,}, its last one then")
    return found


def _deviations(settings: Settings, record: RunRecord, config_dir: Path | None) -> list[str]:
    """The changed settings of the new run; those of its parent where the experiment is not found any more."""
    if record.experiment is None:
        return record.deviations
    try:
        published = Composer(config_dir).published(record.experiment)
    except ConfigError:
        return record.deviations
    return deviations(settings.resolved, published.resolved)


def _run_dir(overrides: Sequence[str], config_dir: Path | None) -> Path | None:
    lines = [quote_home(line) for line in overrides if key_of(line) == "hydra.run.dir"]
    return Path(str(Composer(config_dir).compose(lines).hydra.run.dir)).expanduser() if lines else None
