"""Whole searches of a tiny family with the real optuna: what they find, and that nothing is done twice."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shlex
import shutil
import signal
import time
from collections import Counter
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import forking
import pytest
from events import once, until
from sampling import only_exhaustive, size

from metaexp.cli.main import main
from metaexp.config.compose import Composer
from metaexp.core.disk.errors import PlaceError
from metaexp.core.disk.locks import acquire
from metaexp.core.errors import DataError, ExitCode, RunFolderError
from metaexp.core.metric import Metric
from metaexp.machine.signals import Interrupted
from metaexp.results.job_note import removed_jobs
from metaexp.results.job_state import JobState
from metaexp.results.record import RunRecord, read_record
from metaexp.search.prepare import prepare
from metaexp.search.queue import TrialQueue
from metaexp.search.run import search
from metaexp.sweep.processes import warm_start

pytest.importorskip("optuna")
from metaexp.search.study import Study

CONF = Path("conf")
VARIED = ["algorithm.inner_lr=tag(log, interval(0.001, 1))", "optimizer.lr=0.01,0.02"]


def run(family: ModuleType, *overrides: str, folder: str = "found") -> int:
    given = {line.partition("=")[0] for line in overrides}
    common = [line for line in family.COMMON if line.partition("=")[0] not in given]
    asked = [*common, *overrides, f"search.folder={folder}"]
    return search(prepare(asked, CONF, "config"), asked, CONF)


def report(folder: str = "found") -> dict[str, Any]:
    content = json.loads((Path(folder) / "search.json").read_text())
    assert isinstance(content, dict)
    return content


def trials(folder: str = "found") -> list[dict[str, Any]]:
    return [trial for trial in report(folder)["trials"] if trial["same_as"] is None]


def outcome(folder: str) -> list[tuple[Any, ...]]:
    return [(t["state"], t["value"], t["values"], t["last_step"]) for t in report(folder)["trials"]]


def record(trial: dict[str, Any], folder: str = "found") -> RunRecord:
    return read_record(Path(folder) / trial["folder"])


def starts_of(folder: str = "found") -> Counter[int]:
    lines = [json.loads(line) for line in (Path(folder) / "journal.jsonl").read_text().splitlines() if line]
    return Counter(line["job"] for line in lines if line["event"] == "begins")


def test_a_search_ends_with_the_best_on_validation_and_has_tested_nothing(
    family: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(family, *VARIED, "search.trials=4", "search.startup_trials=2", "search.pruner=none") == 0
    out = capsys.readouterr().out
    found = report()
    values = [trial["value"] for trial in trials()]
    assert len(values) == 4
    assert len(set(values)) == 4
    assert found["is_done"] is True
    assert found["metric"] == "val/mse"
    best = found["trials"][found["best"]]
    assert best["value"] == min(values)
    for trial in trials():
        done = record(trial)
        assert done.status == "completed"
        assert done.val is not None
        assert done.val.mean == trial["value"]
        assert done.test is None
        assert done.group == "found"
        assert "test/" not in (Path("found") / trial["folder"] / "metrics.jsonl").read_text()
    assert "search=tpe for the lowest val/mse: 4 trials" in out
    assert "4 trials: 4 completed" in out
    assert f"best: trial {best['number']} in found/{best['folder']}" in out
    (last,) = (line for line in out.splitlines() if "No trial was tested; test the best one once: " in line)
    evaluate = shlex.split(last.rpartition(": ")[2])
    trusting = [word for name in sorted(family.TRUSTED) for word in ("--trust", name)]
    assert evaluate == ["metaexp", "evaluate", *trusting, f"found/{best['folder']}"]
    assert "importance of the 2 keys: it needs 10 completed trials; 4 are not enough" in out
    assert found["importances"] == {}


def test_the_best_is_an_experiment_of_the_same_numbers(family: ModuleType) -> None:
    assert run(family, *VARIED, "search.trials=2", "algorithm=cases,other_cases") == 0
    found = report()
    best = record(found["trials"][found["best"]])
    (Path("found/best/experiment/best.yaml")).rename(CONF / "best.yaml")
    (CONF / "experiment").mkdir()
    (CONF / "best.yaml").rename(CONF / "experiment" / "best.yaml")
    job = Composer(CONF).job(["experiment=best", "device=cpu", "tracker=files"])
    again, saved = dict(job.settings.resolved), dict(best.config)
    for resolved in (again, saved):
        resolved["paths"] = None
    assert again["eval"].pop("test") is True
    assert saved["eval"].pop("test") is False
    assert again == saved
    assert job.settings.choices["algorithm"] in ("cases", "other_cases")


def test_the_command_for_the_best_trial_gives_its_number_without_the_files_of_the_user(
    family: ModuleType, no_figures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the user's code, files and machine. The folder of the search has copies of the files that it chooses."""
    assert run(family, *VARIED, "search.trials=2", "algorithm=cases,other_cases") == 0
    found = report()
    (line,) = (text for text in capsys.readouterr().out.splitlines() if text.startswith("train it again: "))
    (CONF / "algorithm").rename("elsewhere")
    program, *words = shlex.split(line.partition(": ")[2])
    assert {"--trust", "device=cpu", "tracker=files"} < {program, *words}
    assert main([*words, "hydra.run.dir=again"]) == 0
    again, best = read_record(Path("again")), record(found["trials"][found["best"]])
    assert again.val is not None
    assert again.val.mean == found["trials"][found["best"]]["value"]
    assert again.test is not None
    assert again.own_code == best.own_code
    text = Path("found/best/experiment/best.yaml").read_text()
    (algorithm,) = (name for name in ("cases", "other_cases") if f"override /algorithm: {name}\n" in text)
    copies = sorted(path.relative_to("found/best").as_posix() for path in Path("found/best").rglob("*.yaml"))
    assert f"algorithm/{algorithm}.yaml" in copies
    shipped = Composer().groups()
    assert "override /schedule: constant" in text
    assert "schedule/constant.yaml" not in copies, "those of metaexp are not copied"
    assert not [name for name in copies if Path(name).stem in shipped.get(Path(name).parent.name, [])]


