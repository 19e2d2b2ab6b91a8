"""One trial of a study. Without torch and optuna."""

from __future__ import annotations

from typing import Any, NamedTuple

from metaexp.search.space import Value


class Point(NamedTuple):
    """One trial of the study.

    Attributes:
        number: Number of the trial, from 0.
        state: ``running``, ``complete``, ``pruned`` or ``fail``.
        value: Its final validation metric; None unless it is complete.
        values: A value for each dimension.
        reported: Step -> validation metric.
        notes: Notes that are kept with it; see :meth:`Study.note`.
    """

    number: int
    state: str
    value: float | None
    values: tuple[Value, ...]
    reported: dict[int, float]
    notes: dict[str, Any]

    @property
    def is_counted(self) -> bool:
        """Whether it counts towards ``search.trials``. A point that repeats an earlier one does not."""
        return "same_as" not in self.notes
