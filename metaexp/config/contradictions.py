"""Finds valid settings that cannot be used together. Torch is not imported for the datasets of metaexp."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from metaexp.config.changed_data import changes_of
from metaexp.config.classes.make import make
from metaexp.config.classes.network import takes_network
from metaexp.config.classes.optimizers import optimizer_problems
from metaexp.config.classes.source import class_attribute, find_class
from metaexp.config.classes.targets import find_function
from metaexp.config.classes.values import format_setting
from metaexp.config.purpose import Purpose
from metaexp.config.schema import ClassSpec, data_name
from metaexp.core.errors import ConfigError, DataError, MissingDataError
from metaexp.core.fit.task_fit import AlgorithmFacts, DataFacts, Tasks, fit_problems, fixed_number_problem
from metaexp.core.metric import is_own, name_problem
from metaexp.core.shapes import SPLITS, FixedBank, TaskShape
from metaexp.data.base import Dataset
from metaexp.data.classification.preprocessing import Augmentation
from metaexp.data.inventory.before_loading import ask_dataset
from metaexp.data.mixture.dataset import Mixture
from metaexp.tracking.base import Tracker

_MOST_EXAMPLES = 2_000_000
"""The most examples in one step, and in one task: no machine holds the gradients of more."""
_MOST_EPISODES = 1_000_000
_MOST_THREADS = 1_024


class Found(NamedTuple):
    """What is wrong between sections that are each right.

    Attributes:
        problems: A sentence for each contradiction.
        wrong_data: Why the files of the dataset cannot be right; None if nothing is known about that.
    """

    problems: list[str]
    wrong_data: DataError | None


def contradictions(
    values: Mapping[str, Any], choices: Mapping[str, str], sound: frozenset[str], purpose: Purpose
) -> Found:
    """Find contradictions between sections of a configuration.

    Args:
        values: Checked values, a ClassSpec in place of each node.
        choices: Group -> chosen file.
        sound: The sections whose values are all possible by themselves; the others are left alone.
        purpose: What will be done with the configuration.

    Returns:
        A sentence for each contradiction, and what is wrong with the data.
    """
    data, (found, wrong_data) = _data(values, choices, sound, purpose)
    algorithm = None
    if "algorithm" in sound:
        algorithm = algorithm_facts(values["algorithm"], choices)
    if sound >= {"train", "task"}:
        train, test = (TaskShape(*(values[part][key] for key in TaskShape._fields)) for part in ("train", "task"))
        trains = purpose.needs_training
        batch = values["train"]["meta_batch_size"] if values["train"]["steps"] and trains else None
        tasks = Tasks(train, test, SPLITS if trains else ("test",), not trains, batch)
        found += fit_problems(data, algorithm, tasks)
        found += _size_problems(values, train, test)
    found += _weights_problems(values, choices, sound) if purpose.is_new else []  # earlier runs did not use them
    found += _augment_problems(data, values["augment"] if "augment" in sound else {})
    if "eval" in sound:
        found += _number_problems(values["eval"]["episodes"], data)
    if sound >= {"eval", "task"}:
        found += _metric_problems(values["eval"].get("metrics") or [], values["task"]["n_way"])
    if sound >= {"train", "eval"} and purpose.needs_training:
        found += _validation_problems(data if purpose.needs_tasks else None, values["train"], values["eval"])
    if "optimizer" in sound:
        found += optimizer_problems(values["optimizer"], purpose.is_new)
    if "device" in sound:
        found += _device_problems(values["device"])
    if "tracker" in sound and purpose.needs_training:
        found += _tracker_problems(values["tracker"])
    if "paths" in sound and not all(values["paths"].values()):
        found.append("paths.data and paths.outputs must not be empty; the current folder is '.'.")
    return Found(list(dict.fromkeys(found)), wrong_data)


def _validation_problems(data: DataFacts | None, train: Mapping[str, Any], evaluation: Mapping[str, Any]) -> list[str]:
    """Find choices that validation cannot make."""
    found = []
    patience, weights = train.get("patience"), evaluation.get("weights", "best")
    if patience and weights == "last":
        found.append(
            f"train.patience={patience} ends training where validation was best, and eval.weights=last tests the "
            "weights after it. Set eval.weights=best, or train.patience=null."
        )
    if data is not None and data.val_in_train and train["steps"] and (patience or weights == "best"):
        setting = f"train.patience={patience}" if patience else "eval.weights=best"
        found.append(
            f"dataset={data.name} trains on the validation classes, too, so validation cannot choose: {setting}. Set "
            "eval.weights=last and train.patience=null, or take a split with new validation classes."
        )
    return found


def _weights_problems(values: Mapping[str, Any], choices: Mapping[str, str], sound: frozenset[str]) -> list[str]:
    """Find initial weights of a network that is not made."""
    if not sound >= {"algorithm", "model"}:
        return []
    algorithm, model = values["algorithm"], values["model"]
    if not model.options.get("weights") or takes_network(algorithm):
        return []
    return [
        f"model.weights={model.options['weights']}: the constructor of algorithm="
        f"{_name(algorithm, choices, 'algorithm')} has no argument `model`, so it has no network to begin with these "
        "weights. Remove model.weights, or take the network in the constructor."
    ]


def _augment_problems(data: DataFacts | None, given: Mapping[str, Any]) -> list[str]:
    if data is None or data.kind != "regression":
        return []
    usual = dataclasses.asdict(Augmentation())
    changed = [
        f"augment.{key}={format_setting(value)}"
        for key, value in given.items()
        if value != usual[key] and key != "parts"
    ]
    return [f"{', '.join(changed)}: augment changes images, and this is regression. Leave it out."] if changed else []


def _data(
    values: Mapping[str, Any], choices: Mapping[str, str], sound: frozenset[str], purpose: Purpose
) -> tuple[DataFacts | None, Found]:
    """What the dataset says about itself, if it can be made, and what is wrong with it."""
    if "dataset" not in sound:
        return None, Found([], None)
    try:
        folder = Path(values["paths"]["data"]) if "paths" in sound else None
        facts = data_facts(values["dataset"], choices, folder)
        if purpose is Purpose.LOOK:  # then the task need not fit
            facts = facts._replace(capacity=None, domains=None)
        return facts if purpose.needs_tasks or facts.fixed is None else None, Found([], None)
    except ConfigError as error:
        return None, Found(error.problems, None)
    except DataError as error:
        return None, Found([], error)


def data_facts(spec: ClassSpec, choices: Mapping[str, str], folder: Path | None = None) -> DataFacts:
    """Return what a dataset says about itself before it is loaded.

    Args:
        spec: The class of the dataset, with its arguments.
        choices: Group -> chosen file.
        folder: The data folder, in which files are counted if only they say how large the dataset is; None reads no
            file. A missing file is not an error here, because the job may run on another machine.

    Raises:
        ConfigError: The dataset refuses its arguments.
        DataError: The files of the dataset are missing or wrong.
    """
    dataset = make(spec, Dataset)  # type: ignore[type-abstract]
    capacity = ask_dataset(dataset, "capacity")
    if capacity is None and folder is not None:
        try:
            capacity = ask_dataset(dataset, "capacity_in", folder)
        except (MissingDataError, OSError):
            capacity = None
    name = data_name(spec, _name(spec, choices, "dataset"))
    return DataFacts(
        name,
        dataset.kind,
        capacity,
        dataset.equal_classes,
        _fixed_bank(dataset, folder),
        dataset.varied_ways,
        dataset.val_in_train,
        changes_of(spec, folder),
        dataset.sizes_in(folder) if isinstance(dataset, Mixture) else None,
    )


def _fixed_bank(dataset: Dataset, folder: Path | None) -> FixedBank | None:
    """What the files say about fixed test episodes. A missing file is not an error here."""
    try:
        bank: FixedBank | None = ask_dataset(dataset, "fixed_bank", folder)
        return bank
    except (MissingDataError, OSError):
        return None


def _number_problems(episodes: int, data: DataFacts | None) -> list[str]:
    """Find too many test episodes: more than anybody computes, or than a dataset with fixed ones has."""
    if data is not None and data.fixed is not None and episodes > data.fixed.n_episodes:
        return [fixed_number_problem(data.name, data.fixed.n_episodes, episodes)]
    if episodes > _MOST_EPISODES:
        return [f"eval.episodes={episodes} is too many; at most {_MOST_EPISODES:,}. Lower it."]
    return []


def algorithm_facts(spec: ClassSpec, choices: Mapping[str, str]) -> AlgorithmFacts:
    """Return what an algorithm's class says about itself, read from its source.

    Args:
        spec: The algorithm's class and arguments.
        choices: The chosen file of each group, for the algorithm's name.
    """
    source = find_class(spec.path)
    assert source is not None, spec.path
    return AlgorithmFacts(
        name=_name(spec, choices, "algorithm"),
        class_name=spec.path.rpartition(".")[2],
        fixed_way=class_attribute(source, "fixed_way"),
        training_tasks=class_attribute(source, "training_tasks"),
        classes_needed=class_attribute(source, "classes_needed"),
        arguments=spec.arguments,
    )


def _name(spec: ClassSpec, choices: Mapping[str, str], group: str) -> str:
    return choices.get(group) or spec.target.rpartition(".")[2]


def _size_problems(values: Mapping[str, Any], train: TaskShape, test: TaskShape) -> list[str]:
    """Find tasks or steps that no memory holds."""
    found = []
    per_task = {"train": train.n_support + train.n_queries, "task": test.n_support + test.n_queries}
    for section, size in per_task.items():
        if size > _MOST_EXAMPLES:
            found.append(
                f"{section}.n_way, {section}.k_shot and {section}.n_query give {size:,} examples in one task; at most "
                f"{_MOST_EXAMPLES:,}. Lower them."
            )
    batch = values["train"]["meta_batch_size"]
    if not found and batch * per_task["train"] > _MOST_EXAMPLES:
        found.append(
            f"train.meta_batch_size={batch} with tasks of {per_task['train']} examples gives "
            f"{batch * per_task['train']:,} examples in one step; at most {_MOST_EXAMPLES:,}. Lower it."
        )
    if values["train"]["eval_episodes"] > _MOST_EPISODES:
        found.append(
            f"train.eval_episodes={values['train']['eval_episodes']} is too many; at most {_MOST_EPISODES:,}. Lower it."
        )
    return found


def _device_problems(device: Mapping[str, Any]) -> list[str]:
    """Find a precision that the chosen accelerator does not have, or more threads than any machine has."""
    if device["threads"] is not None and device["threads"] > _MOST_THREADS:
        return [f"device.threads={device['threads']} is too many; at most {_MOST_THREADS:,}. Lower it."]
    if device["precision"] == "tf32" and device["accelerator"] in ("cpu", "mps"):
        return [
            f"device.precision=tf32 is a mode of NVIDIA GPUs, and device.accelerator={device['accelerator']}. "
            "Set device.precision=float32, or device=cuda."
        ]
    return []


def _tracker_problems(trackers: Mapping[str, ClassSpec]) -> list[str]:
    """Find what metaexp's own trackers refuse when they are made, such as names that a server would not take."""
    found: list[str] = []
    for spec in trackers.values():
        try:
            if spec.path.startswith("metaexp."):
                make(spec, Tracker)  # type: ignore[type-abstract]
        except ConfigError as error:
            found += error.problems
    return found


def _metric_problems(names: Sequence[str], n_way: int) -> list[str]:
    """Find names of further metrics that tasks do not have, or that are there twice."""
    found = [f"eval.metrics: {problem}." for name in names if (problem := name_problem(name, n_way))]
    for name in filter(is_own, names):
        try:
            find_function(f"eval.metrics={name}", name)
        except ConfigError as error:
            found += error.problems
    return found + [f"eval.metrics has {name} twice." for name in sorted({n for n in names if names.count(n) > 1})]
