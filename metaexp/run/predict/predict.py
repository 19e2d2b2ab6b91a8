"""The adapted learner of a run predicts new examples: what ``metaexp predict`` does."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from metaexp.config.classes.make import make
from metaexp.config.classes.network import network_name
from metaexp.config.schema import Settings
from metaexp.core.counted import counted
from metaexp.core.errors import ConfigError, DataError
from metaexp.core.shapes import Capacity, Split, TaskShape
from metaexp.data.base import Dataset
from metaexp.data.classification.preprocessing import Pixels
from metaexp.data.regression.scales import Scales
from metaexp.data.regression_table import RegressionTable
from metaexp.models.torch_settings import standard_settings
from metaexp.results.own_code import format_edited
from metaexp.results.record import RECORD_FILE, read_record
from metaexp.run.build import load_examples, says_val_in_train
from metaexp.run.evaluation.aids import digest_of
from metaexp.run.evaluation.evaluate import edited_code
from metaexp.run.evaluation.selection import apply_weights, selected
from metaexp.run.folder import RunFolder, existing
from metaexp.run.initial.algorithm import build_algorithm
from metaexp.run.predict.conformal import Calibration, calibrate, check_level
from metaexp.run.predict.learner import Learner
from metaexp.run.predict.new_examples import NewExamples, Reader
from metaexp.run.predict.origin import LearnerOrigin

Report = Callable[[str], None]


class PredictionRequest(NamedTuple):
    """The examples to predict, those to adapt to, and the prediction sets that are wanted.

    Attributes:
        support: A folder of classes, an .npz file, or a CSV.
        query: A folder of images, an .npz file, or a CSV.
        level: The coverage of prediction sets; None for none.
        n_episodes: Validation episodes to calibrate on; None for as many as the run was tested on.
    """

    support: Path
    query: Path
    level: float | None = None
    n_episodes: int | None = None


class Predictions(NamedTuple):
    """Predictions for new examples.

    Attributes:
        names: What each example is called.
        classes: The classes of the task, in the order of the scores; None for regression.
        scores: (M, N) scores, or (M, D_out) outputs.
        labels: (M,) the class with the largest score; None for regression.
        sets: For each example the classes that it may belong to; None without a calibration, and in regression.
        calibration: What sets, or intervals, were calibrated with; None for neither.
        widths: (D_out,) half the width of the intervals of each output; None where there are none.
    """

    names: list[str]
    classes: list[str] | None
    scores: npt.NDArray[np.float32]
    labels: list[str] | None
    sets: list[list[str]] | None
    calibration: Calibration | None
    widths: npt.NDArray[np.float32] | None = None


@standard_settings()
def make_learner(place: RunFolder, settings: Settings, report: Report = warnings.warn) -> Learner:
    """Return a learner with the selected weights of a run.

    Args:
        place: The run folder.
        settings: The checked settings of the run.
        report: Takes a warning: where the user's own code was edited since the training, and where a call has too few
            queries for the learner's batch norm, or images that were not prepared as those of the run.

    Raises:
        RunFolderError: The run has no weights: it was not validated yet, or this is a published copy without them.
    """
    if os.path.lexists(place.path / RECORD_FILE) and (files := edited_code(place.path, settings)):
        report(format_edited(files))
    weights = selected(place, place.read_config()[0])
    algorithm = build_algorithm(settings, weights.interface)
    apply_weights(algorithm, settings, weights.step, weights.weights)
    algorithm.eval()
    origin = LearnerOrigin(
        settings.chosen_file("algorithm"), network_name(settings.algorithm, settings.chosen_file("model")),
        f"{place.path} after {counted(weights.step, 'step')}", digest_of(weights),
    )  # fmt: skip
    return Learner(algorithm, weights.interface, settings.task.shape, report, _pixels(settings), origin)


def _pixels(settings: Settings) -> Pixels | None:
    """How images became numbers in a run; None where its dataset reads no images, or its code is not here."""
    try:
        prepared = make(settings.dataset, Dataset).image_preparation()  # type: ignore[type-abstract]
    except ConfigError:
        return None
    return prepared.pixels if prepared is not None and prepared.size else None


@standard_settings()
def calibrate_run(
    learner: Learner,
    settings: Settings,
    shape: TaskShape,
    level: float,
    n_episodes: int | None = None,
    report: Report = lambda _: None,
) -> Calibration:
    """Calibrate on validation episodes of the run's dataset, after those that chose the checkpoint.

    Args:
        learner: The learner, with the selected weights.
        settings: The settings of the run.
        shape: The shape of the task that is to be predicted.
        level: The coverage.
        n_episodes: How many episodes; None for as many as the run was tested on.
        report: Takes lines about long work.

    Raises:
        ConfigError: The level is impossible, the dataset cannot serve such tasks, or its validation classes were
            trained on.
        DataError: The data are not there.
    """
    n_episodes = settings.eval.episodes if n_episodes is None else n_episodes
    check_level(level, n_episodes)
    if says_val_in_train(settings.dataset):
        raise ConfigError(
            f"the run trained on the validation classes of dataset={settings.dataset_name}, so they cannot calibrate "
            "prediction sets for new classes. Leave the sets out, or train on a split with new validation classes."
        )
    dataset = load_examples(settings, report)
    _check_calibration(shape, settings.dataset_name, dataset.capacity())
    source = dataset.tasks(shape, settings.eval.seed)
    found = calibrate(learner.algorithm, source, shape, level, n_episodes, first=settings.train.eval_episodes)
    return found if learner.origin is None else found._replace(weights_sha256=learner.origin.weights_sha256)


def _check_calibration(shape: TaskShape, name: str, capacity: Mapping[Split, Capacity] | None) -> None:
    """Check that the validation classes are enough for tasks like the one that is to be predicted.

    Raises:
        ConfigError: They are not.
    """
    found = (capacity or {}).get("val")
    n_way, k_shot, n_query = shape
    if not n_way or found is None or (n_way <= found.n_classes and k_shot + n_query <= found.per_class):
        return
    raise ConfigError(
        f"prediction sets are calibrated on validation tasks with as many examples as yours: {n_way} classes with "
        f"{counted(k_shot, 'example')} of each, and {counted(n_query, 'query')} of each (task.n_query of the run). "
        f"dataset={name} has {counted(found.n_classes, 'validation class')}, and only "
        f"{counted(found.per_class, 'example')} of one. {_advice(shape, found)}"
    )


def _advice(shape: TaskShape, found: Capacity) -> str:
    """How small a support set must be for the validation classes."""
    most = found.per_class - shape.n_query
    if most < 1 or found.n_classes < 2:
        return "Leave the sets out."
    parts = [f"at most {found.n_classes} classes"] if shape.n_way > found.n_classes else []
    parts += [f"at most {counted(most, 'example')} of a class"] if shape.k_shot > most else []
    return f"Give {' and '.join(parts)}, or leave the sets out."


def predict(folder: Path, request: PredictionRequest, report: Report = lambda _: None) -> Predictions:
    """Adapt to a support set, and predict a query set.

    Args:
        folder: The run.
        request: The examples, and the prediction sets that are wanted.
        report: Takes lines about long work.

    Raises:
        RunFolderError: The run has no weights.
        ConfigError: The examples do not fit the run, or the level is impossible.
        DataError: Files are missing or damaged.
    """
    place = existing(folder)
    settings = place.load_settings()
    n_episodes = settings.eval.episodes if request.n_episodes is None else request.n_episodes
    if request.level is not None:
        check_level(request.level, n_episodes)
    learner = make_learner(place, settings, report)
    description = make(settings.dataset, Dataset)  # type: ignore[type-abstract]
    prepared, input_shape = description.image_preparation(), learner.interface.input_shape
    table = description if isinstance(description, RegressionTable) else None
    reader = Reader(prepared, input_shape, settings.task.n_way == 0, settings.dataset_name, report, table)
    support, query = reader.support(request.support), reader.query(request.query)
    scales = _scales(place, settings, description, report)
    if scales is not None:
        support, query = _scaled(support, scales), _scaled(query, scales)
    assert support.y is not None
    adapted = learner.adapt(support.x, support.y)
    scores = adapted.scores(query.x)
    calibration = None
    if request.level is not None:
        shape = _shape_of(support, settings)
        calibration = calibrate_run(learner, settings, shape, request.level, n_episodes, report)
    if adapted.names is not None:
        return _predictions(adapted, query, scores, calibration)
    scales = scales or Scales(None, None, "")
    widths = None if calibration is None else scales.widths_in_units(calibration.threshold, scores.shape[1])
    return Predictions(query.names, None, scales.in_units(scores), None, None, calibration, widths)


def _scales(place: RunFolder, settings: Settings, description: Dataset, report: Report) -> Scales | None:
    """How the numbers of the dataset were scaled when the run was trained."""
    scales = description.scales(settings.paths.data, report)
    trained = read_record(place.path).data_hash
    if scales is not None and scales.digest != trained:
        raise DataError(
            f"dataset.file={settings.dataset.arguments['file']} was changed since the run was trained (data_hash "
            f"{str(trained)[:12]}, now {scales.digest[:12]}), so it no longer says how inputs were standardised. "
            "Restore it."
        )
    return scales


def _scaled(examples: NewExamples, scales: Scales) -> NewExamples:
    """Examples as episodes have them, from examples in the units of the file."""
    x = torch.from_numpy(scales.scaled_inputs(examples.x.numpy()))
    if examples.y is None:
        return NewExamples(x, examples.names, None)
    targets = np.asarray(examples.y, np.float32).reshape(len(x), -1)
    fits = scales.y is not None and targets.shape[1] == len(scales.y[0])
    return NewExamples(x, examples.names, scales.scaled_targets(targets) if fits else targets)


def _shape_of(support: NewExamples, settings: Settings) -> TaskShape:
    """The shape of the tasks to calibrate on: that of the support set, with the smallest class as shots."""
    if settings.task.n_way == 0:
        return TaskShape(0, len(support.names), settings.task.n_query)
    counts: Counter[Any] = Counter(support.y.tolist() if support.y is not None else [])
    return TaskShape(len(counts), min(counts.values()), settings.task.n_query)


def _predictions(
    adapted: Learner, query: NewExamples, scores: npt.NDArray[np.float32], calibration: Calibration | None
) -> Predictions:
    assert adapted.names is not None
    classes = [str(name) for name in adapted.names]
    labels = [classes[label] for label in scores.argmax(-1)]
    sets = None if calibration is None else [[str(n) for n in names] for names in adapted.sets(query.x, calibration)]
    return Predictions(query.names, classes, scores, labels, sets, calibration)
