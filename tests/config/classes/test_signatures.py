"""Constructors read from source, without importing what they belong to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from metaexp.config.classes.signatures import constructor
from metaexp.config.classes.source import class_attribute, derives_from, find_class, lineage, read_module
from metaexp.config.classes.values import Anything, Kind, Number, Object
from metaexp.core.fields import RANGES

SOURCE = """
from __future__ import annotations
import typing as t
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Optional
from metaexp.core.fields import Fraction as Share, PositiveFloat, PositiveInt
from metaexp.core.optim import Schedule
import mystery

Mode = Literal["slow", "fast"]

class Base:
    kind: ClassVar[str] = "classification"
    limit = 3
    def __init__(self, width: PositiveInt, rate: PositiveFloat = 0.1) -> None: ...

class Child(Base):
    limit = 4

class Everything:
    def __init__(
        self, number: float, whole: int, flag: bool, name: str, share: Share, mode: Mode, path: Path,
        widths: list[PositiveInt], pair: tuple[float, float], any_length: tuple[int, ...], sequence: Sequence[str],
        table: dict[str, float], maybe: int | None, optional: Optional[Share], either: t.Union[int, str],
        quoted: "PositiveInt", schedule: Schedule, unknown: mystery.Thing, plain, *, last: Literal[1, None] = 1,
    ) -> None: ...

class Anyhow:
    def __init__(self, known: int, **settings: int) -> None: ...

@dataclass(frozen=True)
class Record:
    first: PositiveInt
    constant: ClassVar[int] = 3
    second: float = 1.0

@dataclass
class Longer(Record):
    third: list[int] = field(default_factory=list)
    fourth: str = field()
