"""Jobs forked from a warm parent compute and write the same as jobs in new Python processes.

One test has a real warm parent and a job in a new Python process. The others fork theirs, for importing takes long.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import forking
import pytest
from events import until
from sampling import only_exhaustive

from metaexp.config.classes import targets
from metaexp.config.classes.source import read_module
from metaexp.config.classes.targets import trust
from metaexp.machine.forked_process import can_fork
from metaexp.results.record import read_record
from metaexp.sweep.folder import Sweep, create
from metaexp.sweep.frozen_job import write_frozen
from metaexp.sweep.prepare import prepare
from metaexp.sweep.processes import warm_start
from metaexp.sweep.processes.job_process import JobProcess
from metaexp.sweep.processes.pool import Start
from metaexp.sweep.processes.warm_start import WarmStarter, open_job_starter

pytestmark = pytest.mark.skipif(not can_fork(), reason="no warm parents here")

OVERRIDES = [
    "algorithm=maml", "dataset=sinusoid", "device=cpu", "tracker=files", "train.steps=4", "train.eval_every=2",
    "train.eval_episodes=5", "eval.episodes=6", "paths.outputs=outputs", "paths.data=data",
]  # fmt: skip
CLOCK = {"seconds", "episodes_per_second", "peak_memory_bytes", "started", "finished", "digest"}
"""What the clock decides, and the digest of a record, which is over these, too."""
WAIT = 300.0


def sweep_of(place: str, *overrides: str) -> Sweep:
    """A frozen sweep in a folder, none of whose jobs has begun."""
    prepared = prepare([*OVERRIDES, *overrides, f"hydra.sweep.dir={place}", "sweep.new=true"], None, "config")
    return create(prepared.path, [], prepared.digest, prepared.jobs)


def run(sweep: Sweep, begin: Start, number: int) -> int:
    """Run a job to its end; its exit code."""
    code = begin(folder(sweep, number)).wait(WAIT)
    assert code is not None
    return code


def folder(sweep: Sweep, number: int) -> Path:
    return sweep.folder(sweep.jobs()[number])


def results(path: Path) -> dict[str, bytes]:
    """Every file of a run folder, without what the clock and the number of the process decide."""
    found = {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name not in (".claim", ".lock", "timings.jsonl", "output.log")
    }
    record = {key: value for key, value in json.loads(found["record.json"]).items() if key not in CLOCK}
    found["record.json"] = json.dumps(record).encode()
    found["run.log"] = re.sub(rb"(?m)^\S+ \S+ ", b"", found["run.log"])
    note = {key: value for key, value in json.loads(found["job_state.json"]).items() if key != "pid"}
    found["job_state.json"] = json.dumps(note).encode()
    return found


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, with a small umask, and as many threads as a job asks for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(targets, "_trusted", set())
    monkeypatch.setattr(sys, "path", list(sys.path))
    read_module.cache_clear()
    return tmp_path


@only_exhaustive
@pytest.mark.slow
def test_forked_jobs_write_the_bytes_of_spawned_ones() -> None:
    """With two threads: a parent that had used OpenMP would make its children hang."""
    said: list[str] = []
    sweep = sweep_of("sweep", "seed=0,1", "device.threads=2")
    shutil.copytree("sweep", "fresh")
    folders, jobs = {}, {"forked": (0, 1), "spawned": (1,)}
    for how, numbers in jobs.items():
        with open_job_starter((), 1, said.append, fork=how == "forked") as begin:
            assert isinstance(begin, WarmStarter) == (how == "forked")
            running = [begin(folder(sweep, number)) for number in numbers]
            codes = [process.wait(WAIT) for process in running]
            assert codes == [0] * len(numbers), (folder(sweep, 1) / "output.log").read_text()
        folders[how] = {number: Path(how) / sweep.jobs()[number].name for number in numbers}
        Path("sweep").rename(how)
        if how == "forked":
            Path("fresh").rename("sweep")
    forked, spawned = ({n: results(path) for n, path in folders[how].items()} for how in jobs)
    assert {number: forked[number] for number in jobs["spawned"]} == spawned
    assert {"metrics.jsonl", "checkpoints/best.safetensors", "record.json", "run.log", "config.yaml"} < set(forked[0])
    assert any(name.endswith(".png") for name in forked[0])
    different = {name for name in forked[0] if forked[0][name] != spawned[1][name]}
    assert {"metrics.jsonl", "checkpoints/best.safetensors", "record.json"} < different, "it must be able to fail"
    logs = [re.sub(r"(?m)^(train|test|val\w*) .*\n", "", (f[1] / "output.log").read_text()) for f in folders.values()]
    assert logs[0] == logs[1]
    assert said == []


@pytest.fixture
def own(place: Path) -> Callable[[str], None]:
    """A function that writes the user's own network, which notes who imports it."""
    (place / "my_conf" / "model").mkdir(parents=True)
    (place / "my_conf" / "model" / "mine.yaml").write_text(
        "_target_: own_net.Mine\nhidden: [4]\nuse_batch_norm: false\nnorm_scale: false\nnorm_eps: 0.001\n"
        "weight_init: default\ninit_std: 0.01\n"
    )

    def write(more: str) -> None:
        (place / "own_net.py").write_text(
            "import os\nfrom metaexp.models.mlp import MLP\n"
            "with open('imports.txt', 'a') as file:\n    print(os.getpid(), file=file)\n"
            f"class Mine(MLP):\n    pass\n{more}\n"
        )

    write("")
    trust("own_net")
    return write


