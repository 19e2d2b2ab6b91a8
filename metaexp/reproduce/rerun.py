"""Run a run folder once more, from that folder alone, and compare. Torch is imported when training begins."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from metaexp.config.accelerators import why_missing
from metaexp.config.compose import Composer
from metaexp.config.identity import config_hash, format_changed_keys, numeric_part
from metaexp.config.initial_weights import check_digest, digest_of, weights_file
from metaexp.config.purpose import Purpose
from metaexp.config.revise import revise
from metaexp.config.schema import Settings
from metaexp.core.counted import counted
from metaexp.core.disk.files import encode_text, write_atomically
from metaexp.core.errors import ConfigError, RunFolderError
from metaexp.core.nested import sha256_of, values_by_key
from metaexp.reproduce.difference import RunComparison, compare_folders, first_step, last_step_of
from metaexp.results.privacy import BLANK
from metaexp.results.provenance import git_state, versions
from metaexp.results.record import RECORD_FILE, RunRecord, read_record
from metaexp.run.folder import existing
from metaexp.run.integrity import check_choices
from metaexp.run.progress import Display, default_display

COMPARISON_FILE = "replay.json"
FOLDER = "reproduced"
"""Below ``paths.outputs``."""
_DEFAULT_PATHS = {"data": "./data", "outputs": "./outputs"}


class RerunPlan(NamedTuple):
    """The plan of a rerun.

    Attributes:
        run: The folder of the run.
        record: Its record.
        settings: Its settings, for this machine.
        until: Steps to train; None for all of them and the test.
        place: The folder of the rerun.
    """

    run: Path
    record: RunRecord
    settings: Settings
    until: int | None
    place: Path


class Rerun(NamedTuple):
    """A finished rerun, with its plan, its folder and the comparison of its numbers."""

    plan: RerunPlan
    folder: Path
    result: RunComparison


def plan_rerun(
    run: Path,
    overrides: Sequence[str] = (),
    *,
    steps: int | None = None,
    fresh: bool = False,
    config_dir: Path | None = None,
) -> RerunPlan:
    """Read a run folder and decide what its rerun will do. Nothing is written.

    Args:
        run: The run folder, or its published copy.
        overrides: Paths and device to use instead of the run's.
        steps: Train and compare only this many steps.
        fresh: Start over, even where an earlier rerun was interrupted.
        config_dir: The user's own configuration files.

    Raises:
        RunFolderError: The folder is not a run folder, holds no numbers, or contradicts itself.
        ConfigError: The overrides would make it another run, or ``steps`` ends before the first number.
    """
    place, record = existing(run), read_record(run)
    config, choices = place.read_config()
    _check_folder(run, config, record)
    settings = _settings(run, config, choices, record, overrides, config_dir)
    until = _until(run, record, steps)
    return RerunPlan(run, record, settings, until, _place(run, record, settings, fresh))


def rerun(plan: RerunPlan, display: Display | None = None) -> Rerun:
    """Train what the rerun still lacks, compare, and write the result to ``replay.json`` in its folder.

    A rerun that was interrupted is continued.

    Args:
        plan: The result of :func:`plan_rerun`.
        display: Shows progress.

    Raises:
        DataError: The data are not those of the run. Nothing was trained.
        MetaexpError: The run failed, as :func:`metaexp.run.job.run_job` says.
    """
    from metaexp.run.initial.command import Provenance
    from metaexp.run.job import resume_job, run_job

    display = display or default_display()
    record, place = plan.record, plan.place
    if (place / RECORD_FILE).exists():
        folder = resume_job(place, display, stop_after=plan.until).folder
    else:
        provenance = Provenance(
            overrides=record.overrides,
            full_steps=record.full_steps,
            deviations=record.deviations,
            data_hash=record.data_hash,
        )
        folder = run_job(plan.settings, provenance, place, display, stop_after=plan.until).folder
    result = compare_folders(plan.run, folder, plan.until)
    content = {"run": plan.run.resolve().name, "run_config_hash": record.config_hash, **dataclasses.asdict(result)}
    write_atomically(folder / COMPARISON_FILE, encode_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n"))
    return Rerun(plan, folder, result)


def format_rerun(done: Rerun) -> str:
    """Return the verdict, what was compared, the first differences and their possible causes, one a line."""
    result, until = done.result, done.plan.until
    beginning = "" if until is None else f" as far as compared: the first {counted(until, 'step')}"
    lines = [f"identical{beginning}" if result.identical else f"not identical{beginning}"]
    lines += [f"  the same: {what}" for what in result.compared]
    lines += [f"  {'first difference' if i == 0 else 'and'}: {d.format()}" for i, d in enumerate(result.differences)]
    lines += [f"  although {change}" for change in result.conditions if result.identical]
    lines += [f"  {'possible cause' if i == 0 else 'and'}: {cause}" for i, cause in enumerate(result.causes)]
    return "\n".join([*lines, f"rerun: {done.folder}"])


def _check_folder(run: Path, config: dict[str, Any], record: RunRecord) -> None:
    check_choices(run, record)
    if config_hash(config) != config_hash(record.config):
        raise RunFolderError(
            f"{run}/config.yaml is not the configuration that {RECORD_FILE} has (hash {config_hash(config)[:12]}, "
            f"there {config_hash(record.config)[:12]}): it was changed after the run, or is of another one "
            f"({format_changed_keys(record.config, config)}). Restore it."
        )
    if record.parent is not None and record.parent.not_from_start:
        raise ConfigError(
            f"{run} went on from {record.parent.name} at step {record.parent.step:,}, and a run from the start would "
            f"be another one ({'; '.join(record.parent.not_from_start)}). Reproduce that run, and continue its rerun "
            f"with metaexp train from=RERUN train.steps={record.config['train']['steps']}."
        )


def _settings(
    run: Path,
    config: dict[str, Any],
    choices: dict[str, str],
    record: RunRecord,
    overrides: Sequence[str],
    config_dir: Path | None,
) -> Settings:
    """The run's settings, with the paths of this user, the recorded device, and files as the only tracker."""
    mine = Composer(config_dir).settings([], Purpose.PLAN).resolved["paths"]
    paths = {key: mine[key] if value == _DEFAULT_PATHS.get(key) else value for key, value in config["paths"].items()}
    if not _is_below(run, paths["outputs"]):
        paths["outputs"] = mine["outputs"]  # a stranger does not say where this user's files are made
    again = config | {"paths": paths, "tracker": {}, "device": _device(config["device"], record)}
    settings = revise(again, choices, overrides, config_dir)
    _check_same(numeric_part(config), numeric_part(settings.resolved))
    _check_weights(settings)
    return settings