def test_the_command_of_a_search_finds_the_own_files_again(
    family: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(family, *VARIED, "search.trials=1", "search.startup_trials=2") == 0
    capsys.readouterr()
    assert main(["show", "found"]) == 0
    (line,) = (text for text in capsys.readouterr().out.splitlines() if text.startswith("command: "))
    words = shlex.split(line.partition(": ")[2])
    assert words[:2] == ["metaexp", "search"]
    assert words[words.index("--config-dir") + 1] == str(CONF)
    assert "--trust" in words
    assert main(words[1:]) == 0
    assert starts_of() == {0: 1}


@pytest.mark.parametrize("storage", size(["journal"], ["journal", "sqlite"]))
def test_a_search_whose_study_is_gone_damaged_or_of_another_one_is_refused(family: ModuleType, storage: str) -> None:
    asked = [*VARIED, "search.trials=1", f"search.storage={storage}"]
    assert run(family, *asked) == run(family, *asked, "search.seed=1", folder="other") == 0
    file, other = (next(Path(name).glob("study.*")) for name in ("found", "other"))
    kept, before = file.read_bytes(), outcome("found")
    for content, problem in (
        (None, "is missing, so the search does not know"),
        (b"{no study\n", r"cannot be read \(\w+: [^\n]*\)"),
        (other.read_bytes(), "is the file of another search"),
    ):
        file.unlink()
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(RunFolderError, match=rf"^{file} {problem}.*search.folder=FOLDER\.$"):
            run(family, *asked)
        file.touch()
    file.write_bytes(kept)
    assert run(family, *asked) == 0
    assert outcome("found") == before
    assert starts_of() == {0: 1}


def test_a_study_of_an_earlier_version_does_not_say_which_search_it_is_of(family: ModuleType) -> None:
    assert run(family, *VARIED, "search.trials=1") == 0
    file = Path("found/study.journal")
    lines = [line for line in file.read_text().splitlines(keepends=True) if '"user_attr":{"search":' not in line]
    assert len(lines) == len(file.read_text().splitlines()) - 1
    file.write_text("".join(lines))
    assert run(family, *VARIED, "search.trials=2") == 0
    assert starts_of() == {0: 1, 1: 1}


@pytest.mark.parametrize(
    "others",
    [
        ["optimizer.lr=0.01,0.03", "search=random"],
        ["algorithm.inner_lr=interval(0.2, 0.3)", "search=random"],
        [*VARIED, "train.steps=8"],
    ],
)
def test_a_study_that_does_not_say_its_search_is_known_by_its_space(family: ModuleType, others: list[str]) -> None:
    assert run(family, *VARIED, "search.trials=1") == run(family, *others, "search.trials=1", folder="other") == 0
    lines = Path("other/study.journal").read_text().splitlines(keepends=True)
    Path("found/study.journal").write_text("".join(line for line in lines if '"user_attr":{"search":' not in line))
    if others[:2] == VARIED:  # the same values in another search: they can be read
        assert run(family, *VARIED, "search.trials=1") == 0
    else:
        with pytest.raises(RunFolderError, match=r"^found/study\.journal is the file of another search\."):
            run(family, *VARIED, "search.trials=1")


def test_a_study_of_the_other_direction_is_of_another_search(family: ModuleType) -> None:
    assert run(family, *VARIED, "search.trials=1") == 0
    prepared = prepare([*family.COMMON, *VARIED, "search.folder=found"], CONF, "config")
    made = Study(Path("found"), prepared.options, prepared.space.dimensions, Metric.of(5), 4)
    made._study.set_user_attr("search", None)
    with pytest.raises(RunFolderError, match="is the file of another search"):
        made.belong_to(prepared.digest)
    same = Study(Path("found"), prepared.options, prepared.space.dimensions, prepared.metric, 4)
    same.belong_to(prepared.digest)
    made.belong_to(prepared.digest)  # it says so itself now
    with pytest.raises(RunFolderError, match="is the file of another search"):
        same.belong_to(prepared.digest[::-1])


@pytest.mark.parametrize("gone", ["damaged", None])
def test_a_search_whose_data_have_gone_since_ends_before_a_trial_is_lost(family: ModuleType, gone: str | None) -> None:
    Path("data").mkdir()
    file = Path("data/lines.txt")
    file.write_text("fine")
    asked = [*VARIED, "dataset=file_lines", "paths.data=data", "search.startup_trials=2"]
    assert run(family, *asked, "search.trials=1") == 0
    before = outcome("found")
    if gone is None:
        file.unlink()
    else:
        file.write_text(gone)
    for _ in range(2):
        with pytest.raises(DataError, match="lines.txt"):
            run(family, *asked, "search.trials=3")
    assert run(family, *asked, "search.trials=1") == 0, "nothing is left, so no data are needed"
    file.write_text("fine")
    assert run(family, *asked, "search.trials=3") == 0
    assert outcome("found")[:1] == before
    assert starts_of() == {0: 1, 1: 1, 2: 1}


def test_the_same_command_when_all_is_done_trains_nothing(family: ModuleType) -> None:
    assert run(family, *VARIED, "search.trials=2") == 0
    before, counts = outcome("found"), starts_of()
    assert run(family, *VARIED, "search.trials=2") == 0
    assert (outcome("found"), starts_of()) == (before, counts)
    assert run(family, *VARIED, "search.trials=3") == 0, "more trials continue the same search"
    assert outcome("found")[:2] == before
    assert starts_of() == {0: 1, 1: 1, 2: 1}


@only_exhaustive
@pytest.mark.slow
def test_a_search_killed_again_and_again_ends_as_an_undisturbed_one(family: ModuleType, tmp_path: Path) -> None:
    """SIGKILL at random moments; its trials save and stop, for nobody is there any more."""
    most = 6
    asked = [*VARIED, "algorithm.pause=0.02", "search.trials=4", "search.startup_trials=2"]
    assert run(family, *asked, folder="calm") == 0
    dice, kills, code = random.Random(1), 0, -signal.SIGKILL
    while code == -signal.SIGKILL:
        pid = forking.fork(lambda: run(family, *asked, folder="wild"), tmp_path / "wild.log")
        if kills < most:
            enough = lines_of_metrics("wild") + dice.randint(1, 2)
            while lines_of_metrics("wild") < enough and not has_ended(pid):
                time.sleep(0.01)
            time.sleep(dice.uniform(0.0, 0.05))  # not always right after a line
            os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        kills += code == -signal.SIGKILL
    assert code == 0, (tmp_path / "wild.log").read_text()
    assert kills == most
    assert outcome("wild") == outcome("calm")
    assert len(trials("wild")) == 4
    for one, other in zip(trials("wild"), trials("calm"), strict=True):
        if one["state"] == "complete":
            same = [(Path(f) / t["folder"] / "metrics.jsonl").read_bytes() for f, t in (("wild", one), ("calm", other))]
            assert same[0] == same[1]
    assert run(family, *asked, "search.seed=1", "search.trials=1", folder="other") == 0
    assert outcome("other")[0] != outcome("calm")[0], "another seed asks for other points"


def test_a_process_killed_while_it_writes_to_the_study_does_not_hold_up_the_next_one(
    family: ModuleType, tmp_path: Path
) -> None:
    """The lock of a killed process goes with it; one that lives makes others wait."""
    asked = [*VARIED, "search.trials=2"]
    assert run(family, *asked, "search.trials=1") == 0

    def lock_and_stay() -> int:
        acquire(Path("found/.locks/journal"))
        Path("locked").touch()
        while True:
            signal.pause()

    writer = forking.fork(lock_and_stay, tmp_path / "writer.log")
    until(Path("locked").exists)
    other = forking.fork(lambda: run(family, *asked), tmp_path / "other.log")
    until((tmp_path / "other.log").exists)
    time.sleep(0.2)
    assert not has_ended(other), "it waits for the one that writes"
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    assert os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) == 0, (tmp_path / "other.log").read_text()
    assert len(trials()) == 2


