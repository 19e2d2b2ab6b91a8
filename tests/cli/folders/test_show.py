"""``metaexp show``: state, results, changed settings, files, and what one would do next."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from folders_of_runs import a_record, write_run, write_search, write_sweep

from metaexp.cli.main import main
from metaexp.config.compose import Composer
from metaexp.core.disk.locks import hold_lock
from metaexp.results.display.next_steps import after_sweep, format_next, step
from metaexp.results.evaluations import Evaluation
from metaexp.results.record import Machine, Reference, Score, Task, Verdict


def shown(capsys: pytest.CaptureFixture[str], path: Path | str, *words: str) -> str:
    assert main(["show", str(path), *words]) == 0
    return capsys.readouterr().out


def a_real_run(folder: Path, *overrides: str) -> Path:
    """A run with the settings of the shipped files and some overrides."""
    settings = Composer().settings([*overrides, "device=cpu"])
    write_run(folder, a_record(config=settings.resolved, overrides=list(overrides)))
    lines = [f"{group}: {name}\n" for group, name in settings.choices.items()]
    (folder / "choices.yaml").write_text("".join(lines))
    return folder


def test_settings_that_differ_from_the_defaults_are_listed_with_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = a_real_run(tmp_path / "run", "algorithm=proto_net", "model=mlp", "train.steps=7", "model.hidden=[8]")
    out = shown(capsys, run)
    part = out.partition("settings that differ from the defaults:\n")[2].partition("files (")[0]
    assert [line.split() for line in part.splitlines()] == [
        ["train.steps", "7", "(default", "150)"],
        ["model.hidden", "[8]", "(default", "[256,128,64,64])"],
    ]
    assert "settings: the defaults" in shown(capsys, a_real_run(tmp_path / "other"))


def test_chosen_files_and_changed_settings_are_the_words_that_repeat_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["experiment=maml_omniglot_5way_1shot_two_cores", "clip=norm", "train.steps=7", "seed=3"]
    run = a_real_run(tmp_path / "run", *given)
    out = shown(capsys, run)
    files = out.partition("chosen files:\n")[2].splitlines()[0].split()
    assert files[:4] == [given[0], "algorithm=maml", "dataset=omniglot", "model=omniglot_conv"]
    assert {"clip=norm", "schedule=cosine"} < set(files)
    changed = out.partition("settings that differ from the defaults:\n")[2].partition("files (")[0]
    settings = ["=".join(line.split()[:2]) for line in changed.splitlines()]
    again = Composer().settings([*files, *settings]).resolved
    assert again == Composer().settings([*given, "device=cpu"]).resolved
    assert Composer().settings(settings).resolved != again
    (run / "choices.yaml").unlink()
    assert "chosen files" not in shown(capsys, run)


def test_settings_whose_files_are_not_here_are_shown_by_their_overrides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", a_record(overrides=["algorithm=mine", "seed=3"]))
    (run / "choices.yaml").write_text("algorithm: mine\n")
    out = shown(capsys, run)
    assert "overrides of the command line (the defaults cannot be composed here: algorithm=mine" in out
    assert "\n  algorithm=mine\n  seed=3\n" in out
    (heading,) = (line for line in out.splitlines() if line.startswith("overrides of the command line"))
    assert heading.endswith("algorithm=mine is not there. --config-dir DIR names the folder of files of your own.)")
    (tmp_path / "conf").mkdir()
    assert "--config-dir DIR" not in shown(capsys, run, "--config-dir", str(tmp_path / "conf"))


def test_a_run_is_shown_with_results_files_and_the_next_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = Reference("Finn et al.", "Table 1", "accuracy", 0.987, 0.004, "600 tasks")
    record = a_record(
        reference=reference, verdict=Verdict("changed", -0.4, "changed: other data"),
        metrics=[Score("nll", 1.5, 0.1, 600), Score("top_2", 0.9825, 0.01, 600)],
        device=Machine("cpu", "a processor", "float32", 2, True, None),
    )  # fmt: skip
    run = write_run(tmp_path / "a run", record)
    later = Evaluation(
        run="a run", run_config_hash=record.config_hash, overrides=["task.k_shot=5"], algorithm="maml",
        dataset="glyphs", task=Task(5, 5, 15), eval_seed=0, selected_step=400,
        test=Score("accuracy", 0.9, 0.01, 600), after_steps=[],
        batch_norm="none", data_hash="d", episode_bank="e", config={}, config_hash="f",
        device=Machine("cpu", "a processor", "float32", 2, True, None), versions={}, finished="2026-11-23T09:00:00Z",
    )  # fmt: skip
    (run / "evaluations").mkdir()
    (run / "evaluations" / "later.json").write_text(json.dumps(later.__dict__ | {
        "task": later.task.__dict__, "test": later.test.__dict__, "device": later.device.__dict__}))  # fmt: skip
    out = shown(capsys, run)
    for line in (
        f"{run}: completed",
        "maml on glyphs, 5-way 1-shot, seed 0",
        "  test        accuracy 50.00 ± 1.00 % over 600 episodes",
        "  validation  accuracy 60.00 ± 2.00 % over 200 episodes",
        "  published   98.7 ± 0.4 % (Finn et al.)",
        "  verdict     changed: other data",
        "  test negative log-likelihood 1.50 ± 0.10, top-2 accuracy 98.25 ± 1.00 %",
        "  later test  accuracy 90.00 ± 1.00 %: glyphs, 5-way 5-shot with task.k_shot=5",
        "  cost        600 steps, weights after 400 selected; 12 s; a processor, 2 threads",
    ):
        assert f"{line}\n" in out
    assert "checkpoints/best.safetensors   1.0 kB  the selected weights" in out
    commands = [line.partition("#")[0].strip() for line in out.partition("next:\n")[2].splitlines()]
    assert [shlex.split(command) for command in commands] == [
        ["metaexp", "evaluate", str(run), "eval.episodes=5000"],
        ["metaexp", "reproduce", str(run)],
    ]


def test_the_next_command_depends_on_the_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    untested = write_run(tmp_path / "untested", a_record(test=None))
    assert "test its selected weights" in shown(capsys, untested)
    stopped = write_run(tmp_path / "stopped", a_record("interrupted", test=None))
    assert f"metaexp train resume={stopped}" in shown(capsys, stopped)
    assert "evaluate" not in shown(capsys, stopped)
    failed = write_run(tmp_path / "failed", a_record("failed", test=None, error="NotFiniteError: the loss is nan"))
    assert "error: NotFiniteError: the loss is nan" in shown(capsys, failed)
    with hold_lock(stopped / ".lock"):
        assert f"metaexp watch {stopped}" in shown(capsys, stopped)
    (failed / "record.json").write_text("{")
    out = shown(capsys, failed)
    assert f"{failed}: damaged" in out
    assert "next:" not in out


@pytest.mark.parametrize("status", ["completed", "interrupted", "failed", "running"])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.yaml", None, "it has no config.yaml"),
        ("choices.yaml", None, "choices.yaml cannot be read"),
        ("config.yaml", "a: [", "config.yaml"),
    ],
)
def test_a_run_whose_configuration_is_lost_is_not_offered_to_be_continued(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], status: str, name: str, content: str | None, message: str
) -> None:
    run = write_run(tmp_path / "run", a_record(status))
    assert "\nnext:\n" in shown(capsys, run)
    (run / name).unlink()
    if content is not None:
        (run / name).write_text(content)
    out = shown(capsys, run)
    assert "next:" not in out
    (line,) = [line for line in out.splitlines() if line.startswith("It cannot be continued, tested or reproduced: ")]
    assert message in line


@pytest.mark.parametrize(
    ("name", "old", "new", "what"),
    [
        ("config.yaml", '"seed": 0', '"seed": 4', "config.yaml has the hash .*(seed was 0 and is 4)"),
        ("config.yaml", '"inner_lr": 0.4', '"inner_lr": 0.5', "(algorithm.inner_lr was 0.4 and is 0.5)"),
        ("choices.yaml", "maml", "anil", "choices.yaml: algorithm is anil, and in record.json it is maml"),
    ],
)
def test_a_run_that_was_edited_after_its_end_says_so_first_and_offers_no_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, old: str, new: str, what: str
) -> None:
    run = write_run(tmp_path / "run")
    assert "changed after the run" not in (intact := shown(capsys, run))
    assert "\nnext:\n" in intact
    text = (run / name).read_text()
    assert old in text
    (run / name).write_text(text.replace(old, new))
    out = shown(capsys, run)
    assert out.splitlines()[2].startswith("changed after the run, so it is not tested, compared or reproduced; ")
    assert all(part in out.splitlines()[2] for part in what.split(".*"))
    assert "next:" not in out


def test_a_run_whose_weights_are_lost_is_not_offered_to_be_tested(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run")
    assert "cannot be tested" not in shown(capsys, run)
    shutil.rmtree(run / "checkpoints")
    out = shown(capsys, run)
    assert f"It cannot be tested: {run / 'checkpoints'} has no weights." in out
    assert "metaexp evaluate" not in out
    assert "metaexp reproduce" in out


@pytest.mark.parametrize("lost", ["config.yaml", "checkpoints/best.safetensors"])
def test_the_best_trial_of_a_search_is_tested_only_with_its_configuration_and_weights(
    outputs: Path, capsys: pytest.CaptureFixture[str], lost: str
) -> None:
    assert "metaexp evaluate" in shown(capsys, "outputs/searches/rates")
    Path("outputs/searches/rates/001-maml-glyphs-seed1", lost).unlink()
    assert "metaexp evaluate" not in shown(capsys, "outputs/searches/rates")


@pytest.mark.parametrize(
    ("name", "old", "new", "what"),
    [
        ("config.yaml", '"inner_lr": 0.4', '"inner_lr": 0.5', "algorithm.inner_lr was 0.4 and is 0.5"),
        ("choices.yaml", "maml", "anil", "algorithm is anil, and in record.json it is maml"),
    ],
)
def test_a_best_trial_that_was_edited_after_its_end_is_not_offered_to_be_tested(
    outputs: Path, capsys: pytest.CaptureFixture[str], name: str, old: str, new: str, what: str
) -> None:
    path = Path("outputs/searches/rates/001-maml-glyphs-seed1") / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    out = shown(capsys, "outputs/searches/rates")
    assert "metaexp evaluate" not in out
    (line,) = [line for line in out.splitlines() if line.startswith("001-maml-glyphs-seed1 cannot be tested: ")]
    assert what in line
    path.write_text(text)
    assert "cannot be tested" not in shown(capsys, "outputs/searches/rates")


def test_a_sweep_and_a_search_are_shown_with_their_jobs(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, "outputs/sweeps/seeds")
    assert out.startswith("outputs/sweeps/seeds: failed, 3 jobs, ")
    assert "\n1 of 3 completed, 1 waiting, 1 failed\ncommand: metaexp train -m seed=0,1\n" in out
    assert "DataError: no such file" in out
    assert "metaexp ls outputs/sweeps/seeds state=failed" in out
    assert "metaexp compare outputs/sweeps/seeds" in out
    out = shown(capsys, "outputs/searches/rates")
    assert "command: metaexp search algorithm.inner_lr=0.1,0.2" in out
    assert out.rstrip().endswith(
        "metaexp evaluate outputs/searches/rates/001-maml-glyphs-seed1  # test the best trial once"
    )
    job = shown(capsys, "outputs/sweeps/seeds/002-maml-glyphs-seed2")
    assert "a job of outputs/sweeps/seeds\n" in job
    assert "metaexp train -m seed=0,1  # run what is left" in job
    search = write_search(Path("unfinished"), is_done=False)
    assert "\nbest val/accuracy 0.7 in trial 1\ncommand: " in shown(capsys, search)
    report = json.loads((search / "search.json").read_text())
    (search / "search.json").write_text(json.dumps(report | {"best": None}))
    assert re.match(r"unfinished: stopped, 2 trials, .*\ncommand: ", shown(capsys, search))
    assert re.search(r"  metaexp search algorithm.inner_lr=0.1,0.2 +# run what is left", shown(capsys, search))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "nowhere is not there. Give a folder of a run."),
        ("file", "file is a file. Give a folder of a run."),
        ("plain", "is not the folder of a run, a sweep or a search. `metaexp ls plain` lists those below it."),
    ],
)
def test_what_is_not_a_folder_of_a_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("plain").mkdir()
    assert main(["show", name]) == 4
    assert message in capsys.readouterr().err


def test_commands_are_quoted_and_end_in_a_comment(tmp_path: Path) -> None:
    text = format_next([step("test it", "evaluate", Path("a b"), "seed=1"), step("again", "ls")])
    assert text == "next:\n  metaexp evaluate 'a b' seed=1  # test it\n  metaexp ls                     # again"
    assert format_next([]) == ""
    sweep = write_sweep(tmp_path / "s", "waiting").path
    again = after_sweep(sweep, ["waiting"], ["metaexp", "train", "-m", "a=b c"])
    assert again[0].command == "metaexp train -m 'a=b c'"


@pytest.mark.parametrize(
    ("states", "verbs"),
    [
        (["completed", "completed"], ["compare"]),
        (["completed", "failed"], ["train", "ls", "compare"]),
        (["completed", "interrupted"], ["train", "compare"]),
        (["interrupted", "waiting"], ["train"]),
        (["failed", "killed"], ["train", "ls"]),
    ],
)
def test_after_a_sweep_only_commands_are_proposed_that_have_something_to_say(
    tmp_path: Path, states: list[str], verbs: list[str]
) -> None:
    steps = after_sweep(tmp_path, states, ["metaexp", "train", "-m", "seed=0,1"])
    assert [item.command.split()[1] for item in steps] == verbs


def test_hostile_names_are_shown_plain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = a_record("failed", test=None, error="\x1b[31mred", overrides=["\x1b[2J"])
    run = write_run(tmp_path / "run", replace(record, config={**record.config, "\x1b[2J": 1}))
    out = shown(capsys, run)
    assert "\x1b" not in out
    assert "red" in out
