"""All trackers of one run behind one object: first the files, then the views. A failed view does not stop the run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from metaexp.core.json_lines import METRICS_FILE, TIMINGS_FILE
from metaexp.tracking.base import Outcome, RunInfo, Tracker
from metaexp.tracking.files import JsonLines

log = logging.getLogger(__name__)


class Trackers:
    """Writes ``metrics.jsonl`` and ``timings.jsonl`` and passes everything on to the views.

    A view that raises is named once in the log and left out from then on; the run does not notice. The two
    files belong to the run, so an error in writing them (a full disk) is raised.
    """

    def __init__(self, run: RunInfo, views: Mapping[str, Tracker]) -> None:
        self.run = run
        self._views = dict(views)
        self._metrics = JsonLines(run.folder / METRICS_FILE)
        self._timings = JsonLines(run.folder / TIMINGS_FILE)

    def start(self, position: int = 0) -> None:
        """Open the files and the views.

        Args:
            position: bytes of ``metrics.jsonl`` to keep: 0 for a new run, :meth:`position` of the checkpoint for a
                resumed one.

        Raises:
            RunFolderError: The file is shorter than ``position``.
        """
        self._metrics.open(position)
        self._timings.open()
        self._each("started", lambda view: view.start(self.run))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record ``values`` at training step ``step``. They must not depend on a clock.

        Args:
            step: The training step.
            values: Numbers by name ``<split>/<quantity>``.
        """
        self._metrics.append(step, values)
        self._each("written to", lambda view: view.scalars(step, values))

    def timings(self, step: int, values: Mapping[str, float]) -> None:
        """Record rates and times (``time/<quantity>``), which differ between equal runs.

        Args:
            step: The training step.
            values: Numbers by name ``time/<quantity>``.
        """
        self._timings.append(step, values)
        self._each("written to", lambda view: view.scalars(step, values))

    def position(self) -> int:
        """Bytes of ``metrics.jsonl`` so far, for a checkpoint; they are on the disk when this returns."""
        self._metrics.sync()
        return self._metrics.position()

    def figure(self, name: str, path: Path) -> None:
        """Show the PNG file at ``path``, which is in the run folder, in every view.

        Args:
            name: The name of the figure.
            path: The PNG file.
        """
        self._each("given a figure", lambda view: view.figure(name, path))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Show a table in every view that has tables.

        Args:
            name: The name of the table.
            columns: The names of its columns.
            rows: Numbers and texts, a value for each column.
        """
        self._each("given a table", lambda view: view.table(name, columns, rows))

    def finish(self, outcome: Outcome, summary: Mapping[str, float], artifacts: Mapping[str, Path]) -> None:
        """Close files and views. Safe to call when :meth:`start` failed half-way, and a second time.

        Args:
            outcome: How the run ended.
            summary: Its final numbers, by name.
            artifacts: Files that views may keep, by name.
        """
        self._metrics.close()
        self._timings.close()
        self._each("closed", lambda view: view.finish(outcome, summary, artifacts))
        self._views.clear()

    def _each(self, what: str, action: Callable[[Tracker], None]) -> None:
        for name, view in list(self._views.items()):
            try:
                action(view)
            except Exception as error:
                del self._views[name]
                log.warning(
                    "tracker %s could not be %s (%s: %s); the run goes on without it, %s has every number",
                    name, what, type(error).__name__, error, METRICS_FILE,
                )  # fmt: skip
                log.debug("where tracker %s failed", name, exc_info=True)


class NoTrackers(Trackers):
    """Writes nothing, because another process of the same run writes everything."""

    def __init__(self) -> None:
        pass

    def start(self, position: int = 0) -> None:
        """Do nothing."""
        return

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Do nothing."""
        return

    def timings(self, step: int, values: Mapping[str, float]) -> None:
        """Do nothing."""
        return

    def position(self) -> int:
        """Return 0."""
        return 0

    def figure(self, name: str, path: Path) -> None:
        """Do nothing."""
        return

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Do nothing."""
        return

    def finish(self, outcome: Outcome, summary: Mapping[str, float], artifacts: Mapping[str, Path]) -> None:
        """Do nothing."""
        return
