"""Where a process stands among others, and what it exchanges with them. Real processes: test_shared_run.py."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from metaexp.core.errors import ConfigError, MachineError, RunFolderError
from metaexp.machine import device as device_module
from metaexp.machine import ranks as ranks_module
from metaexp.machine.all_reduce import Exchange, Partial
from metaexp.machine.device import Compute, find_own, own_threads
from metaexp.machine.environment import changed_environment
from metaexp.machine.launch import Launch, launched
from metaexp.machine.ranks import Group, join_ranks
from metaexp.machine.signals import SharedStopRequest
from metaexp.machine.single_rank import SINGLE, Ranks
from metaexp.results.record import Machine, parse_record
from metaexp.run.step import noise_seed

PLACE = {
    "RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "here", "MASTER_PORT": "9",
}  # fmt: skip

ONLY_ONE = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts this process into a place; a name given as "" is taken away."""

    def put(**changes: str) -> None:
        for name, value in {**PLACE, **changes}.items():
            monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)

    return put


def test_a_process_knows_its_place(place: Callable[..., None]) -> None:
    place()
    assert launched() == Launch(1, 4, 1, 2)
    place(LOCAL_RANK="", LOCAL_WORLD_SIZE="")
    assert launched() == Launch(1, 4, 1, 4)


@pytest.mark.parametrize("changes", [{"MASTER_PORT": ""}, {"RANK": ""}, ONLY_ONE])
def test_a_process_without_others_is_alone(place: Callable[..., None], changes: dict[str, str]) -> None:
    place(**changes)
    assert launched() is None


@pytest.mark.parametrize("changes", [{"RANK": "4"}, {"LOCAL_RANK": "2"}, {"LOCAL_WORLD_SIZE": "5"}])
def test_an_impossible_place_is_refused(place: Callable[..., None], changes: dict[str, str]) -> None:
    place(**changes)
    with pytest.raises(ConfigError, match=r"RANK=\d of WORLD_SIZE=4 and LOCAL_RANK=\d of LOCAL_WORLD_SIZE=\d"):
        launched()


