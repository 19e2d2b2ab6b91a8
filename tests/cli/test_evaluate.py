"""``metaexp evaluate`` of several runs and values at once, and ``metaexp compare --evaluations``, which reads it."""

from __future__ import annotations

import csv
import errno
import json
import shutil
from pathlib import Path

import pytest

import metaexp as mx
from metaexp.cli.main import main
from metaexp.core.disk.files import make_folder

SMALL = [
    "algorithm=proto_net", "model=mlp", "model.hidden=[16]", "dataset.train_classes=20", "dataset.val_classes=10",
    "dataset.test_classes=10", "device=cpu", "device.threads=1", "tracker=files", "train.steps=1", "eval.episodes=6",
    "train.eval_episodes=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs of two seeds and of another network, and one that was not completed."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metaexp.run.outputs.draw", lambda *_: {})
        for seed in (0, 1):
            mx.train(*SMALL, seed=seed, folder=folder / f"seed{seed}")
        mx.train(*SMALL, "model.hidden=[8]", folder=folder / "small")
    shutil.copytree(folder / "small", folder / "cut")
    record = json.loads((folder / "cut" / "record.json").read_text())
    record.pop("sha256", None)
    (folder / "cut" / "record.json").write_text(json.dumps(record | {"status": "interrupted"}))
    return folder


@pytest.fixture
def runs(trained: Path, tmp_path: Path, no_figures: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder has a copy of the runs in ``runs``."""
    shutil.copytree(trained, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return Path("runs")


def kept(run: Path) -> list[list[str]]:
    """The overrides of the later tests of a run."""
    return sorted(json.loads(path.read_text())["overrides"] for path in (run / "evaluations").glob("*.json"))


def test_each_run_of_a_folder_is_tested_with_each_combination(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(runs), "task.n_way=3,5", "task.k_shot=2,4"]) == 0
    out = capsys.readouterr().out
    expected = [[f"task.n_way={n}", f"task.k_shot={k}"] for n in (3, 5) for k in (2, 4)]
    for name in ("seed0", "seed1", "small"):
        assert kept(runs / name) == expected
    assert not (runs / "cut" / "evaluations").exists()  # it was not completed
    assert "12 of 12: runs/small task.n_way=5 task.k_shot=4" in out
    assert "  metaexp compare runs --evaluations  # which is better on each task" in out


@pytest.mark.parametrize("which", [{"seed0", "seed1", "small"}, {"seed1"}])
def test_tests_that_could_not_be_kept_are_not_proposed_to_compare(
    which: set[str], runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path) -> None:
        if path.parent.name in which:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        make_folder(path)

    monkeypatch.setattr("metaexp.run.evaluation.evaluate.make_folder", full)
    assert main(["evaluate", str(runs), "eval.episodes=3"]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("No space left on device") == len(which)
    assert ("--evaluations" in captured.out) == (len(which) == 1)


def test_a_removed_job_of_a_sweep_is_named(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "sweep.json").write_text(json.dumps({"jobs": {"small": "", "gone": ""}}))
    assert main(["evaluate", str(runs), "task.k_shot=3"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("left out: 1 run was removed, with its folder: gone\n")
    assert "3 of 3: runs/small task.k_shot=3" in out


def test_several_runs_are_given_one_by_one(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(runs / "seed0"), str(runs / "small"), "task.k_shot=3"]) == 0
    assert kept(runs / "seed0") == kept(runs / "small") == [["task.k_shot=3"]]
    assert not (runs / "seed1" / "evaluations").exists()
    one, both = capsys.readouterr().out, None
    shutil.rmtree(runs / "seed0" / "evaluations")
    assert main(["evaluate", str(runs / "seed0"), "task.k_shot=3"]) == 0
    both = capsys.readouterr().out
    score = next(line for line in both.splitlines() if line.startswith("│ test")).split("│")[2].strip()
    assert score in one  # the same number alone and among others


def test_all_problems_are_found_before_the_first_test(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(runs), "task.k_shot=1,99", "train.stepps=3"]) == 2
    error = capsys.readouterr().err
    assert "task.k_shot=99 and task.n_query=5 need 104 examples per class" in error
    assert "train.stepps is not a key of train" in error
    assert all(not (runs / name / "evaluations").exists() for name in ("seed0", "seed1", "small"))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["runs/seed0", "task.k_shot", "5"], 2, "'task.k_shot' is neither the folder of a run nor an override"),
        (["runs/seed0", "runs/nowhere"], 2, "'runs/nowhere' is neither the folder of a run nor an override"),
        (["nowhere", "runs/seed0"], 4, "nowhere"),
        (["task.k_shot=5"], 2, "give the folder of a finished run first"),
        (["empty"], 4, "empty"),
    ],
)
def test_a_wrong_word_is_named(
    runs: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    Path("empty").mkdir()
    assert main(["evaluate", *words]) == code
    assert message in capsys.readouterr().err


def test_a_test_that_fails_leaves_the_others(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "seed0" / "checkpoints" / "best.safetensors").write_bytes(b"damaged")
    assert main(["evaluate", str(runs), "task.k_shot=2"]) == 10
    assert "  failed: " in capsys.readouterr().out
    assert kept(runs / "seed1") == kept(runs / "small") == [["task.k_shot=2"]]


def rows(folder: Path) -> list[tuple[str, str, str]]:
    """Shots, name and mean of each row of a comparison."""
    with (folder / "rows.csv").open() as file:
        return [(row["k_shot"], row["row"], row["mean"]) for row in csv.DictReader(file)]


def test_a_comparison_reads_later_tests_where_it_is_asked_to(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(runs / "cut")
    assert main(["evaluate", str(runs), "task.k_shot=1,3", "eval.episodes=6"]) == 0
    assert main(["compare", str(runs), "--output", "without"]) == 0
    assert main(["compare", str(runs), "--evaluations", "--output", "with"]) == 0
    without, found = rows(Path("without")), rows(Path("with"))
    assert len(without) == 2
    assert found[:2] == without  # the run's own test counts for its own task, not the later one
    assert [shots for shots, _, _ in found[2:]] == ["3"] * 2
    assert {mean for _, _, mean in found[2:]}.isdisjoint(mean for _, _, mean in without)
    capsys.readouterr()
    assert main(["compare", str(runs), "--evaluations", "--retest"]) == 2
    assert "--evaluations compares tests that were made" in capsys.readouterr().err


def test_tests_on_other_data_have_a_table_of_their_own(runs: Path) -> None:
    shutil.rmtree(runs / "cut")
    assert main(["evaluate", str(runs), "dataset.seed=5"]) == 0
    assert main(["compare", str(runs), "--evaluations", "--output", "with"]) == 0
    with Path("with/rows.csv").open() as file:
        assert [row["dataset"] for row in csv.DictReader(file)] == ["glyphs"] * 2 + ["glyphs (dataset.seed=5)"] * 2


def test_a_damaged_test_is_left_out_and_named(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(runs / "cut")
    assert main(["evaluate", str(runs / "seed0"), "task.k_shot=3"]) == 0
    assert main(["evaluate", str(runs / "seed1"), "task.k_shot=3"]) == 0
    (episodes,) = (runs / "seed1" / "evaluations").glob("*.csv")
    episodes.write_text(episodes.read_text().replace("0.", "1.", 1))
    capsys.readouterr()
    assert main(["compare", str(runs), "--evaluations", "--output", "with"]) == 0
    assert len(rows(Path("with"))) == 3
    page = Path("with/README.md").read_text()
    assert "seed1, tested with task.k\\_shot=3" in page


def test_a_key_of_training_is_refused_before_the_first_test_also_with_several_values(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(runs), "seed=1,2"]) == 2
    assert "seed has no effect on an evaluation: the run is trained already" in capsys.readouterr().err
    assert not list(runs.glob("*/evaluations"))
