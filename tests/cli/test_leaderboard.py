"""``metaexp leaderboard``: weights are evaluated again before a run appears."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save

from metaexp.cli.leaderboard import _configuration
from metaexp.cli.main import main
from metaexp.config.classes import targets
from metaexp.reproduce.retests import run
from metaexp.results.display.wording import format_reference, format_score
from metaexp.results.episodes import EPISODES_FILE, episodes_sha256, read_episodes, write_episodes
from metaexp.results.measured import folder
from metaexp.results.record import Verdict, read_record, write_record
from metaexp.run.checkpoint import read, write

RESULTS = Path(__file__).parents[2] / "docs" / "results"
WITHOUT_LATER_TESTS = shutil.ignore_patterns("later_tests")
"""Leaves out the published later tests of a run, which would be rows of their own."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test knows what another one has measured."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with a good run, one whose record claims more, and one without weights."""
    place = tmp_path / "runs"
    for name in ("good", "claims more", "without weights"):
        shutil.copytree(RESULTS / "fine_tune_sinusoid", place / name, ignore=WITHOUT_LATER_TESTS)
    shutil.rmtree(place / "without weights" / "checkpoints")
    record = read_record(place / "claims more")
    assert record.test is not None
    write_record(
        dataclasses.replace(record, test=dataclasses.replace(record.test, mean=1.5)), place / "claims more"
    )  # fmt: skip
    return place


def test_only_runs_whose_weights_give_their_number_are_on_the_page(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (runs / "sweep.json").write_text('{"jobs": {"good": "", "gone": ""}}')
    assert main(["leaderboard", str(runs), "--output", str(tmp_path / "page.html")]) == 0
    said = capsys.readouterr().out
    assert "left out: gone: was removed, with its folder" in said
    assert re.search("^measured (again|before, on [0-9-]+): good$", said, re.MULTILINE)  # two have these weights
    assert "left out: claims more: its weights give 2.6" in said
    assert "its record says 1.5" in said
    assert "left out: without weights: checkpoints/best.json is missing" in said
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.index("<strong>claims more</strong>: ") < page.index("<strong>without weights</strong>: ")
    assert said.index("left out: without weights") < said.index("left out: claims more")
    assert 'href="runs/good/checkpoints/best.safetensors"' in page
    assert "<strong>gone</strong>: was removed, with its folder" in page
    assert page.index("<strong>good") < page.index("Left out") < page.index("<strong>claims more")
    assert not (runs / "good" / "evaluations").exists()


def test_runs_are_found_below_folders_and_named_by_their_way_there(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the jobs of a sweep lie; two sweeps may have jobs of one name."""
    for sweep in ("one", "other"):
        shutil.copytree(runs / "good", tmp_path / "outputs" / "sweeps" / sweep / "000-job")
    shutil.copytree(runs / "good", tmp_path / "copies" / "good")
    folders = [tmp_path / "outputs", runs / "good", runs / "good", tmp_path / "copies"]
    assert main(["leaderboard", "--output", str(tmp_path / "page.html"), *map(str, folders)]) == 0
    said = capsys.readouterr().out
    assert [line.rpartition(": ")[2] for line in said.splitlines() if line.startswith("measured ")] == [
        "sweeps/one/000-job", "sweeps/other/000-job", "good",
    ]  # fmt: skip
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<strong>sweeps/one/000-job" in page.replace("<wbr>", "")
    assert said.count(f"left out: good: another run has this name; rename {tmp_path / 'copies' / 'good'}") == 1


def test_another_seed_is_the_same_configuration_and_another_rate_is_not(runs: Path, tmp_path: Path) -> None:
    jobs = tmp_path / "jobs"
    for number, (seed, rate) in enumerate([(0, 0.1), (1, 0.1), (2, 0.2)]):
        job = jobs / f"00{number}-tuned"
        shutil.copytree(runs / "good", job)
        record = read_record(job)
        config = {**record.config, "seed": seed, "optimizer": {**record.config["optimizer"], "lr": rate}}
        write_record(dataclasses.replace(record, seed=seed, config=config, experiment=None), job)
    assert _configuration(read_record(jobs / "000-tuned")) == _configuration(read_record(jobs / "001-tuned"))
    assert _configuration(read_record(jobs / "000-tuned")) != _configuration(read_record(jobs / "002-tuned"))


