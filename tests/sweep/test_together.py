"""``train.seeds`` and ``sweep.together``: jobs that differ in their seeds only are trained in one process."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from metaexp.cli.main import main
from metaexp.compare.find import run_folders
from metaexp.config.compose import Composer
from metaexp.core.errors import ConfigError
from metaexp.results.record import read_record
from metaexp.run.progress import Lines
from metaexp.sweep import together_check
from metaexp.sweep.groups import in_groups
from metaexp.sweep.options import SweepOptions
from metaexp.sweep.plan import format_plan
from metaexp.sweep.prepare import prepare
from metaexp.sweep.processes.job_process import start
from metaexp.sweep.run import run_all
from metaexp.sweep.together_check import apart_only

CONF = Path("conf")
SILENT = Lines(Console(quiet=True))
NO_NOISE = "model.dropout=0"


def sweep_folder() -> Path:
    (folder,) = Path("outputs/sweeps").iterdir()
    return folder


def folder_of(number: int) -> Path:
    (folder,) = sweep_folder().glob(f"{number:03d}-*")
    return folder


def processes(event: str) -> list[int]:
    """The process of each such entry in the journal, by job."""
    lines = [json.loads(line) for line in (sweep_folder() / "journal.jsonl").read_text().splitlines() if line]
    return [line["pid"] for line in lines if line["event"] == event]


@pytest.mark.parametrize(
    ("given", "seeds"),
    [
        (["train.seeds=3"], "seed=0,1,2"),
        (["seed=4", "train.seeds=2"], "seed=4,5"),
        (["train.seeds=[0,3,7]"], "seed=0,3,7"),
        (["train.seeds=1"], "seed=0"),
    ],
)
def test_it_stands_for_seeds_that_are_trained_together(given: list[str], seeds: str) -> None:
    command = SweepOptions.parse([*given, "algorithm=maml,anil"], Composer())
    assert command.job_overrides == ["algorithm=maml,anil", seeds]
    assert command.options.together
    assert not SweepOptions.parse(["seed=0,1"], Composer()).options.together


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["train.seeds=0"], r"train\.seeds=0 must be a number of seeds from 1 to 1000, or a list"),
        (["train.seeds=0,3,7"], r"train\.seeds=0,3,7 must be .* as in train\.seeds=5 or train\.seeds=\[0,3,7\]"),
        (["train.seeds=[1,1]"], "a list of different seeds"),
        (["train.seeds=[-1]"], "a list of different seeds"),
        (["train.seeds=many"], r"train\.seeds=many must be"),
        (["train.seeds=2", "train.seeds=3"], r"train\.seeds is given 2 times; give it once"),
        (["train.seeds=2", "seed=0,1"], r"seed=0,1 and train\.seeds=2 both choose seeds"),
        (["train.seeds=[2]", "seed=0"], r"seed=0 and train\.seeds=\[2\] both choose seeds"),
        (["train.seeds=2", "from=outputs/run"], "runs that continue another one .* are not trained together"),
        (["train.seeds=2", "hydra/launcher=joblib"], "hydra/launcher=joblib starts each job by itself"),
    ],
)
def test_what_it_cannot_mean_is_refused(given: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SweepOptions.parse(given, Composer())
    SweepOptions.parse(["train.seeds=2", "hydra/launcher=basic"], Composer())


def test_a_single_run_does_not_take_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=r"train\.seeds stands for several runs, .* One run has one seed"):
        Composer().job(["train.seeds=3"])
    assert main(["train", "--cfg", "job", "train.seeds=3"]) == 2
    assert "train.seeds stands for several runs" in capsys.readouterr().err


def test_jobs_share_a_process_if_they_differ_only_after_the_gradient(family: ModuleType) -> None:
    many = [*family.COMMON, NO_NOISE, "seed=0,1", "optimizer.lr=0.1,0.2", "algorithm.inner_lr=0.1,0.3"]
    jobs = prepare([*many, "clip=none,norm"], CONF, "config").jobs
    groups = in_groups(jobs, together=True)
    assert [len(group) for group in groups] == [8, 8]
    assert {job.config["algorithm"]["inner_lr"] for job in groups[0]} == {0.1}
    assert [len(group) for group in in_groups(jobs, together=False)] == [1] * 16


def test_a_plan_says_how_many_processes_train_the_jobs(family: ModuleType) -> None:
    given = [*family.COMMON, NO_NOISE, "train.seeds=3", "algorithm.inner_lr=0.1,0.3"]
    assert "they train together in 2 processes" in format_plan(prepare(given, CONF, "config"), given)
    alone = [*family.COMMON, "seed=0,1"]
    assert "together" not in format_plan(prepare(alone, CONF, "config"), alone)


def test_the_seeds_of_a_command_are_ordinary_runs_of_one_process(
    family: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [*family.COMMON, NO_NOISE, "train.seeds=3"]
    assert main(["train", "--config-dir", str(CONF), *overrides]) == 0
    assert "3 of 3 jobs completed" in capsys.readouterr().out
    assert len(processes("begins")) == 3
    assert len(set(processes("begins"))) == 1
    records = [read_record(folder_of(number)) for number in range(3)]
    assert [record.seed for record in records] == [0, 1, 2]
    assert all("train.seeds" not in str(record.config) for record in records)
    assert len(run_folders([sweep_folder()])) == 3
    assert run_all(overrides, CONF, "config", SILENT) == 0
    assert len(processes("begins")) == 3, "nothing was left to run"
    assert run_all([*family.COMMON, NO_NOISE, "seed=0,1", "hydra.sweep.dir=alone"], CONF, "config", SILENT) == 0
    hashes = [read_record(next(Path("alone").glob(f"00{n}-*"))).config_hash for n in (0, 1)]
    assert hashes == [record.config_hash for record in records[:2]]


def test_a_kill_ends_all_of_them_and_the_same_command_goes_on(family: ModuleType) -> None:
    overrides = [*family.COMMON, NO_NOISE, "train.seeds=3", "algorithm.case=7"]
    assert run_all(overrides, CONF, "config", SILENT) == 10
    states = [json.loads((folder_of(number) / "job_state.json").read_text()) for number in range(3)]
    assert {state["status"] for state in states} == {"killed"}
    assert run_all(overrides, CONF, "config", SILENT) == 10
    assert len(processes("begins")) == 6
    for number in range(3):
        assert "continues after step 6" in (folder_of(number) / "run.log").read_text()


DROPOUT = "several runs of Cases cannot be trained together: .* list the seeds: -m seed=0,1,2"


def test_what_cannot_be_trained_together_is_refused_before_there_is_a_folder(family: ModuleType) -> None:
    for given in (["train.seeds=2"], ["seed=0,1", "sweep.together=true"], ["train.seeds=2", "sweep.fork=false"]):
        with pytest.raises(ConfigError, match=f"every job: {DROPOUT}"):
            run_all([*family.COMMON, *given], CONF, "config", SILENT)
    assert main(["train", "--config-dir", str(CONF), *family.COMMON, "train.seeds=[3,5]"]) == 2
    assert not Path("outputs").exists()


def test_an_algorithm_that_takes_one_task_at_a_time_is_refused_before_there_is_a_folder(family: ModuleType) -> None:
    given = ["algorithm=proto_net", "dataset=glyphs", "model=conv4", "device=cpu", "train.seeds=2", "train.steps=2"]
    with pytest.raises(ConfigError, match="ProtoNet with this network computes one task at a time"):
        run_all([*given, "tracker=files"], None, "config", SILENT)
    assert not Path("outputs").exists()


def test_groups_that_can_be_trained_together_start_beside_one_that_cannot(
    family: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_all([*family.COMMON, "train.seeds=2", "model.dropout=0,0.5"], CONF, "config", SILENT) == 10
    out = capsys.readouterr().out
    assert "2 of 4 jobs completed, 2 failed" in out
    assert out.count("FAILED, ") == 2
    assert len(processes("begins")) == 2


def test_groups_that_differ_in_the_size_of_a_number_alone_are_checked_once(
    family: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[list[str]] = []
    monkeypatch.setattr(together_check, "try_out", lambda jobs, *_: checked.append([job.what for job in jobs]))
    given = [*family.COMMON, "train.seeds=3", "model.dropout=0.0,0.5", "algorithm.inner_lr=0.1,0.2"]
    jobs = prepare(given, CONF, "config").jobs
    assert apart_only(jobs, start, print, lambda: False) == []
    assert [[line.split()[0] for line in pair] for pair in checked] == [
        ["model.dropout=0.0"] * 2,
        ["model.dropout=0.5"] * 2,
    ]
    checked.clear()
    apart_only(jobs[:1], start, print, lambda: False)
    assert checked == []


def test_a_plan_that_measures_says_what_cannot_be_trained_together(family: ModuleType) -> None:
    given = [*family.COMMON, "train.seeds=2"]
    prepared = prepare(given, CONF, "config")
    assert "will not start: every job: several runs of Cases cannot be" in format_plan(prepared, given, lambda _: None)
    assert "the command checks whether they can" in format_plan(prepared, given)
    fine = [*given, NO_NOISE]
    assert "will not start" not in format_plan(prepare(fine, CONF, "config"), fine, lambda _: None)


def test_what_only_jobs_find_that_train_together_is_said_for_each(
    family: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metaexp.sweep.run.apart_only", lambda *_: [])
    assert run_all([*family.COMMON, "train.seeds=2"], CONF, "config", SILENT) == 10  # dropout
    out = capsys.readouterr().out
    assert out.count("FAILED, ConfigError: several runs of Cases cannot be trained together") == 1
    assert out.count("FAILED, with the same error as job 0") == 1
    assert "-m seed=0,1,2" in (folder_of(0) / "output.log").read_text()
    assert f"their output is in {folder_of(0) / 'output.log'}" in (folder_of(1) / "output.log").read_text()


def test_jobs_that_fail_are_tried_again_together(family: ModuleType) -> None:
    overrides = [
        *family.COMMON,
        NO_NOISE,
        "train.seeds=2",
        "algorithm.case=5",
        "sweep.on_error=retry",
        "sweep.retries=1",
    ]
    assert run_all(overrides, CONF, "config", SILENT) == 10
    assert len(processes("begins")) == 4
    assert len(set(processes("begins"))) == 2