@pytest.mark.usefixtures("forked_parents")
def test_own_code_is_imported_by_jobs_only_and_an_edit_of_it_is_noticed(own: Callable[[str], None]) -> None:
    prepared = prepare([*OVERRIDES, "model=mine", "seed=0,1", "hydra.sweep.dir=sweep"], Path("my_conf"), "config")
    sweep = create(prepared.path, [], prepared.digest, prepared.jobs)
    with open_job_starter(("own_net",), 1, print) as begin:
        assert run(sweep, begin, 0) == 0
        own("# edited")
        assert run(sweep, begin, 1) == 2
        assert isinstance(begin, WarmStarter)
        assert len(begin._parents) == 1
    assert "the code of own_net was changed after the sweep was made" in sweep.state(sweep.jobs()[1]).error
    ran = [entry["pid"] for entry in sweep.events() if entry["event"] == "begins"]
    assert [int(line) for line in Path("imports.txt").read_text().split()] == ran[:1]


@pytest.mark.slow
@pytest.mark.usefixtures("forked_parents")
def test_a_job_stops_when_it_is_asked_to_and_when_the_pool_dies() -> None:
    sweep = sweep_of("sweep", "seed=0,1", "train.steps=100000", "train.checkpoint_every=1")
    pool = os.fork()  # a pool of its own, to be killed
    if pool == 0:
        try:
            with open_job_starter((), 1, print) as begin:
                for number in (0, 1):
                    begin(folder(sweep, number))
                time.sleep(WAIT)
        finally:
            os._exit(1)
    until(lambda: all(list(folder(sweep, n).glob("checkpoints/step_*.json")) for n in (0, 1)))
    os.kill(pool, signal.SIGKILL)
    os.waitpid(pool, 0)
    until(lambda: all(sweep.state(job).status == "interrupted" for job in sweep.jobs()))
    assert [read_record(folder(sweep, number)).status for number in (0, 1)] == ["interrupted"] * 2
    with open_job_starter((), 1, print) as begin:
        running = begin(folder(sweep, 0))
        until(lambda: begun(running) and sweep.state(sweep.jobs()[0]).status == "running")
        steps = read_record(folder(sweep, 0)).steps
        until(lambda: begun(running) and read_record(folder(sweep, 0)).steps == steps)
        running.stop()
        assert running.wait(WAIT) == 143
    assert sweep.state(sweep.jobs()[0]).status == "interrupted"


def begun(process: JobProcess) -> bool:
    """Whether a job has begun; it must not have ended."""
    assert process.poll() is None
    return (process.folder / "record.json").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("forked_parents")
def test_where_the_parent_dies_another_takes_its_place_and_in_the_end_jobs_are_spawned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deaths = 2
    assert warm_start._MOST_DEATHS == 3
    monkeypatch.setattr(warm_start, "_MOST_DEATHS", deaths)
    sweep = sweep_of("sweep", f"seed=range({deaths + 1})")
    said: list[str] = []
    spawned: list[Path] = []

    def start_and_note(path: Path, **more: Any) -> JobProcess:
        spawned.append(path)
        return forking.start(path, **more)

    monkeypatch.setattr(warm_start, "start", start_and_note)
    with open_job_starter((), 1, said.append) as begin:
        assert isinstance(begin, WarmStarter)
        for number in range(deaths):
            warm = begin(folder(sweep, number))
            until(partial(begun_by_parent, begin, warm))
            os.kill(begin._parents[-1].pid, signal.SIGKILL)  # the job goes on
            assert warm.wait(WAIT) == 0
        assert run(sweep, begin, deaths) == 0
        assert len(begin._parents) == deaths
    assert spawned == [folder(sweep, deaths)]
    assert [line.partition("; ")[2] for line in said] == ["another takes its place"] * (deaths - 1) + [
        "each job imports for itself from now on"
    ]
    assert said[0].startswith("the process that jobs are forked from ended (killed by SIGKILL")
    assert [sweep.state(job).status for job in sweep.jobs()] == ["completed"] * (deaths + 1)


