"""``metaexp compare`` and ``metaexp why`` on real runs, as a user calls them."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from kept_runs import KeptRuns

from metaexp.cli import compare as cli_compare
from metaexp.cli.main import main
from metaexp.compare.output.draw import Drawn
from metaexp.config.identity import config_hash
from metaexp.results.episodes import read_episodes
from metaexp.results.record import read_record, write_record
from metaexp.run.evaluation.evaluate import evaluate_run
from metaexp.run.job import run_job
from metaexp.run.progress import Lines

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def runs(tiny: ModuleType, tmp_path: Path, silent: Lines, kept_runs: KeptRuns) -> Path:
    """Two algorithms with two seeds each, trained for a few steps."""

    def train(outputs: Path) -> Path:
        for target in ("tiny_runs.TinyMAML", "tiny_runs.SupportMean"):
            for seed in (0, 1):
                algorithm = {"_target_": target} | ({"inner_lr": 0.1} if target.endswith("MAML") else {})
                changes = {"algorithm": algorithm, "seed": seed, "train__steps": 4}
                if target.endswith("Mean"):
                    changes["train__steps"] = 0
                run_job(tiny.settings(outputs / "sweep", **changes), display=silent)
        return outputs / "sweep"

    return kept_runs.copy("two algorithms with two seeds each", tmp_path, train)


@pytest.fixture(autouse=True)
def quick_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take longer than these runs; tests/compare draws them."""
    monkeypatch.setattr("metaexp.compare.output.write.draw", lambda figure: Drawn(b"", "<svg></svg>"))


def odd_bank(tiny: ModuleType, sweep: Path, silent: Lines, **changes: object) -> Path:
    """A further run, tested on other episodes."""
    return run_job(tiny.settings(sweep, seed=2, train__steps=4, **changes), display=silent)[1]