def test_two_processes_share_a_search_and_no_trial_is_run_twice(family: ModuleType, tmp_path: Path) -> None:
    """No process starts its second trial before the other one has started its first."""
    asked = [*VARIED, "search.trials=4", "search.pruner=none"]
    logs = [tmp_path / "a.log", tmp_path / "b.log"]

    def run_in_turn(me: Path, other: Path) -> int:
        def start_in_turn(*arguments: Any, **more: Any) -> Any:
            if me.exists():
                until(other.exists)
            me.touch()
            return forking.start(*arguments, **more)

        warm_start.start = start_in_turn
        return run(family, *asked)

    marks = [Path("a.started"), Path("b.started")]
    pids = [
        forking.fork(partial(run_in_turn, me, other), log)
        for log, me, other in zip(logs, marks, reversed(marks), strict=True)
    ]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    assert codes == [0, 0], [log.read_text() for log in logs]
    assert run(family, *asked) == 0
    assert [trial["state"] for trial in trials()] == ["complete"] * 4
    assert starts_of() == dict.fromkeys(range(4), 1)
    assert len({json.dumps(trial["values"]) for trial in trials()}) == 4
    counts = [log.read_text().count("validation mse") for log in logs]
    assert sum(counts) == 4
    assert min(counts) >= 1, "both took part"


