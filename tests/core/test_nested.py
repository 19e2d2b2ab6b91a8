from __future__ import annotations

import hashlib
import json

import pytest

from metaexp.core.nested import at_key, sha256_of, values_by_key

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