def _is_below(run: Path, outputs: str) -> bool:
    """Whether a run lies in its own folder of outputs: then it is this user's run, who chose that folder."""
    return run.resolve().is_relative_to(Path(outputs).resolve())


def _check_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Only the places of files may change. Their content is compared by the digest of the data."""
    then, now = values_by_key(before), values_by_key(after)
    blank = [key for key, value in now.items() if isinstance(value, str) and BLANK in value]
    if blank:
        raise ConfigError([f"{key} was blanked when the run was published; give it: {key}=..." for key in blank])
    keys = [key for key in {**then, **now} if not _is_place(then.get(key))]
    changed = [key for key in keys if then.get(key) != now.get(key)]
    if changed:
        raise ConfigError(
            f"the overrides change {', '.join(changed)}, so that it would be another run. To make a run again, only "
            "paths, tracker and device (but for its precision) can be chosen; metaexp train trains with other settings."
        )


def _check_weights(settings: Settings) -> None:
    """Check that the file of the run's initial weights is here."""
    weights = settings.model.options.get("weights")
    if weights is None:
        return
    digest = settings.model.options["weights_sha256"]
    if BLANK in weights:
        raise ConfigError(
            "model.weights was blanked when the run was published; give it: model.weights=FILE, the file whose SHA-256 "
            f"is {digest}."
        )
    check_digest(settings.model.options, digest_of(weights_file(Path(weights))))


def _is_place(value: Any) -> bool:
    return isinstance(value, str) and (BLANK in value or Path(value).is_absolute())


def _device(device: dict[str, Any], record: RunRecord) -> dict[str, Any]:
    """The run's device, with ``auto`` and ``null`` replaced by what the run took, if this machine has it."""
    then = record.device
    if then is None:
        return device
    kept = dict(device)
    if kept["accelerator"] == "auto" and why_missing(then.accelerator) is None:
        kept["accelerator"] = then.accelerator
    if kept["threads"] is None:
        kept["threads"] = then.threads
    return kept


def _until(run: Path, record: RunRecord, steps: int | None) -> int | None:
    """The step to stop at; None to do everything that a completed run did."""
    first = first_step(run)
    if first is None:
        raise RunFolderError(f"{run} is {record.status} and has no metrics: there is nothing to compare with.")
    if steps is not None and steps < first:
        raise ConfigError(
            f"--steps {steps} would compare nothing: the metrics of {run} begin after step {first:,}. "
            f"Give --steps {first} or more."
        )
    reached = record.steps if record.status == "completed" else last_step_of(run)
    if record.status == "completed" and (steps is None or steps >= reached):
        return None
    return reached if steps is None else min(steps, reached)


def _place(run: Path, record: RunRecord, settings: Settings, fresh: bool) -> Path:
    """The folder of the rerun. Its name depends on the run, the device and the version of the source.

    So the same command finds what it left, and changed source never continues what other source computed.
    """
    git = git_state()
    device = settings.resolved["device"]
    made_by = [versions(), None if git is None else git.commit, device, record.config_hash, record.started]
    digest = sha256_of(made_by)[:8]
    base = settings.paths.outputs / FOLDER / f"{run.resolve().name}-{digest}"
    newest, number = base, 2
    while (later := base.with_name(f"{base.name}_{number}")).exists():
        newest, number = later, number + 1
    return later if fresh and base.exists() else newest
