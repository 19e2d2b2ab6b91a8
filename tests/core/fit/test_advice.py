"""What is proposed for data that are too small was tried, and nothing is proposed that does not help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from metaexp.core.fit.advice import Changes, FitAdvice
from metaexp.core.shapes import SPLITS, Capacity, Split, TaskShape

SIZES = {"train": 14, "val": 4, "test": 6}
NOW: dict[Split, Capacity] = {split: Capacity(SIZES[split], 3) for split in SPLITS}
WANTED: dict[Split, TaskShape] = dict.fromkeys(SPLITS, TaskShape(5, 1, 5))


def advice(
    after: Mapping[Split, Capacity] | None, wanted: Mapping[Split, TaskShape] = WANTED, key: str = "min_images"
) -> FitAdvice:
    return FitAdvice(Changes(lambda _: after, key), NOW, wanted)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (dict.fromkeys(SPLITS, Capacity(5, 6)), "or leave out small classes: dataset.min_images=6."),
        (
            {**dict.fromkeys(SPLITS, Capacity(5, 6)), "val": Capacity(4, 6)},
            "(together at most 3), or give each class 6",
        ),
        ({}, "(together at most 3), or give each class 6 examples or more."),
        (None, "or, if enough classes are larger, leave out small ones: dataset.min_images=6."),
    ],
)
def test_small_classes_are_to_be_left_out_only_if_enough_are_left(
    after: Mapping[Split, Capacity] | None, said: str
) -> None:
    assert said in advice(after).on_examples(Capacity(4, 3), "class")


def test_the_number_to_leave_out_by_is_that_of_the_largest_task() -> None:
    wanted = {**WANTED, "train": TaskShape(5, 1, 15)}
    after = dict.fromkeys(SPLITS, Capacity(5, 16))
    assert advice(after, wanted).on_examples(Capacity(4, 3), "class").endswith("dataset.min_images=16.")


def test_a_dataset_without_such_a_key_and_a_class_with_one_example() -> None:
    assert advice(None, key="").on_examples(Capacity(4, 3), "task") == "Lower SECTION.k_shot or SECTION.n_query."
    assert advice({}).on_examples(Capacity(4, 1), "task") == "Give each task 6 examples or more."


def divided(n: int, turns: int) -> Changes:
    """A dataset of n classes; rotations make some more of each training class."""

    def capacity(values: Mapping[str, Any]) -> Mapping[Split, Capacity]:
        train, val, _ = values.get("fractions", (0.64, 0.16, 0.2))
        counts = {"train": round(train * n), "val": round(val * n)}
        counts["test"] = n - sum(counts.values())
        counts["train"] *= 1 if values.get("rotations") == "none" else turns
        return {split: Capacity(counts[split], 9) for split in SPLITS}

    return Changes(capacity, has_fractions=True, unturned={"rotations": "none"})


@pytest.mark.parametrize(("n", "turns"), [(24, 1), (15, 1), (137, 1), (12, 4)])
def test_fractions_that_fit_are_proposed(n: int, turns: int) -> None:
    changes = divided(n, turns)
    wanted = dict.fromkeys(SPLITS, TaskShape(5 if n < 100 else 30, 1, 5))
    said = FitAdvice(changes, changes.capacity({}), wanted).on_classes  # type: ignore[arg-type]
    values = [float(value) for value in said.partition("fractions=[")[2].rstrip("].").split(",")]
    assert sum(values) == pytest.approx(1)
    found = changes.capacity({"fractions": values})
    assert found is not None
    assert min(size.n_classes for size in found.values()) >= wanted["val"].n_way


@pytest.mark.parametrize(("n", "turns"), [(14, 1), (11, 4)])
def test_it_is_said_that_no_fractions_fit(n: int, turns: int) -> None:
    changes = divided(n, turns)
    said = FitAdvice(changes, changes.capacity({}), WANTED).on_classes  # type: ignore[arg-type]
    assert f"or give more classes: {n} are too few for {5 if turns == 1 else 2} for train, 5 for val" in said


def test_without_fractions_fewer_ways_are_all_that_helps() -> None:
    assert FitAdvice(Changes(), NOW, WANTED).on_classes == "Lower SECTION.n_way."
