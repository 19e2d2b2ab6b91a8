"""Starts a Slurm of one node for tests, in a folder of its own: munged, slurmctld and slurmd of Debian's packages.

usage: one_node_slurm.py FOLDER [SECONDS]   starts it, prints the environment for its commands, and stops it later

``with start_cluster(folder) as environment`` gives the environment of a process that talks to it. Needs root,
slurm-wlm and munge. The names of ports and sockets are its own, so it does not meet another Slurm of the machine.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
_LONGEST = 60.0
"""Seconds until a daemon answers: far more than it takes."""

CONF = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
DefMemPerCPU=600
KillWait=30
MinJobAge=600
SchedulerParameters=sched_interval=1,batch_sched_delay=0
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""

SACCT = """\
#!{python}
# Answers for sacct, which needs a database: the states of the jobs that Slurm still knows, in the columns of submitit.
import re, subprocess
jobs = subprocess.run(["scontrol", "show", "jobs", "--oneliner"], capture_output=True, text=True).stdout
print("JobID|State|NodeList")
for line in jobs.splitlines():
    found = dict(re.findall(r"(\\w+)=(\\S*)", line))
    if "JobId" in found:
        task = found.get("ArrayTaskId")
        number = found["JobId"] if task is None else found["ArrayJobId"] + "_" + task
        print(number, found["JobState"], "one", sep="|")
"""


def why_not() -> str:
    """Why no cluster can be started here; empty if one can."""
    missing = [name for name in PROGRAMS if _program(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed (Debian: apt install slurm-wlm munge)"
    return "" if os.geteuid() == 0 else "slurmd of a cluster of one's own needs root"


@contextmanager
def start_cluster(folder: Path, cpus: int = 2, memory: int = 2000) -> Iterator[dict[str, str]]:
    """Start the daemons, and stop them at the end of the block.

    Args:
        folder: A short path, for sockets have short names.
        cpus: CPUs that the node says it has.
        memory: Its memory in megabytes.

    Yields:
        The environment of processes that use it.
    """
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    host = socket.gethostname().partition(".")[0]
    controller, node = _free_ports(2)
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(host=host, controller=controller, node=node, folder=folder, cpus=cpus, memory=memory))
    (folder / "bin").mkdir()
    (folder / "bin" / "sacct").write_text(SACCT.format(python=sys.executable))
    (folder / "bin" / "sacct").chmod(0o755)
    environment = os.environ | {"SLURM_CONF": str(conf), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    files = [("socket", "munge.socket"), ("key-file", "munge.key"), ("pid-file", "munged.pid")]
    files += [("log-file", "munged.log"), ("seed-file", "munged.seed")]
    munged = [_program("munged"), "--foreground", "--force", *(f"--{key}={folder / name}" for key, name in files)]
    with ExitStack() as stack:
        stack.enter_context(_start_daemon(munged, environment, folder))
        _wait(lambda: (folder / "munge.socket").exists(), "munged", folder)
        stack.enter_context(_start_daemon([_program("slurmctld"), "-D", "-c", "-f", conf], environment, folder))
        stack.enter_context(_start_daemon([_program("slurmd"), "-D", "-N", host, "-f", conf], environment, folder))
        _wait(lambda: _node_is_idle(environment), "slurmctld and slurmd", folder)
        try:
            yield environment
        finally:
            subprocess.run(["scancel", "--user=root"], env=environment, check=False, capture_output=True)


@contextmanager
def _start_daemon(command: Sequence[object], environment: dict[str, str], folder: Path) -> Iterator[None]:
    name = Path(str(command[0])).name
    with (folder / f"{name}.out").open("w") as out:
        process = subprocess.Popen(
            [str(word) for word in command], env=environment, stdout=out, stderr=out, start_new_session=True
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _node_is_idle(environment: dict[str, str]) -> bool:
    done = subprocess.run(
        ["sinfo", "--noheader", "--format=%T"], env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode == 0 and done.stdout.split() == ["idle"]


def _wait(is_up: Callable[[], bool], what: str, folder: Path) -> None:
    end = time.monotonic() + _LONGEST
    while not is_up():
        if time.monotonic() > end:
            logs = "\n".join(f"{log.name}: {log.read_text()[-800:]}" for log in sorted(folder.glob("*.log")))
            raise RuntimeError(f"{what} did not come up:\n{logs}")
        time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


if __name__ == "__main__":
    place = Path(sys.argv[1]).resolve()
    with start_cluster(place) as found:
        print(f"export SLURM_CONF={found['SLURM_CONF']}", flush=True)
        time.sleep(float(sys.argv[2]) if len(sys.argv) > 2 else 3600.0)
