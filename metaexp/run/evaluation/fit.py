"""Checks that a finished run can be tested with other settings than its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metaexp.config.classes.make import make
from metaexp.config.purpose import Purpose
from metaexp.config.revise import revise
from metaexp.config.schema import Settings
from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.core.fit.task_fit import DataFacts, Tasks, fit_problems
from metaexp.data.base import Dataset, MetaDataset
from metaexp.data.mixture.data import MixtureData
from metaexp.models.base import never_collected
from metaexp.run.evaluation.own_metrics import try_own_metrics
from metaexp.run.evaluation.selection import Selected
from metaexp.run.progress import Display


def check_fits(settings: Settings, dataset: MetaDataset, weights: Selected) -> None:
    """Check that the weights, the data, the task and the metrics can be used together.

    Args:
        settings: The settings of the test.
        dataset: Its data.
        weights: The weights.

    Raises:
        ConfigError: They cannot.
    """
    name, shape = settings.dataset_name, settings.task.shape
    try_own_metrics(settings.eval.metrics, shape)
    domains = dataset.sizes() if isinstance(dataset, MixtureData) else None
    data = DataFacts(name, dataset.kind, dataset.capacity(), domains=domains)
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


def warn_of_pixels(config: Mapping[str, Any], choices: Mapping[str, str], asked: Settings, display: Display) -> None:
    """Say so if bytes become other values than those that the run was trained on, where both are known.

    Args:
        config: The configuration of the run.
        choices: Its group -> chosen file.
        asked: The settings of the test.
        display: Shows the warning.
    """
    if config["dataset"] == asked.resolved["dataset"]:
        return
    try:
        own = revise(config, choices, (), purpose=Purpose.READ)
    except ConfigError:  # such as a dataset of the user's own that is not here
        return
    trained, now = (make(s.dataset, Dataset).image_preparation() for s in (own, asked))  # type: ignore[type-abstract]
    if trained is None or now is None:
        return
    read_files = trained.channels and now.channels
    # Bright strokes on black, and dark ones on white that are inverted, are the same to a network.
    same = trained.extremes() == now.extremes() if read_files else trained.pixels == now.pixels
    if not same:
        named = read_files and trained.background != now.background
        grounds = [f" on {p.background}" if named else "" for p in (trained, now)]
        display.print_line(
            f"warning: the run was trained with {trained.pixels.format()}{grounds[0]}; {asked.dataset_name} has "
            f"{now.pixels.format()}{grounds[1]}. Its network may not have seen such values."
        )


def check_statistics(algorithm: Algorithm, trained: Mapping[str, Any], step: int) -> None:
    """Check that batch norm does not use statistics that training has never collected.

    Args:
        algorithm: The algorithm of the test.
        trained: The configuration of the run.
        step: The step of its weights.

    Raises:
        ConfigError: It would use them.
    """
    if algorithm.batch_norm == "running" and step > 0 and never_collected(algorithm):
        before = trained["algorithm"].get("batch_norm", "another mode")
        raise ConfigError(
            f"algorithm.batch_norm=running normalises with statistics that training collects, and this run, trained "
            f"with {before}, has collected none. Leave algorithm.batch_norm as it was, or train again with running."
        )
