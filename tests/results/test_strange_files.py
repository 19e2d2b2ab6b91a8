"""Files of a stranger's run folder that are links, hold a reader up or are very deep are refused by every reader."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from metaexp.core.errors import RunFolderError
from metaexp.core.json_lines import last_step, read_lines
from metaexp.results.episodes import read_episodes
from metaexp.results.reading import read_part
from metaexp.results.record import Task, read_record

READERS: dict[str, Callable[[Path], object]] = {
    "record": read_record,
    "lines": lambda path: list(read_lines(path)),
    "episodes": read_episodes,
    "part": lambda path: read_part(Task, path, "a task"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["symbolic link", "broken link", "FIFO"])
def test_what_is_not_a_regular_file_is_refused(tmp_path: Path, reader: str, kind: str) -> None:
    path = tmp_path / "record.json"
    if kind == "FIFO":
        os.mkfifo(path)
    else:
        (tmp_path / "secret").write_text("{}")
        path.symlink_to(tmp_path / ("secret" if kind == "symbolic link" else "nowhere"))
    with pytest.raises(RunFolderError, match=r"record\.json is a (symbolic link|FIFO)"):
        READERS[reader](path)
    assert last_step(path) == 0


@pytest.mark.parametrize("reader", ["record", "lines", "part"])
def test_json_that_is_very_deep_is_refused(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "record.json"
    path.write_text("[" * 100_000 + "]" * 100_000 + "\n")
    with pytest.raises(RunFolderError, match=r"record\.json"):
        READERS[reader](path)
    assert last_step(path) == 0


def test_a_record_that_is_very_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "record.json").touch()
    os.truncate(tmp_path / "record.json", 1 << 40)
    with pytest.raises(RunFolderError, match="has 1099511627776 bytes; at most"):
        read_record(tmp_path)


@pytest.mark.parametrize("content", ['{"n_way": 5, "k_shot": 1, "n_query": "many"}', '{"n_way": 5', "{}"])
def test_what_is_damaged_is_said_in_one_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "task.json"
    path.write_text(content)
    with pytest.raises(RunFolderError, match=r"task\.json is damaged: .*[^.]\. Restore it$"):
        read_part(Task, path, "a task", " Restore it")
