"""The command line: verbs, help, exit codes, and that nothing is written or imported for a mistake."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from forking import run_main
from omegaconf import OmegaConf

import metaexp
from metaexp.cli.main import VERBS, format_usage, main
from metaexp.cli.train import format_experiments
from metaexp.results.record import read_record

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    "dataset.train_classes=8",
    "dataset.val_classes=5",
    "dataset.test_classes=5",
    "dataset.per_class=4",
    "task.n_query=2",
    "model=mlp",
    "model.hidden=[8]",
    "train.steps=2",
    "train.meta_batch_size=2",
    "train.eval_episodes=4",
    "eval.episodes=4",
    "device=cpu",
    "tracker=files",
]
MISTAKES = [
    ["--help"],
    ["train", "--help"],
    ["train", "--cfg", "job"],
    ["train", "--cfg", "all", "--resolve"],
    ["evaluate", "--help"],
    ["data", "--help"],
    ["reproduce", "--help"],
    ["tran"],
    ["train", "algorithm=maml2"],
    ["train", "train.stps=3", "optimizer.lr=nan", "+x=1"],
    ["train", "task.n_way=1000"],
    ["train", "-m", "seed=0,1", "algorithm=maml,nothing"],
    ["train", "sweep=seeds"],
    ["plan", "--help"],
    ["plan", "sweep=seeds"],
    ["plan", "sweep=seds"],
    ["train", "algorithm._target_=os.system"],
    ["train", "resume=nowhere", "seed=3"],
    ["evaluate", "nowhere"],
    ["evaluate"],
    ["reproduce"],
    ["reproduce", "nowhere"],
    ["reproduce", "maml_sinusoid", "train.stps=3"],
    ["reproduce", str(ROOT / "docs" / "results" / "maml_sinusoid"), "seed=4"],
    ["search", "--help"],
    ["search", "seed=0,1"],
    ["search", "search=grid", "algorithm.inner_lr=interval(0.1, 1)"],
    ["wandb-sweep", "--help"],
    ["wandb-sweep", "seed=0,1"],
    ["compare", "--help"],
    ["compare"],
    ["compare", "nowhere"],
    ["why", "--help"],
    ["why", "nowhere"],
    ["why", "nowhere", "nowhere"],
    ["report", "--help"],
    ["leaderboard", "--help"],
    ["leaderboard", "nowhere"],
    ["ls", "--help"],
    ["ls", "nowhere"],
    ["ls", "state=none"],
    ["show", "--help"],
    ["show", "nowhere"],
    ["watch", "--help"],
    ["watch", "nowhere"],
    ["completion", "--help"],
    ["completion", "tcsh"],
    ["rm", "--help"],
    ["rm", "nowhere", "--yes"],
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that the process runs in, with data and outputs there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METAEXP_DATA", str(tmp_path / "data"))
    return tmp_path


def the_run(folder: Path) -> Path:
    """The only run folder below ``folder``."""
    (record,) = folder.rglob("record.json")
    return record.parent


def test_help_and_mistakes_import_nothing_slow_and_write_nothing(tmp_path: Path) -> None:
    code = f"""
import contextlib, io, json, sys
from metaexp.cli.main import main
results = []
for arguments in {MISTAKES!r}:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try: code = main(arguments)
        except SystemExit as error: code = error.code
    results.append([code, bool(out.getvalue().strip())])
