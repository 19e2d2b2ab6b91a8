"""A real Slurm of one node: arrays, signals before a time limit, scancel, too little memory, the same command again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import one_node_slurm as one_node
import pytest
from events import until

from metaexp.results.record import read_record

pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(one_node.why_not()), reason=one_node.why_not() or "Slurm is there"),
    pytest.mark.xdist_group("slurm"),
]
JOB = [
    "algorithm=proto_net", "model=mlp", "model.hidden=[16]", "dataset.train_classes=70", "dataset.val_classes=20",
    "dataset.test_classes=20", "device=cpu", "device.threads=1", "tracker=files", "train.eval_episodes=4",
    "eval.episodes=8", "train.log_every=50", "train.meta_batch_size=2",
]  # fmt: skip
LAUNCHER = ["hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=60", "hydra.launcher.max_num_timeout=3"]
LONG = ["train.steps=1500", "train.eval_every=1500", "train.checkpoint_every=1500"]
_LONGEST = 400.0


@pytest.fixture(scope="module")
def slurm() -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory(prefix="slurm") as folder, one_node.start_cluster(Path(folder)) as environment:
        yield environment


@pytest.fixture
def command(slurm: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts ``metaexp train -m`` on the cluster, in an empty folder. At the end nothing of it runs any more."""
    begun: list[subprocess.Popen[str]] = []

    def begin(*overrides: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "metaexp", "train", "-m", *JOB, *LAUNCHER, "sweep.name=one", *overrides]
        environment = slurm | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        begun.append(
            subprocess.Popen(
                words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.wait()
    for number in asked(slurm, "squeue", "--noheader", "--format=%A").split():
        subprocess.run(["scancel", number], env=slurm, check=False, timeout=60)
    until(lambda: not asked(slurm, "squeue", "--noheader", "--format=%A").split())


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=_LONGEST)
    return process.returncode, output


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + _LONGEST
    while not what():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.2)


def eventually(what: Callable[[], bool]) -> None:
    """Wait for an event of the cluster, for as long as pytest lets a test run."""
    while not what():
        time.sleep(0.5)


def asked(slurm: dict[str, str], *words: str) -> str:
    return subprocess.run(words, env=slurm, check=True, capture_output=True, text=True, timeout=60).stdout


def is_training(tmp_path: Path) -> bool:
    return any(path.stat().st_size for path in tmp_path.glob("outputs/sweeps/one/*/metrics.jsonl"))


def run_log(tmp_path: Path) -> str:
    (path,) = tmp_path.glob("outputs/sweeps/one/*/run.log")
    return path.read_text()


def job_of(slurm: dict[str, str]) -> str:
    (number,) = asked(slurm, "squeue", "--noheader", "--format=%A").split()
    return number


def is_started_again(slurm: dict[str, str], number: str) -> bool:
    """Start a job of the queue now, for which Slurm would wait two minutes; whether it has started."""
    words = ["scontrol", "update", f"jobid={number}", "StartTime=now"]
    subprocess.run(words, env=slurm, check=False, capture_output=True, timeout=60)  # refused once it runs
    return "RUNNING" in asked(slurm, "squeue", "--noheader", f"--jobs={number}", "--format=%T")


def test_a_sweep_is_an_array_of_jobs(
    command: Callable[..., subprocess.Popen[str]], slurm: dict[str, str], tmp_path: Path
) -> None:
    code, output = ended(command("train.steps=2", "seed=0,1"))
    assert code == 0, output
    runs = sorted(tmp_path.glob("outputs/sweeps/one/0*"))
    assert [read_record(run).status for run in runs] == ["completed"] * 2
    told = asked(slurm, "scontrol", "show", "jobs", "--oneliner")
    assert told.count("ArrayTaskId=") == 2
    assert told.count("JobState=COMPLETED") == 2


