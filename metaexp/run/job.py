"""Makes a run, from its settings to its finished record, or continues one."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from metaexp.config.check import check
from metaexp.config.identity import folder_name, shared_digest
from metaexp.config.purpose import Purpose
from metaexp.config.schema import Settings
from metaexp.core.errors import DataError
from metaexp.machine.failures import explain_errors
from metaexp.machine.signals import stop_on_signals
from metaexp.machine.single_rank import SINGLE, Ranks
from metaexp.results.display.wording import format_network, format_order, format_task
from metaexp.results.record import RECORD_FILE, RunRecord, parse_record, read_record
from metaexp.run.build import TrainingSetup, set_up
from metaexp.run.checkpoint import Checkpoints, read_files
from metaexp.run.first_record import first_record
from metaexp.run.folder import RunFolder, check_new_place, check_room, check_unused, create_folder, existing
from metaexp.run.initial.command import Provenance
from metaexp.run.initial.parent import format_parent
from metaexp.run.initial.weights import format_initial
from metaexp.run.integrity import check_config, check_run_files
from metaexp.run.outputs import NoOutputs, Outputs, open_outputs
from metaexp.run.progress import Display, Silent, default_display
from metaexp.run.run_log import keep_early_messages
from metaexp.run.session import Session

_SAVED_WEIGHTS = 3
"""How often a run saves weights at least: in its last two checkpoints, and the best ones."""


class Finished(NamedTuple):
    """A completed run. ``folder`` is known on rank 0 only."""

    record: RunRecord
    folder: Path


def run_job(
    settings: Settings,
    provenance: Provenance | None = None,
    folder: Path | None = None,
    display: Display | None = None,
    ranks: Ranks = SINGLE,
    *,
    stop_after: int | None = None,
) -> Finished:
    """Train, validate, test and record a new run.

    Nothing is written before the data are loaded, have the digest that ``provenance`` asks for, and everything is
    built.

    Args:
        settings: The checked configuration. With several ranks, each has composed the same one.
        provenance: Where the settings came from.
        folder: An empty folder to run in; None makes a new one under ``paths.outputs``.
        display: What the user sees; None chooses by the terminal.
        ranks: The ranks that share the run. All of them call this function.
        stop_after: Pause after this many steps, with a checkpoint; the record then says "interrupted".

    Returns:
        The record and the run folder.

    Raises:
        MetaexpError: The run failed; the subclass says how. The record in the run folder says it too.
        Interrupted: A signal ended the run after a clean save.
    """
    provenance = provenance or Provenance()
    shown = _display(display, ranks)
    with explain_errors(), keep_early_messages(shown), ExitStack() as stack:
        ranks.broadcast(lambda: check_new_place(settings.paths.outputs if folder is None else folder, folder))
        ranks.require_equal("the configuration", lambda: shared_digest(settings))
        parent = provenance.parent.folder if provenance.parent else None
        setup = stack.enter_context(set_up(settings, ranks, shown.print_line, parent=parent))
        ranks.run(lambda: _check_data(setup, provenance.data_hash))
        record = first_record(setup, provenance)
        outputs = ranks.run(lambda: new_outputs(stack, setup, provenance, record, folder, shown))
        return _run(setup, outputs, record, stop_after)


def resume_job(
    path: Path, display: Display | None = None, ranks: Ranks = SINGLE, *, stop_after: int | None = None
) -> Finished:
    """Continue the run in folder ``path`` from its newest good checkpoint.

    It continues bit for bit where the machine is the same. A completed run is left as it is.

    Args:
        path: The run folder; rank 0 alone reads it.
        display: What the user sees; None chooses by the terminal.
        ranks: The ranks that share the run. All of them call this function.
        stop_after: Pause once this many steps are done, all sessions together.

    Returns:
        The record and the run folder.

    Raises:
        RunFolderError: The folder is not a run's, is in use, has damaged checkpoints only, or was changed since.
        MetaexpError: The run failed; the subclass says how. The record in the run folder says it too.
    """
    shown = _display(display, ranks)
    with explain_errors(), keep_early_messages(shown), ExitStack() as stack:
        saved: dict[str, Any] = ranks.broadcast(lambda: read_locked(stack, path))
        before = None if saved["record"] is None else parse_record(saved["record"], path / RECORD_FILE)
        if before is not None and before.status == "completed":
            completed = before
            ranks.run(lambda: check_run_files(path, completed))
            shown.print_line(f"{path} is complete; there is nothing to continue.")
            return Finished(before, path)
        settings = ranks.run(lambda: check(saved["config"], saved["choices"], Purpose.CONTINUE))
        ranks.broadcast(lambda: check_config(path, saved["config"]))
        setup = stack.enter_context(set_up(settings, ranks, shown.print_line, begins=not saved["has_checkpoint"]))
        record = first_record(setup, Provenance())
        if before is not None:
            record = continued_record(before, record)
        outputs = ranks.run(lambda: resumed_outputs(stack, setup, RunFolder(path), shown))
        return _run(setup, outputs, record, stop_after)


def _run(setup: TrainingSetup, outputs: Outputs, record: RunRecord, stop_after: int | None) -> Finished:
    request = setup.ranks.stop_request()
    request.after = stop_after
    with stop_on_signals(request) as stop:
        checkpoint = setup.ranks.run(outputs.load_checkpoint)
        for line in format_start(record, str(setup.compute), outputs.path):
            outputs.print(line)
        if checkpoint is not None:
            outputs.print(f"continues after step {checkpoint.step:,}{format_parent(record.parent, checkpoint.step)}")
        return Finished(Session(setup, outputs, record, checkpoint, stop).run(), outputs.path)


def format_start(record: RunRecord, device: str, folder: Path) -> list[str]:
    """Return a few lines about what is about to run.

    Args:
        record: The record of the run when it starts.
        device: The device, in words.
        folder: The run folder.
    """
    order = "" if record.first_order is None else f", {format_order(record.first_order)} order"
    network = format_network(record.model)
    return [
        f"{record.algorithm} on {record.dataset}, {format_task(record.task)}, seed {record.seed}",
        f"{network}: {record.n_parameters or 0:,} meta-parameters; batch norm {record.batch_norm}{order}",
        f"device: {device}",
        f"run folder: {folder}",
        *(format_initial(record.initial_weights) if record.initial_weights else []),
    ]


def _display(display: Display | None, ranks: Ranks) -> Display:
    return Silent() if ranks.rank > 0 else display or default_display()


def _check_data(setup: TrainingSetup, expected: str | None) -> None:
    digest = setup.parts.dataset.digest
    if expected not in (None, digest):
        raise DataError(
            f"the data are not those of the run that is repeated or continued: their digest is {digest}, the "
            f"run's is {expected}. The data were read from {setup.settings.paths.data}; choose another place with "
            "paths.data=..."
        )


def new_outputs(
    stack: ExitStack,
    setup: TrainingSetup,
    provenance: Provenance,
    record: RunRecord,
    folder: Path | None,
    display: Display,
) -> Outputs:
    """Make and lock the folder of a new run, write its configuration, and open its outputs.

    Args:
        stack: Closes the outputs and unlocks the folder.
        setup: What the run trains and measures with.
        provenance: Where its settings came from.
        record: Its first record.
        folder: An empty folder; None makes a new one under ``paths.outputs``.
        display: What the user sees.
    """
    if setup.ranks.rank > 0:
        return NoOutputs()
    weights = sum(tensor.nbytes for tensor in setup.state.tensors().values())
    check_room(folder or setup.settings.paths.outputs, _SAVED_WEIGHTS * weights)
    if folder is None:
        place = create_folder(setup.settings.paths.outputs, folder_name(setup.settings.name, datetime.now()))
    else:
        place = RunFolder(folder)
        folder.mkdir(parents=True, exist_ok=True)
    stack.enter_context(place.lock())
    check_unused(place.path)  # once more, now that no other process can have it
    place.save_settings(setup.settings)
    for name, text in provenance.files.items():
        (place.path / name).parent.mkdir(parents=True, exist_ok=True)
        (place.path / name).write_text(text, encoding="utf-8")
    if provenance.parent is not None:
        provenance.parent.copy_to(place, record)
    return resumed_outputs(stack, setup, place, display)


def resumed_outputs(stack: ExitStack, setup: TrainingSetup, place: RunFolder, display: Display) -> Outputs:
    """Open the outputs of a run whose folder is locked.

    Args:
        stack: Closes them.
        setup: What the run trains and measures with.
        place: The run folder.
        display: What the user sees.
    """
    if setup.ranks.rank > 0:
        return NoOutputs()
    place.save_own_code(setup.settings.own_code)
    return stack.enter_context(open_outputs(place, display))


def read_locked(stack: ExitStack, path: Path) -> dict[str, Any]:
    """Lock a run folder, and read the configuration and the record of the run.

    Args:
        stack: Unlocks the folder when it closes.
        path: The run folder.
    """
    place = existing(path)
    stack.enter_context(place.lock())
    config, choices = place.read_config()
    checkpoints = Checkpoints(place.checkpoints)
    record: dict[str, Any] | None
    if (path / RECORD_FILE).exists():
        record = asdict(read_record(path))
    else:  # killed before it wrote one, perhaps with another run's checkpoint
        newest = checkpoints.newest(read_files)
        record = None if newest is None else newest[1][1].get("record")
    return {
        "config": config,
        "choices": choices,
        "record": record,
        "has_checkpoint": bool(checkpoints.steps()),
    }


def continued_record(before: RunRecord, fresh: RunRecord) -> RunRecord:
    """Return the record of the next session: this machine, and what earlier sessions recorded.

    Args:
        before: The record in the run folder.
        fresh: The record of the run as it would begin here.
    """
    return replace(
        fresh,
        overrides=before.overrides,
        group=before.group,
        full_steps=before.full_steps,
        deviations=before.deviations,
        exact_resume=before.exact_resume,
        inexact_resumes=before.inexact_resumes,
        started=before.started,
        git=before.git,
        sources=before.sources,
        own_code=before.own_code,
        parent=before.parent,
        initial_weights=before.initial_weights or fresh.initial_weights,
        training_classes=sorted({*before.training_classes, *fresh.training_classes}),
        val_in_train=before.val_in_train or fresh.val_in_train,
        val_classes_trained=max(before.val_classes_trained, fresh.val_classes_trained),
        versions=before.versions,
    )
