"""The folder of a sweep: one that is moved while its jobs run, and drafts of one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from metaexp.core.disk.drafts import is_left_behind
from metaexp.core.errors import RunFolderError
from metaexp.sweep.folder import SWEEP_FILE, create, explain_moved, lock_command


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


@pytest.mark.parametrize("time", [1, 4e9])  # after the clock jumped forwards, and of a clock that was ahead
def test_a_draft_that_another_command_writes_is_not_removed_whatever_its_time_is(tmp_path: Path, time: float) -> None:
    written, left, new = (tmp_path / f".sweep.{pid}.tmp" for pid in (1, 2, 3))
    for draft in (written, left, new):
        draft.mkdir()
    with lock_command(written):
        with lock_command(left):
            pass  # its process was killed
        for draft in (written, left):
            os.utime(draft, (time, time))
        create(tmp_path / "sweep", [], "digest", [])
    assert (written.exists(), left.exists(), new.exists()) == (True, False, True)
    assert (tmp_path / "sweep" / SWEEP_FILE).exists()


def test_a_draft_that_disappears_at_this_moment_stops_no_command(tmp_path: Path) -> None:
    assert not is_left_behind(tmp_path / "gone", 0.0, [])