slow = {{"torch", "numpy", "wandb", "matplotlib", "optuna", "scipy", "urllib.request", "platformdirs"}}
print(json.dumps([results, sorted(slow & set(sys.modules))]))
"""
    env = {key: value for key, value in os.environ.items() if key != "METAEXP_DATA"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results, imported = json.loads(done.stdout)
    of_more = [0, 2, 2, 0, 2, 0, 2, 4, 0, 2, 4, 0, 0, 4, 0, 4, 2, 0, 4, 0, 4, 0, 2, 0, 4]
    assert [code for code, _ in results] == [*[0] * 7, *[2] * 6, 0, 0, *[2] * 3, 4, *[2] * 5, *of_more]
    assert all(text for _, text in results)
    assert imported == []
    assert list(tmp_path.iterdir()) == []


def test_the_usage_names_every_verb_and_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert capsys.readouterr().out.strip() == format_usage().strip()
    assert all(f"  {verb} " in format_usage() for verb in VERBS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"metaexp {metaexp.__version__}\n"
    assert main([]) == 2


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main([verb, "--help"])
    except SystemExit as ended:  # argparse's own help
        code = int(ended.code or 0)
    assert code == 0
    assert f"metaexp {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("verb", "words"), [("train", "OVERRIDE "), ("evaluate", "RUN, OVERRIDE "), ("predict", "RUN ")]
)
def test_help_calls_the_words_of_a_verb_what_they_are(
    verb: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, "--help"]) == 0
    assert f"positional arguments:\n  {words}" in capsys.readouterr().out


def test_help_lists_experiments_in_columns_by_algorithm(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["maml_plus_plus_b", "maml_a", "mine", "maml_b", "maml_" + "c" * 40]
    assert format_experiments(sorted(names), ["maml", "maml_plus_plus"]) == [
        "  maml",
        f"    {'maml_a':45}  {'maml_' + 'c' * 40}",
        "    maml_b",
        "  maml_plus_plus",
        "    maml_plus_plus_b",
        "  others",
        "    mine",
    ]
    assert format_experiments([], []) == []
    assert main(["train", "--help"]) == 0
    out = capsys.readouterr().out
    for path in (ROOT / "conf" / "experiment").glob("*.yaml"):
        assert f" {path.stem}" in out
    assert max(map(len, out.splitlines())) < 400


@pytest.mark.parametrize(
    ("word", "name"),
    [("algorithm=MAML", "maml"), ("algorithm=ProtoNet", "proto_net"), ("dataset=mini-imagenet", "mini_imagenet"),
     ("train.Steps=5", "train.steps"), ("model=CONV4", "conv4")],
)  # fmt: skip
def test_capitals_and_dashes_are_not_a_reason_to_miss_a_name(
    word: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", word]) == 2
    assert f"Did you mean {name}?" in capsys.readouterr().err


def test_a_plus_before_a_group_of_every_configuration_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def settings_of(*words: str) -> str:
        assert main(["train", "--cfg", "job", *words]) == 0
        return capsys.readouterr().out

    assert settings_of("+experiment=maml_sinusoid") == settings_of("experiment=maml_sinusoid")
    assert settings_of("+algorithm=proto_net", "seed=1") == settings_of("algorithm=proto_net", "seed=1")
    assert settings_of("+algorithm=proto_net") != settings_of()
    assert main(["train", "--cfg", "job", "+experiment=MAML_sinusoid"]) == 2
    assert "Did you mean maml_sinusoid?" in capsys.readouterr().err
    assert main(["train", "--cfg", "job", "+nothing=1"]) == 2


def test_help_lists_the_groups_with_their_choices(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "own" / "model").mkdir(parents=True)
    (here / "own" / "model" / "tiny.yaml").write_text("_target_: metaexp.models.mlp.MLP\n")
    assert main(["train", "--help", "--config-dir", "own"]) == 0
    out = capsys.readouterr().out
    for line in ("  algorithm: anil, ", "  device: auto, cpu, cuda, mps", "  dataset: ", "experiments, by algorithm ("):
        assert line in out
    (models,) = [line for line in out.splitlines() if line.startswith("  model: ")]
    assert "tiny" in models


def test_the_configuration_is_shown_whole_or_in_part(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--cfg", "job", "seed=7"]) == 0
    shown = OmegaConf.create(capsys.readouterr().out)
    assert shown.seed == 7
    assert "hydra" not in shown
    assert main(["train", "--cfg", "job", "-p", "train", "--resolve", "task.k_shot=3"]) == 0
    assert "k_shot: 3" in capsys.readouterr().out
    assert main(["train", "-c", "hydra", "-p", "hydra.launcher"]) == 0
    assert "BasicLauncher" in capsys.readouterr().out
    assert main(["train", "--cfg", "job", "-p", "nothing"]) == 2


def test_all_problems_are_printed_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "train.stps=3", "seed=-1"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "metaexp train: 2 problems; nothing was started."
    assert sorted(lines[1:]) == [
        "  - seed=-1 must be an integer >= 0.",
        "  - train.stps is not a key of train. Did you mean train.steps?",
    ]


def test_wrong_options_end_with_the_code_of_configurations(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["train", "--configdir", "x"], ["train", "--cfg", "none"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
    assert main(["train", "--experimental-rerun", "x"]) == 2
    assert main(["train", "--config-dir", "nowhere"]) == 2
    assert main(["train", "--trust", "no_such_package"]) == 2


def test_a_run_is_trained_resumed_and_evaluated_from_the_command_line(
    here: Path, no_figures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *TINY, "seed=3"]) == 0
    run = the_run(here / "outputs")
    assert run.name.startswith("maml-glyphs-5way_1shot-seed3-")
    assert read_record(run).overrides == [*TINY, "seed=3"]
    assert OmegaConf.load(run / ".hydra" / "overrides.yaml") == [*TINY, "seed=3"]
    assert OmegaConf.load(run / ".hydra" / "config.yaml").seed == 3
    assert OmegaConf.load(run / ".hydra" / "hydra.yaml").hydra.runtime.choices.model == "mlp"
    assert str(run.relative_to(here)) in capsys.readouterr().out.replace("\n", "")
    assert main(["train", f"resume={run}"]) == 0
    assert main(["evaluate", str(run), "eval.episodes=6", "task.k_shot=2"]) == 0
    assert len(list((run / "evaluations").glob("*.json"))) == 1
    assert main(["evaluate", str(run), "task.n_way=3"]) == 2
    assert main(["evaluate", str(run), "train.steps=9"]) == 2
    assert len(list(here.rglob("record.json"))) == 1


def test_a_folder_can_be_chosen_and_is_never_used_twice(here: Path, no_figures: None) -> None:
    assert main(["train", *TINY, "hydra.run.dir=chosen"]) == 0
    assert the_run(here) == here / "chosen"
    before = (here / "chosen" / "record.json").read_bytes()
    assert main(["train", *TINY, "hydra.run.dir=chosen", "seed=1"]) == 4
    assert (here / "chosen" / "record.json").read_bytes() == before


def test_the_plan_ends_with_the_command_that_starts_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["seed=0,1", "tracker=files", "model.channels=8"]
    assert main(["plan", *words]) == 0
    *_, nothing, head, last = capsys.readouterr().out.splitlines()
    assert (nothing, head) == ("nothing was started", "next:")
    assert last == f"  metaexp train -m {' '.join(words)}  # start it"


def test_the_plan_repeats_the_folder_that_was_given_and_not_that_of_the_project(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "conf").mkdir()
    assert main(["plan", "--config-dir", "conf", "seed=0,1", "model.channels=8"]) == 0
    assert "metaexp train -m --config-dir conf seed=0,1 model.channels=8" in capsys.readouterr().out
    (here / "metaexp.toml").write_text("config_dir = 'conf'")
    assert main(["plan", "seed=0,1", "model.channels=8"]) == 0
    assert "metaexp train -m seed=0,1 model.channels=8" in capsys.readouterr().out
    (here / "conf" / "mine.yaml").write_text("defaults: [config, _self_]\nseed: 3\n")
    assert main(["plan", "-cn", "mine", "train.steps=1,2", "model.channels=8"]) == 0
    assert "metaexp train -m --config-name mine train.steps=1,2 model.channels=8" in capsys.readouterr().out


def test_several_values_become_several_runs_and_one_failure_costs_only_itself(
    here: Path, forked_jobs: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("metaexp.run.outputs.draw", lambda *_: {})  # figures take longer than these runs
    assert main(["train", "-m", *TINY, "seed=1", "algorithm.inner_lr=0.1,1e30"]) == 10
    first, second = sorted((path.parent for path in here.rglob("record.json")), key=lambda path: path.name)
    assert [read_record(folder).status for folder in (first, second)] == ["completed", "failed"]
    assert first.parent == second.parent
    record = read_record(first)
    assert (record.seed, record.config["algorithm"]["inner_lr"]) == (1, 0.1)
    assert record.group == first.parent.name
    assert (first / ".hydra" / "overrides.yaml").is_file()
    out = capsys.readouterr().out
    assert "1 of 2 jobs completed" in out
    assert re.search(r"^ +1  algorithm.inner_lr=1e\+30 +FAILED, NotFiniteError: ", out, re.MULTILINE)
    other_verbs_take_a_job_of_a_sweep(first, second, here, capsys)


def other_verbs_take_a_job_of_a_sweep(job: Path, failed: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As any run: ``job`` completed, ``failed`` did not."""
    before = (job / "record.json").read_bytes()
    assert main(["train", f"resume={job}"]) == 0
    assert main(["evaluate", str(job), "eval.episodes=5"]) == 0
    assert main(["compare", str(job.parent), "--output", "page"]) == 0
    assert f"left out: {failed.name}: failed after" in capsys.readouterr().out
    assert main(["why", str(job), str(failed)]) == 0
    assert "algorithm.inner_lr" in capsys.readouterr().out
    assert main(["reproduce", str(job)]) == 0
    assert capsys.readouterr().out.startswith("identical\n")
    (here / "docs" / "results").mkdir(parents=True)
    (here / "README.md").write_text("<!-- results:begin -->\n<!-- results:end -->\n")
    assert main(["report", str(job)]) == 0
    (copy,) = (here / "docs" / "results").glob("*/record.json")
    assert read_record(copy.parent).group is None
    assert main(["report", str(failed)]) == 4
    assert (job / "record.json").read_bytes() == before


