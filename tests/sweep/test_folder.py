"""The folder of a sweep that is moved while its jobs run."""

from __future__ import annotations

from pathlib import Path

import pytest

from metaexp.core.errors import RunFolderError
from metaexp.sweep.folder import SWEEP_FILE, explain_moved


def test_any_error_after_a_move_says_that_the_folder_was_moved(tmp_path: Path) -> None:
    place = tmp_path / "sweep"
    place.mkdir()
    (place / SWEEP_FILE).touch()

    def move_and_read() -> None:
        with explain_moved(place, "search.folder"):
            place.rename(tmp_path / "elsewhere")
            (place / "study.journal").read_bytes()

    with pytest.raises(RunFolderError, match=r"sweep was moved or removed .* search\.folder=NEW_PLACE"):
        move_and_read()


def test_an_error_in_a_folder_that_is_in_its_place_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / SWEEP_FILE).touch()
    with pytest.raises(KeyError, match="fault"), explain_moved(tmp_path, "search.folder"):
        raise KeyError("fault")
