"""A CSV that is none is refused with what it seems to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from metaexp.core.errors import DataError
from metaexp.data.files.csv_rows import read_rows


@pytest.mark.parametrize(("sign", "word"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
@pytest.mark.parametrize("number", ["1.5", "1,5"])
def test_other_separators_are_named(sign: str, word: str, number: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(f"task{sign}x{sign}y\na{sign}{number}{sign}2\n")
    with pytest.raises(DataError, match=rf"mine\.csv has {word} where commas are expected"):
        read_rows(path)


def test_a_sign_in_one_of_several_columns_or_in_cells_is_not_a_separator(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("task,load;kW\na;b,1|2\n")
    assert read_rows(path) == (["task", "load;kW"], [(2, ["a;b", "1|2"])])
    path.write_text("task\na;b\n")
    assert read_rows(path) == (["task"], [(2, ["a;b"])])
