"""Train, load and compare runs from Python. The package itself exports these names: ``import metaexp as mx``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metaexp.compare.as_data import Comparison as Comparison
from metaexp.compare.comparison import compare
from metaexp.compare.find import run_folders
from metaexp.compare.gather import gather
from metaexp.compare.later_tests import with_later_tests
from metaexp.config.classes.values import format_setting
from metaexp.config.command_line.override_text import override_texts
from metaexp.config.compose import Composer
from metaexp.config.identity import numeric_part
from metaexp.config.project import use_own_files
from metaexp.config.purpose import Purpose
from metaexp.core.counted import listed
from metaexp.core.disk.outputs import usual_outputs
from metaexp.core.errors import ConfigError, RunFolderError, called_in_python
from metaexp.data.inventory.loaded import LoadedDataset
from metaexp.folders.run import Run as Run
from metaexp.folders.table import read_table
from metaexp.models.torch_settings import standard_settings
from metaexp.results.run_table import RunTable
from metaexp.run.build import load_examples
from metaexp.run.initial.command import compose_run
from metaexp.run.initial.resumed import asks_to_resume, resumed_folder
from metaexp.run.integrity import check_run_files
from metaexp.run.job import resume_job, run_job


@called_in_python()
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
    lines = [*override_texts(overrides), *(f"{key}={format_setting(value)}" for key, value in keys.items())]
    if asks_to_resume(lines):
        if folder is not None:
            raise ConfigError(f"folder={folder}: a resumed run stays in its own folder; remove folder.")
        return Run(resume_job(resumed_folder(lines)).folder)
    new = compose_run(lines, own)
    return Run(run_job(new.settings, new.provenance, new.run_dir if folder is None else Path(folder)).folder)


@called_in_python()
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
        folders: Run folders, or folders with run folders below them; by default that of METAEXP_OUTPUTS, or
            ``outputs``.
        filters: What runs must have, one value or a list: ``algorithm="maml"``, ``**{"train.steps": [100, 200]}``.

    Returns:
        The rows, in the order of the folders. A name that neither a run nor the configuration has brings a warning.

    Raises:
        RunFolderError: There is no such folder, or no run in or below it.
        ConfigError: No run has such a key, or there is no such status.
    """
    removed: list[Path] = []
    found = run_folders([Path(folder) for folder in folders or (usual_outputs(),)], removed=removed)
    return read_table([*found, *removed], filters)


@called_in_python()
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
    settings = Composer(own).settings([f"dataset={name}", *override_texts(overrides)], Purpose.LOOK)
    with standard_settings():
        data = load_examples(settings, lambda _: None)
    training, evaluation = (settings.train.shape, settings.seed), (settings.task.shape, settings.eval.seed)
    tasks = {"train": training, "val": evaluation, "test": evaluation}
    return LoadedDataset(settings.dataset_name, data, tasks, standard_settings)


def compare_runs(
    runs: Sequence[Run | str | Path] | RunTable | str | Path,
    by: str | Sequence[str] = (),
    *,
    metric: str | None = None,
    evaluations: bool = False,
) -> Comparison:
    """Compare runs, paired by test episode, as ``metaexp compare`` does.

    Args:
        runs: Runs, run folders, folders with run folders below them, or what :func:`runs` returns.
        by: Key or keys whose values make a row, such as ``"algorithm"``; by default what differs between the runs.
        metric: A metric of ``eval.metrics`` to compare, such as ``"nll"``; by default accuracy or squared error.
        evaluations: Whether to compare also later tests, which :meth:`Run.evaluate` and ``metaexp evaluate`` keep.

    Returns:
        The rows, the pairs of rows with the interval of their difference, and the figures. Accuracies are fractions.

    Raises:
        RunFolderError: A folder holds no run, none of the runs can be compared, their test episodes differ, or a file
            was changed after its run.
        ConfigError: A key of ``by`` is unknown, or both ``metric`` and ``evaluations`` are given.
    """
    if evaluations and metric:
        raise ConfigError("evaluations=True compares accuracies or squared errors. Remove it, or metric.")
    runs = runs.folders if isinstance(runs, RunTable) else runs
    given = [runs] if isinstance(runs, (str, Path)) else list(runs)
    keys = [by] if isinstance(by, str) else list(by)
    found = gather([run.folder if isinstance(run, Run) else Path(run) for run in given], metric)
    if not found.runs:
        reasons = listed([f"{item.name} {item.reason}" for item in found.left_out], 5, mark="; ") or "there are none."
        raise RunFolderError(f"none of these runs can be compared: {reasons}")
    for run in found.runs:
        check_run_files(run.folder, run.record)
    chosen, unusable = with_later_tests(found.runs, numeric_part) if evaluations else (found.runs, [])
    with called_in_python():
        left_out = [*found.left_out, *unusable]
        comparison = compare(chosen, left_out, keys, numeric_part, "comparison", "metaexp.compare")
    return Comparison(comparison)
