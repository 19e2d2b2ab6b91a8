"""Whether tasks fit data and algorithm: a sentence for each problem, and none where there is none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import metaexp
from metaexp.core.fit.task_fit import AlgorithmFacts, DataFacts, Tasks, fit_problems
from metaexp.core.shapes import Capacity, TaskShape, trains_on_batches

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
