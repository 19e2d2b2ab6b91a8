"""Tests a finished run again, on other episodes, another task or another dataset that fits."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from metaexp.config.identity import config_hash
from metaexp.config.purpose import Purpose
from metaexp.config.revise import check_idle, revise
from metaexp.config.schema import Settings
from metaexp.core.algorithm import Algorithm
from metaexp.core.disk.files import encode_text, make_folder, write_atomically
from metaexp.core.errors import DataError
from metaexp.core.fit.task_fit import is_stand_in
from metaexp.core.metric import Metric
from metaexp.core.types import EvalResult
from metaexp.data.base import MetaDataset, TaskSource
from metaexp.data.classification.trained_classes import count_trained, training_class_ids
from metaexp.data.mapped.moved_tasks import moved
from metaexp.machine.device import Compute, use_device
from metaexp.machine.failures import explain_errors
from metaexp.machine.silence import show_each_warning_once
from metaexp.results.episodes import write_episodes
from metaexp.results.evaluations import Evaluation
from metaexp.results.measured import Measured
from metaexp.results.own_code import changed_files, source_files
from metaexp.results.per_class.files import write_classes
from metaexp.results.record import Task, read_record
from metaexp.run.build import load_dataset
from metaexp.run.chunk_size import tasks_at_once
from metaexp.run.evaluation.aids import Aids, identity_of
from metaexp.run.evaluation.chunks import Chunks
from metaexp.run.evaluation.divergence import doubts, remedies
from metaexp.run.evaluation.evaluator import Evaluator
from metaexp.run.evaluation.fit import check_fits, check_statistics, warn_of_pixels
from metaexp.run.evaluation.scores import check_finite, not_finite_metrics
from metaexp.run.evaluation.selection import Selected, apply_weights, selected
from metaexp.run.folder import RunFolder, existing
from metaexp.run.initial.algorithm import build_algorithm
from metaexp.run.initial.frozen_features import with_features
from metaexp.run.integrity import check_config
from metaexp.run.progress import Display, default_display

_OF_RESULT = (
    "test", "after_steps", "metrics", "domains", "test_classes_sha256", "episodes_sha256", "device", "versions",
    "finished",
)  # fmt: skip
"""What a later test has of its result."""


class Evaluated(NamedTuple):
    """A test of a finished run. ``path`` is None if it could not be kept in the run folder."""

    evaluation: Evaluation
    path: Path | None


class Retested(NamedTuple):
    """A test of a finished run, of which nothing is kept in the run folder.

    Attributes:
        evaluation: The test.
        sources: The SHA-256 (hex) of the source files of metaexp that made it.
        seconds: How long it took.
        is_recalled: Whether its result is that of an earlier test of these weights.
    """

    evaluation: Evaluation
    sources: str
    seconds: float
    is_recalled: bool


def evaluate_run(
    path: Path,
    overrides: Sequence[str] = (),
    config_dir: Path | None = None,
    display: Display | None = None,
    allow_trained_classes: bool = False,
) -> Evaluated:
    """Test the selected weights of a run, with its own settings except ``overrides``, and keep it in the run folder.

    Args:
        path: The run folder.
        overrides: Changes to the settings of the run.
        config_dir: A folder of the user's own groups and files, for choices among the overrides.
        display: What the user sees; None chooses by the terminal.
        allow_trained_classes: Whether classes that the run was trained on may be among those of the test.

    Returns:
        The evaluation, and the file in the run folder that holds it, if it could be written.

    Raises:
        ConfigError: Test classes were trained on, which is not allowed. Or the overrides do not fit the weights
            (another number of classes for an algorithm with one output per class, another shape of examples), change
            only training, or ask for statistics that were never collected.
        RunFolderError: There are no weights.
    """
    display = display or default_display()
    evaluation, _, result, settings = _evaluate(path, overrides, config_dir, display, allow_trained_classes, Aids())
    assert result is not None  # these aids recall nothing
    for line in doubts(result, settings):
        display.print_line(f"warning: {line}")
    return _try_to_keep(evaluation, result, existing(path).evaluations, display)


def retest(path: Path, overrides: Sequence[str], aids: Aids, display: Display | None = None) -> Retested:
    """Test the selected weights of a run as :func:`evaluate_run` does, and write nothing into its folder.

    Args:
        path: The run folder.
        overrides: Changes to the settings of the run.
        aids: What helps where many runs are tested.
        display: What the user sees; None chooses by the terminal.
    """
    evaluation, measured, result, _ = _evaluate(path, overrides, None, display or default_display(), False, aids)
    return Retested(evaluation, measured.sources, measured.seconds, is_recalled=result is None)


def _evaluate(
    path: Path,
    overrides: Sequence[str],
    config_dir: Path | None,
    display: Display,
    allow_trained_classes: bool,
    aids: Aids,
) -> tuple[Evaluation, Measured, EvalResult | None, Settings]:
    """The test, what it measured, its episodes if it was made now, and its settings."""
    place = existing(path)
    config, choices = _read_config(place)
    check_config(path, config)
    settings = revise(config, choices, overrides, config_dir)
    check_idle(config, settings.resolved)
    weights = selected(place, config)
    with explain_errors(), show_each_warning_once(), use_device(settings.device) as compute:
        dataset = aids.load(settings, compute, display.print_line)
        check_fits(settings, dataset, weights)
        warn_of_pixels(config, choices, settings, display)
        trained = _training_classes(place.path, config, choices, settings, dataset, compute, display)
        n_trained = count_trained(dataset, settings.dataset_name, trained, allow_trained_classes)
        algorithm = _trained(settings, config, weights).to(compute.device)
        source = _tasks(settings, dataset, algorithm, compute, display)
        bank = source.bank_hash("test", settings.eval.episodes)
        identity = identity_of(weights, settings, compute, dataset.digest, bank)
        measured, result = aids.result(
            identity,
            lambda: _test(source, settings, dataset, algorithm, compute, aids.chunks, display),
            Metric.of(settings.task.n_way).name,
            compute,
        )
        evaluation = Evaluation(
            run=path.resolve().name,
            run_config_hash=config_hash(config),
            overrides=list(overrides),
            algorithm=settings.chosen_file("algorithm"),
            dataset=_tested_on(settings, config),
            task=Task(*settings.task.shape),
            eval_seed=settings.eval.seed,
            selected_step=weights.step,
            **{key: getattr(measured, key) for key in _OF_RESULT},
            batch_norm=algorithm.batch_norm,
            data_hash=dataset.digest,
            episode_bank=bank,
            config=settings.resolved,
            config_hash=settings.config_hash,
            trained_classes=n_trained,
            changed_code=edited_code(place.path, settings),
        )
    return evaluation, measured, result, settings


def _read_config(place: RunFolder) -> tuple[dict[str, Any], dict[str, str]]:
    """The configuration of a run. A published copy does not say where the data are; METAEXP_DATA does."""
    config, choices = place.read_config()
    if config.get("paths", {}).get("data") == "./data" and "METAEXP_DATA" in os.environ:
        config["paths"] = config["paths"] | {"data": os.environ["METAEXP_DATA"]}
    return config, choices


def edited_code(folder: Path, settings: Settings) -> list[str]:
    """Return the files of the user's own code that have changed since the training.

    Args:
        folder: The run folder.
        settings: The checked settings of the run.
    """
    now = {} if settings.own_code is None else settings.own_code.digests
    return changed_files(source_files(read_record(folder).own_code, folder), now)


def _try_to_keep(evaluation: Evaluation, result: EvalResult, folder: Path, display: Display) -> Evaluated:
    """Save the evaluation in the run folder. If that cannot be written, only warn, because the number is known."""
    try:
        return Evaluated(evaluation, _keep(evaluation, result, folder))
    except OSError as error:
        display.print_line(f"warning: the evaluation could not be kept in {folder} ({error.strerror}).")
        return Evaluated(evaluation, None)


def _training_classes(
    folder: Path,
    config: Mapping[str, Any],
    choices: Mapping[str, str],
    asked: Settings,
    dataset: MetaDataset,
    compute: Compute,
    display: Display,
) -> Sequence[str]:
    """The classes that a run was trained on: as recorded, or for older runs those of the data in its settings."""
    recorded = read_record(folder).training_classes
    if recorded or dataset.kind == "regression":
        return recorded
    settings = revise(config, choices, (), purpose=Purpose.READ)
    if settings.resolved["dataset"] == asked.resolved["dataset"]:
        return training_class_ids(dataset)
    try:
        return training_class_ids(load_dataset(settings, compute, display.print_line))
    except DataError as error:
        display.print_line(f"warning: whether test classes were trained on is not known: {error}")
        return []


def _tasks(
    settings: Settings, dataset: MetaDataset, algorithm: Algorithm, compute: Compute, display: Display
) -> TaskSource:
    """The tasks of the test, of features where the network is frozen."""
    given = with_features(dataset, algorithm, settings.paths.data, compute.device, display.print_line)
    return moved(given.tasks(settings.task.shape, settings.eval.seed), compute.tasks_on, compute.device)


def _trained(settings: Settings, config: Mapping[str, Any], weights: Selected) -> Algorithm:
    """The algorithm with the selected weights of the run, whose own configuration is ``config``."""
    algorithm = build_algorithm(settings, weights.interface)
    apply_weights(algorithm, settings, weights.step, weights.weights)
    check_statistics(algorithm, config, weights.step)
    return algorithm


def _test(
    source: TaskSource,
    settings: Settings,
    dataset: MetaDataset,
    algorithm: Algorithm,
    compute: Compute,
    chunks: Chunks,
    display: Display,
) -> EvalResult:
    """The scores of the test episodes, which are finite."""
    n_episodes = settings.eval.episodes
    chunk = tasks_at_once(settings.task.shape, dataset.input_shape, algorithm, compute)
    evaluator = Evaluator(source, settings.eval.seed, compute, chunk, extra=settings.eval.metrics, chunks=chunks)
    with display.show_progress("test", n_episodes) as advance:
        result = evaluator.evaluate(algorithm, "test", n_episodes, advance)
    check_finite(result, algorithm.only_for_training, remedies(settings))
    for line in not_finite_metrics(result):
        display.print_line(f"warning: {line}")
    return result


def _tested_on(settings: Settings, trained: Mapping[str, Any]) -> str:
    """The name of the dataset. For real images it says so if the training was on made-up ones."""
    on_made_up = is_stand_in(trained["dataset"]) and not settings.is_stand_in
    return settings.dataset_name + (" (trained on a stand-in)" if on_made_up else "")


def _keep(evaluation: Evaluation, result: EvalResult, folder: Path) -> Path:
    """Write the evaluation and its episodes under a name made from what decides its numbers, and which these are."""
    make_folder(folder)
    decides = f"{evaluation.config_hash} {evaluation.selected_step} {evaluation.episode_bank}"
    decides += " with edited code" if evaluation.changed_code else ""
    decides += "".join(f" {metric}" for metric in sorted(evaluation.config["eval"].get("metrics", ())))
    name = hashlib.sha256(decides.encode()).hexdigest()[:12]
    write_episodes(folder / f"{name}.csv", result.per_step.tolist(), result.domains)
    if result.classes:
        write_classes(folder / f"{name}_classes.csv", folder / f"{name}_confusions.csv", result.classes)
    text = json.dumps(dataclasses.asdict(evaluation), indent=2, allow_nan=False, ensure_ascii=False)
    write_atomically(folder / f"{name}.json", encode_text(text + "\n"))
    return folder / f"{name}.json"