def test_one_bad_job_of_many_is_found_before_the_first_starts(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-m", *TINY, "seed=0,1,-1", "algorithm=maml,reptil"]) == 2
    err = capsys.readouterr().err
    assert "job 1 (" in err
    assert "algorithm=reptil is not there. Did you mean reptile?" in err
    assert "seed=-1 must be an integer >= 0." in err
    assert err.startswith("metaexp train: 2 problems; nothing was started.\n  - job ")
    assert err.endswith("\n  The other 2 of 6 jobs are correct.\n")
    assert not (here / "outputs").exists()


def test_notes_do_not_count_as_problems_and_problems_that_are_not_shown_do(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "-m", *TINY, "seed=0,-1"]) == 2
    one, job, correct = capsys.readouterr().err.splitlines()
    assert one == "metaexp train: 1 problem; nothing was started."
    assert job.startswith("  - job 1 (")
    assert job.endswith("): seed=-1 must be an integer >= 0.")
    assert correct == "  The other 1 of 2 jobs is correct."
    assert main(["train", "-m", *TINY, f"seed=0,{','.join(str(-number) for number in range(1, 14))}"]) == 2
    many, *jobs, more, correct = capsys.readouterr().err.splitlines()
    assert many == "metaexp train: 13 problems; nothing was started."
    assert len(jobs) == 10
    assert (more, correct) == ("  - and 3 more", "  The other 1 of 14 jobs is correct.")
    assert main(["train", "-m", *TINY, "seed=-1,-1"]) == 2
    assert capsys.readouterr().err == "metaexp train: every job: seed=-1 must be an integer >= 0.\n"


