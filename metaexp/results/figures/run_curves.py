"""The curves of a run, drawn from its folder alone: ``metrics.jsonl`` and the test episodes. Without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from metaexp.results.display.names import full_name
from metaexp.results.display.wording import format_task, name_validation
from metaexp.results.figures.curves import Lines, Selected, adaptation_curve, learning_curve
from metaexp.results.figures.style import FEWEST_POINTS
from metaexp.results.history import History, read_history
from metaexp.results.record import RunRecord


def draw_curves(folder: Path, record: RunRecord) -> dict[str, Path]:
    """Draw the curves of a run into ``folder/plots``.

    ``learning_curve`` needs three validations or three lines of training metrics, ``adaptation_curve`` a tested
    algorithm with two steps or more. What a run has too few numbers for is not drawn.

    Args:
        folder: The run folder.
        record: Its record.

    Returns:
        Name -> PNG file.

    Raises:
        RunFolderError: A file is damaged.
    """
    history = read_history(folder)
    title = format_title(record)
    lines = Lines(
        chance=1.0 / record.task.n_way if record.task.n_way and history.metric == "accuracy" else None,
        reference=record.reference if record.reference and record.reference.metric == history.metric else None,
    )
    drawn: dict[str, Path] = {}
    if max(len(history.validation.steps), len(history.train_loss.steps)) >= FEWEST_POINTS:
        validation = history.validation._replace(name=name_validation(record))
        drawn["learning_curve"] = folder / "plots" / "learning_curve.png"
        learning_curve(
            drawn["learning_curve"], title, history.metric, validation, history.train_loss,
            _selected(record, history), history.test, lines,
        )  # fmt: skip
    if len(history.after_steps) >= FEWEST_POINTS:
        drawn["adaptation_curve"] = folder / "plots" / "adaptation_curve.png"
        episodes = f"{history.after_steps[0].n_episodes:,} test episodes"
        adaptation_curve(drawn["adaptation_curve"], f"{title}: {episodes}", history.after_steps, lines)
    return drawn


def _selected(record: RunRecord, history: History) -> Selected | None:
    """The step whose weights are tested: the last one, or where validation was best."""
    step = record.selected_step if record.tests_last else history.best_step
    return None if step is None else Selected(step, record.tests_last)


def format_title(record: RunRecord) -> str:
    """Return the title of a run's figures: algorithm, dataset and task.

    An algorithm that can have gradients of either order is first-order where the settings say so.

    Args:
        record: The record of the run.
    """
    section = record.config.get("algorithm")
    is_first_order = isinstance(section, Mapping) and section.get("first_order") is True
    name = f"{'First-order ' * is_first_order}{full_name(record.algorithm)}"
    return f"{name} on {record.dataset}, {format_task(record.task)}"
