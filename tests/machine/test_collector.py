"""Python looks for cyclic garbage rarely while a command imports, and as usual while it computes."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import forking
import pytest

from metaexp.algorithms.maml import MAML
from metaexp.cli.main import main
from metaexp.machine import collector
from metaexp.machine.collector import collect_as_usual, collect_rarely
from metaexp.run.initial.command import Provenance
from metaexp.run.job import run_job
from metaexp.run.progress import Lines
from metaexp.run.together.job import Start, run_together

USUAL = (611, 10, 10)
ALGORITHM = {
    "_target_": "metaexp.algorithms.maml.MAML", "inner_lr": 0.1, "inner_steps": 1, "inner_steps_test": 1,
    "first_order": False, "inner_loss_reduction": "mean", "adapt": "all", "batch_norm": "transductive",
}  # fmt: skip
NET = {"_target_": "tiny_runs.Net", "width": 8, "dropout": 0.0}


@pytest.fixture(autouse=True)
def usual() -> Any:
    before = gc.get_threshold()
    gc.set_threshold(*USUAL)
    yield
    gc.set_threshold(*before)


def test_a_block_is_left_as_it_was_entered_also_after_an_error_and_within_another() -> None:
    with collect_rarely():
        assert gc.get_threshold()[0] > 50_000
        with suppress(KeyError), collect_rarely():
            collect_as_usual()
            assert gc.get_threshold() == USUAL
            raise KeyError
        assert gc.get_threshold()[0] > 50_000
    assert gc.get_threshold() == USUAL
    collect_as_usual()
    assert gc.get_threshold() == USUAL


@pytest.mark.parametrize(("n_runs", "steps"), [(1, 2), (2, 2), (1, 0)])
def test_training_and_tests_collect_as_usual(
    tiny: ModuleType, tmp_path: Path, silent: Lines, monkeypatch: pytest.MonkeyPatch, n_runs: int, steps: int
) -> None:
    seen: dict[str, list[tuple[int, int, int]]] = {}

    def watched(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            seen.setdefault(name, []).append(gc.get_threshold())
            return method(*arguments, **more)

        return call

    for name in ("__init__", "meta_loss", "adaptation_path"):
        monkeypatch.setattr(MAML, name, watched(name, getattr(MAML, name)))
    changes = {"algorithm": ALGORITHM, "model": NET, "train__steps": steps, "train__eval_every": 100}
    starts = [
        Start(tiny.settings(tmp_path, seed=seed, **changes), Provenance(), tmp_path / str(seed), str(seed))
        for seed in range(n_runs)
    ]
    with collect_rarely():
        if n_runs == 1:
            run_job(starts[0].settings, folder=starts[0].folder, display=silent)
        else:
            assert run_together(starts, display=silent) == [None] * n_runs
    assert USUAL not in seen["__init__"]
    assert set(seen["adaptation_path"]) == {USUAL}
    assert seen.get("meta_loss", [USUAL])[-1] == USUAL  # the first call of runs that are trained together only tries it


@pytest.mark.parametrize("is_process", [False, True])
def test_only_a_process_of_its_own_leaves_what_is_there_out_of_the_searches(is_process: bool, tmp_path: Path) -> None:
    def frozen() -> int:
        before = gc.get_freeze_count()
        with collect_rarely(is_process=is_process):
            things = [[] for _ in range(100)]
            collect_as_usual()
            added = gc.get_freeze_count() - before
            more = [[] for _ in range(100)]
            collect_as_usual()  # what is made later is searched
            assert gc.get_freeze_count() - before == added
        assert len(things) == len(more)
        return 0 if added >= 100 * is_process and (is_process or added == 0) else 1

    pid = forking.fork(frozen, tmp_path / "log")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, (tmp_path / "log").read_text()


@pytest.mark.parametrize("is_process", [False, True])
def test_a_command_ends_as_it_began(monkeypatch: pytest.MonkeyPatch, is_process: bool) -> None:
    seen: list[tuple[tuple[int, int, int], bool]] = []

    def verb(name: str) -> Callable[[list[str]], int]:
        seen.append((gc.get_threshold(), collector._usual[0][1]))
        return lambda rest: 0

    monkeypatch.setattr("metaexp.cli.main._function", verb)
    monkeypatch.setattr("sys.argv", ["metaexp", "ls"])
    assert main(None if is_process else ["ls"]) == 0
    assert seen[0][0][0] > 50_000
    assert seen[0][1] == is_process
    assert gc.get_threshold() == USUAL
