"""A warm parent draws figures and reads classes once, so that its jobs take less time. The figures are the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from metaexp.results.figures import warm
from metaexp.sweep.processes import preload, warm_start

DRAW = """
import os
import sys
from pathlib import Path
from metaexp.results.figures.curves import adaptation_curve
from metaexp.results.figures.warm import draw_figures_once
from metaexp.results.record import Score
child = os.fork()
if child != 0:
    assert os.waitpid(child, 0)[1] == 0
    draw_figures_once(True)
    draw_figures_once(False)
scores = [Score("accuracy", value, 0.01, 600) for value in (0.2, 0.6123, 0.7045)]
adaptation_curve(Path(sys.argv[1], "cold.png" if child == 0 else "warm.png"), "ANIL on emoji", scores)
"""


def test_a_warm_process_draws_the_same_figures(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", DRAW, str(tmp_path)], check=True)
    assert (tmp_path / "cold.png").read_bytes() == (tmp_path / "warm.png").read_bytes()


@pytest.mark.parametrize("classification", [True, False])
def test_figures_that_warm_a_process_leave_nothing_behind(
    classification: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    for name in ("learning_curve", "adaptation_curve", "adapted_episodes", "function_fits"):
        draw = getattr(warm, name)
        monkeypatch.setattr(warm, name, lambda *a, _name=name, _draw=draw: (drawn.append(_name), _draw(*a)))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    warm.draw_figures_once(classification)
    last = "adapted_episodes" if classification else "function_fits"
    assert drawn == ["learning_curve", "adaptation_curve", last]
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_can_write_nowhere_stays_cold(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(warm, "TemporaryDirectory", full)
    warm.draw_figures_once(True)


def test_a_warm_parent_draws_the_figures_of_a_kind_once_at_its_third_job(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[bool] = []
    n_way = {"n_way": 5}
    config = {"dataset": {}, "paths": {"data": "data"}, "task": n_way}
    job = SimpleNamespace(config=config, own_code=None, choices={}, settings=lambda: None)
    monkeypatch.setattr(warm_start, "read_frozen", lambda _: job)
    monkeypatch.setattr(preload, "hold_data", lambda *_: None)
    monkeypatch.setattr(preload.gc, "freeze", lambda: None)
    monkeypatch.setattr(warm, "draw_figures_once", drawn.append)
    prepare = warm_start._Preparation()
    counts = []
    for _ in range(4):
        prepare(["folder"])
        counts.append(len(drawn))
    n_way["n_way"] = 0
    for _ in range(4):
        prepare(["folder"])
        counts.append(len(drawn))
    assert counts == [0, 0, 1, 1, 1, 1, 2, 2]
    assert drawn == [True, False]


def test_a_warm_parent_reads_the_classes_of_each_choice_of_files_once_and_never_own_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checked: list[str] = []
    config = {"dataset": {}, "paths": {"data": "data"}, "task": {}}
    monkeypatch.setattr(preload, "hold_data", lambda *_: None)
    prepare = warm_start._Preparation()
    for algorithm, own_code in (("maml", None), ("maml", None), ("anil", "3f2a"), ("reptile", None)):
        job = SimpleNamespace(
            config=config, own_code=own_code, choices={"algorithm": algorithm},
            settings=lambda name=algorithm: checked.append(name),
        )  # fmt: skip
        monkeypatch.setattr(warm_start, "read_frozen", lambda _, job=job: job)
        prepare(["folder"])
    assert checked == ["maml", "reptile"]
