"""The files of a run are called as the page on the architecture says, and one can follow its settings through them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import pytest
import torch

from metaexp.algorithms.maml import MAML
from metaexp.cli.main import main
from metaexp.config.schema import Settings

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = f"{ROOT}/metaexp/"
MOST_RETURNS = 12
"""At most so often does one come back to a file, who follows the settings of a run from their check to the gradient."""
RUN = [
    "train", "algorithm=maml", "dataset=sinusoid", "train.steps=1", "train.meta_batch_size=2", "train.eval_episodes=4",
    "eval.episodes=4", "device=cpu", "tracker=files",
]  # fmt: skip


class Way:
    """The way of a run through the files of the package, up to the first ``loss.backward()``.

    Attributes:
        files: Every file of which a function is called.
        to_the_task: The files that call each other, from the command line to the algorithm that adapts to a task.
        with_settings: The file of each function that has the settings where it is called, and where what it calls
            returns to it.
    """

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.to_the_task: list[str] = []
        self.with_settings: list[str] = []
        self._open: list[FrameType] = []

    def note(self, frame: FrameType, event: str, _: object) -> None:
        """Note a call or a return, as a function for ``sys.setprofile``."""
        if event == "return" and self._open and self._open[-1] is frame:
            self._open.pop()
            self.with_settings += [file_of(caller) for caller in self._open[-1:]]
        elif event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            self.files.add(file_of(frame))
            if frame.f_code is MAML.adapt.__code__ and not self.to_the_task:
                self.to_the_task = [file_of(caller) for caller in callers(frame)][::-1]
            if has_settings(frame):
                self._open.append(frame)
                self.with_settings.append(file_of(frame))


def file_of(frame: FrameType) -> str:
    return frame.f_code.co_filename.removeprefix(PACKAGE)


def callers(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def has_settings(frame: FrameType) -> bool:
    """Whether a function is given the settings or an object that has them. The settings' own methods do not count."""
    code = frame.f_code
    given = [frame.f_locals.get(name) for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]]
    held = [getattr(value, "__dict__", {}).get("settings") for value in given]
    return file_of(frame) != "config/schema.py" and any(isinstance(value, Settings) for value in (*given, *held))


def returns(files: Sequence[str]) -> int:
    """How often these files come back to one that was left."""
    moves = [file for file, before in zip(files, [None, *files], strict=False) if file != before]
    return len(moves) - len(set(moves))


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Way:
    """The way of a run."""
    found, backward = Way(), torch.Tensor.backward

    def end(loss: torch.Tensor) -> None:
        sys.setprofile(None)
        backward(loss)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(torch.Tensor, "backward", end)
        monkeypatch.setattr("metaexp.run.outputs.draw", lambda *_: {})
        sys.setprofile(found.note)
        try:
            assert main([*RUN, f"paths.outputs={tmp_path_factory.mktemp('outputs')}"]) == 0
        finally:
            sys.setprofile(None)
    return found


def test_a_run_calls_the_files_that_the_page_names_and_in_that_order(way: Way) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    section = page.partition("\n## From the command line to the gradient\n")[2].partition("\n## ")[0]
    named = list(dict.fromkeys(re.findall(r"`([\w/]+\.py)`", section.partition("\n1. ")[2])))
    assert [name for name in named if name not in way.files] == []
    calls = [name for name in dict.fromkeys(way.to_the_task) if name in named]
    assert calls == [name for name in named if name in way.to_the_task]
    assert {"cli/main.py", "run/session.py", "run/step.py", "algorithms/maml.py"} <= set(calls)


def no_datasets(folder: Path) -> list[str]:
    """The files of a folder whose classes no shipped configuration names as a dataset."""
    configured = " ".join(path.read_text() for path in (ROOT / "conf" / "dataset").glob("*.yaml"))
    names = sorted(path.stem for path in folder.glob("[a-z]*.py"))
    return [name for name in names if f"metaexp.data.{name}." not in configured]


def test_beside_the_datasets_there_is_nothing_but_their_base(tmp_path: Path) -> None:
    assert no_datasets(ROOT / "metaexp" / "data") == ["base"]
    for name in ("base", "helper", "omniglot"):
        (tmp_path / f"{name}.py").touch()
    assert no_datasets(tmp_path) == ["base", "helper"]


def test_who_follows_the_settings_rarely_comes_back_to_a_file(way: Way) -> None:
    assert {"run/job.py", "run/build.py", "run/session.py", "run/train.py"} <= set(way.with_settings)
    assert returns(way.with_settings) <= MOST_RETURNS


def test_returns_are_counted() -> None:
    assert returns(["a", "a", "b", "c"]) == 0
    assert returns(["a", "b", "a", "a", "b"]) == 2
