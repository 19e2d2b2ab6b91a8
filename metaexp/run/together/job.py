"""Begins or continues several runs in this process, and trains them together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metaexp.config.check import check
from metaexp.config.purpose import Purpose
from metaexp.config.schema import Settings
from metaexp.core.errors import MetaexpError
from metaexp.data.base import Progress
from metaexp.machine.device import Compute, use_device
from metaexp.machine.failures import explain_errors
from metaexp.machine.signals import StopRequest, stop_on_signals
from metaexp.machine.single_rank import SINGLE
from metaexp.results.record import RECORD_FILE, parse_record
from metaexp.run.build import TrainingSetup, build, load_dataset, training_setup
from metaexp.run.checkpoint import Checkpoints
from metaexp.run.first_record import first_record
from metaexp.run.folder import RunFolder
from metaexp.run.initial.command import Provenance
from metaexp.run.integrity import check_config
from metaexp.run.job import continued_record, format_start, new_outputs, read_locked, resumed_outputs
from metaexp.run.outputs import Outputs
from metaexp.run.progress import Display, default_display
from metaexp.run.run_log import keep_early_messages
from metaexp.run.session import Session
from metaexp.run.together.labelled import Labelled
from metaexp.run.together.lockstep import Member, run_members, stacked_gradient


@dataclass
class Start:
    """One of the runs, before it begins.

    Attributes:
        settings: Its checked settings.
        provenance: Where they came from.
        folder: Its run folder: empty, or with a run to continue.
        label: What the user sees before its lines.
        saved: What the folder holds of an earlier session; None for a new run.
    """

    settings: Settings
    provenance: Provenance
    folder: Path
    label: str
    saved: dict[str, Any] | None = None


def run_together(
    starts: Sequence[Start], n_runs: int | None = None, display: Display | None = None
) -> list[MetaexpError | Exception | None]:
    """Train, validate, test and record several runs together.

    Their settings may differ in the seed and in what comes after the gradient: optimiser, schedule, clipping and
    validation. Each run folder is then that of an ordinary run.

    Args:
        starts: The runs.
        n_runs: How many runs there are with those that are completed already, for the records.
        display: What the user sees; None chooses by the terminal.

    Returns:
        What ended each run early; None for a completed one.

    Raises:
        MetaexpError: No run could begin.
    """
    shown = display or default_display()
    with explain_errors(), keep_early_messages(shown), ExitStack() as stack:
        errors: dict[int, Exception] = {}
        begun: dict[int, Start] = {}
        for number, start in enumerate(starts):
            try:
                begun[number] = _read(stack, start)
            except MetaexpError as error:
                errors[number] = error
        if not begun:
            raise errors[0]
        left = list(begun.values())
        common = common_step([Checkpoints(start.folder / "checkpoints") for start in left])
        compute = replace(stack.enter_context(use_device(left[0].settings.device)), runs_together=n_runs or len(starts))
        setups = _set_up(left, common, compute, shown)
        stop = stack.enter_context(stop_on_signals(StopRequest()))
        members = [_member(stack, start, setup, common, stop, shown) for start, setup in zip(left, setups, strict=True)]
        run_members(members, stop, shown)
        errors |= {number: m.error for number, m in zip(begun, members, strict=True) if m.error is not None}
        return [errors.get(number) for number in range(len(starts))]


def check_together(runs: Sequence[Settings], progress: Progress) -> None:
    """Check whether new runs can be trained together: build them, and compute the gradients of their first step.

    Args:
        runs: Their settings, of which two are enough if they differ as those of :func:`run_together` may.
        progress: Takes lines about what is done meanwhile, such as a download.

    Raises:
        MetaexpError: They cannot be trained together, or none of them can begin.
    """
    with use_device(runs[0].device) as compute:
        dataset = load_dataset(runs[0], compute, progress)
        parts = [build(run, compute, progress, dataset=dataset) for run in runs]
        setups = [training_setup(run, SINGLE, compute, own) for run, own in zip(runs, parts, strict=True)]
        if all(setup.step is not None for setup in setups):
            stacked_gradient(setups).check(0)


def _read(stack: ExitStack, start: Start) -> Start:
    """Lock and read the folder of a run that was begun before; its own settings win."""
    if not (start.folder / RECORD_FILE).exists():
        return start
    saved = read_locked(stack, start.folder)
    check_config(start.folder, saved["config"])
    return replace(start, settings=check(saved["config"], saved["choices"], Purpose.CONTINUE), saved=saved)


def common_step(checkpoints: Sequence[Checkpoints]) -> int | None:
    """Return the newest step that every run can go on from; None if there is none.

    A kill can come between the saves of two runs. From the step before, they go on as if nothing had happened: with
    the same runs at each step.

    Args:
        checkpoints: Those of each run.
    """
    return max(set.intersection(*(found.whole_steps() for found in checkpoints)), default=None)


def _set_up(starts: Sequence[Start], common: int | None, compute: Compute, display: Display) -> list[TrainingSetup]:
    """Load the data once, and build every run on them."""
    dataset = load_dataset(starts[0].settings, compute, display.print_line)
    found = []
    for start in starts:
        begins = common == 0 or start.saved is None or not start.saved["has_checkpoint"]
        parts = build(start.settings, compute, display.print_line, begins=begins, dataset=dataset)
        found.append(training_setup(start.settings, SINGLE, compute, parts))
    return found


def _member(
    stack: ExitStack, start: Start, setup: TrainingSetup, common: int | None, stop: StopRequest, display: Display
) -> Member:
    """Open the outputs of a run, and its session."""
    shown = Labelled(display, start.label)
    record = first_record(setup, start.provenance)
    outputs: Outputs
    if start.saved is None:
        outputs = new_outputs(stack, setup, start.provenance, record, start.folder, shown)
    else:
        record = continued_record(parse_record(start.saved["record"], start.folder / RECORD_FILE), record)
        outputs = resumed_outputs(stack, setup, RunFolder(start.folder), shown)
    if common is not None:
        outputs.checkpoints.drop_after(common)
    with outputs.log_to_this_run():
        checkpoint = outputs.load_checkpoint()
        for line in format_start(record, str(setup.compute), outputs.path):
            outputs.print(line)
        if checkpoint is not None:
            outputs.print(f"continues after step {checkpoint.step:,}")
    return Member(Session(setup, outputs, record, checkpoint, stop))
