"""``metaexp reproduce NAME --weights``: published weights give the recorded numbers and verdict again."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from metaexp.cli.main import main
from metaexp.core.nested import sha256_of
from metaexp.machine.device import available
from metaexp.reproduce.from_weights import agree
from metaexp.reproduce.in_a_minute import Part, fitting
from metaexp.reproduce.planned_tests import _whole_and_compared, device_here, find_row
from metaexp.reproduce.retests.queue import TestQueue
from metaexp.results.episodes import EPISODES_FILE, episodes_sha256, read_episodes, write_episodes
from metaexp.results.measured import folder
from metaexp.results.record import DIGEST, Score, read_record, write_record

ROOT = Path(__file__).parents[2]
ROW = "meta_sgd_sinusoid_5shot"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with the three seeds of a row, one of another setting, and one whose name only begins alike."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # no test knows what another one has measured
    results = tmp_path / "docs" / "results"
    for name in (ROW, f"{ROW}-seed1", f"{ROW}-seed2"):
        shutil.copytree(ROOT / "docs" / "results" / name, results / name)
    shutil.copytree(results / ROW, results / f"{ROW}_wide")
    other = shutil.copytree(results / f"{ROW}-seed1", results / f"{ROW}-seed7")
    write_record(dataclasses.replace(read_record(other), deviations=["task.k_shot=10"]), other)
    monkeypatch.chdir(tmp_path)
    return results


def test_all_seeds_of_a_row_are_tested_again_and_the_verdict_is_repeated(
    published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in published.iterdir():  # the page has the words of the experiment's file, not these
        write_record(dataclasses.replace(read_record(run), departs="in words of yesterday"), run)
    assert main(["reproduce", ROW, "--weights"]) == 0
    lines = capsys.readouterr().out.splitlines()
    page = (ROOT / "docs" / "results" / "README.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith(f"| [{ROW}]"))
    assert [line.partition(":")[0] for line in lines[-5:]] == ["seed 0", "seed 1", "seed 2", "3 seeds", "verdict"]
    assert lines[-2].partition(": ")[2] in row
    assert lines[-1].partition(": ")[2] in row
    assert not list(published.glob("*/evaluations"))


def test_the_first_episodes_alone_are_compared_with_those_of_the_record(
    published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["reproduce", ROW, "--weights", "--episodes"]
    assert main([*command, "50"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition(",")[2] for line in lines[:3]] == [" as recorded"] * 3
    assert all(f"seed {seed}, the first 50 of 10,000 episodes: " in lines[seed] for seed in range(3))
    page = (ROOT / "docs" / "results" / "README.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith(f"| [{ROW}]"))
    assert lines[3].partition("3 seeds by the records: ")[2] in row
    assert lines[4].partition("verdict by the records: ")[2] in row
    folder = published / f"{ROW}-seed1"
    record = read_record(folder)
    values = [list(reversed(step)) for step in read_episodes(folder / EPISODES_FILE)]  # the same mean, other episodes
    write_episodes(folder / EPISODES_FILE, values)
    write_record(dataclasses.replace(record, test_episodes_sha256=episodes_sha256(values)), folder)
    assert main([*command, "50"]) == 11
    assert "seed 1, the first 50 of 10,000 episodes: " in capsys.readouterr().out
    assert main([*command, "20000"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("verdict: ")


@pytest.mark.parametrize("n_episodes", [None, 4, 5, 3])
def test_a_part_is_compared_only_where_the_record_has_more_episodes(n_episodes: int | None) -> None:
    record = read_record(ROOT / "docs" / "results" / ROW)
    record = dataclasses.replace(record, test=Score("mse", 2.5, 1.0, 4))
    if n_episodes != 3:
        found = _whole_and_compared(record, lambda: pytest.fail("episodes were read"), n_episodes)
        assert found == (record, record)
        return
    whole, part = _whole_and_compared(record, lambda: [1.0, 2.0, 3.0, 4.0], n_episodes)
    assert whole.test is not None
    assert part.test is not None
    assert (whole.test.mean, whole.test.n_episodes) == (2.5, 4)
    assert (part.test.mean, part.test.n_episodes) == (2.0, 3)
    assert dataclasses.replace(part, test=record.test) == record


def test_a_later_test_can_be_made_again_in_part(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (published.parents[1] / "README.md").write_text("<!-- results:begin -->\n<!-- results:end -->\n")
    folder = published / f"{ROW}-seed7"
    assert main(["evaluate", str(folder), "eval.episodes=20", "task.k_shot=10", "device.threads=1"]) == 0
    assert main(["report", str(folder), "--evaluations"]) == 0
    capsys.readouterr()
    assert main(["reproduce", f"{ROW}-seed7", "--weights", "--episodes", "5"]) == 0
    *_, last, _ = capsys.readouterr().out.splitlines()
    assert last.startswith("seed 1, the first 5 of 20 episodes: ")
    assert last.endswith(", as recorded")
    (episodes,) = (folder / "later_tests").glob("*.csv")
    _claim_more(episodes.with_suffix(".json"), episodes)
    assert main(["reproduce", f"{ROW}-seed7", "--weights", "--episodes", "5"]) == 11


def test_a_part_of_the_episodes_is_for_weights_only(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", ROW, "--episodes", "5"]) == 2
    assert "--episodes is for --weights. Add --weights, or remove --episodes." in capsys.readouterr().err


def test_a_number_that_the_weights_do_not_give_ends_with_another_code(
    published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = published / f"{ROW}-seed1"
    record = read_record(folder)
    assert record.test is not None
    write_record(dataclasses.replace(record, test=dataclasses.replace(record.test, mean=1.5)), folder)
    assert main(["reproduce", str(folder), "--weights"]) == 11
    assert "NOT what is recorded: 1.5" in capsys.readouterr().out


@pytest.mark.skipif("cuda" in available(), reason="a machine with this accelerator tests there")
def test_weights_of_a_run_that_required_an_accelerator_are_tested_on_what_is_here(
    published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = published / f"{ROW}-seed7"
    record = read_record(folder)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("accelerator: cpu", "accelerator: cuda"))
    required = record.config | {"device": record.config["device"] | {"accelerator": "cuda"}}
    write_record(dataclasses.replace(record, config=required), folder)
    assert device_here(record) == []
    assert device_here(read_record(folder)) == ["device.accelerator=auto"]
    assert main(["evaluate", str(folder), "eval.episodes=20"]) != 0
    assert "not on this machine" in capsys.readouterr().err
    assert main(["reproduce", f"{ROW}-seed7", "--weights"]) == 0
    assert main(["leaderboard", str(folder), "--output", "page.html", "--again"]) == 0
    assert "measured again" in capsys.readouterr().out


def test_published_later_tests_are_made_again_and_rank_with_the_runs(
    published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From `metaexp evaluate` over `metaexp report --evaluations` to everything that reads a published test."""
    (published.parents[1] / "README.md").write_text("<!-- results:begin -->\n<!-- results:end -->\n")
    folder = published / f"{ROW}-seed7"
    assert main(["evaluate", str(folder), "eval.episodes=20", "task.k_shot=10", "device.threads=1"]) == 0
    assert main(["report", str(folder), "--evaluations"]) == 0
    assert "later_tests" in capsys.readouterr().out
    (test,) = (folder / "later_tests").glob("*.json")
    shutil.rmtree(folder / "evaluations")
    assert main(["report", "--check"]) == 0
    assert "tested with eval.episodes=20 task.k_shot=10](" in (published / "README.md").read_text()
    assert main(["reproduce", f"{ROW}-seed7", "--weights"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == "tested with eval.episodes=20 task.k_shot=10:"
    assert lines[-1].endswith(", as recorded")
    assert main(["leaderboard", str(folder), "--output", "page.html", "--again"]) == 0
    assert f"measured again: {ROW}-seed7, tested with eval.episodes=20 task.k_shot=10" in capsys.readouterr().out
    assert f"<strong>{ROW}-seed7, tested with" in Path("page.html").read_text().replace("<wbr>", "")
    _claim_more(test, test.with_suffix(".csv"))
    assert main(["reproduce", f"{ROW}-seed7", "--weights"]) == 11
    assert "NOT what is recorded: 1" in capsys.readouterr().out
    assert main(["leaderboard", str(folder), "--output", "page.html"]) == 0
    assert "and its file says 1." in capsys.readouterr().out


def _claim_more(test: Path, episodes: Path) -> None:
    """Write a result that the weights do not give, with digests and episodes that fit it."""
    content = json.loads(test.read_text())
    del content[DIGEST]
    content["test"] |= {"mean": 1.0, "ci95": 0.0}
    values = [[1.0] * content["test"]["n_episodes"]]
    content["episodes_sha256"] = episodes_sha256(values)
    write_episodes(episodes, values)
    test.write_text(json.dumps(content | {DIGEST: sha256_of(content)}))


def test_publishing_later_tests_needs_a_run(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (published.parents[1] / "README.md").write_text("<!-- results:begin -->\n<!-- results:end -->\n")
    assert main(["report", "--evaluations"]) == 2
    assert "--evaluations publishes later tests of a run; give the run." in capsys.readouterr().err
    assert main(["report", str(published / ROW), "--evaluations"]) == 0
    assert "has no later tests" in capsys.readouterr().out
    assert main(["report", str(published / ROW)]) == 4
    assert "is in docs/results already" in capsys.readouterr().err


def test_the_row_of_a_seed_has_the_seeds_of_its_setting(published: Path) -> None:
    names = [ROW, f"{ROW}-seed1", f"{ROW}-seed2"]
    assert [path.name for path in find_row(ROW)] == names
    assert [path.name for path in find_row(str(published / f"{ROW}-seed2"))] == names
    assert [path.name for path in find_row(f"{ROW}-seed7")] == [f"{ROW}-seed7"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere", "--weights"], "nowhere is neither a run folder nor a published run in docs/results"),
        ([ROW, "--weights", "--seeds", "3"], "--weights trains nothing. Remove --steps, --fresh, --seeds and --short"),
        ([ROW, "--weights", "train.steps=3"], "train.steps=3: with --weights only paths.data=... and device=..."),
    ],
)
def test_a_wrong_command_is_refused(
    words: list[str], message: str, published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", *words]) == 2
    assert message in capsys.readouterr().err


def test_outside_a_clone_the_message_says_where_published_runs_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", "nowhere", "--weights"]) == 2
    assert "clone" not in capsys.readouterr().err
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["reproduce", ROW, "--weights"]) == 2
    assert "call this in a clone of it. Or give the folder of a run" in capsys.readouterr().err


def test_a_run_without_weights_is_refused(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(published / f"{ROW}-seed7" / "checkpoints")
    assert main(["reproduce", f"{ROW}-seed7", "--weights"]) == 4
    assert "checkpoints/best.json is missing" in capsys.readouterr().err


def test_scores_agree_up_to_rounding_only() -> None:
    recorded = Score("accuracy", 0.9, 0.01, 600)
    assert agree(dataclasses.replace(recorded, mean=0.9005), recorded)
    assert not agree(dataclasses.replace(recorded, mean=0.902), recorded)
    assert not agree(dataclasses.replace(recorded, n_episodes=599), recorded)
    error = Score("mse", 0.7, 0.1, 600)
    assert agree(dataclasses.replace(error, mean=0.70001), error)
    assert not agree(dataclasses.replace(error, mean=0.701), error)


def test_an_error_that_diverged_agrees_up_to_a_thousandth_of_its_interval() -> None:
    recorded = Score("mse", 6e5, 1.2e6, 10_000)
    assert agree(dataclasses.replace(recorded, mean=6e5 + 1_000), recorded)
    assert not agree(dataclasses.replace(recorded, mean=6e5 + 1_300), recorded)
    assert not agree(dataclasses.replace(recorded, mean=6e5 + 1_000), dataclasses.replace(recorded, ci95=6e4))


def test_as_many_episodes_are_tested_as_a_minute_allows() -> None:
    assert fitting(59.0, 60 / 59.0, 10_000).n_episodes == 10_000
    assert fitting(600.0, 60 / 600.0, 10_000) == Part(500, 600.0)
    assert fitting(61.0, 60 / 61.0, 1_000).n_episodes == 500
    assert fitting(7200.0, 60 / 7200.0, 3).n_episodes == 2  # one has no interval
    assert fitting(7200.0, 60 / 7200.0, 1).n_episodes == 1


def test_a_long_test_is_made_in_part_unless_all_episodes_are_asked_for(
    published: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["reproduce", f"{ROW}-seed7", "--weights"]
    assert main(command) == 0
    whole = capsys.readouterr()
    assert "first" not in whole.out + whole.err
    monkeypatch.setattr(TestQueue, "work_left", lambda _: 7200.0)
    monkeypatch.setattr("metaexp.reproduce.retests.run.cores", lambda: 1)
    assert main(command) == 0
    part = capsys.readouterr()
    said = "All episodes take about 2 h 00 min. The first 50 episodes of each test take about a minute"
    assert part.err.count(said) == 1
    assert part.out.startswith("seed 1, the first 50 of 10,000 episodes: ")
    assert "verdict by the records: " in part.out
    assert "Only the first 50 episodes of each test were compared, with the same ones of the records." in part.out
    assert main([*command, "--episodes", "all"]) == 0
    assert capsys.readouterr().out == whole.out
    assert main([*command, "--episodes", "20"]) == 0
    assert "Only the first 20 episodes of each test were compared" in capsys.readouterr().out


@pytest.mark.parametrize("value", ["0", "-1", "most", "1.5"])
def test_a_number_of_episodes_is_a_whole_number_or_all(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", ROW, "--weights", f"--episodes={value}"]) == 2
    assert f"{value} must be a whole number from 1 on, or all." in capsys.readouterr().err


def test_a_test_is_made_again_though_its_result_is_known(
    published: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is kept is for the leaderboard. Who reproduces a number wants to see it computed."""
    assert main(["reproduce", f"{ROW}-seed7", "--weights"]) == 0
    (entry,) = folder().iterdir()
    first = entry.stat().st_ino
    assert main(["leaderboard", str(published / f"{ROW}-seed7"), "--output", "page.html"]) == 0
    assert "measured before" in capsys.readouterr().out
    assert entry.stat().st_ino == first
    assert main(["reproduce", f"{ROW}-seed7", "--weights"]) == 0
    (entry,) = folder().iterdir()
    assert entry.stat().st_ino != first