def test_several_workers_of_one_command_run_at_once(family: ModuleType) -> None:
    assert (
        run(family, *VARIED, "algorithm.pause=0.05", "search.trials=3", "search.workers=2", "search.pruner=none") == 0
    )
    lines = [json.loads(line) for line in Path("found/journal.jsonl").read_text().splitlines() if line]
    running, most = set(), 0
    for line in lines:
        running = running | {line["job"]} if line["event"] == "begins" else running - {line["job"]}
        most = max(most, len(running))
    assert most == 2
    assert [trial["state"] for trial in trials()] == ["complete"] * 3


@pytest.mark.parametrize("storage", size(["sqlite"], ["journal", "sqlite"]))
def test_a_bad_trial_is_stopped_early_and_not_taken_up_again(
    family: ModuleType, storage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last of the grid learns with an inner rate that throws it off."""
    asked = [
        "algorithm.inner_lr=0.1,0.12,9.0", "search=grid", "search.pruner=median", "search.startup_trials=2",
        "algorithm.pause=0.1", "train.steps=20", f"search.storage={storage}",
    ]  # fmt: skip
    assert run(family, *asked) == 0
    assert [trial["state"] for trial in trials()] == ["complete", "complete", "pruned"]
    stopped = record(trials()[2])
    assert stopped.status == "interrupted"
    assert 4 <= stopped.steps < 20
    assert trials()[2]["last_step"] == 4
    assert list((Path("found") / trials()[2]["folder"] / "checkpoints").glob("*")), "saved cleanly"
    assert "stopped early, after the validation at 4 of 20 steps" in capsys.readouterr().out
    assert run(family, *asked) == 0
    assert starts_of() == {0: 1, 1: 1, 2: 1}
    assert (Path("found") / ("study.db" if storage == "sqlite" else "study.journal")).exists()


def test_a_stopped_search_saves_its_trials_and_can_be_continued(family: ModuleType, tmp_path: Path) -> None:
    asked = [*VARIED, "algorithm.pause=0.1", "search.trials=2", "search.pruner=none"]

    def told() -> int:
        try:
            return run(family, *asked)
        except Interrupted as error:
            print(error)
            return error.exit_code

    pid = forking.fork(told, tmp_path / "log")
    until(lambda: any(Path("found").glob("000-*/metrics.jsonl")))
    os.kill(pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 143
    said = (tmp_path / "log").read_text()
    assert (
        "stopped by SIGTERM; the trials that ran have saved in found. Continue with: metaexp search --config-dir "
        in said
    )
    (first,) = Path("found").glob("000-*")
    assert read_record(first).status == "interrupted"
    assert removed_jobs(Path("found")) == []
    first.rename("elsewhere")
    assert removed_jobs(Path("found")) == [first]
    Path("elsewhere").rename(first)
    assert run(family, *asked) == 0
    assert starts_of() == {0: 2, 1: 1}
    assert [trial["state"] for trial in trials()] == ["complete"] * 2


def test_a_trial_that_could_not_save_is_named_when_a_search_is_stopped(
    family: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path, code: int, *, asked_to_stop: bool) -> JobState:
        return JobState("failed" if asked_to_stop else "completed", folder / "output.log", "MachineError: no space.")

    monkeypatch.setattr("metaexp.search.trial.final_state", fail)
    watcher = once(
        lambda: any(Path("found").glob("000-*/metrics.jsonl")), partial(os.kill, os.getpid(), signal.SIGTERM)
    )
    with pytest.raises(Interrupted) as ended:
        run(family, *VARIED, "algorithm.pause=0.1", "search.trials=2", "search.pruner=none")
    os.waitpid(watcher, 0)
    assert re.match(
        r"stopped by SIGTERM; the trials that ran have saved in found, except trial 0 \(algorithm\..*\) "
        r"\(MachineError: no space\)\. Continue with: ",
        str(ended.value),
    )


@pytest.mark.parametrize(("where", "times"), [("queue.format_trial_end", 2), ("run.write_report", 1)])
def test_a_search_that_is_ended_at_once_says_what_is_saved_and_how_to_go_on(
    family: ModuleType, monkeypatch: pytest.MonkeyPatch, where: str, times: int
) -> None:
    asked = [*VARIED, "search.trials=2", "search.pruner=none"]

    def interrupt(*_: object) -> None:
        for _time in range(times):
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(f"metaexp.search.{where}", interrupt)
        with pytest.raises(Interrupted) as ended:
            run(family, *asked)
    assert ended.value.exit_code == 130
    said, command = str(ended.value).split(" Continue with: ")
    assert said == (
        "stopped by SIGINT at once. Completed trials are saved in found. Those that ran go on from their last "
        "checkpoints."
    )
    assert shlex.split(command)[:4] == ["metaexp", "search", "--config-dir", str(CONF)]
    assert shlex.split(command)[-1] == "search.folder=found"
    assert run(family, *asked) == 0
    assert starts_of() == {0: 1, 1: 1}


@pytest.mark.parametrize("is_full", [True, False])
def test_a_trial_that_a_full_disk_ends_is_continued_by_the_same_command_and_not_lost(
    family: ModuleType, monkeypatch: pytest.MonkeyPatch, is_full: bool
) -> None:
    def fail(folder: Path, code: int, *, asked_to_stop: bool) -> JobState:
        return JobState("failed", folder / "output.log", "MachineError: no space.", exit_code=ExitCode.MACHINE)

    def check(folder: Path) -> None:
        assert folder.resolve() == Path("found").resolve()
        if is_full:
            raise PlaceError(errno.ENOSPC, "No space left on device", str(folder))

    asked = [*VARIED, "search.trials=2", "search.pruner=none"]
    with monkeypatch.context() as patch:
        patch.setattr("metaexp.search.trial.final_state", fail)
        patch.setattr("metaexp.search.trial.check_writable", check)
        if is_full:
            with pytest.raises(PlaceError, match="No space left"):
                run(family, *asked)
        else:
            assert run(family, *asked) == 10
    run(family, *asked)
    assert [trial["state"] for trial in trials()] == ["complete" if is_full else "fail"] * 2


def test_trials_that_fail_are_told_apart(family: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """One raises, one is killed each time it is tried; both cost only themselves."""
    assert run(family, "algorithm.case=5,7,0", "search=grid") == 10
    out = capsys.readouterr().out
    assert "trial 0 (algorithm.case=5): FAILED, RuntimeError: the roof is on fire (log: found/000-" in out
    assert "trial 1 (algorithm.case=7): FAILED, its process was killed by SIGKILL" in out
    assert "3 trials: 1 completed, 2 failed" in out
    assert starts_of() == {0: 1, 1: 3, 2: 1}
    assert report()["best"] == 2


def test_numbers_that_are_not_finite_are_an_answer(family: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(family, "algorithm.case=6,0", "search=grid") == 0
    assert "trial 0 (algorithm.case=6): FAILED, NotFiniteError" in capsys.readouterr().out
    assert run(family, "algorithm.case=6", "algorithm.inner_lr=0.1,0.2", "search=grid", folder="none") == 10
    *_, counts, none, why = capsys.readouterr().out.splitlines()
    assert counts == "2 trials: 2 failed"
    assert none == "No trial completed, so there is no best one."
    assert why.startswith("which trials failed, and why: metaexp ls ")


def test_a_point_is_tried_once_and_a_space_may_run_out(family: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(family, "algorithm.inner_lr=0.1,0.2", "search=random", "search.trials=9") == 0
    assert len(trials()) == 2
    assert starts_of().total() == 2
    assert report()["is_done"] is True
    assert "Every point of the space has been tried" in capsys.readouterr().out


def test_an_edit_of_a_file_is_seen_before_trials_are_mixed(family: ModuleType) -> None:
    assert run(family, *VARIED, "search.trials=1") == 0
    path = CONF / "model" / "net.yaml"
    path.write_text(path.read_text().replace("8", "9"))
    with pytest.raises(RunFolderError, match="the configuration files or your own code have changed since this search"):
        run(family, *VARIED, "search.trials=2")
    path.write_text(path.read_text().replace("9", "8"))
    assert run(family, *VARIED, "search.trials=2") == 0


def test_an_edit_while_the_search_runs_changes_nothing(family: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    calm = [*VARIED, "algorithm=cases,other_cases", "search.trials=3", "search.pruner=none"]
    assert run(family, *calm, folder="calm") == 0

    def edit_and_start(*arguments: Any, **more: Any) -> Any:
        (CONF / "algorithm" / "other_cases.yaml").write_text(
            "_target_: case_runs.Cases\ninner_lr: 0.9\ncase: 0\npause: 0.7\n"
        )
        (CONF / "model" / "net.yaml").write_text("_target_: tiny_runs.Net\nwidth: 1\ndropout: 0.9\n")
        return forking.start(*arguments, **more)

    monkeypatch.setattr("metaexp.sweep.processes.warm_start.start", edit_and_start)
    assert run(family, *calm, folder="wild") == 0
    assert outcome("wild") == outcome("calm")


def test_the_best_trial_is_tested_once_with_test_best(
    family: ModuleType, no_figures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["algorithm.inner_lr=0.1,0.2", "search=grid", "search.test_best=true"]
    assert run(family, *asked) == 0
    best = trials()[report()["best"]]
    (made,) = Path("found").glob("*/evaluations/*.json")
    assert made.parents[1].name == best["folder"]
    assert json.loads(made.read_text())["test"]["n_episodes"] == 10
    capsys.readouterr()
    assert run(family, *asked) == 0
    assert "the best trial was tested before: test mse" in capsys.readouterr().out
    assert record(best).test is None
    assert main(["compare", "found", "--output", "page"]) == 0  # by that test, and the others are left out
    out = capsys.readouterr().out
    assert f"left out: {next(t for t in trials() if t != best)['folder']}: was not tested (eval.test=false)" in out
    assert Path("page/rows.csv").read_text().count("\nlines,") == 1


@pytest.mark.parametrize(
    ("given", "differs"),
    [
        (["search.seed=1"], "search.seed=1"),
        (["search.pruner=none", "search.trials=9"], "search.pruner=none"),
        (["search=random"], "search=random"),
        (["train.steps=8"], "train.steps=12, train.steps=8"),
        (["algorithm.inner_lr=0.1,0.3"], "algorithm.inner_lr=0.1,0.2, algorithm.inner_lr=0.1,0.3"),
    ],
)
def test_what_differs_from_the_search_in_the_folder_is_named(
    family: ModuleType, given: list[str], differs: str
) -> None:
    first = ["algorithm.inner_lr=0.1,0.2", "search.trials=1"]
    assert run(family, *first) == 0
    keys = [line.partition("=")[0] for line in given]
    with pytest.raises(RunFolderError, match=re.escape(f"), which differs in {differs}. Choose another search.folder")):
        run(family, *(line for line in first if line.partition("=")[0] not in keys), *given)
    assert run(family, *first, "search.workers=2", "search.test_best=true") == 0, "these decide nothing"


def test_the_order_of_overrides_and_the_folder_of_ones_own_files_are_of_a_search(family: ModuleType) -> None:
    first = [*family.COMMON, *VARIED, "search.trials=1", "search.folder=found"]
    assert search(prepare(first, CONF, "config"), first, CONF) == 0
    turned = [*family.COMMON, *VARIED[::-1], *first[-2:]]
    with pytest.raises(RunFolderError, match="which differs in the order of the overrides. Choose another"):
        search(prepare(turned, CONF, "config"), turned, CONF)
    shutil.copytree(CONF, "copy")
    with pytest.raises(RunFolderError, match="which differs in --config-dir conf, --config-dir copy. Choose another"):
        search(prepare(first, Path("copy"), "config"), first, Path("copy"))


def test_another_search_does_not_get_into_the_folder(family: ModuleType) -> None:
    assert run(family, "algorithm.inner_lr=0.1,0.2", "search=grid") == 0
    with pytest.raises(RunFolderError, match="it holds another search .*Choose another search.folder"):
        run(family, "algorithm.inner_lr=0.1,0.3", "search=grid")
    Path("full").mkdir()
    with pytest.raises(RunFolderError, match="full exists and is not the folder of a search"):
        run(family, "algorithm.inner_lr=0.1,0.2", folder="full")


def lines_of_metrics(folder: str) -> int:
    """How far all trials together have come."""
    return sum(path.read_bytes().count(b"\n") for path in Path(folder).glob("*/metrics.jsonl"))


def has_ended(pid: int) -> bool:
    """Whether a child is no longer running; its exit status can still be asked for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def test_a_trial_whose_frozen_file_was_damaged_fails_by_name_and_the_others_run(
    family: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [*family.COMMON, *VARIED, "search.trials=4", "search.folder=found"]
    prepared = prepare(asked, CONF, "config")
    place = prepared.open(asked)
    study = Study(place.path, prepared.options, prepared.space.dimensions, prepared.metric, prepared.validated_every)
    queue = TrialQueue(prepared, place, study, forking.start)
    left = [trial for trial in (queue._next() for _ in range(3)) if trial is not None]
    for trial in left:
        trial.release()
    edited, replaced, missing = (trial.folder / "frozen.json" for trial in left)
    edited.write_text(edited.read_text().replace('"eval_every": 4', '"eval_every": 2'))
    replaced.write_bytes(missing.read_bytes())  # whole, and not the trial that the study proposed
    missing.rename("elsewhere.json")
    (missing.parent / "record.json").write_text("{}")  # the trial has begun
    assert search(prepared, asked, CONF) == 10
    out = capsys.readouterr().out
    assert [trial["state"] for trial in trials()] == ["fail", "fail", "fail", "complete"]
    assert f"trial 0: FAILED, {edited} was changed after the job was frozen" in out
    assert f"trial 1: FAILED, {replaced} holds another job than the one that the study proposed" in out
    assert "it has no frozen.json" in trials()[2]["error"]
    assert missing.parent.exists(), "nothing is removed"


@pytest.mark.parametrize("n_values", size([1], [0, 1]))
def test_a_trial_that_was_killed_before_it_had_all_values_is_none(family: ModuleType, n_values: int) -> None:
    """Or one that another process is about to give them: it writes the trial first, then value by value."""
    asked = [*family.COMMON, *VARIED, "search.trials=2", "search.folder=found"]
    prepared = prepare(asked, CONF, "config")
    place = prepared.open(asked)
    study = Study(place.path, prepared.options, prepared.space.dimensions, prepared.metric, prepared.validated_every)
    study._study.ask(dict(list(study._distributions.items())[:n_values]))
    assert study.points() == []
    assert run(family, *VARIED, "search.trials=2") == 0
    assert run(family, *VARIED, "search.trials=2", folder="calm") == 0
    assert outcome("found") == outcome("calm"), "the sampler proposes what it would have"


def test_a_trial_that_another_process_ends_meanwhile_is_not_taken_up_again(
    family: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [*family.COMMON, *VARIED, "search.trials=2", "search.folder=found"]
    prepared = prepare(asked, CONF, "config")
    place = prepared.open(asked)
    ours, theirs = (
        Study(place.path, prepared.options, prepared.space.dimensions, prepared.metric, prepared.validated_every)
        for _ in range(2)
    )
    queue = TrialQueue(prepared, place, ours, forking.start)
    first = queue._next()
    assert first is not None
    first.release()
    again = queue._next()
    assert again is not None
    assert (again.point.number, again.is_new) == (0, False), "nobody has ended it"
    again.release()

    def acquire_after_its_end(path: Path) -> Any:
        if path.name == "trial-0":
            theirs.complete(0, 1.0)  # between the look at the study and the lock
        return acquire(path)

    monkeypatch.setattr("metaexp.search.queue.acquire", acquire_after_its_end)
    second = queue._next()
    assert second is not None
    assert (second.point.number, second.is_new) == (1, True)
    acquire(place.path / ".locks" / "trial-0")()  # it was let go


def test_damage_to_the_best_trial_is_named_after_the_table(
    family: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(family, *VARIED, "search.trials=2") == 0
    found = report()
    best = Path("found") / found["trials"][found["best"]]["folder"]
    (best / "frozen.json").write_text("{")
    assert run(family, *VARIED, "search.trials=2") == 10
    out = capsys.readouterr().out
    assert "2 trials: 2 completed" in out
    assert f"best/experiment/best.yaml is not written: {best / 'frozen.json'} is damaged: " in out


def test_a_search_whose_folder_is_moved_ends_with_one_line(family: ModuleType, tmp_path: Path) -> None:
    found = Path("found")

    def move() -> int:
        until(lambda: bool(list(found.glob("*/checkpoints/step_*.json"))))
        found.rename("elsewhere")
        return 0

    mover = forking.fork(move, tmp_path / "mover.log")
    with pytest.raises(RunFolderError, match=r"^found was moved or removed .* or add search\.folder=NEW_PLACE to"):
        run(family, *VARIED, "search.trials=2", "train.steps=100000", "search.pruner=none")
    os.waitpid(mover, 0)
    assert not found.exists()
    assert list(Path("elsewhere").glob("000-*/checkpoints/step_*.json")), "what it had saved is there"


def test_a_moved_search_continues_in_its_new_place(family: ModuleType) -> None:
    assert run(family, *VARIED, "search.trials=1") == 0
    Path("found").rename("elsewhere")
    assert run(family, *VARIED, "search.trials=2", folder="elsewhere") == 0
    assert starts_of("elsewhere") == {0: 1, 1: 1}


def test_what_trials_warn_of_is_printed_once_and_counted(
    family: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("WANDB_RUN_ID", "WANDB_NAME"):
        monkeypatch.setenv(name, "mine")
    asked = ["algorithm.case=8", "algorithm.inner_lr=0.1,0.2", "search=grid", "search.trials=2", "search.pruner=none"]
    assert run(family, *asked) == 0
    lines = capsys.readouterr().out.splitlines()
    (first, last) = (line for line in lines if "leaks" in line)
    assert first.startswith("trial 0 (algorithm.inner_lr=0.1): warning: the roof leaks at 0.1")
    assert last == "2 trials: warning: the roof leaks at 0.1"
    assert [line for line in lines if "names one run" in line] == [
        "WANDB_RUN_ID names one run and is not used: each trial has an id of its own",
        "WANDB_NAME names one run and is not used: each trial has a name of its own",
    ]
