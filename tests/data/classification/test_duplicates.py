"""Examples that are in two splits, in two classes of one, or twice in a class, are counted, and no others."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from metaexp.core.shapes import Split
from metaexp.data.classification.duplicates import warn_of_duplicates

CLASSES = {"a": 4, "b": 4, "c": 4, "d": 4, "e": 4, "f": 4}
SPLITS: dict[Split, Sequence[str]] = {"train": ["a", "b"], "val": ["c", "d"], "test": ["e", "f"]}


def warnings(*equal: tuple[int, int], splits: dict[Split, Sequence[str]] | None = None) -> list[str]:
    """The warnings for 24 images of which the second of each pair is the first once more."""
    examples = torch.arange(24, dtype=torch.uint8).view(24, 1, 1, 1).repeat(1, 1, 2, 2)
    for first, second in equal:
        examples[second] = examples[first]
    lines: list[str] = []
    warn_of_duplicates(examples, CLASSES, SPLITS if splits is None else splits, lines.append)
    return lines


def test_nothing_is_said_of_different_examples() -> None:
    assert warnings() == []


def test_an_example_in_an_earlier_split_is_counted() -> None:
    for pair, words in (
        ((0, 8), "the val split has 1 of its 8 examples in the train split, too"),
        ((0, 16), "the test split has 1 of its 8 examples in the train split, too"),
        ((8, 16), "the test split has 1 of its 8 examples in the val split, too"),
    ):
        (line,) = warnings(pair)
        assert words in line


def test_an_example_in_two_classes_of_a_split_is_counted_in_both() -> None:
    for pair, split, first, second in (
        ((0, 4), "train", "a", "b"),
        ((9, 12), "val", "c", "d"),
        ((17, 23), "test", "e", "f"),
    ):
        (line,) = warnings(pair)
        assert f"the {split} split has 2 of its 8 examples in two of its classes" in line
        assert f"such as in {first} and in {second}" in line


def test_an_example_twice_in_a_class_of_validation_or_test_is_counted() -> None:
    assert warnings((0, 1), (4, 5)) == []  # training
    (line,) = warnings((16, 17), (16, 18), (20, 21))
    assert "the test split repeats 3 of its 8 examples in their class" in line
    (line,) = warnings((8, 9))
    assert "the val split repeats 1 of its 8 examples" in line


def test_each_kind_has_its_own_line() -> None:
    lines = warnings((0, 16), (17, 18), (19, 20))
    assert [line.partition(" split ")[2].partition(",")[0] for line in lines] == [
        "has 1 of its 8 examples in the train split",
        "has 2 of its 8 examples in two of its classes",
        "repeats 1 of its 8 examples in their class",
    ]


def test_a_class_that_is_in_two_splits_on_purpose_is_not_a_duplicate() -> None:
    both: dict[Split, Sequence[str]] = {"train": ["a", "b", "c"], "val": ["c"], "test": ["e", "f"]}
    assert warnings(splits=both) == []
    (line,) = warnings((0, 8), splits=both)  # an image of a class in training that is one of c, too
    assert "the train split has 2 of its 12 examples in two of its classes" in line


def test_classes_in_no_split_do_not_count() -> None:
    assert warnings((0, 12), (12, 13), splits={"train": ["a"], "val": ["c"], "test": ["e"]}) == []