def test_before_its_time_limit_a_job_is_saved_and_put_into_the_queue_again(
    command: Callable[..., subprocess.Popen[str]], slurm: dict[str, str], tmp_path: Path
) -> None:
    """Slurm sends the signal some time before the limit; here it is sent by hand. No checkpoint was due until then."""
    process = command(*LONG, "seed=0")
    wait_for(lambda: is_training(tmp_path), process)
    number = job_of(slurm)
    asked(slurm, "scancel", "--signal=USR2", number)
    wait_for(lambda: "BeginTime" in asked(slurm, "squeue", "--noheader", "--format=%r"), process)
    wait_for(lambda: is_started_again(slurm, number), process)
    code, output = ended(process)
    assert code == 0, output
    assert "continues after step " in run_log(tmp_path)
    assert "Restarts=1" in asked(slurm, "scontrol", "show", "job", number)
    (run,) = tmp_path.glob("outputs/sweeps/one/0*")
    assert read_record(run).status == "completed"


def test_after_scancel_the_same_command_goes_on(
    command: Callable[..., subprocess.Popen[str]], slurm: dict[str, str], tmp_path: Path
) -> None:
    process = command(*LONG, "seed=0")
    wait_for(lambda: is_training(tmp_path), process)
    asked(slurm, "scancel", job_of(slurm))
    code, output = ended(process)
    assert code == 10, output
    code, output = ended(command(*LONG, "seed=0"))
    assert code == 0, output
    assert "continues after step " in run_log(tmp_path)


def test_a_job_that_is_killed_for_memory_is_named_and_runs_with_more(
    command: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    code, output = ended(command("train.steps=2", "seed=0", "+hydra.launcher.additional_parameters={mem: 150M}"))
    assert code == 6, output
    assert re.search(
        r"SlurmLauncher failed: Job \d+.* ended without a result \(state FAILED; .*(Killed|memory limit)\)", output
    ), output
    (errors,) = tmp_path.glob("outputs/sweeps/one/.submitit/*/*_log.err")
    assert "exceeded memory limit" in errors.read_text()
    code, output = ended(command("train.steps=2", "seed=0"))
    assert code == 0, output
    (run,) = tmp_path.glob("outputs/sweeps/one/0*")
    assert read_record(run).status == "completed"


def the_script(tmp_path: Path) -> Path:
    """The script of the page on sweeps, for a run without end and the shortest time limit."""
    page = Path(__file__).resolve().parents[2] / "docs" / "sweeps.md"
    (text,) = re.findall(r"```text\n(#!/bin/bash\n.*?)```", page.read_text(), re.DOTALL)
    endless = ["train.steps=10000000", "train.eval_every=10000000", "train.checkpoint_every=10000000"]
    for was, new in {
        "--time=08:00:00 --signal=USR1@120 --mem=8G": "--time=2 --signal=USR1@60 --mem=1800M",
        "metaexp train": f"{sys.executable} -m metaexp train",
        "algorithm=maml dataset=omniglot": " ".join([*JOB, *endless]),
    }.items():
        assert was in text
        text = text.replace(was, new)
    (tmp_path / "job.sh").write_text(text)
    return tmp_path / "job.sh"


def test_the_script_for_a_single_run_saves_it_before_its_time_limit_and_goes_on(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    """Slurm sends the signal itself, about a minute before the limit of two."""
    environment = slurm | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    words = ["sbatch", "--parsable", str(the_script(tmp_path))]
    number = subprocess.run(
        words, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout.strip()
    log, run = tmp_path / f"maml-{number}.log", tmp_path / "outputs" / "maml"
    try:
        eventually(lambda: "BeginTime" in asked(slurm, "squeue", "--noheader", "--format=%r"))
        assert "stopped by SIGUSR1" in log.read_text()
        assert read_record(run).status == "interrupted"
        eventually(lambda: is_started_again(slurm, number))
        eventually(lambda: "continues after step " in (run / "run.log").read_text())
        assert "Restarts=1" in asked(slurm, "scontrol", "show", "job", number)
    finally:
        subprocess.run(["scancel", number], env=slurm, check=False, timeout=60)
        eventually(lambda: not asked(slurm, "squeue", "--noheader", "--format=%A").split())