def test_a_place_that_is_not_a_number_is_refused(
    place: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    from metaexp.cli.main import main

    place(WORLD_SIZE="many")
    assert main(["--help"]) == 2
    assert "WORLD_SIZE='many', which must be a whole number" in capsys.readouterr().err


@pytest.mark.parametrize("total", [0, 1, 4, 5, 11, 64])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_every_task_has_one_rank_and_shares_differ_by_one_at_most(total: int, size: int) -> None:
    shares = []
    for rank in range(size):
        ranks = Ranks()
        ranks.rank, ranks.size = rank, size
        shares.append(ranks.share(total))
    assert [index for share in shares for index in share] == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_single_rank_exchanges_nothing() -> None:
    assert SINGLE.gather(lambda: 3) == [3]
    assert SINGLE.broadcast(lambda: "x") == "x"
    tensor = torch.ones(3)
    SINGLE.all_reduce(tensor, torch.zeros(1))
    assert torch.equal(tensor, torch.ones(3))
    SINGLE.stop_for(2)
    assert not SINGLE.stop_request()


def test_noise_differs_between_ranks_and_the_first_has_that_of_one_process() -> None:
    seeds = {noise_seed(seed, step, rank) for seed in range(20) for step in range(50) for rank in range(8)}
    assert len(seeds) == 20 * 50 * 8
    assert noise_seed(3, 5, 0) == noise_seed(3, 5)


def test_a_signal_stops_a_shared_run_when_all_know_of_it() -> None:
    stop = SharedStopRequest()
    stop.receive(15, None)
    assert not stop
    stop.stop_for(15)
    assert stop.signal_number == 15
    with pytest.raises(KeyboardInterrupt):
        stop.receive(2, None)


@pytest.mark.parametrize(
    ("chosen", "variable", "size", "wanted"),
    [(8, None, 2, 4), (1, "1", 2, 4), (1, "1", 3, 2), (1, "1", 16, 1), (3, "3", 2, 3)],
)
def test_the_cores_of_a_machine_are_divided(
    monkeypatch: pytest.MonkeyPatch, chosen: int, variable: str | None, size: int, wanted: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert own_threads(chosen, Launch(0, size, 0, size)) == wanted


def test_every_rank_of_a_machine_takes_the_gpu_of_its_local_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr(device_module, "available", lambda: ["cuda", "cpu"])
    monkeypatch.setattr("torch.cuda.current_device", lambda: 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", taken.append)
    assert find_own("auto", Launch(3, 4, 1, 2)) == torch.device("cuda", 1)
    assert taken == [1]
    assert find_own("cpu", Launch(3, 4, 1, 2)) == torch.device("cpu")
    with pytest.raises(MachineError, match=r"3 processes .* with 2 GPUs, .*--nproc-per-node=2"):
        find_own("cuda", Launch(2, 3, 2, 3))


def test_no_run_is_shared_on_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "available", lambda: ["mps", "cpu"])
    with pytest.raises(ConfigError, match=r"device\.accelerator=auto is mps here.*Set device=cpu"):
        find_own("auto", Launch(0, 2, 0, 2))


class Pair(Ranks):
    """Rank 0 of two; what the other one has is given."""

    def __init__(self, theirs: Callable[[Tensor], Tensor], flags: Callable[[Tensor], Tensor]) -> None:
        self.rank, self.size = 0, 2
        self.theirs, self.flags = theirs, flags

    def all_reduce(self, tensor: Tensor, flags: Tensor) -> Tensor:
        tensor.add_(self.theirs(tensor))
        return flags + self.flags(flags)


def exchanged(pair: Pair, *, wide: bool = False) -> tuple[list[nn.Parameter], Partial]:
    dtype = torch.float64 if wide else torch.float32
    used, unused = nn.Parameter(torch.zeros(2, 2, dtype=dtype)), nn.Parameter(torch.zeros(3))
    buffers = {"mean": torch.zeros(2), "still": torch.zeros(2), "count": torch.tensor(0)}

    def work() -> Partial:
        used.grad = torch.full((2, 2), 0.25, dtype=dtype)
        return Partial(torch.tensor([1.0, 2.0]), {"mean": torch.ones(2), "count": torch.tensor(7)})

    return [used, unused], Exchange(pair, [used, unused], buffers, 5).reduce(work)


def test_gradients_and_new_buffers_are_added_and_losses_put_in_their_places() -> None:
    (used, unused), share = exchanged(Pair(torch.ones_like, _same_parts))
    assert used.grad is not None
    assert torch.equal(used.grad, torch.full((2, 2), 1.25))
    assert unused.grad is None
    assert torch.equal(share.new_buffers["mean"], torch.full((2,), 2.0))
    assert share.new_buffers["count"].item() == 7
    assert torch.equal(share.losses, torch.tensor([2.0, 3.0, 1.0, 1.0, 1.0]))


def test_float64_gradients_keep_their_bits() -> None:
    (used, _), _ = exchanged(Pair(lambda t: torch.full_like(t, 1e-12), _same_parts), wide=True)
    assert used.grad is not None
    assert used.grad[0, 0].item() == 0.25 + 1e-12
    assert torch.tensor(0.25) + 1e-12 == torch.tensor(0.25)  # float32 would have lost it


def test_ranks_that_reach_different_parameters_are_told_apart() -> None:
    with pytest.raises(
        RuntimeError, match=r"1 of 2 ranks has a gradient or a new value for a parameter of shape \(2, 2\)"
    ):
        exchanged(Pair(torch.zeros_like, torch.zeros_like))

    def also_still(flags: Tensor) -> Tensor:
        other = _same_parts(flags)
        other[4 + 3] = 1  # behind four flags of two ranks: two parameters, two buffers that are not whole numbers
        return other

    with pytest.raises(RuntimeError, match=r"new value for still of shape \(2,\)"):
        exchanged(Pair(torch.zeros_like, also_still))


def _same_parts(flags: Tensor) -> Tensor:
    """Flags of a rank that reaches what this one does: no failure, no signal."""
    other = flags.clone()
    other[:4] = 0
    return other


@pytest.mark.parametrize("failed", [False, True])
def test_on_a_gpu_flags_go_through_the_host_first_and_nothing_follows_a_failure(
    monkeypatch: pytest.MonkeyPatch, failed: bool
) -> None:
    calls: list[tuple[str, object]] = []

    def all_reduce(tensor: Tensor, group: object) -> None:
        calls.append((tensor.device.type, group))

    monkeypatch.setattr(ranks_module.dist, "all_reduce", all_reduce)
    group = Group.__new__(Group)
    group.rank, group.size = 0, 2
    group._on_host, group._on_device = "host", "device"  # type: ignore[assignment]
    flags = torch.tensor([0.0, float(failed), 0.0, 0.0])
    group.all_reduce(torch.zeros(9, device="meta"), flags)
    assert calls == [("cpu", "host")] + ([] if failed else [("meta", "device")])


def test_ranks_that_cannot_meet_say_where(
    place: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: object, **__: object) -> None:
        raise RuntimeError("[/src/TCPStore.cpp:42] nobody came. This is typically said of parties.\nmore")

    place()
    monkeypatch.setattr(ranks_module.dist, "init_process_group", never)
    with pytest.raises(MachineError), join_ranks(Launch(1, 4, 1, 2)):
        pass
    said = capsys.readouterr().err
    assert "rank 1 could not meet the other 3 at here:9: nobody came. All ranks must be started with the same" in said


def test_a_checkpoint_of_before_ranks_was_made_by_one() -> None:
    compute = Compute(torch.device("cpu"), "test", "float32", 1, True, None)
    here: dict[str, Any] = dataclasses.asdict(compute.recorded())
    before = {key: value for key, value in here.items() if key != "ranks"}
    assert changed_environment(before, here) == []
    assert changed_environment(before, here | {"ranks": 2}) == ["ranks was 1 and is 2"]


def test_a_record_of_before_ranks_is_read_and_other_missing_keys_are_not(tiny: ModuleType, tmp_path: Path) -> None:
    path = next((Path(__file__).parents[2] / "docs" / "results").glob("*/record.json"))
    content = json.loads(path.read_text())
    content["device"].pop("ranks", None)
    for added in ("digest", "test_episodes_sha256"):  # no record of before has them
        content.pop(added, None)
    record = parse_record(content, path)
    assert isinstance(record.device, Machine)
    assert record.device.ranks == 1
    content["device"]["ranks"] = 4
    several = parse_record(content, path).device
    assert several is not None
    assert several.ranks == 4
    for wrong in ("4", None, 1.0):
        content["device"]["ranks"] = wrong
        with pytest.raises(RunFolderError, match=r"device\.ranks is .*must be an integer"):
            parse_record(content, path)
    del content["device"]["threads"]
    with pytest.raises(RunFolderError, match=r"device\.threads is missing"):
        parse_record(content, path)


_ALONE_IN_A_GROUP = """
from pathlib import Path
from metaexp.machine.launch import Launch
from metaexp.machine.ranks import join_ranks

def threads():
    return {path.name for path in Path("/proc/self/task").iterdir()}

before = threads()
with join_ranks(Launch(0, 1, 0, 1)) as ranks:
    ranks.barrier()
    begun = threads() - before
print(len(begun) > 0, len(begun & threads()))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system does not list threads in /proc")
def test_no_thread_of_the_connections_is_left_that_could_abort_the_process_as_python_ends(tmp_path: Path) -> None:
    store = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "RANK": "0", "WORLD_SIZE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _ALONE_IN_A_GROUP], env={**os.environ, **store}, cwd=tmp_path, check=False, text=True,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["True", "0"]  # torch 2.10 prints there what it connects to
