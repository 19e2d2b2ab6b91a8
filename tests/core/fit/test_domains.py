"""Each dataset of a mixture must serve whole episodes; one that is too small is named, with the key that helps."""

from __future__ import annotations

import pytest

from metaexp.core.fit.domains import Domains, domain_problems
from metaexp.core.fit.task_fit import DataFacts, Tasks, fit_problems
from metaexp.core.shapes import SPLITS, Capacity, Split, TaskShape

LARGE: dict[Split, Capacity] = dict.fromkeys(SPLITS, Capacity(50, 50))
SMALL: dict[Split, Capacity] = dict.fromkeys(SPLITS, Capacity(3, 9))


@pytest.mark.parametrize(
    ("domains", "shape", "said"),
    [
        (
            Domains({"a": LARGE, "b": SMALL}),
            TaskShape(4, 1, 1),
            "SECTION.n_way=4 needs as many classes; the val split of dataset.domains.b has 3. Lower SECTION.n_way.",
        ),
        (
            Domains({"a": LARGE, "b": SMALL}, least_ways=4),
            TaskShape(5, 1, 1),
            "dataset.least_ways=4 needs as many classes; the val split of dataset.domains.b has 3. Lower "
            "dataset.least_ways.",
        ),
        (
            Domains({"a": LARGE, "b": SMALL}),
            TaskShape(3, 5, 5),
            "an episode needs 10 examples per class; the val split of dataset.domains.b has a class of 9. Lower "
            "SECTION.k_shot or SECTION.n_query.",
        ),
        (
            Domains({"a": LARGE, "b": {"val": Capacity(3, 1)}}, varied_shots=True),
            TaskShape(3, 5, 5),
            "an episode needs 2 examples per class; the val split of dataset.domains.b has a class of 1. Leave out "
            "small classes.",
        ),
        (
            Domains({"a": LARGE, "b": SMALL}, least_ways=6),
            TaskShape(5, 1, 1),
            "dataset.least_ways=6 is more than SECTION.n_way=5, which is the most. Lower it, or raise SECTION.n_way.",
        ),
    ],
)
def test_the_dataset_that_is_too_small_is_named(domains: Domains, shape: TaskShape, said: str) -> None:
    assert list(domain_problems(domains, "val", shape)) == [said]
    mixture = DataFacts("mine", "classification", None, domains=domains)
    problems = fit_problems(mixture, None, Tasks(shape, shape, ["val"]))
    assert problems == [said.replace("SECTION", "task")]


def test_what_fits_has_no_problem() -> None:
    sizes = {"a": LARGE, "b": SMALL}
    assert list(domain_problems(Domains(sizes), "val", TaskShape(3, 4, 5))) == []
    assert list(domain_problems(Domains(sizes, 3), "val", TaskShape(50, 4, 5))) == []
    assert list(domain_problems(Domains(sizes, 3, varied_shots=True), "val", TaskShape(50, 40, 50))) == []


def test_one_of_three_datasets_can_be_left_out_and_one_without_the_split_is_not_asked() -> None:
    sizes = {"a": {"train": Capacity(3, 9)}, "b": {"test": Capacity(3, 9)}, "c": {"test": Capacity(9, 9)}}
    (problem,) = domain_problems(Domains(sizes), "test", TaskShape(4, 1, 1))  # type: ignore[arg-type]
    assert problem.endswith("has 3. Lower SECTION.n_way, or leave b out of the mixture: '~dataset.domains.b'.")
    assert list(domain_problems(Domains(sizes), "test", TaskShape(3, 1, 1))) == []  # type: ignore[arg-type]
