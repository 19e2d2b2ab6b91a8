"""A signal in any phase of a run saves it at once, and the run continues as if nothing had happened."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from metaexp.core.json_lines import read_lines
from metaexp.machine.all_reduce import Partial
from metaexp.machine.signals import HANDLED, Interrupted
from metaexp.results.record import read_record
from metaexp.run.checkpoint import Checkpoints
from metaexp.run.job import resume_job, run_job
from metaexp.run.progress import Advance, Lines
from metaexp.run.step import MetaStep


class Nth(Lines):
    """A display that sends this process a signal in the ``n``-th stretch of work of a kind."""

    def __init__(self, what: str, n: int, number: int = signal.SIGTERM, times: int = 1) -> None:
        super().__init__(Console(quiet=True))
        self.what, self.left, self.number, self.times = what, n, number, times

    @contextmanager
    def show_progress(self, what: str, total: int, done: int = 0) -> Iterator[Advance]:
        self.left -= what == self.what

        def advance(done: int) -> None:
            if what == self.what and self.left == 0:
                self.left = -1
                for _ in range(self.times):
                    os.kill(os.getpid(), self.number)

        yield advance


def files(folder: Path) -> dict[str, bytes]:
    """The files that must be equal, byte for byte."""
    names = ("metrics.jsonl", "test_episodes.csv", "checkpoints/best.safetensors")
    return {name: (folder / name).read_bytes() for name in names}


@pytest.fixture
def expected(tiny: ModuleType, tmp_path: Path, silent: Lines) -> dict[str, bytes]:
    return files(run_job(tiny.settings(tmp_path / "undisturbed"), display=silent).folder)


@pytest.mark.parametrize("number", HANDLED)
def test_a_signal_during_a_validation_puts_it_off_until_the_resume(
    tiny: ModuleType, tmp_path: Path, silent: Lines, expected: dict[str, bytes], number: signal.Signals
) -> None:
    with pytest.raises(Interrupted, match=f"stopped by {number.name} after 8 of 12 steps, and saved") as stopped:
        run_job(tiny.settings(tmp_path), folder=tmp_path / "run", display=Nth("validate", 2, number))
    assert stopped.value.exit_code == 128 + number
    validated = [step for step, values in read_lines(tmp_path / "run" / "metrics.jsonl") if "val/mse" in values]
    assert validated == [4]
    saved = Checkpoints(tmp_path / "run" / "checkpoints").load()
    assert saved is not None
    assert (saved.step, saved.values["unvalidated"]) == (8, True)
    resume_job(tmp_path / "run", silent)
    assert files(tmp_path / "run") == expected


@pytest.mark.parametrize(("what", "n"), [("validate", 3), ("test", 1), ("train", 1)])
def test_a_signal_in_another_phase_loses_nothing(
    tiny: ModuleType, tmp_path: Path, silent: Lines, expected: dict[str, bytes], what: str, n: int
) -> None:
    with pytest.raises(Interrupted, match="and saved"):
        run_job(tiny.settings(tmp_path), folder=tmp_path / "run", display=Nth(what, n))
    with pytest.raises(Interrupted, match="and saved"):
        resume_job(tmp_path / "run", Nth("test", 1))
    resume_job(tmp_path / "run", silent)
    assert files(tmp_path / "run") == expected


def test_a_signal_during_the_validation_of_an_untrained_run_is_made_up_for(
    tiny: ModuleType, tmp_path: Path, silent: Lines
) -> None:
    settings = tiny.settings(tmp_path, train__steps=0)
    with pytest.raises(Interrupted, match="after 0 of 0 steps"):
        run_job(settings, folder=tmp_path / "run", display=Nth("validate", 1))
    resume_job(tmp_path / "run", silent)
    assert files(tmp_path / "run") == files(run_job(settings, display=silent).folder)


def test_a_step_that_is_long_after_a_signal_is_given_up_and_made_again(
    tiny: ModuleType, tmp_path: Path, silent: Lines, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    backward = MetaStep._backward_on_share

    def endless(self: MetaStep, step: int) -> Partial:
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)
            while True:
                time.sleep(0.01)
        return backward(self, step)

    with monkeypatch.context() as patch:
        patch.setattr("metaexp.run.train.ABORT_SECONDS", 0.1)
        patch.setattr(MetaStep, "_backward_on_share", endless)
        with pytest.raises(Interrupted, match="after 6 of 12 steps, and saved"):
            run_job(tiny.settings(tmp_path), folder=tmp_path / "run", display=silent)
    resume_job(tmp_path / "run", silent)
    assert files(tmp_path / "run") == expected


def test_a_second_signal_while_saving_keeps_the_checkpoint_before(
    tiny: ModuleType,
    tmp_path: Path,
    silent: Lines,
    expected: dict[str, bytes],
    stop_after: Callable[..., Lines],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save = Checkpoints.save

    def interrupted(self: Checkpoints, step: int, *rest: object) -> None:
        if step == 7:
            os.kill(os.getpid(), signal.SIGINT)
        save(self, step, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", interrupted)
        with pytest.raises(Interrupted, match="since its last checkpoint are lost"):
            run_job(tiny.settings(tmp_path), folder=tmp_path / "run", display=stop_after(7))
    assert read_record(tmp_path / "run").status == "interrupted"
    saved = Checkpoints(tmp_path / "run" / "checkpoints").load()
    assert saved is not None
    assert saved.step == 5
    resume_job(tmp_path / "run", silent)
    assert files(tmp_path / "run") == expected
