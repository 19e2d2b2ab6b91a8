from __future__ import annotations

import hashlib
import json
from collections import Counter, OrderedDict
from typing import Any, NamedTuple

import pytest

from metaexp.core.nested import at_key, from_json, sha256_of, to_json, values_by_key

CONFIG = {"seed": 0, "train": {"steps": 5, "inner": {"rates": [1, 2], "open": {}}}}


def test_every_value_has_a_dotted_key() -> None:
    found = values_by_key(CONFIG)
    assert found == {"seed": 0, "train.steps": 5, "train.inner.rates": [1, 2], "train.inner.open": {}}
    assert list(found)[:2] == ["seed", "train.steps"]
    assert values_by_key({"train": {"steps": 6}}, "run.") == {"run.train.steps": 6}


@pytest.mark.parametrize(("key", "value"), [("seed", 0), ("train.steps", 5), ("train.inner.open", {})])
def test_a_value_that_is_there_is_found_at_its_key(key: str, value: object) -> None:
    assert at_key(CONFIG, key) == [value]


@pytest.mark.parametrize("key", ["", "train.step", "seed.steps", "train.inner.rates.0"])
def test_nothing_is_found_at_other_keys(key: str) -> None:
    assert at_key(CONFIG, key) == []


def test_a_digest_depends_on_all_values_and_not_on_the_order_of_keys() -> None:
    digest = sha256_of(CONFIG)
    assert digest == sha256_of(dict(reversed(CONFIG.items()))) == sha256_of(json.loads(json.dumps(CONFIG)))
    assert digest != sha256_of(CONFIG | {"seed": 1})
    assert sha256_of({"a": 1}) == hashlib.sha256(b'{"a": 1}').hexdigest()  # files that are on disks have such digests


class Pair(NamedTuple):
    one: int
    other: int


NESTS: list[Any] = [
    None, True, 3, -0.0, 1e300, "text", "", [], (), {}, [()], ([],), {"a": ({"b": [(1, [2.5, None])]},)},
    {1: "a", 2.5: "b", None: "c", "yes": "d"}, {(1, 2): 3}, {"(tuple)": [1]}, {"(dict)": [[1, 2]]},
    {"(named)": "x"}, [{"(tuple)": (1,)}, {"(named)": 1, "other": 2}],
]  # fmt: skip


@pytest.mark.parametrize("nest", NESTS, ids=repr)
def test_a_nest_comes_back_from_json_exactly(nest: Any) -> None:
    written = json.dumps(to_json(nest))
    assert repr(from_json(json.loads(written))) == repr(nest)
    assert written != json.dumps(to_json([nest, 1]))


def test_what_json_holds_is_written_as_it_is() -> None:
    plain = {"lr": 0.1, "betas": [0.9, 0.99], "name": None, "more": {"fused": True}}
    assert to_json(plain) == plain
    assert to_json({"betas": (0.9, 0.99)}) != {"betas": [0.9, 0.99]}
    assert to_json(OrderedDict(a=1)) == {"a": 1}


def test_what_is_kept_elsewhere_is_found_by_its_name() -> None:
    kept: dict[str, complex] = {}

    def name(value: object) -> str | None:
        if not isinstance(value, complex):
            return None
        kept[f"number {len(kept)}"] = value
        return f"number {len(kept) - 1}"

    nest = {"a": [1j, (2j, "x")], 5: 1j}
    written = json.loads(json.dumps(to_json(nest, name)))
    assert len(kept) == 3
    assert from_json(written, kept.__getitem__) == nest
    with pytest.raises(KeyError):
        from_json(written, {}.__getitem__)


@pytest.mark.parametrize("value", [{1}, 1j, Pair(1, 2), Counter("a"), b"x"], ids=repr)
def test_what_would_come_back_as_something_else_is_refused(value: object) -> None:
    for nest in (value, [value], (value,), {"a": value}, {3: value}):
        with pytest.raises(TypeError, match=f"{type(value).__name__} is neither a list, a tuple, a dict"):
            to_json(nest)


def test_a_nest_that_contains_itself_is_refused() -> None:
    nest: list[object] = []
    nest.append(nest)
    with pytest.raises(RecursionError):
        to_json(nest)
