"""The record of a resumed run does not claim to be exact where no checkpoint holds all that training keeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from metaexp.core.algorithm import Algorithm
from metaexp.core.optim import Schedule
from metaexp.core.types import Episode
from metaexp.reproduce.causes import likely_causes
from metaexp.results.record import read_record
from metaexp.run import build
from metaexp.run.initial.parent import format_parent, read_further
from metaexp.run.job import resume_job, run_job
from metaexp.run.progress import Lines
from metaexp.run.side_effects.not_saved import not_saved, note_not_saved
from metaexp.run.side_effects.shared_memory import shared_memory
from metaexp.run.side_effects.unsaved_state import UnsavedState


def hide_a_count(tiny: ModuleType, patch: pytest.MonkeyPatch) -> None:
    def step(self: Any, closure: None = None) -> None:
        torch.optim.Adam.step(self, closure)
        self.hidden = getattr(self, "hidden", 0) + 1

    patch.setattr(tiny.CountingAdam, "step", step)


def draw_from_numpy(tiny: ModuleType, patch: pytest.MonkeyPatch) -> None:
    def step(self: Any, closure: None = None) -> None:
        torch.optim.Adam.step(self, closure)
        np.random.rand()

    patch.setattr(tiny.CountingAdam, "step", step)


def keep_a_rate(tiny: ModuleType, patch: pytest.MonkeyPatch) -> None:
    def set_progress(self: Any, step: int, total: int) -> None:
        self.rate = getattr(self, "rate", self.inner_lr) * 0.99

    patch.setattr(tiny.TinyMAML, "set_progress", set_progress)


def keep_from_task_to_task(tiny: ModuleType, patch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def meta_loss(self: Any, episode: Episode) -> torch.Tensor:
        seen.append(0)
        return Algorithm.meta_loss(self, episode) * len(seen)

    patch.setattr(tiny.TinyMAML, "meta_loss", meta_loss)


ASKED: list[int] = []


class Counting(Schedule):
    def factor(self, step: int, total_steps: int) -> float:
        ASKED.append(step)
        return 1.0 / len(ASKED)


def count_in_a_schedule(tiny: ModuleType, patch: pytest.MonkeyPatch) -> None:
    make = build.make
    patch.setattr(build, "make", lambda spec, base, **k: Counting() if base is Schedule else make(spec, base, **k))


def change_nothing(tiny: ModuleType, patch: pytest.MonkeyPatch) -> None: ...


HIDDEN: dict[Callable[..., None], str | None] = {
    hide_a_count: "hidden of optimizer CountingAdam",
    draw_from_numpy: "the random generator of numpy",
    keep_a_rate: "rate of TinyMAML",
    keep_from_task_to_task: "what TinyMAML keeps from task to task",
    count_in_a_schedule: "what the schedule Counting keeps",
    change_nothing: None,
}


@pytest.mark.parametrize("hide", HIDDEN)
def test_a_resume_that_loses_something_is_recorded(
    hide: Callable[..., None], tiny: ModuleType, tmp_path: Path, silent: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(tiny, monkeypatch)
    lost = HIDDEN[hide]
    folder = run_job(tiny.settings(tmp_path), stop_after=6, display=silent).folder
    before = read_record(folder)
    assert (before.exact_resume, before.inexact_resumes) == (True, [])
    record, _ = resume_job(folder, silent)
    assert (record.status, record.exact_resume) == ("completed", lost is None)
    made = [(resume.step, resume.changed) for resume in record.inexact_resumes]
    assert made == ([] if lost is None else [(6, [f"no checkpoint holds {lost}"])])
    assert read_record(folder).inexact_resumes == record.inexact_resumes
    assert ("no checkpoint holds" in "".join(likely_causes(before, record, []))) == (lost is not None)


def test_a_run_that_is_not_resumed_claims_nothing_less(
    tiny: ModuleType, tmp_path: Path, silent: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_a_count(tiny, monkeypatch)
    record, folder = run_job(tiny.settings(tmp_path), display=silent)
    assert (record.exact_resume, record.inexact_resumes) == (True, [])
    further = read_further([f"from={folder}", "train.steps=20"])
    assert further.parent.run.not_from_start == ["no checkpoint holds hidden of optimizer CountingAdam"]
    assert "would differ: no checkpoint holds hidden of" in format_parent(further.parent.run, record.steps)


def test_what_is_noted_belongs_to_one_algorithm_and_is_named_once(tiny: ModuleType) -> None:
    first, other = tiny.SupportMean(), tiny.SupportMean()
    note_not_saved(first, ["a", "a", "b"])
    note_not_saved(first, ["b", "c"])
    assert (not_saved(first), not_saved(other)) == (["a", "b", "c"], [])


KEPT: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "the parameter": (lambda p, s: p.detach(), "other and the parameter"),
    "a part of it": (lambda p, s: p.detach()[1:], "other and the parameter"),
    "the same": (lambda p, s: s["sum"], "other and sum"),
    "in a list": (lambda p, s: [torch.zeros(2), s["sum"]], "other[1] and sum"),
    "in a tuple": (lambda p, s: (s["sum"],), "other[0] and sum"),
    "in a dict of lists": (lambda p, s: {"a": [s["sum"].view(2, 1)]}, "other['a'][0] and sum"),
    "twice in a list": (lambda p, s: [torch.zeros(2)] * 2, "other[1] and other[0]"),
    "a list twice": (lambda p, s: {"a": s["list"], "b": 1}, "other['a'] and list"),
    "of all parameters": (lambda p, s: OF_ALL, "other and other of another parameter"),
    "of a group": (lambda p, s: OF_GROUP, "kept of group 0 and other"),
    "a copy": (lambda p, s: [s["sum"].clone(), list(s["list"])], ""),
    "nothing": (lambda p, s: torch.zeros(0), ""),
    "halves of one": (lambda p, s: list(torch.zeros(4).split(2)), ""),
    "columns of one": (lambda p, s: list(torch.zeros(3, 2).unbind(1)), ""),
    "rows of columns": (lambda p, s: (lambda t: [t[:, :2], t[:, 2:]])(torch.zeros(3, 4)), ""),
    "a column of all": (lambda p, s: (lambda t: [t[:, 1], t])(torch.zeros(3, 4)), "other[0] and other[1]"),
    "columns with one in common": (
        lambda p, s: (lambda t: [t[:, :2], t[:, 1:]])(torch.zeros(3, 4)),
        "other[1] and other[0]",
    ),
    "steps that never meet": (lambda p, s: (lambda t: [t[1:9:4], t[0:9:3]])(torch.zeros(12)), ""),
    "steps that meet": (lambda p, s: (lambda t: [t[1:10:4], t[0:10:3]])(torch.zeros(12)), "other[0] and other[1]"),
    "real and imaginary parts": (lambda p, s: (lambda t: [t.real, t.imag])(torch.zeros(3, dtype=torch.complex64)), ""),
    "the imaginary part of all": (
        lambda p, s: (lambda t: [t.imag, t])(torch.zeros(3, dtype=torch.complex64)),
        "other[0] and other[1]",
    ),
    "one number many times": (lambda p, s: (lambda t: [t[:1].expand(5), t[1:].expand(5, 11)])(torch.zeros(12)), ""),
    "one tuple twice": (lambda p, s: [(1, 2)] * 2, ""),
}
"""What an optimiser keeps as ``other``, by a name for it, and how that is named where it shares memory."""
OF_ALL = torch.zeros(3)
OF_GROUP: list[float] = []


class Sharing(torch.optim.SGD):
    """Keeps what ``KEPT`` says beside other state."""

    def __init__(self, params: Any, kept: str) -> None:
        super().__init__(params, lr=0.1)
        self.kept = kept

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step()
        group = self.param_groups[0]
        of_group = self.kept == "of a group"
        group["kept"] = OF_GROUP if of_group else []
        for parameter in group["params"][: 1 if of_group else None]:
            slots = self.state[parameter]
            slots |= {"sum": torch.zeros(2), "list": [1.0]}
            slots["other"] = KEPT[self.kept][0](parameter, slots)


def with_gradients() -> list[torch.nn.Parameter]:
    made = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    for parameter in made:
        parameter.grad = torch.ones(2)
    return made


@pytest.mark.parametrize("kept", list(KEPT))
def test_state_that_shares_memory_is_named(kept: str, caplog: pytest.LogCaptureFixture) -> None:
    named = KEPT[kept][1]
    optimizer = Sharing(with_gradients(), kept)
    unsaved = UnsavedState(optimizer)
    optimizer.step()
    assert unsaved.check() == ([f"that {named} share memory"] if named else [])
    assert (f"keeps the same memory under two names ({named})" in caplog.text) is bool(named)


OF_TORCH = ("SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "ASGD", "Rprop", "RMSprop", "Adagrad", "Adadelta")


@pytest.mark.parametrize("name", OF_TORCH)
@pytest.mark.parametrize("foreach", [False, True])
def test_no_optimiser_of_torch_shares_memory(name: str, foreach: bool) -> None:
    optimizer = getattr(torch.optim, name)(with_gradients(), lr=0.1, foreach=foreach)
    unsaved = UnsavedState(optimizer)
    optimizer.step()
    assert unsaved.check() == []


def test_many_columns_of_one_large_matrix_are_told_apart_in_a_moment() -> None:
    parameters = with_gradients()
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    columns = list(torch.zeros(500, 300).unbind(1))
    optimizer.state[parameters[0]] = {"columns": columns}
    since = time.process_time()
    assert shared_memory(optimizer) == []
    assert time.process_time() - since < 5, "pairs of columns would take minutes"
    optimizer.state[parameters[0]]["again"] = columns[7]
    assert shared_memory(optimizer) == ["again and columns[7]"]