def test_a_sweep_is_compared_by_one_command(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["compare", str(runs), "--by", "algorithm._target_", "--output", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "lines, 4-shot" in printed
    assert f"page: {out / 'index.html'}" in printed
    assert {"index.html", "README.md", "rows.csv", "pairs.csv", "table.tex", "scores.png"} <= {
        p.name for p in out.iterdir()
    }
    assert "algorithm._target_=tiny_runs.TinyMAML" in (out / "rows.csv").read_text()
    assert main(["compare", str(runs), "--output", str(out)]) == 0


def test_the_end_says_how_to_get_a_paper_and_how_to_compile_it(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metaexp.compare.output.paper.draw_paper", lambda data: {f"paper-{data.name}-1col.pdf": b""})
    words = ["compare", str(runs), "--by", "algorithm._target_", "--output", str(tmp_path / "a place")]
    assert main(words) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert shlex.split(last, comments=True) == ["metaexp", *words, "--paper"]
    assert main(shlex.split(last, comments=True)[1:]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    latex = "pdflatex paper; bibtex paper; pdflatex paper; pdflatex paper"
    assert last == f"  (cd '{tmp_path / 'a place'}' && {{ {latex}; }})  # a page with all of it"
    assert (tmp_path / "a place" / "paper.tex").exists()


def test_by_default_the_output_is_a_new_folder_of_outputs(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAEXP_OUTPUTS", str(tmp_path / "outputs"))
    assert main(["compare", str(runs), "--by", "algorithm._target_"]) == 0
    assert main(["compare", str(runs), "--by", "algorithm._target_"]) == 0
    made = list((tmp_path / "outputs").glob("compare-*"))
    assert len(made) == 2
    assert all((folder / "index.html").exists() for folder in made)


def test_files_that_are_not_a_comparison_are_not_overwritten(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("precious")
    assert main(["compare", str(runs), "--output", str(tmp_path / "mine")]) == 2
    assert "holds files that are not those of a comparison" in capsys.readouterr().err
    assert main(["compare", str(runs), "--output", str(tmp_path / "mine" / "README.md")]) == 2
    assert "is a file; give a folder" in capsys.readouterr().err
    assert (tmp_path / "mine" / "README.md").read_text() == "precious"


def test_other_episodes_are_refused_and_retest_tests_them_again(
    runs: Path, tiny: ModuleType, tmp_path: Path, silent: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = odd_bank(tiny, runs, silent, eval__episodes=7, eval__seed=5)
    command = ["compare", str(runs), "--by", "algorithm._target_", "--output", str(tmp_path / "out")]
    assert main(command) == 4
    error = capsys.readouterr().err
    assert "2 different banks" in error
    assert odd.name in error
    assert "eval.episodes: 10, 7; eval.seed: 1000, 5" in error
    assert not (tmp_path / "out").exists()

    assert main([*command, "--retest"]) == 0
    (kept,) = (odd / "evaluations").glob("*.csv")
    expected, _ = evaluate_run(odd, ["eval.episodes=10", "eval.seed=1000"], display=silent)
    assert len(read_episodes(kept)[-1]) == 10
    rows = (tmp_path / "out" / "rows.csv").read_text()
    assert "0 1 2" in rows
    members = [read_record(path).test for path in runs.iterdir() if "TinyMAML" in (path / "config.yaml").read_text()]
    means = [test.mean for test in members if test is not None and test.n_episodes == 10] + [expected.test.mean]
    assert f"{sum(means) / 3:.9f}"[:9] in rows


def test_an_earlier_test_on_the_bank_is_taken(
    runs: Path, tiny: ModuleType, tmp_path: Path, silent: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd_bank(tiny, runs, silent, eval__episodes=7)
    command = ["compare", str(runs), "--by", "algorithm._target_", "--output", str(tmp_path / "out"), "--retest"]
    assert main(command) == 0
    first = (tmp_path / "out" / "rows.csv").read_text()

    def never(*_: object) -> None:
        raise AssertionError("tested again")

    monkeypatch.setattr("metaexp.run.evaluation.common_bank.evaluate_run", never)
    assert main(command) == 0
    assert (tmp_path / "out" / "rows.csv").read_text() == first


def test_other_data_cannot_be_made_the_same_by_testing_again(
    runs: Path, tiny: ModuleType, tmp_path: Path, silent: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    """As when the others were tested before the data changed."""
    for run in runs.iterdir():
        record = json.loads((run / "record.json").read_text()) | {
            "digest": None,
            "test_episodes_sha256": None,
            "episode_bank": "f" * 64,
        }
        (run / "record.json").write_text(json.dumps(record))
    odd = odd_bank(tiny, runs, silent)
    assert main(["compare", str(runs), "--output", str(tmp_path / "out"), "--retest"]) == 4
    error = capsys.readouterr().err
    assert odd.name in error
    assert "their data differ. Leave it out." in error


def test_nothing_to_compare_is_reported_with_the_reasons(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = next(runs.iterdir())
    record = json.loads((run / "record.json").read_text()) | {
        "digest": None,
        "test_episodes_sha256": None,
        "status": "failed",
        "error": "boom",
    }
    (run / "record.json").write_text(json.dumps(record))
    assert main(["compare", str(run), "--output", str(tmp_path / "out")]) == 4
    error = capsys.readouterr().err
    assert "none of these runs can be compared" in error
    assert "boom" in error


def test_why_says_that_a_repeated_run_is_the_same(
    runs: Path, tiny: ModuleType, tmp_path: Path, silent: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    again = run_job(tiny.settings(tmp_path / "again", seed=2, train__steps=4), display=silent)[1]
    twin = odd_bank(tiny, tmp_path / "twin", silent)
    assert main(["why", str(again), str(twin)]) == 0
    printed = capsys.readouterr().out
    assert "the same number, to the last bit" in printed
    assert "other settings" in printed  # its outputs folder
    assert "configuration:" not in printed
    other = run_job(tiny.settings(tmp_path / "other", seed=2, train__steps=5), display=silent)[1]
    assert main(["why", str(again), str(other)]) == 0
    printed = capsys.readouterr().out
    assert "train.steps" in printed
    assert "to the last bit" not in printed


def test_the_command_on_the_page_names_no_place_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = [str(tmp_path / "outputs" / "one"), "/home/someone/runs/two", "three", "--output=/home/someone/my page"]
    assert cli_compare.format_command(given) == "metaexp compare outputs/one two three '--output=my page'"
    assert cli_compare.format_command(["--by", "a,b", "--title", "x=/y"]) == "metaexp compare --by a,b --title x=/y"


def test_help_and_errors_come_without_torch() -> None:
    code = (
        "import sys; from metaexp.cli.main import main\n"
        "for line in (['compare', '/no/such'], ['why', '/no/such', '/nor/this']):\n"
        "    assert main(line) == 4\n"
        "for verb in ('compare', 'why'):\n"
        "    try: main([verb, '--help'])\n"
        "    except SystemExit as end: assert end.code == 0\n"
        "assert not {'torch', 'numpy', 'matplotlib', 'scipy'} & set(sys.modules), 'imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "RUN_OR_SWEEP" in done.stdout
    assert "no such folder" in done.stderr


def test_the_script_is_the_verb() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "compare.py", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: metaexp compare")


def test_the_output_is_checked_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(cli_compare.ConfigError, match="is a file"):
        cli_compare.main(["/no/such", "--output", str(tmp_path / "file")])


@pytest.mark.parametrize(
    ("key", "value"), [("algorithm", {"_target_": "tiny_runs.TinyMAML", "inner_lr": 9.0}), ("seed", 7)]
)
def test_a_configuration_that_its_own_hash_denies_is_refused(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, value: object
) -> None:
    run = sorted(runs.iterdir())[0]
    record = json.loads((run / "record.json").read_text())
    record["config"][key] = value
    del record["digest"], record["test_episodes_sha256"]
    (run / "record.json").write_text(json.dumps(record))
    assert main(["compare", str(runs), "--output", str(tmp_path / "out")]) == 4
    error = capsys.readouterr().err
    assert f"{run}/record.json: key config has the hash" in error
    assert "leave the run out" in error
    assert not (tmp_path / "out").exists()


def change(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def in_best(run: Path, **values: object) -> None:
    path = run / "checkpoints" / "best.json"
    content = json.loads(path.read_text())
    content["values"] |= values
    path.write_text(json.dumps(content))


def record_of_another(run: Path) -> None:
    """That of the same experiment with another seed, true in itself."""
    record = read_record(run)
    config = record.config | {"seed": 9}
    write_record(replace(record, seed=9, config=config, config_hash=config_hash(config)), run)


def linked_config(run: Path) -> None:
    (run / "config.yaml").rename(run / "real.yaml")
    (run / "config.yaml").symlink_to(run / "real.yaml")


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "edited": (lambda run: change(run / "config.yaml", "inner_lr: 0", "inner_lr: 3"), "config.yaml has the hash"),
    "no YAML": (lambda run: change(run / "config.yaml", "seed: ", "seed: ["), "config.yaml cannot be read"),
    "a list": (lambda run: change(run / "config.yaml", "", "- a\n# "), "config.yaml cannot be read"),
    "linked": (linked_config, "config.yaml is a symbolic link"),
    "record of another": (record_of_another, "config.yaml has the hash"),
    "weights of another": (lambda run: in_best(run, config_hash="0" * 64), "weights of another run: config_hash is 00"),
    "weights of another step": (lambda run: in_best(run, step=77), "weights of another run: selected_step is 77"),
    "no weights": (lambda run: change(run / "checkpoints" / "best.json", "{", "["), "best.json is damaged"),
}
ELSEWHERE = [(verb, kind) for verb in ("why", "report") for kind in ("edited", "weights of another")]


@pytest.mark.parametrize(("verb", "kind"), [*(("compare", kind) for kind in DAMAGES), *ELSEWHERE])
def test_files_of_another_run_or_changed_after_it_are_refused(
    verb: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, twin, out = tmp_path / "run", tmp_path / "twin", tmp_path / "out"
    for folder in (run, twin):
        shutil.copytree(ROOT / "tests" / "old_runs" / "completed", folder)
    (tmp_path / "root" / "docs" / "results").mkdir(parents=True)
    (tmp_path / "root" / "README.md").write_text("<!-- results:begin -->\n<!-- results:end -->\n")
    command = {
        "compare": ["compare", str(run), "--output", str(out)],
        "why": ["why", str(twin), str(run)],
        "report": ["report", str(run), "--root", str(tmp_path / "root"), "--name", "mine"],
    }[verb]
    assert main(command) == 0
    shutil.rmtree(out, ignore_errors=True)
    damage, message = DAMAGES[kind]
    damage(run)
    assert main(command) == 4
    error = capsys.readouterr().err
    assert message in error
    assert str(run) in error
    assert not out.exists()


def test_an_own_class_that_is_not_found_here_leaves_the_run_comparable(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its defaults are not known then, so the hash cannot be made again; an edit of one file is seen all the same."""
    monkeypatch.setattr("metaexp.config.identity.find_class", lambda target: None)
    command = ["compare", str(runs), "--by", "algorithm._target_", "--output", str(tmp_path / "out")]
    assert main(command) == 0
    change(sorted(runs.iterdir())[0] / "config.yaml", "steps: ", "steps: 9")
    assert main(command) == 4
    assert "was changed after the run" in capsys.readouterr().err


def test_the_committed_records_are_compared_and_those_made_under_the_first_rule_of_the_hash_too(tmp_path: Path) -> None:
    results = ROOT / "docs" / "results"
    found = [str(results / name) for name in ("maml_sinusoid", "maml_sinusoid-seed1")]
    assert main(["compare", *found, "--output", str(tmp_path / "out")]) == 0


def test_a_full_disk_leaves_no_folder_behind(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("metaexp.compare.output.write.write_atomically", full)
    monkeypatch.setenv("METAEXP_OUTPUTS", str(tmp_path / "outputs"))
    assert main(["compare", str(runs), "--by", "algorithm._target_"]) == 6
    assert "metaexp compare: the disk is full" in capsys.readouterr().err
    assert list((tmp_path / "outputs").iterdir()) == []


@pytest.mark.parametrize("verb", ["compare", "report"])
def test_a_place_where_nothing_can_be_written_is_reported_in_one_line(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ROOT / "tests" / "old_runs" / "completed"
    (tmp_path / "docs" / "results").mkdir(parents=True)
    (tmp_path / "README.md").write_text("<!-- results:begin -->\n<!-- results:end -->\n")
    name = "a" * 200
    too_long = str(tmp_path / "docs" / "results" / name / ("b" * 300))
    command = {
        "compare": ["compare", str(run), "--output", too_long],
        "report": ["report", str(run), "--name", "mine", "--root", str(tmp_path)],
    }[verb]
    if verb == "report":
        (tmp_path / "docs" / "results" / "mine").write_text("a file")
    assert main(command) in (2, 4, 6)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"metaexp {verb}: ")
