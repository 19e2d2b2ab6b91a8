"""Runs tiny runs in several processes, as torchrun starts them, and prints how every process ended.

usage: shared_runs.py FOLDER JOBS, where JOBS is a JSON file: name -> job. A job is a mapping with

    ranks     the number of processes
    settings  ``maml``, ``proto_net`` or ``reptile`` (below)
    changes   to those settings, dotted keys with ``__`` for the dot
    other     changes on the last rank only
    resume    whether to go on with the run in the folder ``in``; a new run otherwise
    in        the run folder, by name; the job's own name without it
    argv      a command line instead; without a verb it is that of ``train``
    signal    [number, rank or "all", seconds]: sent so many seconds after the start
    share_of  a job before this one: ``signal`` is sent after that share of its seconds, from when the ranks have met
    act       what one rank does, and in which step: [deed, rank, step]; see ``Deed``

Every process is forked from this one, which has imported torch, because importing it takes longer than such a run.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).parents[1]))  # the helpers beside this folder
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # after CUDA's threads have started, no process can be forked

import cheap_runs  # noqa: F401
import tiny_runs
import torch
from rich.console import Console

from metaexp.cli import main as cli
from metaexp.cli import train as cli_train
from metaexp.config.classes.targets import trust
from metaexp.config.schema import Settings
from metaexp.machine.all_reduce import Partial
from metaexp.machine.single_rank import SINGLE, Ranks
from metaexp.run import outputs as outputs_module
from metaexp.run.job import run_job
from metaexp.run.progress import Lines
from metaexp.run.step import MetaStep

_LONGEST = 600.0
"""Seconds after which a job hangs: far more than one takes."""
_MLP = {
    "_target_": "metaexp.models.mlp.MLP", "hidden": [8], "use_batch_norm": True, "norm_scale": True,
    "norm_eps": 1e-5, "weight_init": "default", "init_std": 0.01,
}  # fmt: skip
_REPTILE = {
    "_target_": "metaexp.algorithms.reptile.Reptile", "inner_lr": 0.05, "inner_steps": 3, "inner_steps_test": 4,
    "inner_batch_size": 3, "inner_batch_size_test": 4, "adam_state": "carried", "batch_norm": "transductive",
}  # fmt: skip
_PROTO_NET = {
    "_target_": "metaexp.algorithms.proto_net.ProtoNet", "distance": "squared_euclidean", "batch_norm": "running"
}  # fmt: skip
_COMMON: dict[str, Any] = {
    "train__meta_batch_size": 5, "train__log_every": 1, "eval__episodes": 11, "device__task_chunk": 2,
}  # fmt: skip


def settings_of(job: dict[str, Any], outputs: Path) -> Settings:
    """The settings of a job. Five tasks are not a multiple of two or four ranks; gradients are clipped in all.

    Adam is not used with batch norm: the gradient of a bias in front of it is rounding only, which Adam makes large.
    """
    sgd = {"_target_": "torch.optim.SGD", "lr": 0.01, "momentum": 0.9}
    net = {"_target_": "tiny_runs.Net", "width": 8, "dropout": 0.0}
    kinds: dict[str, dict[str, Any]] = {
        "maml": {"model": net, "optimizer": sgd},
        "proto_net": {"algorithm": _PROTO_NET, "model": _MLP, "optimizer": sgd},
        "reptile": {"algorithm": _REPTILE, "model": _MLP | {"use_batch_norm": False}, **_clip(0.2)},
    }
    changes = {**_COMMON, **_clip(0.5), **kinds[job["settings"]], **job.get("changes", {})}
    return (tiny_runs.blobs if job["settings"] == "proto_net" else tiny_runs.settings)(outputs, **changes)


def _clip(threshold: float) -> dict[str, Any]:
    return {"clip": {"_target_": "metaexp.core.optim.ClipNorm", "threshold": threshold}}


class Deed:
    """What a rank does before its share of one step.

    stop, interrupt, kill: sends itself SIGTERM, SIGINT, SIGKILL. error, memory: raises an error, of memory, in its
    share. outside: raises between two steps; log outside: logs a warning before that. drift: changes one of its
    weights. slice, mean: from this step on, computes the tasks of rank 0; divides by twice its own number of tasks
    instead of the number of all. warn: warns, beside what all ranks warn of. log: the same in the logs of metaexp and
    of code of one's own.
    """

    def __init__(self, step: MetaStep) -> None:
        self.step = step

    def stop(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def interrupt(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    def kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def error(self) -> None:
        raise ValueError("this rank does not want to")

    def memory(self) -> None:
        raise torch.OutOfMemoryError("no memory is left for 12 bytes")

    def warn(self) -> None:
        warnings.warn(f"this rank has 7 doubts about {self.step.share}", stacklevel=1)

    def log(self) -> None:
        logging.getLogger("metaexp.run.step").warning("this rank finds %s odd", self.step.share)
        logging.getLogger("metaexp.run.step").info("nothing to say")
        logging.getLogger("my_code.data").error("5 files are gone")

    def drift(self) -> None:
        with torch.no_grad():
            self.step.parameters[0].add_(1e-3)

    def slice(self) -> None:
        self.step.share = range(len(self.step.share))

    def mean(self) -> None:
        self.step._backward = _own_mean(self.step)  # type: ignore[method-assign]


def _own_mean(step: MetaStep) -> Callable[..., Partial]:
    backward = step._backward
    return lambda episodes, tasks: backward(episodes, len(step.share) * 2)


def act(deed: str, at: int) -> None:
    """Make this process do ``deed`` before its share of step ``at`` (0-based)."""
    backward = MetaStep._backward_on_share

    def acting(self: MetaStep, step: int) -> Partial:
        if step == at and not deed.endswith("outside"):
            getattr(Deed(self), deed)()
        return backward(self, step)

    MetaStep._backward_on_share = acting  # type: ignore[method-assign]
    if deed.endswith("outside"):
        compute_mean = MetaStep.compute_mean

        def updating(self: MetaStep, step: int) -> Any:
            if step == at:
                if deed == "log outside":
                    Deed(self).log()
                raise ValueError("this rank does not want to")
            return compute_mean(self, step)

        MetaStep.compute_mean = updating  # type: ignore[method-assign]


def train(arguments: list[str], ranks: Ranks = SINGLE) -> int:
    """Replaces the verb ``train``, with settings that no YAML file has."""
    job, folder = json.loads(arguments[0]), Path(arguments[1])
    if "argv" in job:
        return cli_train.main(job["argv"], ranks)
    if job.get("resume"):
        return cli_train.main([f"resume={folder}"], ranks)
    if ranks.rank == job["ranks"] - 1:
        job["changes"] = job.get("changes", {}) | job.get("other", {})
    settings = ranks.run(lambda: settings_of(job, folder.parent))
    run_job(settings, folder=folder, display=Lines(Console(stderr=True)), ranks=ranks)
    return 0


def print_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
    """Print a warning, as Python does. A test records warnings, and this process may be forked from one."""
    sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))


def rank_process(job: dict[str, Any], folder: Path, rank: int, port: int, report: Path) -> NoReturn:
    """Run one rank of a job in a child, as torchrun would start it, with its output in files."""
    size = job["ranks"]
    if size > 1:
        place = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
        os.environ.update({key: str(value) for key, value in place.items()} | {"MASTER_ADDR": "127.0.0.1"})
    for stream, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{report}.{rank}.{name}", os.O_WRONLY | os.O_CREAT), stream)
    warnings.showwarning = print_warning
    logging.getLogger().handlers.clear()  # a test records logs, too
    code = 1
    try:
        deed, actor, at = job.get("act", ["", -1, -1])
        if actor in (rank, "all"):
            act(deed, at)
        is_verb = job.get("argv", [""])[0] in ("--help", *cli.VERBS)
        code = cli.main(job["argv"] if is_verb else ["train", json.dumps(job), str(folder)])
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Due:
    """The signal of a job, until it is sent.

    With ``share_of``, its seconds count from when the run folder is there. Then the ranks have met; before, they wait
    minutes for one that never comes, unless torchrun, which started them, ends them.
    """

    def __init__(self, job: dict[str, Any], folder: Path, unit: float) -> None:
        self.number, self.whom, seconds = job.get("signal", [0, -1, float("inf")])
        self.after = seconds * unit
        self.awaited = folder if "share_of" in job else folder.parent
        self.start: float | None = None

    def send(self, children: list[int], codes: dict[int, int]) -> None:
        """Send it to those of the children that have not ended, if it is time."""
        now = time.monotonic()
        if self.start is None and self.awaited.exists():
            self.start = now
        if self.start is None or now - self.start < self.after:
            return
        self.after = float("inf")
        for rank, child in enumerate(children):
            if self.whom in (rank, "all") and child not in codes:
                os.kill(child, self.number)


def run(name: str, job: dict[str, Any], outputs: Path, unit: float = 1.0) -> dict[str, Any]:
    """Run a job, where the seconds of ``share_of`` are ``unit``.

    Returns each rank's exit status (negative: the signal that killed it) and output, and the seconds.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder, report = outputs / job.get("in", name), outputs / f"{name}.report"
    start = time.monotonic()
    children = []
    for rank in range(job["ranks"]):
        for stream in ("out", "err"):  # a signal may kill the child before it opens them
            Path(f"{report}.{rank}.{stream}").touch()
        child = os.fork()
        if child == 0:
            rank_process(job, folder, rank, port, report)
        children.append(child)
    codes: dict[int, int] = {}
    due = Due(job, folder, unit)
    while len(codes) < len(children) and time.monotonic() - start < _LONGEST:
        due.send(children, codes)
        for child in set(children) - set(codes):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                codes[child] = os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    for child in set(children) - set(codes):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    said = {
        stream: [Path(f"{report}.{rank}.{stream}").read_text() for rank in range(job["ranks"])]
        for stream in ("out", "err")
    }
    seconds = time.monotonic() - start
    return {"codes": [codes.get(child) for child in children], "seconds": seconds, "folder": str(folder), **said}


def main(outputs: Path, jobs: Path) -> None:
    trust("tiny_runs")
    cli.VERBS["train"] = cli.VERBS["train"]._replace(function="shared_runs:train")
    outputs_module.draw = lambda *_: {}  # pictures take longer than these runs
    torch.set_num_threads(1)
    # torch imports much of itself when it is first used
    run_job(tiny_runs.settings(outputs), folder=outputs / "warm", display=Lines(Console(quiet=True)))
    found: dict[str, dict[str, Any]] = {}
    for name, job in json.loads(jobs.read_text()).items():
        unit = found[job["share_of"]]["seconds"] if "share_of" in job else 1.0
        found[name] = run(name, job, outputs, unit)
    (outputs / "report.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
