"""What training has cost at a step: steps, tasks, or time."""

from __future__ import annotations

from metaexp.core.shapes import trains_on_batches
from metaexp.results.history import History
from metaexp.results.record import RunRecord

AXES = {"steps": "training steps", "tasks": "training tasks seen", "time": "training time (minutes)"}
"""What learning curves can be drawn over -> the label of that axis."""


def tasks_per_step(record: RunRecord) -> int | None:
    """Return how many tasks a training step sees; None where it sees a batch of examples of all classes.

    Args:
        record: The record of a run.
    """
    if _on_batches(record):
        return None
    batch = record.config.get("train", {}).get("meta_batch_size")
    return batch if isinstance(batch, int) else None


def _on_batches(record: RunRecord) -> bool:
    kind: str | None = record.training_tasks
    if kind is None:  # an older record does not say it; these two learners are trained so
        target = str(record.config.get("algorithm", {}).get("_target_", ""))
        names = (record.algorithm, target.rpartition(".")[2])
        on_batches = {"fine_tune", "FineTune", "nearest_neighbour", "NearestNeighbour"}
        kind = "episodes" if on_batches.isdisjoint(names) else "supervised"
    return trains_on_batches(kind, record.task.n_way)


def validation_places(record: RunRecord, history: History, axis: str) -> dict[float, float]:
    """Return for every step of a validation its place on an axis; empty where the run does not say it.

    Args:
        record: The record of the run.
        history: Its scalars.
        axis: A name in :data:`AXES`.
    """
    if axis == "time":
        return {step: seconds / 60.0 for step, seconds in history.training_seconds.items()}
    each = tasks_per_step(record) if axis == "tasks" else 1
    return {} if each is None else {step: step * each for step in history.validation.steps}
