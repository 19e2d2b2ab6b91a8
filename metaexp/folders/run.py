"""A run folder, read from Python: ``mx.train`` and ``mx.load_run`` return it. It imports torch."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy.typing as npt

from metaexp.config.command_line.override_text import override_texts
from metaexp.config.project import use_own_files
from metaexp.config.schema import Settings
from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import called_in_python
from metaexp.core.shapes import TaskShape
from metaexp.core.short_repr import LongList
from metaexp.core.terminal_text import plain
from metaexp.results.display.wording import format_score
from metaexp.results.episodes import EPISODES_FILE, tested_episodes
from metaexp.results.evaluations import Evaluation, evaluations
from metaexp.results.figures.shown import ShownFigure
from metaexp.results.record import RunRecord, read_record
from metaexp.run.evaluation.evaluate import evaluate_run
from metaexp.run.folder import RunFolder, existing
from metaexp.run.integrity import check_run_files, checked_metrics
from metaexp.run.predict.conformal import Calibration
from metaexp.run.predict.learner import Array, Learner
from metaexp.run.predict.predict import calibrate_run, make_learner


class Run:
    """A run folder, read.

    Args:
        folder: The run folder.

    Attributes:
        folder: The run folder.
        record: Its record: scores (accuracies are fractions), settings, versions, time in seconds, memory in bytes.

    Raises:
        RunFolderError: There is no run in ``folder``, or a file of it is damaged or of another run.
    """

    def __init__(self, folder: Path) -> None:
        self._place: RunFolder = existing(folder.absolute())  # a notebook may change its current folder
        self.folder = self._place.path
        self.record: RunRecord = read_record(self.folder)
        check_run_files(self.folder, self.record)

    def __repr__(self) -> str:
        """Name, status and test score."""
        score = "not tested" if (test := self.record.test) is None else f"test {test.metric} {format_score(test)}"
        return plain(f"<Run {self.record.name}: {self.record.status}, {score}>")

    @cached_property
    def settings(self) -> Settings:
        """The settings, checked."""
        return self._place.load_settings()

    @property
    def metrics(self) -> list[dict[str, float]]:
        """Every line of ``metrics.jsonl``: the step and its values, in the order in which they were written."""
        return LongList({"step": step, **values} for step, values in checked_metrics(self.folder))

    @property
    def test_episodes(self) -> list[list[float]]:
        """The test metric, (steps + 1, n_episodes): of each episode after 0, 1, ... steps of adaptation."""
        found = tested_episodes(self.folder / EPISODES_FILE, self.record.test, self.record.test_episodes_sha256)
        return LongList(map(LongList, found))

    @property
    def evaluations(self) -> list[Evaluation]:
        """The later tests of the selected weights that the run folder keeps now, the oldest first.

        Files that are damaged, or of other weights, are skipped.
        """
        return LongList(kept.evaluation for kept in evaluations(self.folder, self.record))

    @property
    def figures(self) -> dict[str, ShownFigure]:
        """The figures of the run by name, such as ``learning_curve``; a notebook shows each."""
        paths = sorted((self.folder / "plots").glob("*.png"))
        return {path.stem: ShownFigure(path.stem, path.read_bytes()) for path in paths}

    def algorithm(self) -> Algorithm:
        """Return the algorithm with the selected weights, on the CPU, in evaluation mode.

        Raises:
            RunFolderError: The run has no weights: it was not validated yet, or this is a published copy without them.
        """
        return self.learner().algorithm

    def learner(self) -> Learner:
        """Return a learner with the selected weights, to adapt to any number of tasks.

        Raises:
            RunFolderError: The run has no weights: it was not validated yet, or this is a published copy without them.
        """
        return make_learner(self._place, self.settings)

    @called_in_python()
    def evaluate(
        self, *overrides: str, config_dir: str | Path | None = None, allow_trained_classes: bool = False
    ) -> Evaluation:
        """Test the selected weights again, as ``metaexp evaluate RUN`` does. The test is kept in the run folder.

        Args:
            overrides: Changes to the settings of the run, such as ``"task.n_way=20"`` and ``"eval.episodes=2000"``.
            config_dir: A folder of your own groups and files, for choices among the overrides; else METAEXP_CONFIG_DIR
                or that of ``metaexp.toml``.
            allow_trained_classes: Whether to test also on classes that the run was trained on; ``trained_classes`` of
                the result is how many they are.

        Returns:
            The test. Accuracies are fractions.

        Raises:
            ConfigError: The overrides are wrong, do not fit the weights, or matter for training only. Or test classes
                were trained on.
            DataError: The data are missing or damaged.
            NotFiniteError: A score is not finite.
            RunFolderError: The run has no weights, or a file of it was changed after the run.
        """
        changes = override_texts(overrides)
        own = use_own_files(None if config_dir is None else Path(config_dir), ()).config_dir
        return evaluate_run(self.folder, changes, own, None, allow_trained_classes).evaluation

    def adapt(self, x: Array, y: Array) -> Learner:
        """Adapt to a new task. To adapt to many, keep :meth:`learner`, which reads the weights once.

        Args:
            x: The support examples (S, ...), as the dataset of the run prepares them: float32, images (S, C, H, W)
                with their preprocessing done.
            y: Their labels (S,), any values that can be sorted; or their targets (S, D_out) for regression.

        Returns:
            A learner that is adapted to the task.

        Raises:
            ConfigError: The examples or labels do not fit the run.
            RunFolderError: The run has no weights.
        """
        return self.learner().adapt(x, y)

    def predict(self, x: Array, y: Array, query: Array) -> npt.NDArray[Any]:
        """Adapt to ``x`` and ``y``, and predict each example of ``query``.

        Args:
            x: As for :meth:`adapt`.
            y: As for :meth:`adapt`.
            query: New examples (M, ...). With transductive batch norm they are normalised together.

        Returns:
            Their labels (M,), of the kind of ``y``; or outputs (M, D_out) for regression.

        Raises:
            ConfigError: The examples or labels do not fit the run, or a score is not finite.
            RunFolderError: The run has no weights.
        """
        return self.adapt(x, y).predict(query)

    def calibrate(
        self, level: float = 0.9, n_way: int | None = None, k_shot: int | None = None, episodes: int | None = None
    ) -> Calibration:
        """Calibrate prediction sets on validation episodes, for ``learner.sets`` and ``learner.intervals``.

        Args:
            level: The coverage over unseen tasks, between 0 and 1.
            n_way: Classes of the tasks that will be predicted; by default those of the run.
            k_shot: Support examples of each class; by default those of the run.
            episodes: Validation episodes to calibrate on; by default as many as the run was tested on.

        Returns:
            What ``learner.sets`` and ``learner.intervals`` take.

        Raises:
            ConfigError: The level is impossible or needs more episodes, the dataset cannot serve such tasks, or the run
                trained on the validation classes.
            DataError: The data of the run are not there.
            NotFiniteError: A score is not finite.
            RunFolderError: The run has no weights.
        """
        task = self.settings.task
        ways, shots = task.n_way if n_way is None else n_way, task.k_shot if k_shot is None else k_shot
        return calibrate_run(self.learner(), self.settings, TaskShape(ways, shots, task.n_query), level, episodes)
