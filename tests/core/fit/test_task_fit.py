"""Whether tasks fit data and algorithm: a sentence for each problem, and none where there is none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import metaexp
from metaexp.core.fit.task_fit import AlgorithmFacts, DataFacts, Tasks, fit_problems, fixed_number_problem
from metaexp.core.shapes import Capacity, FixedBank, TaskShape, trains_on_batches

SHAPE = TaskShape(5, 1, 5)
ROOM = {split: Capacity(20, 10) for split in ("train", "val", "test")}
DATA = DataFacts("birds", "classification", ROOM)  # type: ignore[arg-type]


def algorithm(
    needed: bool | Mapping[str, Sequence[str]] = False,
    arguments: Mapping[str, Any] | None = None,
    *,
    fixed: bool = True,
) -> AlgorithmFacts:
    return AlgorithmFacts("mine", "Mine", fixed, "episodes", needed, arguments or {})


def test_what_fits_has_no_problem() -> None:
    assert fit_problems(DATA, algorithm(), Tasks(SHAPE, SHAPE)) == []
    assert fit_problems(None, None, Tasks(SHAPE, SHAPE)) == []


@pytest.mark.parametrize(
    ("capacity", "shape", "said"),
    [
        (ROOM, TaskShape(21, 1, 5), "needs as many classes; the"),
        (ROOM, TaskShape(5, 6, 5), "need 11 examples per class; birds has 10"),
        (ROOM, TaskShape(1, 1, 5), "leaves nothing to tell apart"),
        ({"train": Capacity(20, 10), "test": Capacity(20, 10)}, SHAPE, "the val split of birds has no classes"),
    ],
)
def test_a_split_that_is_too_small_is_named(capacity: Mapping[str, Capacity], shape: TaskShape, said: str) -> None:
    data = DataFacts("birds", "classification", capacity)  # type: ignore[arg-type]
    assert any(said in problem for problem in fit_problems(data, algorithm(), Tasks(shape, shape)))
    assert fit_problems(DATA, algorithm(), Tasks(SHAPE, SHAPE)) == []


def test_a_fixed_way_algorithm_keeps_its_number_of_classes() -> None:
    tasks = Tasks(TaskShape(10, 1, 5), SHAPE)
    assert any("n_way" in problem for problem in fit_problems(DATA, algorithm(), tasks))
    assert fit_problems(DATA, algorithm(fixed=False), tasks) == []
    trained = Tasks(TaskShape(10, 1, 5), SHAPE, ["test"], is_trained=True)
    (problem,) = fit_problems(DATA, algorithm(), trained)
    assert "does not fit this run" in problem


def test_an_algorithm_that_needs_classes_is_refused_in_regression_and_for_that_argument_alone() -> None:
    shape = TaskShape(0, 10, 10)
    data = DataFacts("waves", "regression", None)
    tasks = Tasks(shape, shape)
    assert fit_problems(data, algorithm(), tasks) == []
    assert len(fit_problems(data, algorithm(True), tasks)) == 1
    (problem,) = fit_problems(data, algorithm({"head": ("cosine", "linear")}, {"head": "cosine"}), tasks)
    assert "algorithm.head=cosine" in problem
    assert "algorithm.head=linear" in problem
    assert fit_problems(data, algorithm({"head": ("cosine", "linear")}, {"head": "linear"}), tasks) == []


def test_a_supervised_batch_larger_than_the_training_split_is_refused_where_its_size_is_known() -> None:
    supervised = algorithm()._replace(training_tasks="supervised")
    known = DATA._replace(equal_classes=True)
    fits, too_large = (Tasks(SHAPE, SHAPE, batch=batch) for batch in (200, 201))
    (problem,) = fit_problems(known, supervised, too_large)
    assert problem == "train.meta_batch_size=201 examples are more than the 200 that birds has for train. Lower it."
    assert fit_problems(known, supervised, fits) == []
    assert fit_problems(DATA, supervised, too_large) == []  # larger classes than the smallest may have enough
    assert fit_problems(known, algorithm(), too_large) == []  # 201 tasks
    assert fit_problems(known, supervised, Tasks(SHAPE, SHAPE)) == []


REGRESSION = DataFacts("waves", "regression", {split: Capacity(20, 10) for split in ("train", "val")})  # type: ignore[arg-type]
FIXED = DATA._replace(fixed=FixedBank(SHAPE, 20))


@pytest.mark.parametrize(
    ("data", "shape", "said"),
    [
        (REGRESSION, SHAPE, "task.n_way=5 asks for classes, but dataset=waves is a regression family. Choose a"),
        (REGRESSION, TaskShape(0, 6, 5), "need 11 examples per task; the smallest train task of waves has 10."),
        (REGRESSION, TaskShape(0, 5, 5), "the test split of waves has no tasks. Give it some"),
        (DATA, TaskShape(0, 5, 5), "task.n_way=0 means regression, but dataset=birds is for classification."),
        (FIXED, TaskShape(5, 2, 5), "the test episodes of birds are fixed: 5-way 1-shot with 5 queries per class; and"),
        (FIXED._replace(capacity={}), SHAPE, "birds has test episodes alone, and nothing to train on."),
        (
            DATA._replace(varied_ways=True),
            SHAPE,
            "draws the number of classes of each episode, and Mine has one output",
        ),
    ],
)
def test_data_of_another_kind_are_refused_in_words(data: DataFacts, shape: TaskShape, said: str) -> None:
    assert any(said in problem for problem in fit_problems(data, algorithm(), Tasks(shape, shape)))
    fits = TaskShape(0, 5, 5) if data is REGRESSION else SHAPE
    known = data._replace(capacity={**ROOM, **(data.capacity or {})}, varied_ways=False)
    assert fit_problems(known, algorithm(), Tasks(fits, fits)) == []


def test_more_episodes_than_are_fixed_are_refused_with_the_number_that_there_are() -> None:
    said = "eval.episodes=21 are more than the 20 test episodes of birds. Set eval.episodes=20."
    assert fixed_number_problem("birds", 20, 21) == said


def test_one_function_says_whether_training_goes_over_batches() -> None:
    """In regression every algorithm trains on tasks. This was decided in eight places, and one forgot it."""
    assert trains_on_batches("supervised", 5)
    assert not trains_on_batches("supervised", 0)
    assert not trains_on_batches("episodes", 5)
    assert not trains_on_batches(None, 5)
    package = Path(metaexp.__file__).parent
    decide = re.compile(r"training_tasks\s*[!=]=")
    found = [str(path.relative_to(package)) for path in package.rglob("*.py") if decide.search(path.read_text("utf-8"))]
    assert sorted(found) == ["core/shapes.py", "doctor/symmetry.py"]  # the second asks what an algorithm says of itself
