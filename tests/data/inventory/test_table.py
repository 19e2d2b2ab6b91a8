"""The place of a dataset in ``metaexp data list``: where its files are, and no folder that says nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metaexp.data.base import Dataset
from metaexp.data.inventory.sources import SourceFile, Sources
from metaexp.data.inventory.table import row


class Placed(Dataset):
    """A dataset whose files are where a test puts them."""

    kind = "classification"

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def capacity(self) -> None:
        return None

    def load(self, *_: Any) -> Any:
        raise AssertionError("nothing is read for the list")

    def sources(self, folder: Path) -> Sources:
        return Sources("own files", tuple(SourceFile(path) for path in self.paths))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["data/a/one.zip"], "data/a/one.zip"),
        (["data/a/one.zip", "data/a/two.zip"], "data/a"),
        (["data/a/one.zip", "data/b/two.zip"], "data"),
        (["elsewhere/a/one.zip", "elsewhere/a/two.zip"], "elsewhere/a"),
        (["elsewhere/a/one.zip", "fonts/two.ttf"], "elsewhere/a, fonts"),
        (["data/a/one.zip", "cache/two.tgz", "cache/three.tgz"], "cache, data/a"),
        (["elsewhere/images/", "elsewhere/train.csv"], "elsewhere"),
        ([f"{name}/one.zip" for name in "edcba"], "a, b, c and 2 more"),
    ],
)
def test_the_place_is_that_of_the_files(tmp_path: Path, files: list[str], expected: str) -> None:
    for name in files:
        path = tmp_path / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_text("content")
    found = row("mine", Placed([tmp_path / name for name in files]), tmp_path / "data", None)
    assert found.where.replace(f"{tmp_path}/", "") == expected
    assert str(tmp_path) not in found.where.split(", ")