def begun_by_parent(starter: WarmStarter, process: JobProcess) -> bool:
    """Whether a job runs in a process that the parent has forked."""
    assert process.poll() is None
    return starter._parents[-1].is_ready and (process.folder / "job_state.json").exists()


@pytest.mark.usefixtures("forked_parents")
def test_a_parent_that_is_killed_with_its_job_is_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_start, "_load", lambda: time.sleep(WAIT))  # it is killed before it is ready
    sweep = sweep_of("sweep", "seed=0,1")
    said: list[str] = []
    with open_job_starter((), 1, said.append) as begin:
        assert isinstance(begin, WarmStarter)
        running = begin(folder(sweep, 0))
        running.kill()
        assert running.wait(WAIT) == -signal.SIGKILL
        assert not begin._parents[0].is_alive
    assert said == []


@pytest.mark.slow
@pytest.mark.usefixtures("forked_parents")
def test_a_parent_that_dies_before_it_forks_loses_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that cannot begin at all is not tried again."""
    monkeypatch.setattr(warm_start, "_load", lambda: time.sleep(WAIT))  # it dies before it is ready
    sweep = sweep_of("sweep", "seed=0,1")
    said: list[str] = []
    with open_job_starter((), 1, said.append) as begin:
        assert isinstance(begin, WarmStarter)
        running = begin(folder(sweep, 0))
        os.kill(begin._parents[0].pid, signal.SIGKILL)
        assert running.wait(WAIT) == 0
    assert len(said) == 1
    assert said[0].endswith("each job imports for itself from now on")
    monkeypatch.setattr("metaexp.machine.forked_process.subprocess", subprocess)
    monkeypatch.setattr(warm_start, "FORK_SERVER", "--no-such-option")
    with open_job_starter((), 1, said.append) as begin:
        assert isinstance(begin, WarmStarter)
        assert run(sweep, begin, 1) == 0
        assert len(begin._parents) == 1
    assert "unrecognized arguments" in said[1]


@pytest.mark.parametrize(
    ("accelerator", "gpus", "forks"),
    [("cpu", 1, True), ("cpu", 0, True), ("auto", 0, True), ("auto", 1, False), ("cuda", 1, False), ("mps", 0, False)],
)
def test_only_jobs_on_the_cpu_are_forked(
    accelerator: str, gpus: int, forks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = sweep_of("sweep", "seed=0,1")
    job = sweep.jobs()[0]
    job.config["device"]["accelerator"] = accelerator
    write_frozen(job, sweep.folder(job))
    monkeypatch.setattr("metaexp.config.accelerators._has_gpu", lambda: gpus > 0)
    assert warm_start._is_for_cpu(sweep.folder(job)) == forks
    (sweep.folder(job) / "frozen.json").write_text("{")
    assert not warm_start._is_for_cpu(sweep.folder(job)), "the job itself reports what is damaged"


def test_another_environment_folder_or_source_file_takes_another_parent(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[dict[str, str]] = []

    class Parent:
        is_alive = True

        def __init__(self, _: list[str], env: dict[str, str]) -> None:
            made.append(dict(env))

        def close(self) -> None:
            """Nothing runs."""

    monkeypatch.setattr(warm_start, "WarmParent", Parent)
    with open_job_starter((), 1, print) as begin:
        assert isinstance(begin, WarmStarter)
        begin._parent()
        begin._parent()
        assert len(made) == 1
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        begin._parent()
        assert [env.get("OMP_NUM_THREADS") for env in made] == [None, "3"]
        (place / "elsewhere").mkdir()
        monkeypatch.chdir(place / "elsewhere")
        begin._parent()
        assert len(made) == 3
        monkeypatch.setattr(warm_start, "_sources", lambda: [("metaexp/core/disk/files.py", 1, 2)])
        begin._parent()
        begin._parent()
        assert len(made) == 4


def test_the_files_of_metaexp_are_watched() -> None:
    names = {Path(name).name: name for name, _, _ in warm_start._sources()}
    assert {"warm_start.py", "maml.py", "session.py", "site-packages"} <= set(names)


def test_sweep_fork_false_spawns(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_job_starter((), 1, print, fork=False) as begin:
        assert not isinstance(begin, WarmStarter)
    monkeypatch.setattr(warm_start, "can_fork", lambda: False)
    with open_job_starter((), 1, print) as begin:
        assert not isinstance(begin, WarmStarter)
    monkeypatch.undo()
    with open_job_starter((), 1, print) as begin:
        assert isinstance(begin, WarmStarter)