"""


@pytest.fixture
def invented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package whose import would fail, so that reading it proves that nothing is imported."""
    package = tmp_path / "invented"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')\nfrom .classes import Child as Renamed\n")
    (package / "classes.py").write_text(SOURCE)
    (package / "circle.py").write_text("from invented.ring import Round\n")
    (package / "ring.py").write_text("from invented.circle import Round\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    read_module.cache_clear()
    return "invented.classes"


def kinds(target: str) -> dict[str, Kind]:
    source = find_class(target)
    assert source is not None
    return {argument.name: argument.kind for argument in constructor(source).arguments}


GOOD_AND_BAD: dict[str, tuple[list[Any], list[Any]]] = {
    "number": ([0.5, 3, -1.0], [True, "1", None, float("nan"), float("inf")]),
    "whole": ([3, -2], [2.0, True, "3"]),
    "flag": ([True, False], [0, 1, "true"]),
    "name": (["a", ""], [3, None]),
    "share": ([0.0, 1, 0.5], [-0.1, 1.1, float("nan")]),
    "mode": (["slow", "fast"], ["slo", None, 1]),
    "path": (["./data"], [3]),
    "widths": ([[40, 40], []], [[0], [4.5], 40, ["40"]]),
    "pair": ([[0.9, 0.999], [1, 0]], [[0.9], [0.9, 0.9, 0.9], 0.9, [0.9, float("nan")]]),
    "any_length": ([[], [1, 2, 3]], [[1.5], 1]),
    "sequence": ([["a"]], ["a", [1]]),
    "table": ([{}, {"a": 1.0}], [[1.0], {"a": "b"}, {1: 1.0}]),
    "maybe": ([None, 3], ["3", 3.5]),
    "optional": ([None, 0.5], [2.0]),
    "either": ([3, "x"], [3.5, None]),
    "quoted": ([1], [0]),
    "unknown": ([1, "x", None, [1.0]], [float("nan"), {"a": [float("inf")]}]),
    "plain": ([1], [float("nan")]),
    "last": ([1, None], [True, 2]),
}


@pytest.mark.parametrize("name", GOOD_AND_BAD)
def test_an_annotation_allows_what_it_says_and_nothing_else(invented: str, name: str) -> None:
    kind = kinds(f"{invented}.Everything")[name]
    good, bad = GOOD_AND_BAD[name]
    assert [value for value in good if not kind.accepts(value)] == []
    assert [value for value in bad if kind.accepts(value)] == []
    assert kind.format_allowed()


def test_an_annotation_that_is_a_class_asks_for_an_object_of_it(invented: str) -> None:
    assert kinds(f"{invented}.Everything")["schedule"] == Object("metaexp.core.optim.Schedule")


def test_an_integer_given_for_a_real_number_becomes_one(invented: str) -> None:
    found = kinds(f"{invented}.Everything")
    assert repr(found["pair"].convert([1, 0])) == "[1.0, 0.0]"
    assert repr(found["maybe"].convert(3)) == "3"
    assert repr(found["table"].convert({"a": 2})) == "{'a': 2.0}"


def test_a_constructor_is_inherited_and_defaults_make_arguments_optional(invented: str) -> None:
    source = find_class(f"{invented}.Child")
    assert source is not None
    assert [(a.name, a.required) for a in constructor(source).arguments] == [("width", True), ("rate", False)]
    assert kinds(f"{invented}.Child")["width"] == Number(int, ">= 1")


def test_a_constructor_that_takes_anything_says_so(invented: str) -> None:
    source = find_class(f"{invented}.Anyhow")
    assert source is not None
    assert constructor(source).takes_more
    assert [argument.name for argument in constructor(source).arguments] == ["known"]
    other = find_class(f"{invented}.Child")
    assert other is not None
    assert not constructor(other).takes_more


def test_a_dataclass_takes_its_fields_and_those_of_its_bases(invented: str) -> None:
    source = find_class(f"{invented}.Longer")
    assert source is not None
    assert [(a.name, a.required) for a in constructor(source).arguments] == [
        ("first", True),
        ("second", False),
        ("third", False),
        ("fourth", True),
    ]


def test_a_class_attribute_is_that_of_the_nearest_class(invented: str) -> None:
    source = find_class(f"{invented}.Child")
    assert source is not None
    assert class_attribute(source, "limit") == 4
    assert class_attribute(source, "kind") == "classification"
    assert class_attribute(source, "width") is None


def test_a_class_is_found_through_reexports_and_circles_end(invented: str) -> None:
    source = find_class("invented.Renamed")
    assert source is not None
    assert source.path == "invented.classes.Child"
    assert [ancestor.node.name for ancestor in lineage(source)] == ["Child", "Base"]
    assert find_class("invented.circle.Round") is None


def test_what_is_not_a_class_is_not_found(invented: str) -> None:
    for target in (f"{invented}.Mode", f"{invented}.nothing", "os.system", "no_such_package.Thing", "invented", "a..b"):
        assert find_class(target) is None, target


def test_subclasses_are_told_from_other_classes() -> None:
    maml = find_class("metaexp.algorithms.maml.MAML")
    adam = find_class("torch.optim.AdamW")
    assert maml is not None
    assert adam is not None
    assert derives_from(maml, "metaexp.core.algorithm.Algorithm")
    assert derives_from(maml, "torch.nn.Module")
    assert not derives_from(maml, "metaexp.models.base.Network")
    assert derives_from(adam, "torch.optim.Optimizer")
    assert not derives_from(adam, "metaexp.core.algorithm.Algorithm")


def test_learning_rates_of_torch_cannot_be_negative_nor_nan() -> None:
    rate = kinds("torch.optim.SGD")["lr"]
    assert rate.accepts(0.1)
    assert not rate.accepts(-0.1)
    assert not rate.accepts(float("nan"))
    assert kinds("torch.optim.Adam")["foreach"] != Anything()


def test_every_named_range_is_enforced() -> None:
    assert {name: Number(*RANGES[name]).accepts(0) for name in RANGES} == {
        "PositiveInt": False,
        "NonNegativeInt": True,
        "PositiveFloat": False,
        "NonNegativeFloat": True,
        "Fraction": True,
    }
    assert [name for name in RANGES if Number(*RANGES[name]).accepts(-1)] == []


def test_reading_signatures_imports_neither_torch_nor_what_is_read() -> None:
    code = (
        "import sys; from metaexp.config.classes.signatures import constructor\n"
        "from metaexp.config.classes.source import find_class\n"
        "for t in ('metaexp.algorithms.maml.MAML', 'torch.optim.Adam', 'metaexp.models.conv4.Conv4'):\n"
        "    assert constructor(find_class(t))\n"
        "print([m for m in ('torch', 'numpy', 'metaexp.algorithms') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
