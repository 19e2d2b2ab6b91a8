"""What is kept of tests of weights: it comes back for the same test only, and a damaged entry is ignored."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from metaexp.core.nested import sha256_of
from metaexp.results.measured import Measured, folder, recall, remember
from metaexp.results.record import DIGEST, Machine, Score

IDENTITY = {"weights": "a" * 64, "episodes": 600, "settings": {"seed": 0}}
MEASURED = Measured(
    test=Score("accuracy", 0.98765432109876, 0.004, 600), after_steps=[Score("accuracy", 0.2, 0.01, 600)], metrics=[],
    domains={"omniglot": Score("accuracy", 0.9, 0.004, 300)}, test_classes_sha256=None, episodes_sha256="b" * 64,
    device=Machine("cpu", "a processor", "float32", 1, True, None), versions={"metaexp": "1", "torch": "2"},
    sources="c" * 64, finished="2026-01-01T00:00:00+00:00",
    seconds=12.5,
)  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_result_comes_back_to_the_last_bit_and_for_the_same_test_only() -> None:
    assert recall(IDENTITY) is None
    remember(IDENTITY, MEASURED)
    assert recall(IDENTITY) == MEASURED
    for key, other in {"weights": "d" * 64, "episodes": 599, "settings": {"seed": 1}}.items():
        assert recall(IDENTITY | {key: other}) is None
    remember(IDENTITY, dataclasses.replace(MEASURED, sources="e" * 64))
    found = recall(IDENTITY)
    assert found is not None
    assert found.sources == "e" * 64


def changed(text: str, **changes: object) -> str:
    """An entry with other values, and a digest that fits them."""
    content = json.loads(text)
    del content[DIGEST]
    content |= changes
    return json.dumps(content | {DIGEST: sha256_of(content)})


@pytest.mark.parametrize(
    "damage", ["cut", "number", "no digest", "list", "identity", "fields", "bytes", "link", "folder"]
)
def test_a_damaged_entry_is_ignored_and_is_replaced(damage: str, tmp_path: Path) -> None:
    remember(IDENTITY, MEASURED)
    (entry,) = folder().iterdir()
    text = entry.read_text()
    measured = json.loads(text)["measured"]
    texts = {
        "cut": text[:-20], "number": text.replace("0.98765432109876", "0.99999999999999"),
        "no digest": json.dumps({"identity": IDENTITY, "measured": measured}), "list": "[]",
        "identity": changed(text, identity=IDENTITY | {"episodes": 100}),
        "fields": changed(text, measured=measured | {"sources": 3}), "bytes": "\x00\x01",
    }  # fmt: skip
    assert changed(text) == text.strip()
    if damage in ("link", "folder"):
        entry.rename(tmp_path / "elsewhere.json")
        entry.symlink_to(tmp_path / "elsewhere.json") if damage == "link" else entry.mkdir()
    else:
        assert texts[damage] != text
        entry.write_text(texts[damage])
    assert recall(IDENTITY) is None
    remember(IDENTITY, MEASURED)
    assert recall(IDENTITY) == (None if damage == "folder" else MEASURED)


def test_a_cache_folder_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    remember(IDENTITY, MEASURED)
    assert recall(IDENTITY) is None