def test_a_resumed_run_takes_no_other_settings(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "resume=somewhere", "train.steps=9"]) == 2
    assert "remove train.steps=9" in capsys.readouterr().err
    assert main(["train", "resume=somewhere"]) == 4
    assert main(["train", "resume="]) == 2  # as from a shell variable that is not set
    assert "resume= names no run folder" in capsys.readouterr().err
    assert main(["train", "resume=''", "train.steps=9"]) == 2
    assert "resume= names no run folder" in capsys.readouterr().err


def test_an_algorithm_of_ones_own_is_trained_once_its_package_is_trusted(here: Path, no_figures: None) -> None:
    """From a folder that holds the package: nothing of metaexp is edited."""
    (here / "mine.py").write_text(
        "from metaexp.algorithms.proto_net import ProtoNet\n\n\nclass Mine(ProtoNet):\n    '''Mine.'''\n"
    )
    (here / "conf" / "algorithm").mkdir(parents=True)
    (here / "conf" / "algorithm" / "mine.yaml").write_text(
        "_target_: mine.Mine\ndistance: squared_euclidean\nbatch_norm: transductive\n"
    )
    command = [sys.executable, "-m", "metaexp", "train", "--config-dir", "conf", "algorithm=mine", *TINY]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "--trust mine" in refused.stderr
    trained = run_main([*command[3:], "--trust", "mine"], here)
    assert trained.code == 0, trained.output
    assert read_record(the_run(here / "outputs")).algorithm == "mine"


