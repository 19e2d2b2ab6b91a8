"""What a run writes and shows: the record, metrics, checkpoints, figures, its log and the display.

Rank 0 has all of them. The other ranks run the same statements with :class:`NoOutputs`, which does nothing.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from metaexp.core.checkpoint_names import step_name
from metaexp.core.errors import RunFolderError
from metaexp.core.json_lines import METRICS_FILE, SECONDS, TIMINGS_FILE, TRAINING_SECONDS, read_lines
from metaexp.core.metric import PER_CLASS
from metaexp.core.types import EvalResult
from metaexp.results.checkpoint_values import OF_STATE, check_values
from metaexp.results.episodes import METRICS_OF_EPISODES, table_of_episodes, write_episodes, write_metrics
from metaexp.results.per_class.files import CLASSES_FILE, CONFUSIONS_FILE, write_classes
from metaexp.results.progress_file import remove_progress
from metaexp.results.record import RunRecord, write_record
from metaexp.run.build import TrainingSetup
from metaexp.run.checkpoint import Checkpoint, Checkpoints, write
from metaexp.run.figures import draw
from metaexp.run.folder import RunFolder
from metaexp.run.integrity import MetricsDigest, check_metrics
from metaexp.run.progress import Display, Reporting, Silent
from metaexp.run.run_log import log_to_one_run, open_log
from metaexp.run.shared_state import NoCheckpoints
from metaexp.run.state import Weights
from metaexp.tracking.base import RunInfo, Tracker
from metaexp.tracking.trackers import NoTrackers, Trackers

log = logging.getLogger(__name__)


class Outputs:
    """The outputs of a run on rank 0.

    Args:
        folder: The run folder, locked by this process.
        display: What the user sees.
    """

    def __init__(self, folder: RunFolder, display: Display) -> None:
        self.folder = folder
        self.display = display
        self.checkpoints = Checkpoints(folder.checkpoints)
        self.trackers: Trackers = NoTrackers()
        self._metrics = MetricsDigest(folder.path / METRICS_FILE)

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    def is_gone(self) -> bool:
        """Whether the run folder has disappeared."""
        return not self.path.is_dir()

    def print(self, text: str) -> None:
        """Show a line, and keep it in the log."""
        self.display.print_line(text)
        logging.getLogger("metaexp").info(text)

    def log_to_this_run(self) -> AbstractContextManager[None]:
        """Within this block, send messages to the log of this run, and not to those of other runs in this process."""
        return log_to_one_run(self.path)

    def open_trackers(self, run: RunInfo, views: Mapping[str, Tracker], saved: Mapping[str, Any]) -> None:
        """Open the metrics and the views of the run.

        Args:
            run: What views show about the run.
            views: The trackers beside the files.
            saved: What :meth:`metrics_state` gave when the checkpoint was saved; empty for a new run. Later metrics
                are cut off.

        Raises:
            RunFolderError: The metrics before the checkpoint were changed.
        """
        position = saved.get("metrics_position", 0)
        check_metrics(self._metrics.path, position, saved.get("metrics_sha256"))
        self.trackers = Trackers(run, views)
        self.trackers.start(position)

    def metrics_state(self) -> dict[str, Any]:
        """Flush the metrics to the disk, and return their length and digest.

        Raises:
            MachineError: The file of metrics is gone, or shorter than what was written.
        """
        position = self.trackers.position()
        return {"metrics_position": position, "metrics_sha256": self._metrics.of(position)}

    def load_checkpoint(self) -> Checkpoint | None:
        """Load the newest good checkpoint, and remove what a killed process left half-written."""
        self.checkpoints.tidy()
        found = self.checkpoints.load()
        if found is not None:
            check_values(self.folder.checkpoints / step_name(found.step), found.values, OF_STATE)
        return found

    def save_record(self, record: RunRecord) -> None:
        """Write ``record.json``."""
        write_record(record, self.path)

    def save_best(self, weights: Weights, values: Mapping[str, Any]) -> None:
        """Write the selected weights, and the values that identify them.

        Args:
            weights: Tensors of the algorithm, by name.
            values: What identifies them, as JSON.
        """
        write(self.folder.best, weights, dict(values))

    def save_test(self, result: EvalResult, metric: str) -> None:
        """Write the metrics of every test episode, and show them in every view.

        Args:
            result: What the test measured.
            metric: The name of its metric.
        """
        per_step = result.per_step.tolist()
        further = {name: values.tolist() for name, values in result.extra.items()}
        write_episodes(self.folder.test_episodes, per_step, result.domains)
        if further:
            write_metrics(self.path / METRICS_OF_EPISODES, further)
        if result.classes:
            write_classes(self.path / CLASSES_FILE, self.path / CONFUSIONS_FILE, result.classes)
        elif PER_CLASS in further:
            log.warning("the dataset does not name the classes of its episodes, so there is no %s.", CLASSES_FILE)
        self.trackers.table("test_episodes", *table_of_episodes(metric, per_step, further, result.domains))

    def draw(self, setup: TrainingSetup, record: RunRecord) -> dict[str, Path]:
        """Draw the figures of the run and show them in every view: name -> PNG file.

        Args:
            setup: The parts of the run.
            record: Its record.
        """
        figures = draw(self.folder, setup, record)
        for name, path in figures.items():
            self.trackers.figure(name, path)
        return figures

    def seconds_before(self, step: int) -> tuple[float, float]:
        """Seconds, and of them seconds of training, that earlier sessions took up to ``step``.

        Raises:
            RunFolderError: The file of times is damaged.
        """
        path, found = self.path / TIMINGS_FILE, (0.0, 0.0)
        for at, values in read_lines(path):
            if at <= step and SECONDS in values:
                found = (values[SECONDS], values.get(TRAINING_SECONDS, -1.0))
                if not all(0 <= seconds < math.inf for seconds in found):
                    raise RunFolderError(f"{path} is damaged: it does not hold the times at step {at:,}. Restore it.")
        return found


class NoOutputs(Outputs):
    """The outputs of the other ranks: nothing, because rank 0 writes and shows everything."""

    def __init__(self) -> None:
        super().__init__(RunFolder(Path("RUN_FOLDER")), Silent())
        self.checkpoints = NoCheckpoints(Path())

    def is_gone(self) -> bool:
        """Rank 0 knows it."""
        return False

    def print(self, text: str) -> None:
        """Do nothing."""

    def open_trackers(self, run: RunInfo, views: Mapping[str, Tracker], saved: Mapping[str, Any]) -> None:
        """Do nothing."""

    def metrics_state(self) -> dict[str, Any]:
        """Rank 0 knows it."""
        return {}

    def load_checkpoint(self) -> Checkpoint | None:
        """No checkpoint: the state comes from rank 0."""
        return None

    def save_record(self, record: RunRecord) -> None:
        """Do nothing."""

    def save_best(self, weights: Weights, values: Mapping[str, Any]) -> None:
        """Do nothing."""

    def save_test(self, result: EvalResult, metric: str) -> None:
        """Do nothing."""

    def draw(self, setup: TrainingSetup, record: RunRecord) -> dict[str, Path]:
        """Draw nothing."""
        return {}

    def seconds_before(self, step: int) -> tuple[float, float]:
        """Rank 0 keeps the time."""
        return (0.0, 0.0)


@contextmanager
def open_outputs(folder: RunFolder, display: Display) -> Iterator[Outputs]:
    """Send metaexp's log to ``run.log``, and its warnings to the display too, within a ``with`` block.

    Args:
        folder: The run folder, locked by this process.
        display: What the user sees.

    Yields:
        The outputs of the run.
    """
    with open_log(folder, display):
        try:
            yield Outputs(folder, Reporting(display, folder.path))
        finally:
            remove_progress(folder.path)
