"""A mistake in what a dataset of one's own says before it is loaded is a message, with its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metaexp.config.contradictions import data_facts
from metaexp.config.schema import ClassSpec
from metaexp.core.errors import ConfigError, MissingDataError
from metaexp.core.shapes import Capacity, FixedBank, TaskShape
from metaexp.data.base import Dataset, MetaDataset, Progress
from metaexp.data.classification.class_ids import named_classes
from metaexp.data.inventory.before_loading import Question, ask_dataset
from metaexp.run.initial import trained_before

FOLDER = Path("data")


class Raising(Dataset):
    """Its methods return None, but for one that raises."""

    kind = "classification"

    def __init__(self, where: str, error: Exception) -> None:
        self.where, self.error = where, error

    def _say(self, method: str) -> None:
        if method == self.where:
            raise self.error

    def capacity(self) -> None:
        self._say("capacity")

    def capacity_in(self, folder: Path) -> None:
        self._say("capacity_in")

    def class_ids_in(self, folder: Path) -> None:
        self._say("class_ids_in")

    def fixed_bank(self, folder: Path | None) -> None:
        self._say("fixed_bank")

    def load(self, folder: Path, progress: Progress) -> MetaDataset:
        raise NotImplementedError


def facts(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("metaexp.config.contradictions.make", lambda *_: dataset)
    return data_facts(ClassSpec("own.Raising", "own.Raising", {}, frozenset()), {}, FOLDER)


def names(dataset: Dataset, _: pytest.MonkeyPatch) -> Any:
    return trained_before._named_classes(dataset, FOLDER)


@pytest.mark.parametrize(
    ("where", "asked"),
    [("capacity", facts), ("capacity_in", facts), ("fixed_bank", facts), ("class_ids_in", names)],
)
def test_a_mistake_in_a_method_is_a_message(where: str, asked: Callable[..., Any], monkeypatch: Any) -> None:
    message = rf"{where} of the dataset Raising raises KeyError: 'x' \(.*test_before_loading.py, line \d+\). Correct"
    with pytest.raises(ConfigError, match=message):
        asked(Raising(where, KeyError("x")), monkeypatch)


class Damaged(Raising):
    """Its mistake comes to light in a library, and it takes other arguments than it is given."""

    def capacity(self) -> None:
        json.loads("{")

    def capacity_in(self) -> None:  # type: ignore[override]
        return None


def test_a_mistake_that_a_library_reports_has_the_place_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Damaged("nowhere", KeyError("x"))
    with pytest.raises(ConfigError, match=r"capacity of .* JSONDecodeError: .*test_before_loading.py, line \d+\)"):
        facts(dataset, monkeypatch)
    monkeypatch.setattr(Damaged, "capacity", lambda self: None)
    with pytest.raises(ConfigError, match=r"capacity_in of .* raises TypeError: .*test_before_loading.py, line \d+\)"):
        facts(dataset, monkeypatch)


def test_missing_files_are_not_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = MissingDataError("put it there")
    assert facts(Raising("capacity_in", missing), monkeypatch).capacity is None
    assert names(Raising("class_ids_in", missing), monkeypatch) is None
    with pytest.raises(MissingDataError):
        named_classes(Raising("class_ids_in", missing), FOLDER)
    assert facts(Raising("nowhere", missing), monkeypatch).name == "Raising"


WRONG: dict[Question, list[object]] = {
    "capacity": [5, [], {"train": 3}, {"train": (6, 20)}],
    "capacity_in": [5, {"train": None}],
    "class_ids_in": [["a"], {"train": ["a"]}, {"train": {"a": "b"}}, {"train": {"a": {3}}}],
    "fixed_bank": [600, {}],
}
RIGHT: dict[Question, list[object]] = {
    "capacity": [None, {}, {"train": Capacity(6, 20)}],
    "capacity_in": [None, {"train": Capacity(6, 20)}],
    "class_ids_in": [None, {}, {"train": {"a": {"b"}, "c": frozenset()}}],
    "fixed_bank": [None, FixedBank(TaskShape(5, 1, 2), 3)],
}


@pytest.mark.parametrize("question", WRONG)
def test_an_answer_of_another_type_is_refused(question: Question, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Raising("nowhere", ValueError())
    given = [] if question == "capacity" else [FOLDER]
    for wrong in WRONG[question]:
        monkeypatch.setattr(Raising, question, lambda self, *_, wrong=wrong: wrong)
        with pytest.raises(ConfigError, match=f"{question} of the dataset Raising returns .*; it must return a"):
            ask_dataset(dataset, question, *given)
    for right in RIGHT[question]:
        monkeypatch.setattr(Raising, question, lambda self, *_, right=right: right)
        assert ask_dataset(dataset, question, *given) == right