@pytest.mark.parametrize("script", ["train", "evaluate", "compare", "reproduce"])
def test_scripts_do_what_the_verbs_do(script: str, tmp_path: Path) -> None:
    """Without site-packages on the way to metaexp: a checkout that was never installed works too."""
    path = ROOT / "scripts" / f"{script}.py"
    assert len(path.read_text().splitlines()) <= 40
    done = subprocess.run([sys.executable, path, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert f"metaexp {script}" in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_with_few_letters_ends_no_finished_command(encoding: str) -> None:
    program = (
        "import sys; from metaexp.cli import main; main.main(['--version']); print('97.1 \u00b1 0.4 %, \u00e9\u4e2d')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONIOENCODING": encoding}, capture_output=True, check=True,
    )  # fmt: skip
    line = done.stdout.decode(encoding).splitlines()[-1]
    assert line == ("97.1 +- 0.4 %, ??" if encoding == "ascii" else "97.1 \u00b1 0.4 %, \u00e9?")


def test_python_without_assertions_and_docstrings_composes_and_lists() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "metaexp", "train", "--cfg", "job"],
        env=os.environ | {"PYTHONOPTIMIZE": "2"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "algorithm:" in done.stdout


def test_commands_ignore_the_display_that_a_notebook_asks_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With it, matplotlib could not be imported where the module of Jupyter is not installed."""
    monkeypatch.setenv("MPLBACKEND", "module://of.jupyter")
    assert main(["--version"]) == 0
    assert "MPLBACKEND" not in os.environ
    monkeypatch.setenv("MPLBACKEND", "agg")
    assert main(["--version"]) == 0
    assert os.environ["MPLBACKEND"] == "agg"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("arguments", [["train", "train.stps=3"], ["evaluate", "nowhere"]])
def test_a_terminal_gets_a_line_before_the_verb_is_imported(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    terminal, pipe = _Terminal(), io.StringIO()

    def function(name: str) -> Callable[[list[str]], int]:
        seen.append(terminal.getvalue())
        return lambda rest: 0

    monkeypatch.setattr("metaexp.cli.main._function", function)
    for stream in (terminal, pipe):
        monkeypatch.setattr(sys, "stderr", stream)
        assert main(arguments) == 0
        assert main([*arguments, "--help"]) == 0
    assert seen == ["reading the configuration\n"] * 4
    assert pipe.getvalue() == ""


def test_the_line_before_torch_names_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("metaexp.run.job.run_job", lambda *_, **__: pytest.fail(terminal.getvalue()))
    with pytest.raises(pytest.fail.Exception, match=r"^reading.*\nloading torch for maml-glyphs-5way_1shot-seed3\n$"):
        main(["train", "seed=3"])


@pytest.mark.parametrize(
    ("own", "used"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)],
)
def test_waiting_threads_of_torch_sleep_soon_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, own: dict[str, str], used: str | None
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "to be restored")
        monkeypatch.delenv(name)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    assert main(["--version"]) == 0
    assert os.environ.get("GOMP_SPINCOUNT") == used
