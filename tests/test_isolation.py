"""Tests that run in one process leave nothing behind that another one meets."""

from __future__ import annotations

import importlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import forking
import pytest
import torch
from events import ends_of_logs, until


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


def test_a_fork_ends_the_threads_of_wandbs_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.chdir(tmp_path)
    wandb.setup().ensure_service()  # as a run does
    assert [thread for thread in threading.enumerate() if thread.name.startswith("wandb-")]
    os.waitpid(forking.fork(lambda: 0, tmp_path / "log"), 0)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("wandb-")]


def test_a_forked_process_waits_for_no_thread_that_only_its_parent_has(tmp_path: Path) -> None:
    large = torch.ones(1000, 1000)  # so large that two threads share it
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        large.relu()
        process = forking.Forked(forking.fork(lambda: int(large.relu().sum() != 1e6), tmp_path / "log"))
    finally:
        torch.set_num_threads(before)
    with ExitStack() as stack:
        stack.callback(process.kill)
        assert process.wait(60) == 0


def test_a_hanging_process_writes_where_it_is_before_a_failed_test_kills_it(tmp_path: Path) -> None:
    def wait_for_ever() -> int:
        (tmp_path / "begins").touch()
        threading.Event().wait()
        return 0

    process = forking.Forked(forking.fork(wait_for_ever, tmp_path / "log"))
    until((tmp_path / "begins").exists)
    with pytest.raises(pytest.fail.Exception):
        _fail_and(process.kill)
    assert process.wait() == -signal.SIGKILL
    assert "in wait_for_ever" in (tmp_path / "log").read_text()


def _fail_and(act: Callable[[], None]) -> NoReturn:
    try:
        pytest.fail("as a timeout does")
    finally:
        act()


def test_a_process_that_is_killed_otherwise_writes_nothing(tmp_path: Path) -> None:
    process = forking.Forked(forking.fork(lambda: time.sleep(60) or 0, tmp_path / "log"))
    until((tmp_path / "log").exists)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert (tmp_path / "log").read_text() == ""


def test_the_report_of_a_failed_test_has_the_ends_of_its_logs(tmp_path: Path) -> None:
    (tmp_path / "000-x").mkdir()
    (tmp_path / "000-x" / "output.log").write_text("".join(f"line {number}\n" for number in range(100)))
    (tmp_path / "record.json").write_text("{}")
    ((name, text),) = ends_of_logs(tmp_path)
    assert name == "000-x/output.log"
    assert text.splitlines() == [f"line {number}" for number in range(60, 100)]
