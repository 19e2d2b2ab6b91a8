"""Tests that run in one process leave nothing behind that another one meets."""

from __future__ import annotations

import importlib
import os
import select
import signal
import time
from pathlib import Path

import forking
import pytest


@pytest.mark.parametrize("number", [1, 2])
def test_a_package_is_that_of_the_test_that_wrote_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    (tmp_path / "written_twice").mkdir()
    (tmp_path / "written_twice" / "one.py").write_text(f"value = {number}\n")
    (tmp_path / "written_twice" / f"only_{number}.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("written_twice.one")
    assert number == module.value
    assert importlib.import_module(f"written_twice.only_{number}")


def test_a_forked_process_keeps_its_files_when_it_collects_those_of_its_parent(tmp_path: Path) -> None:
    garbage = [Path(os.devnull).open() for _ in range(5)]  # noqa: SIM115 - the forked process lets go of them
    paths = [tmp_path / f"{number}.txt" for number in range(100)]  # so many that they would take the numbers of those

    def write() -> int:
        files = [path.open("w") for path in paths]
        garbage.clear()
        for file in files:
            file.write("whole")
            file.close()
        return 0 if all(path.read_text() == "whole" for path in paths) else 1

    pid = forking.fork(write, tmp_path / "log")
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, (tmp_path / "log").read_text()
    finally:
        for file in garbage:
            file.close()


def test_a_forked_process_holds_no_pipe_of_its_parent_open(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    pid = forking.fork(lambda: time.sleep(60) or 0, tmp_path / "log")
    try:
        os.close(write_end)
        assert select.select([read_end], [], [], 30)[0]
        assert os.read(read_end, 1) == b""
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(read_end)