def test_a_name_that_is_not_text_has_a_link_and_a_link_to_a_folder_is_not_followed(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = runs / os.fsdecode(b"odd\xff")
    (runs / "good").rename(odd)
    assert main(["leaderboard", str(odd), "--output", str(tmp_path / "page.html")]) == 0
    assert 'href="runs/odd%FF/checkpoints/best.safetensors"' in (tmp_path / "page.html").read_text(encoding="utf-8")
    capsys.readouterr()
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / "record.json").symlink_to(odd)
    assert main(["leaderboard", str(tmp_path / "case"), "--output", str(tmp_path / "page.html")]) == 0
    assert "left out: case: " in (said := capsys.readouterr().out)
    assert "record.json is a symbolic link" in said


def test_code_of_a_project_runs_as_in_every_command_and_that_of_others_once_it_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], no_figures: None
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(targets, "_folders", {})
    monkeypatch.setattr(targets, "_trusted", set())
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    assert main(["new", "algorithm", "mine", "--package", "code_of_leaderboard"]) == 0
    short = ["train.steps=1", "train.eval_episodes=2", "eval.episodes=4", "tracker=files", "hydra.run.dir=run"]
    assert main(["train", "algorithm=mine", "dataset=glyphs", "model=mlp", *short]) == 0
    monkeypatch.setattr(targets, "_trusted", set())
    capsys.readouterr()
    assert main(["leaderboard", "run"]) == 0
    out, err = capsys.readouterr()
    assert "measured again: run" in out
    assert "code of code_of_leaderboard" in err
    monkeypatch.setattr(targets, "_trusted", set())
    monkeypatch.chdir(tmp_path)
    assert main(["leaderboard", "project/run"]) == 0
    assert "add --trust code_of_leaderboard" in capsys.readouterr().out
    assert main(["leaderboard", "project/run", "--trust", "project/code_of_leaderboard"]) == 0
    assert "measured again: run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere"], 4, "nowhere: there is no such folder"),
        ([".", "--output", "page.txt"], 2, "--output page.txt: give a file .html in a folder that exists"),
        ([".", "--output", "nowhere/page.html"], 2, "give a file .html in a folder that exists"),
    ],
)
def test_a_wrong_path_is_refused(
    words: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["leaderboard", *words]) == code
    assert message in capsys.readouterr().err


