"""Train, load and compare runs from Python. The package itself exports these names: ``import metaexp as mx``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy.typing as npt

from metaexp.compare.as_data import Comparison as Comparison
from metaexp.compare.comparison import compare
from metaexp.compare.find import run_folders
from metaexp.compare.gather import gather
from metaexp.config.classes.values import format_setting
from metaexp.config.compose import Composer
from metaexp.config.identity import numeric_part
from metaexp.config.project import use_own_files
from metaexp.config.purpose import Purpose
from metaexp.config.schema import Settings
from metaexp.core.algorithm import Algorithm
from metaexp.core.counted import listed, shortened
from metaexp.core.errors import ConfigError, RunFolderError
from metaexp.core.shapes import TaskShape
from metaexp.core.terminal_text import plain
from metaexp.data.inventory.loaded import LoadedDataset
from metaexp.folders.table import read_table
from metaexp.models.torch_settings import standard_settings
from metaexp.results.display.wording import format_score
from metaexp.results.episodes import EPISODES_FILE, tested_episodes
from metaexp.results.figures.shown import ShownFigure
from metaexp.results.record import RunRecord, read_record
from metaexp.results.run_table import RunTable
from metaexp.run.build import load_examples
from metaexp.run.folder import RunFolder, existing
from metaexp.run.initial.command import compose_run
from metaexp.run.initial.resumed import asks_to_resume, resumed_folder
from metaexp.run.integrity import check_run_files, checked_metrics
from metaexp.run.job import resume_job, run_job
from metaexp.run.predict.conformal import Calibration
from metaexp.run.predict.learner import Array, Learner
from metaexp.run.predict.predict import calibrate_run, make_learner


def train(
    *overrides: str,
    config_dir: str | Path | None = None,
    trust: str | Sequence[str] = (),
    folder: str | Path | None = None,
    **keys: Any,
) -> Run:
    """Train, validate and test a run, as ``metaexp train`` does.

    Args:
        overrides: As on the command line, such as ``"algorithm=maml"`` and ``"train.steps=200"``; ``"from=RUN"`` goes
            on from another run, and ``"resume=RUN"`` alone continues one that was stopped.
        config_dir: A folder of your own groups and files; else METAEXP_CONFIG_DIR or that of ``metaexp.toml``.
        trust: Package or packages whose classes configurations may name.
        folder: An empty folder for the run; by default that of ``hydra.run.dir``, or a fresh one below
            ``paths.outputs``.
        keys: Further overrides of keys without a dot: ``seed=3`` is ``"seed=3"``.

    Returns:
        The completed run.

    Raises:
        ConfigError: The configuration is wrong. The message lists all mistakes. Nothing was written.
        MetaexpError: The run failed or was interrupted; the subclass says how. What was saved stays, and
            ``train("resume=RUN")`` continues it.
    """
    own = use_own_files(None if config_dir is None else Path(config_dir), trust).config_dir
    lines = [*_texts(overrides), *(f"{key}={format_setting(value)}" for key, value in keys.items())]
    if asks_to_resume(lines):
        if folder is not None:
            raise ConfigError(f"folder={folder}: a resumed run stays in its own folder; remove folder.")
        return Run(resume_job(resumed_folder(lines)).folder)
    new = compose_run(lines, own)
    return Run(run_job(new.settings, new.provenance, new.run_dir if folder is None else Path(folder)).folder)


def load_run(folder: str | Path, *, trust: str | Sequence[str] = ()) -> Run:
    """Load a run folder.

    Args:
        folder: A run folder, finished or not, or its published copy.
        trust: Package or packages whose classes its configuration may name.

    Returns:
        The run, with its record and metrics. Weights are read when :meth:`Run.learner` is called.

    Raises:
        RunFolderError: There is no run in ``folder``, or a file of it is damaged or of another run.
    """
    use_own_files(None, trust)
    return Run(Path(folder))


def runs(*folders: str | Path, **filters: Any) -> RunTable:
    """List the runs below some folders.

    Args:
        folders: Run folders, or folders with run folders below them; ``outputs`` by default.
        filters: What runs must have, one value or a list: ``algorithm="maml"``, ``**{"train.steps": [100, 200]}``.

    Returns:
        The rows, in the order of the folders. A name that neither a run nor the configuration has brings a warning.

    Raises:
        RunFolderError: There is no such folder, or no run in or below it.
        ConfigError: No run has such a key, or there is no such status.
    """
    return read_table(run_folders([Path(folder) for folder in folders or ("outputs",)]), filters)


def dataset(
    name: str, *overrides: str, config_dir: str | Path | None = None, trust: str | Sequence[str] = ()
) -> LoadedDataset:
    """Load a dataset, to look at it or at the very episodes that runs have.

    Args:
        name: A file of the group ``dataset``, such as ``"omniglot"``.
        overrides: As on the command line, such as ``"task=20way_1shot"`` and ``"dataset.invert=false"``.
        config_dir: As for :func:`train`.
        trust: As for :func:`train`.

    Returns:
        The dataset in memory; its ``episodes`` are those of a run.

    Raises:
        ConfigError: The configuration is wrong. The message lists all mistakes.
        DataError: The data are missing or damaged.
    """
    own = use_own_files(None if config_dir is None else Path(config_dir), trust).config_dir
    settings = Composer(own).settings([f"dataset={name}", *_texts(overrides)], Purpose.LOOK)
    with standard_settings():
        data = load_examples(settings, lambda _: None)
    training, evaluation = (settings.train.shape, settings.seed), (settings.task.shape, settings.eval.seed)
    tasks = {"train": training, "val": evaluation, "test": evaluation}
    return LoadedDataset(settings.dataset_name, data, tasks, standard_settings)


def _texts(overrides: Sequence[str]) -> list[str]:
    """The overrides; a ConfigError where one is not a text, such as a list of them."""
    for item in overrides:
        if not isinstance(item, str):
            raise ConfigError(
                f"{shortened(str(item))} is not an override: each is a text of its own, such as 'algorithm=maml', "
                "'seed=3'. Write * in front of a list of them."
            )
    return list(overrides)


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
        return [{"step": step, **values} for step, values in checked_metrics(self.folder)]

    @property
    def test_episodes(self) -> list[list[float]]:
        """The test metric, (steps + 1, n_episodes): of each episode after 0, 1, ... steps of adaptation."""
        return tested_episodes(self.folder / EPISODES_FILE, self.record.test, self.record.test_episodes_sha256)

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


def compare_runs(runs: Sequence[Run | str | Path] | RunTable | str | Path, by: str | Sequence[str] = ()) -> Comparison:
    """Compare runs, paired by test episode, as ``metaexp compare`` does.

    Args:
        runs: Runs, run folders, folders with run folders below them, or what :func:`runs` returns.
        by: Key or keys whose values make a row, such as ``"algorithm"``; by default what differs between the runs.

    Returns:
        The rows, the pairs of rows with the interval of their difference, and the figures. Accuracies are fractions.

    Raises:
        RunFolderError: A folder holds no run, none of the runs can be compared, their test episodes differ, or a file
            was changed after its run.
        ConfigError: A key of ``by`` is unknown.
    """
    runs = runs.folders if isinstance(runs, RunTable) else runs
    given = [runs] if isinstance(runs, (str, Path)) else list(runs)
    keys = [by] if isinstance(by, str) else list(by)
    found = gather([run.folder if isinstance(run, Run) else Path(run) for run in given])
    if not found.runs:
        reasons = listed([f"{item.name} {item.reason}" for item in found.left_out], 5, mark="; ") or "there are none."
        raise RunFolderError(f"none of these runs can be compared: {reasons}")
    for run in found.runs:
        check_run_files(run.folder, run.record)
    return Comparison(compare(found.runs, found.left_out, keys, numeric_part, "comparison", "metaexp.compare"))
