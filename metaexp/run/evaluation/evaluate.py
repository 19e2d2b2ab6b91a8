"""Tests a finished run again, on other episodes, another task or another dataset that fits."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from metaexp.config.classes.make import make
from metaexp.config.identity import config_hash
from metaexp.config.purpose import Purpose
from metaexp.config.revise import check_idle, revise
from metaexp.config.schema import Settings
from metaexp.core.algorithm import Algorithm
from metaexp.core.disk.files import encode_text, make_folder, write_atomically
from metaexp.core.errors import ConfigError, DataError
from metaexp.core.metric import Metric
from metaexp.core.task_fit import DataFacts, Tasks, fit_problems, is_stand_in
from metaexp.core.types import EvalResult
from metaexp.data.base import Dataset, MetaDataset, TaskSource
from metaexp.data.classification.trained_classes import count_trained, training_class_ids
from metaexp.machine.device import Compute, use_device
from metaexp.machine.failures import explain_errors
from metaexp.models.base import never_collected
from metaexp.results.episodes import episodes_sha256, write_episodes
from metaexp.results.evaluations import Evaluation
from metaexp.results.own_code import changed_files, source_files
from metaexp.results.per_class.files import write_classes
from metaexp.results.provenance import versions
from metaexp.results.record import Task, read_record
from metaexp.run.build import build_algorithm, load_dataset
from metaexp.run.chunk_size import tasks_at_once
from metaexp.run.evaluation.evaluator import Evaluator
from metaexp.run.evaluation.own_metrics import try_own_metrics
from metaexp.run.evaluation.scores import check_finite, recorded
from metaexp.run.evaluation.selection import Selected, apply_weights, selected
from metaexp.run.first_record import utc_now
from metaexp.run.folder import RunFolder, existing
from metaexp.run.initial.frozen_features import with_features
from metaexp.run.integrity import check_config
from metaexp.run.progress import Display, default_display


class Evaluated(NamedTuple):
    """A test of a finished run. ``path`` is None if it could not be kept in the run folder."""

    evaluation: Evaluation
    path: Path | None


def evaluate_run(
    path: Path,
    overrides: Sequence[str] = (),
    config_dir: Path | None = None,
    display: Display | None = None,
    allow_trained_classes: bool = False,
    keep: bool = True,
) -> Evaluated:
    """Test the selected weights of a run, with its own settings except ``overrides``.

    Args:
        path: The run folder.
        overrides: Changes to the settings of the run.
        config_dir: A folder of the user's own groups and files, for choices among the overrides.
        display: What the user sees; None chooses by the terminal.
        allow_trained_classes: Whether classes that the run was trained on may be among those of the test.
        keep: Whether to save the evaluation in the run folder.

    Returns:
        The evaluation, and the file in the run folder that holds it, if it was to be and could be written.

    Raises:
        ConfigError: Test classes were trained on, which is not allowed. Or the overrides do not fit the weights
            (another number of classes for an algorithm with one output per class, another shape of examples), change
            only training, or ask for statistics that were never collected.
        RunFolderError: There are no weights.
    """
    display, place = display or default_display(), existing(path)
    config, choices = _read_config(place)
    settings = revise(config, choices, overrides, config_dir)
    check_idle(config, settings.resolved)
    check_config(path, config)
    weights = selected(place, config)
    with explain_errors(), use_device(settings.device) as compute:
        dataset = load_dataset(settings, compute, display.print_line)
        _check_fits(settings, dataset, weights)
        _warn_of_pixels(config, choices, settings, display)
        trained = _training_classes(
            place.path, lambda: revise(config, choices, (), purpose=Purpose.READ), settings, dataset, compute, display
        )
        n_trained = count_trained(dataset, settings.dataset_name, trained, allow_trained_classes)
        algorithm = _trained(settings, config, weights).to(compute.device)
        source = _tasks(settings, dataset, algorithm, compute, display)
        chunk = tasks_at_once(settings.task.shape, dataset.input_shape, compute)
        evaluator = Evaluator(source, settings.eval.seed, compute, chunk, extra=settings.eval.metrics)
        result = _test(evaluator, algorithm, settings.eval.episodes, display)
        evaluation = Evaluation(
            run=path.resolve().name,
            run_config_hash=config_hash(config),
            overrides=list(overrides),
            algorithm=settings.chosen_file("algorithm"),
            dataset=_tested_on(settings, config),
            task=Task(*settings.task.shape),
            eval_seed=settings.eval.seed,
            selected_step=weights.step,
            **recorded(result, Metric.of(settings.task.n_way).name),
            batch_norm=algorithm.batch_norm,
            data_hash=dataset.digest,
            episode_bank=source.bank_hash("test", settings.eval.episodes),
            config=settings.resolved,
            config_hash=settings.config_hash,
            device=compute.recorded(),
            versions=versions(),
            finished=utc_now(),
            trained_classes=n_trained,
            changed_code=edited_code(place.path, settings),
            episodes_sha256=episodes_sha256(result.per_step.tolist(), result.domains),
        )
    return _try_to_keep(evaluation, result, place.evaluations, display) if keep else Evaluated(evaluation, None)


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
    own: Callable[[], Settings],
    asked: Settings,
    dataset: MetaDataset,
    compute: Compute,
    display: Display,
) -> Sequence[str]:
    """The classes that a run was trained on: as recorded, or for older runs those of the data in its settings."""
    recorded = read_record(folder).training_classes
    if recorded or dataset.kind == "regression":
        return recorded
    settings = own()
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
    return given.tasks(settings.task.shape, settings.eval.seed)


def _trained(settings: Settings, config: Mapping[str, Any], weights: Selected) -> Algorithm:
    """The algorithm with the selected weights of the run, whose own configuration is ``config``."""
    algorithm = build_algorithm(settings, weights.interface)
    apply_weights(algorithm, settings, weights.step, weights.weights)
    _check_statistics(algorithm, config, weights.step)
    return algorithm


def _test(evaluator: Evaluator, algorithm: Algorithm, n_episodes: int, display: Display) -> EvalResult:
    """The scores of the test episodes, which are finite."""
    with display.show_progress("test", n_episodes) as advance:
        result = evaluator.evaluate(algorithm, "test", n_episodes, advance)
    check_finite(result)
    return result


def _tested_on(settings: Settings, trained: Mapping[str, Any]) -> str:
    """The name of the dataset. For real images it says so if the training was on made-up ones."""
    on_made_up = is_stand_in(trained["dataset"]) and not settings.is_stand_in
    return settings.dataset_name + (" (trained on a stand-in)" if on_made_up else "")


def _check_fits(settings: Settings, dataset: MetaDataset, weights: Selected) -> None:
    """Raise ConfigError when the weights, the data, the task and the metrics cannot be used together."""
    name, shape = settings.dataset_name, settings.task.shape
    try_own_metrics(settings.eval.metrics, shape)
    data = DataFacts(name, dataset.kind, dataset.capacity())
    problems = fit_problems(data, None, Tasks(shape, shape, ["test"], is_trained=True))
    if tuple(dataset.input_shape) != weights.interface.input_shape:
        problems.append(
            f"the run was trained on examples of shape {weights.interface.input_shape}; "
            f"dataset={name} gives {tuple(dataset.input_shape)}."
        )
    if dataset.kind == "regression" and not problems and dataset.target_size != weights.interface.n_outputs:
        problems.append(
            f"the run was trained for {weights.interface.n_outputs} outputs; "
            f"dataset={name} asks for {dataset.target_size}."
        )
    if problems:
        raise ConfigError(problems)


def _warn_of_pixels(config: Mapping[str, Any], choices: Mapping[str, str], asked: Settings, display: Display) -> None:
    """Say so if bytes become other values than those that the run was trained on, where both are known."""
    if config["dataset"] == asked.resolved["dataset"]:
        return
    try:
        own = revise(config, choices, (), purpose=Purpose.READ)
    except ConfigError:  # such as a dataset of the user's own that is not here
        return
    trained, now = (make(s.dataset, Dataset).image_preparation() for s in (own, asked))  # type: ignore[type-abstract]
    if trained is not None and now is not None and trained.pixels != now.pixels:
        display.print_line(
            f"warning: the run was trained with {trained.pixels.format()}; {asked.dataset_name} has "
            f"{now.pixels.format()}. Its network has not seen such values."
        )


def _check_statistics(algorithm: Algorithm, trained: Mapping[str, Any], step: int) -> None:
    """Raise ConfigError if batch norm would use statistics that training has never collected."""
    if algorithm.batch_norm == "running" and step > 0 and never_collected(algorithm):
        before = trained["algorithm"].get("batch_norm", "another mode")
        raise ConfigError(
            f"algorithm.batch_norm=running normalises with statistics that training collects, and this run, trained "
            f"with {before}, has collected none. Leave algorithm.batch_norm as it was, or train again with running."
        )


def _keep(evaluation: Evaluation, result: EvalResult, folder: Path) -> Path:
    """Write the evaluation and its episodes under a name made from what decides its numbers."""
    make_folder(folder)
    decides = f"{evaluation.config_hash} {evaluation.selected_step} {evaluation.episode_bank}"
    decides += " with edited code" if evaluation.changed_code else ""
    name = hashlib.sha256(decides.encode()).hexdigest()[:12]
    write_episodes(folder / f"{name}.csv", result.per_step.tolist(), result.domains)
    if result.classes:
        write_classes(folder / f"{name}_classes.csv", folder / f"{name}_confusions.csv", result.classes)
    text = json.dumps(dataclasses.asdict(evaluation), indent=2, allow_nan=False, ensure_ascii=False)
    write_atomically(folder / f"{name}.json", encode_text(text + "\n"))
    return folder / f"{name}.json"