def test_what_a_record_claims_about_its_run_is_not_believed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each record has a digest that fits, as anyone can make one."""
    place = tmp_path / "runs"
    own = read_record(RESULTS / "fine_tune_sinusoid")
    assert own.reference is not None
    assert own.test is not None
    claims: dict[str, dict[str, object]] = {
        "task": {"task": dataclasses.replace(own.task, k_shot=20)},
        "seed": {"seed": 5},
        "steps": {"steps": own.steps + 1},
        "batch_norm": {"batch_norm": "running"},
        "dataset": {"dataset": "omniglot"},
        "algorithm": {"algorithm": "maml"},
        "published": {
            "reference": dataclasses.replace(own.reference, value=0.00123), "departs": "", "full_steps": own.steps,
            "verdict": Verdict("reproduced", 0.0, "reproduced by me"), "deviations": [],
        },
        "command": {"experiment": "x; touch stolen", "overrides": ["experiment=x; touch stolen", "a=$(touch stolen)"]},
    }  # fmt: skip
    for name, changes in claims.items():
        shutil.copytree(RESULTS / "fine_tune_sinusoid", place / name, ignore=WITHOUT_LATER_TESTS)
        write_record(dataclasses.replace(own, **changes), place / name)  # type: ignore[arg-type]
        choices = place / name / "choices.yaml"
        names = {group: str(changes[group]) for group in ("dataset", "algorithm", "experiment") if group in changes}
        text = choices.read_text()
        for group, value in names.items():
            text = re.sub(rf"^{group}: .*$", f"{group}: '{value}'", text, flags=re.MULTILINE)
        choices.write_text(text)
    assert main(["leaderboard", str(place), "--output", str(tmp_path / "page.html")]) == 0
    said = capsys.readouterr().out
    for key in ("seed", "steps", "batch_norm"):
        assert f"left out: {key}: record.json says {key} " in said
    assert "left out: task: record.json says task 0-way 20-shot with" in said
    for key, name in (("dataset", "omniglot"), ("algorithm", "maml")):
        assert f"left out: {key}: choices.yaml: {key} is {name}, which is the class " in said
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "reproduced by me" not in page
    assert "0.00123" not in page
    assert format_reference(own.reference) in page
    assert "<code>metaexp train &#39;experiment=x; touch stolen&#39; &#39;a=$(touch stolen)&#39;</code>" in page
    assert page.count("this command gives") == 1


def test_the_page_has_the_interval_that_was_measured(runs: Path, tmp_path: Path) -> None:
    folder = runs / "good"
    record = read_record(folder)
    assert record.test is not None
    test = dataclasses.replace(record.test, ci95=record.test.ci95 / 50)
    write_record(dataclasses.replace(record, test=test), folder)
    (folder / "metrics.jsonl").unlink()
    assert main(["leaderboard", str(folder), "--output", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert format_score(record.test) in page
    assert format_score(test) not in page


def test_a_run_whose_episodes_were_edited_is_left_out(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    episodes = runs / "good" / "test_episodes.csv"
    lines = episodes.read_text().splitlines(keepends=True)
    episodes.write_text("".join([*lines[:-2], lines[-1], lines[-2]]))
    assert main(["leaderboard", str(runs / "good"), "--output", str(tmp_path / "page.html")]) == 0
    said = capsys.readouterr().out
    assert "left out: good: " in said
    assert "test_episodes.csv" in said


def board(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[list[str], str]:
    """What ``metaexp leaderboard`` says, and its page."""
    output = Path("page.html")
    assert main(["leaderboard", "--output", str(output), *map(str, words)]) == 0
    return capsys.readouterr().out.splitlines(), output.read_text(encoding="utf-8")


def test_what_was_measured_before_is_not_measured_again_unless_it_is_asked_for(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    first, page = board(capsys, runs / "good")
    assert first == ["measured again: good", "page: page.html"]
    again, same = board(capsys, runs / "good")
    assert re.fullmatch(r"measured before, on \d{4}-\d\d-\d\d: good", again[0])
    assert same == page
    assert "10,000 episodes tested again" in page
    assert re.search(
        r"tested again \d{4}-\d\d-\d\d \d\d:\d\d UTC by metaexp \S+ \(sources [0-9a-f]{12}\) and torch 2", page
    )
    assert board(capsys, runs / "good", "--again")[0] == first


def test_an_earlier_check_hides_neither_other_weights_nor_another_record(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert board(capsys, runs / "good")[0][0] == "measured again: good"
    weights = runs / "good" / "checkpoints" / "best.safetensors"
    intact = weights.read_bytes()
    manifest = weights.with_suffix(".json")
    intact_manifest = manifest.read_bytes()
    tensors, values = read(weights.with_suffix(""))
    largest = max(tensors, key=lambda name: float(tensors[name].abs().max()))
    flat = tensors[largest].view(-1)
    flat[flat.abs().argmax()] *= -1  # the sign bit of one weight
    weights.write_bytes(save(tensors))
    said, _ = board(capsys, runs / "good")
    assert said[0].startswith("left out: good: checkpoint ")
    write(weights.with_suffix(""), tensors, values)  # with a digest that fits
    said, page = board(capsys, runs / "good")
    assert said[0].startswith("left out: good: its weights give ")
    assert "<strong>good</strong>: its weights give" in page
    assert "episodes tested again" not in page
    weights.write_bytes(intact)
    manifest.write_bytes(intact_manifest)
    assert board(capsys, runs / "good")[0][0].startswith("measured before")
    record = read_record(runs / "good")
    assert record.test is not None
    write_record(
        dataclasses.replace(record, test=dataclasses.replace(record.test, mean=1.5)), runs / "good"
    )  # fmt: skip
    said, page = board(capsys, runs / "good")
    assert said[0].startswith("left out: good: its weights give 2.65")
    assert "episodes tested again" not in page


def test_a_damaged_entry_of_the_cache_is_measured_again(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    board(capsys, runs / "good")
    (entry,) = folder().iterdir()
    text = entry.read_text()
    entry.write_text(text.replace('"mean": 2.', '"mean": 1.'))
    assert entry.read_text() != text
    assert board(capsys, runs / "good")[0][0] == "measured again: good"
    assert entry.read_text() != text.replace('"mean": 2.', '"mean": 1.')


def test_a_part_of_the_episodes_is_said_to_be_one(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    record = read_record(runs / "good")
    assert record.test is not None
    said, page = board(capsys, runs / "good", "--episodes", 100)
    assert said[0] == "measured again: good"
    assert "first 100 of 10,000 episodes agree" in page
    assert "Only the first test episodes of each row were measured again" in page
    assert "episodes tested again" not in page
    assert format_score(record.test) in page
    assert board(capsys, runs / "good")[0][0] == "measured again: good"  # a part is not the whole
    _, whole = board(capsys, runs / "good", "--episodes", 20000)
    assert "10,000 episodes tested again" in whole
    assert "only the first" not in whole
    assert ("umber was measured again" in page, "Each number was measured again" in whole) == (False, True)
    assert [row for row in _cells(page) if "episodes" not in row] == [
        row for row in _cells(whole) if "episodes" not in row
    ]


def _cells(page: str) -> list[str]:
    """What the page shows of its runs, without when they were tested."""
    text = re.sub(r"<[^>]*>", "\n", page[page.index("<tbody>") :])
    return [line for line in text.splitlines() if line.strip() and "tested again" not in line]


def test_first_episodes_that_the_record_does_not_have_are_refused(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = runs / "good"
    values = [list(reversed(step)) for step in read_episodes(run / EPISODES_FILE)]  # the same mean, other episodes
    write_episodes(run / EPISODES_FILE, values)
    write_record(dataclasses.replace(read_record(run), test_episodes_sha256=episodes_sha256(values)), run)
    said, page = board(capsys, run, "--episodes", 100)
    assert re.match(
        r"left out: good: its weights give [\d.]+ for the first 100 episodes, and its record says ", said[0]
    )
    assert "episodes agree" not in page


def test_what_was_measured_before_an_interruption_is_kept(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(RESULTS / "fine_tune_sinusoid-seed1", runs / "second", ignore=WITHOUT_LATER_TESTS)
    plain = run.retest
    tested: list[str] = []

    def stop_at_second(path: Path, *arguments: Any) -> Any:
        tested.append(path.name)
        if path.name == "second":
            raise KeyboardInterrupt
        return plain(path, *arguments)

    monkeypatch.setattr(run, "retest", stop_at_second)
    words = [str(runs / "good"), str(runs / "second")]
    assert main(["leaderboard", *words]) == 130
    err = capsys.readouterr().err
    assert "stopped by SIGINT after 1 of 2 tests, whose results are kept. No page was written." in err
    assert not (tmp_path / "leaderboard.html").exists()
    monkeypatch.setattr(run, "retest", plain)
    said, page = board(capsys, *words)
    assert said[0].startswith("measured before, on ")
    assert said[1] == "measured again: second"
    assert tested == ["good", "second"]
    assert page.count("<strong>") >= 1
