"""Rows of a table, made fit for a service. Without the package of any."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

log = logging.getLogger(__name__)

MOST_ROWS = 10_000
"""Rows of a table that a service gets."""


def shown_rows(name: str, rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Return the first :data:`MOST_ROWS` rows, with None in place of numbers that are not finite: JSON has none.

    Args:
        name: The name of the table, for the log.
        rows: Numbers and texts.
    """
    if len(rows) > MOST_ROWS:
        log.info("trackers show the first %d of the %d rows of %s", MOST_ROWS, len(rows), name)
    return [[_finite(cell) for cell in row] for row in rows[:MOST_ROWS]]


def _finite(cell: Any) -> Any:
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
