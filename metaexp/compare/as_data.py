"""A comparison as data and figures, for Python and notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metaexp.compare.comparison import ComparedRuns
from metaexp.compare.gather import LeftOut
from metaexp.core.counted import counted
from metaexp.core.terminal_text import plain
from metaexp.results.figures.shown import ShownFigure
from metaexp.results.run_table import format_html_table, format_left_out, make_frame

if TYPE_CHECKING:
    import pandas as pd


class Comparison:
    """Runs compared, as data.

    Args:
        tables: The comparison.

    Attributes:
        tables: Everything that ``metaexp compare`` writes, one table for each dataset, way and shot.
        left_out: The runs that are not compared, each with its ``name`` and the ``reason``.
    """

    def __init__(self, tables: ComparedRuns) -> None:
        self.tables = tables.tables
        self.left_out: list[LeftOut] = tables.left_out
        self._whole = tables

    def __repr__(self) -> str:
        """The tasks, the number of rows, and the runs that are left out, a line for each."""
        first = f"<comparison of {counted(len(self.rows), 'row')}: {', '.join(table.title for table in self.tables)}>"
        return "\n  ".join(map(plain, [first, *self._left_out_lines()]))

    def _repr_html_(self) -> str:
        """The rows and what is left out, for a notebook."""
        shown = ("task", "label", "metric", "mean", "low", "high", "rank", "seeds")
        return format_html_table([{key: row[key] for key in shown} for row in self.rows], self._left_out_lines())

    def _left_out_lines(self) -> list[str]:
        return format_left_out([(item.name, item.reason) for item in self.left_out])

    @property
    def figures(self) -> dict[str, ShownFigure]:
        """The figures of the comparison by name, as ``metaexp compare`` draws them; a notebook shows each."""
        from metaexp.compare.output.draw import draw
        from metaexp.compare.output.figures import figures

        return {figure.name: ShownFigure(figure.name, draw(figure).png) for figure in figures(self._whole)}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row for each algorithm or setting: its score with interval, and its cost."""
        return [
            {
                "task": table.title, "label": row.label, "metric": table.metric, "mean": row.estimate.mean,
                "low": row.estimate.low, "high": row.estimate.high, "rank": row.rank, "rank_last": row.rank_last,
                "seeds": row.seeds, "batch_norm": row.batch_norm, "seconds": row.cost.seconds, "steps": row.cost.steps,
                "tasks_seen": row.cost.tasks,
                "folders": [str(run.folder) for run in row.runs],
            }
            for table in self.tables
            for row in table.rows
        ]  # fmt: skip

    @property
    def pairs(self) -> list[dict[str, Any]]:
        """One entry for each pair of rows: the difference of their means, with its interval."""
        return [
            {"task": table.title, "first": table.rows[pair.first].label, "second": table.rows[pair.second].label}
            | {key: value for key, value in vars(pair).items() if key not in ("first", "second")}
            for table in self.tables
            for pair in table.pairs
        ]

    def to_frame(self) -> pd.DataFrame:
        """Return the rows as a pandas DataFrame.

        Raises:
            ConfigError: pandas is not installed.
        """
        return make_frame(self.rows)
