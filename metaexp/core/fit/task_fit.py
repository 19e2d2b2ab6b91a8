"""Whether tasks of a shape fit a dataset and an algorithm. Pure functions, without torch.

They have three callers: the check of a configuration (``config/contradictions.py``), the start of a run once its data
are loaded and their classes are known (``run/build.py``), and a later test of a run (``run/evaluation/evaluate.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from metaexp.core.fit.advice import Changes, FitAdvice
from metaexp.core.fit.domains import Domains, domain_problems
from metaexp.core.shapes import SPLITS, Capacity, FixedBank, Split, TaskShape, trains_on_batches


class DataFacts(NamedTuple):
    """The facts about a dataset that decide whether a task fits."""

    name: str
    """As chosen by ``dataset=NAME``."""
    kind: str
    """``classification`` or ``regression``."""
    capacity: Mapping[Split, Capacity] | None
    """Classes and examples per class of each split, in regression tasks and examples per task; None where only the
    files tell, and where tasks are endless."""
    equal_classes: bool = False
    """Whether all classes of a split are of that size."""
    fixed: FixedBank | None = None
    """Shape and number of the test episodes, where these are fixed rather than drawn."""
    varied_ways: bool = False
    """Whether episodes differ in the number of classes."""
    val_in_train: bool = False
    """Whether the classes of validation are trained on, too."""
    changes: Changes = Changes()
    """What the dataset would hold if keys of its section had other values."""
    domains: Domains | None = None
    """The datasets of a mixture; None for other data."""


def is_stand_in(dataset: object) -> bool:
    """Return whether made-up images take the place of a dataset's, or of one in a mixture.

    Args:
        dataset: The section ``dataset`` of a configuration, as plain values.
    """
    if not isinstance(dataset, Mapping):
        return False
    domains = dataset.get("domains")
    parts = domains.values() if isinstance(domains, Mapping) else ()
    return dataset.get("stand_in") is True or any(map(is_stand_in, parts))


class AlgorithmFacts(NamedTuple):
    """The facts about an algorithm that decide whether a task fits, and its arguments."""

    name: str
    """As chosen by ``algorithm=NAME``."""
    class_name: str
    fixed_way: bool
    """See :attr:`metaexp.core.algorithm.Algorithm.fixed_way`."""
    training_tasks: str
    """See :attr:`metaexp.core.algorithm.Algorithm.training_tasks`."""
    classes_needed: bool | Mapping[str, Sequence[str]]
    """See :attr:`metaexp.core.algorithm.Algorithm.classes_needed`."""
    arguments: Mapping[str, Any]


class Tasks(NamedTuple):
    """The tasks that a run asks for."""

    train: TaskShape
    test: TaskShape
    splits: Sequence[Split] = SPLITS
    """The splits that are used; none if nothing is known about the data."""
    is_trained: bool = False
    """Whether the run is trained already, and this is another test of it."""
    batch: int | None = None
    """``train.meta_batch_size``; None where nothing is trained."""


def fit_problems(data: DataFacts | None, algorithm: AlgorithmFacts | None, tasks: Tasks) -> list[str]:
    """Say why tasks do not fit the data and the algorithm.

    Args:
        data: The dataset; None where it is broken and its problems are reported already.
        algorithm: The algorithm; None where it is broken, too.
        tasks: The tasks that the run asks for.

    Returns:
        A sentence for each problem; none where everything fits.
    """
    found: list[str] = []
    if data is not None:
        wanted = {split: tasks.train if split == "train" else tasks.test for split in tasks.splits}
        advice = FitAdvice(data.changes, data.capacity or {}, wanted)
        for split in reversed(tasks.splits):
            shape = wanted[split]
            # Training tasks take the test's values by default; then the test's key is the one to change.
            section = "task" if split != "train" or tasks.train == tasks.test else "train"
            found += [problem.replace("SECTION", section) for problem in _data_problems(data, split, shape, advice)]
    if algorithm is not None:
        found += _algorithm_problems(algorithm, tasks)
    if data is not None and data.varied_ways and algorithm is not None and algorithm.fixed_way:
        found.append(
            f"dataset={data.name} draws the number of classes of each episode, and {algorithm.class_name} has one "
            "output for each class. Set dataset.least_ways=null, which gives every episode task.n_way classes, or "
            "choose an algorithm that takes any number, such as algorithm=proto_net."
        )
    if data is not None and algorithm is not None and trains_on_batches(algorithm.training_tasks, tasks.train.n_way):
        found += _batch_problems(data, tasks)
    return list(dict.fromkeys(found))


def needs_classes(setting: str, instead: str = "") -> str:
    """Return the sentence for an algorithm, or a setting of one, that has no meaning in regression.

    Args:
        setting: What needs classes, such as ``algorithm=proto_net`` or ``algorithm.head=cosine``.
        instead: What to set in its place, such as ``algorithm.head=linear``; by default another dataset or algorithm.
    """
    advice = f"Set {instead}." if instead else (
        "Choose a classification dataset, or an algorithm for regression such as algorithm=maml."
    )  # fmt: skip
    return f"{setting} needs classes, and regression tasks (train.n_way=0) have none. {advice}"


def format_shape(shape: TaskShape) -> str:
    """Return a shape in words, such as ``20-way 1-shot with 1 query per class``."""
    queries = "query" if shape.n_query == 1 else "queries"
    return f"{shape.n_way}-way {shape.k_shot}-shot with {shape.n_query} {queries} per class"


def fixed_shape_problem(name: str, fixed: TaskShape, task: TaskShape) -> str:
    """Return the sentence for a task of another shape than the fixed test episodes of a dataset.

    Args:
        name: What messages call the dataset.
        fixed: The shape of its test episodes.
        task: The shape that is asked for.
    """
    return (
        f"the test episodes of {name} are fixed: {format_shape(fixed)}; and the task is {format_shape(task)}. "
        f"Set task.n_way={fixed.n_way} task.k_shot={fixed.k_shot} task.n_query={fixed.n_query}."
    )


def fixed_number_problem(name: str, n_episodes: int, wanted: int) -> str:
    """Return the sentence for a test on more episodes than a dataset has.

    Args:
        name: What messages call the dataset.
        n_episodes: How many fixed test episodes it has.
        wanted: How many are asked for.
    """
    return (
        f"eval.episodes={wanted} are more than the {n_episodes} test episodes of {name}. "
        f"Set eval.episodes={n_episodes}."
    )


def _data_problems(data: DataFacts, split: Split, shape: TaskShape, advice: FitAdvice) -> Iterator[str]:
    if data.kind == "regression":
        if shape.n_way:
            yield (
                f"SECTION.n_way={shape.n_way} asks for classes, but dataset={data.name} is a regression family. "
                "Choose a regression task, such as task=regression_10shot."
            )
        elif data.capacity is not None:
            yield from _task_problems(data, data.capacity.get(split, Capacity(0, 0)), split, shape, advice)
        return
    if shape.n_way == 0:
        yield (
            f"SECTION.n_way=0 means regression, but dataset={data.name} is for classification. "
            "Choose a classification task, such as task=5way_1shot."
        )
        return
    if shape.n_way == 1:
        yield "SECTION.n_way=1 leaves nothing to tell apart; set SECTION.n_way to 2 or more."
    if data.domains is not None:
        yield from domain_problems(data.domains, split, shape)
    elif split == "test" and data.fixed is not None:
        yield from [fixed_shape_problem(data.name, data.fixed.shape, shape)] if shape != data.fixed.shape else []
    elif data.fixed is not None and data.capacity is not None and split not in data.capacity:
        yield (
            f"{data.name} has test episodes alone, and nothing to train on. Test a finished run on them: "
            f"metaexp evaluate RUN dataset={data.name}."
        )
    elif data.capacity is not None:
        yield from _capacity_problems(data, data.capacity.get(split, Capacity(0, 0)), split, shape, advice)


def _capacity_problems(
    data: DataFacts, limits: Capacity, split: Split, shape: TaskShape, advice: FitAdvice
) -> Iterator[str]:
    name = data.name
    if limits.n_classes == 0:
        yield f"the {split} split of {name} has no classes. Give it some, or choose another dataset."
        return
    if shape.n_way > limits.n_classes:
        yield (
            f"SECTION.n_way={shape.n_way} needs as many classes; the {split} split of {name} has "
            f"{limits.n_classes}. {advice.on_classes}"
        )
    needed = shape.k_shot + shape.n_query
    if needed > limits.per_class:
        yield (
            f"SECTION.k_shot={shape.k_shot} and SECTION.n_query={shape.n_query} need {needed} examples per class; "
            f"{name} has {limits.per_class}. {advice.on_examples(limits, 'class')}"
        )


def _task_problems(
    data: DataFacts, limits: Capacity, split: Split, shape: TaskShape, advice: FitAdvice
) -> Iterator[str]:
    """Problems of regression tasks whose examples are limited."""
    name = data.name
    if limits.n_classes == 0:
        yield f"the {split} split of {name} has no tasks. Give it some, or choose another dataset."
        return
    needed = shape.k_shot + shape.n_query
    if needed > limits.per_class:
        yield (
            f"SECTION.k_shot={shape.k_shot} and SECTION.n_query={shape.n_query} need {needed} examples per task; the "
            f"smallest {split} task of {name} has {limits.per_class}. "
            f"{advice.on_examples(limits, 'task')}"
        )


def _batch_problems(data: DataFacts, tasks: Tasks) -> Iterator[str]:
    """Problems of supervised training, whose batch has different examples of the training split."""
    if data.capacity is None or not data.equal_classes or tasks.batch is None or "train" not in data.capacity:
        return
    n_examples = data.capacity["train"].n_classes * data.capacity["train"].per_class
    if tasks.batch > n_examples:
        yield (
            f"train.meta_batch_size={tasks.batch} examples are more than the {n_examples} that {data.name} has for "
            "train. Lower it."
        )


def _algorithm_problems(algorithm: AlgorithmFacts, tasks: Tasks) -> Iterator[str]:
    train, test = tasks.train, tasks.test
    if (test if tasks.is_trained else train).n_way == 0:
        yield from _without_classes(algorithm)
    on_batches = trains_on_batches(algorithm.training_tasks, train.n_way)
    if train.n_way == test.n_way or not algorithm.fixed_way or on_batches:
        return
    name = algorithm.class_name
    if tasks.is_trained:
        yield (
            f"task.n_way={test.n_way} does not fit this run: {name} can only be tested with as many classes as it was "
            f"trained with, which was {train.n_way}. Leave task.n_way at {train.n_way}, or train again with "
            f"task.n_way={test.n_way}; algorithm=proto_net, say, takes any number at test."
        )
    else:
        yield (
            f"train.n_way={train.n_way} and task.n_way={test.n_way} differ, but {name} can only be "
            "tested with as many classes as it was trained with. Leave train.n_way out, or set both alike."
        )


def _without_classes(algorithm: AlgorithmFacts) -> Iterator[str]:
    if algorithm.classes_needed is True:
        yield needs_classes(f"algorithm={algorithm.name}")
    elif isinstance(algorithm.classes_needed, Mapping):
        for key, (value, instead) in algorithm.classes_needed.items():
            if algorithm.arguments.get(key) == value:
                yield needs_classes(f"algorithm.{key}={value}", f"algorithm.{key}={instead}")
