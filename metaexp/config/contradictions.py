"""Settings that are each fine and cannot go together. Torch is not imported for the datasets of metaexp."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from metaexp.config.classes.make import make
from metaexp.config.classes.source import class_attribute, find_class
from metaexp.core.errors import ConfigError
from metaexp.core.shapes import SPLITS, Capacity, Split, TaskShape
from metaexp.data.base import Dataset


def contradictions(
    config: Mapping[str, Any], choices: Mapping[str, str], sound: frozenset[str], is_trained: bool = False
) -> list[str]:
    """One sentence for each contradiction between sections of a configuration.

    sound: the sections whose values are all possible by themselves; the others are left alone. is_trained: the
    configuration is for another test of a finished run, so what training would need does not matter.
    """
    found: list[str] = []
    if "dataset" in sound:
        splits: Sequence[Split] = ("test",) if is_trained else SPLITS
        found += data_problems(config, choices, splits if sound >= {"train", "task"} else ())
    if sound >= {"algorithm", "train", "task"}:
        found += way_problems(config, is_trained)
    if "device" in sound:
        found += device_problems(config)
    if "paths" in sound and not all(config["paths"].values()):
        found.append("paths.data and paths.outputs must not be empty; the current folder is '.'.")
    return list(dict.fromkeys(found))


def data_problems(config: Mapping[str, Any], choices: Mapping[str, str], splits: Sequence[Split]) -> list[str]:
    """What the dataset itself refuses, and tasks that it cannot give in ``splits``."""
    name = choices.get("dataset") or config["dataset"]["_target_"].rpartition(".")[2]
    try:
        dataset = make(config["dataset"], Dataset)  # type: ignore[type-abstract]
        capacity = dataset.capacity()
    except ConfigError as error:
        return error.problems
    if not splits:
        return []
    return shape_problems(name, dataset.kind, capacity, train_shape(config), test_shape(config), splits)


def train_shape(config: Mapping[str, Any]) -> TaskShape:
    """The shape of a training task."""
    return TaskShape(*(config["train"][key] for key in TaskShape._fields))


def test_shape(config: Mapping[str, Any]) -> TaskShape:
    """The shape of a validation or test task."""
    return TaskShape(*(config["task"][key] for key in TaskShape._fields))


def shape_problems(
    dataset: str,
    kind: str,
    capacity: Mapping[Split, Capacity] | None,
    train: TaskShape,
    test: TaskShape,
    splits: Sequence[Split] = SPLITS,
) -> list[str]:
    """What is wrong with training and test tasks of these shapes on a dataset of that kind and capacity.

    ``capacity`` is None where it is not known yet, or has no end (regression). splits: those that are used.
    """
    found: list[str] = []
    for split in reversed(splits):
        shape = train if split == "train" else test
        limits = None if capacity is None else capacity.get(split)
        for problem in _on_split(dataset, kind, limits, split, shape):
            # Training tasks follow the test's unless told otherwise: then the key to change is the test's.
            section = "task" if split != "train" or train == test else "train"
            found.append(problem.replace("SECTION", section))
    return list(dict.fromkeys(found))


def _on_split(dataset: str, kind: str, capacity: Capacity | None, split: Split, shape: TaskShape) -> Iterator[str]:
    if kind == "regression":
        if shape.n_way:
            yield (
                f"SECTION.n_way={shape.n_way} asks for classes, which dataset={dataset}, a regression family, has not. "
                "Choose a regression task, such as task=regression_10shot."
            )
        return
    if shape.n_way == 0:
        yield (
            f"SECTION.n_way=0 means regression, but dataset={dataset} is for classification. "
            "Choose a classification task, such as task=5way_1shot."
        )
        return
    if shape.n_way == 1:
        yield "SECTION.n_way=1 leaves nothing to tell apart; set SECTION.n_way to 2 or more."
    if capacity is None:
        return
    if shape.n_way > capacity.n_classes:
        yield (
            f"SECTION.n_way={shape.n_way} needs as many classes; the {split} split of {dataset} has "
            f"{capacity.n_classes}. Lower SECTION.n_way."
        )
    needed = shape.k_shot + shape.n_query
    if needed > capacity.per_class:
        yield (
            f"SECTION.k_shot={shape.k_shot} and SECTION.n_query={shape.n_query} need {needed} examples per class; "
            f"{dataset} has {capacity.per_class}. Lower SECTION.k_shot or SECTION.n_query."
        )


def way_problems(config: Mapping[str, Any], is_trained: bool = False) -> list[str]:
    """Tested with more or fewer classes than trained with, by an algorithm whose last layer has one output a class."""
    train, test = train_shape(config), test_shape(config)
    target = config["algorithm"]["_target_"]
    source = find_class(target)
    if source is None or train.n_way == test.n_way or not class_attribute(source, "fixed_way"):
        return []
    if class_attribute(source, "training_tasks") == "supervised":
        return []
    name = target.rpartition(".")[2]
    if is_trained:
        return [
            f"task.n_way={test.n_way} does not fit this run: {name} can only be tested with as many classes as it was "
            f"trained with, which was {train.n_way}. Leave task.n_way at {train.n_way}, or train anew with "
            f"task.n_way={test.n_way}; algorithm=proto_net, say, takes any number at test."
        ]
    return [
        f"train.n_way={train.n_way} and task.n_way={test.n_way} differ, but {name} can only be "
        "tested with as many classes as it was trained with. Leave train.n_way out, or set both alike."
    ]


def device_problems(config: Mapping[str, Any]) -> list[str]:
    """A precision that the chosen accelerator does not have."""
    device = config["device"]
    if device["precision"] == "tf32" and device["accelerator"] in ("cpu", "mps"):
        return [
            f"device.precision=tf32 is a mode of NVIDIA GPUs, and device.accelerator={device['accelerator']}. "
            "Set device.precision=float32, or device=cuda."
        ]
    return []
