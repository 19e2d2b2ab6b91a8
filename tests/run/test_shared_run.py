"""Several processes that share one run give its numbers, leave one folder, and end together."""

from __future__ import annotations

import fcntl
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from forking import run_program

from metaexp.results.episodes import read_episodes
from metaexp.results.record import RunRecord, read_record
from metaexp.run.checkpoint import read

pytestmark = pytest.mark.timeout(600)  # on a busy machine forty processes take their time

KILLS = Path(__file__).resolve().parents[1] / "support" / "kills"
KINDS = ("maml", "proto_net", "reptile")
CLOSE = 1e-4
"""Relative, after eight steps in float32."""
CLOSE_GRADIENTS = 5e-3
"""Relative, for norms of gradients: on an Intel Xeon, rounding grows to 1.4e-3 in those of MAML."""

COUNTING = {"_target_": "tiny_runs.Counting", "inner_lr": 0.1, "by_data": False}

JOBS: dict[str, dict[str, Any]] = {
    **{f"{kind}{n}": {"ranks": n, "settings": kind} for kind in KINDS for n in (1, 4)},
    "maml2": {"ranks": 2, "settings": "maml"},
    **{f"untrained{n}": {"ranks": n, "settings": "maml", "changes": {"train__steps": 0}} for n in (1, 4)},
    **{f"counting{n}": {"ranks": n, "settings": "maml", "changes": {"algorithm": COUNTING}} for n in (1, 2)},
    "counting apart": {"ranks": 2, "settings": "maml", "changes": {"algorithm": COUNTING | {"by_data": True}}},
    "untested": {"ranks": 2, "settings": "maml", "changes": {"eval__test": False}},
    "wrong slice": {"ranks": 2, "settings": "maml", "act": ["slice", 1, 0]},
    "wrong mean": {"ranks": 2, "settings": "maml", "act": ["mean", "all", 0]},
    "stopped": {"ranks": 2, "settings": "maml", "act": ["stop", 1, 6]},
    "continued": {"ranks": 2, "resume": True, "in": "stopped"},
    "interrupted": {"ranks": 2, "settings": "reptile", "act": ["interrupt", 0, 6]},
    "continued by four": {"ranks": 4, "resume": True, "in": "interrupted"},
    "killed": {"ranks": 4, "settings": "maml", "act": ["kill", 2, 6]},
    "continued after the kill": {"ranks": 4, "resume": True, "in": "killed"},
    "first killed": {"ranks": 2, "settings": "maml", "act": ["kill", 0, 6]},
    "continued alone": {"ranks": 1, "resume": True, "in": "first killed"},
    "complete": {"ranks": 2, "resume": True, "in": "maml2"},
    "warned": {"ranks": 4, "settings": "maml", "act": ["warn", 2, 3]},
    "all warned": {"ranks": 2, "settings": "maml", "act": ["warn", "all", 3]},
    "logged": {"ranks": 4, "settings": "maml", "act": ["log", 2, 3]},
    "all logged": {"ranks": 2, "settings": "maml", "act": ["log", "all", 3]},
    "logged and left": {"ranks": 2, "settings": "maml", "act": ["log outside", 1, 3]},
    "error": {"ranks": 2, "settings": "maml", "act": ["error", 1, 3]},
    "memory": {"ranks": 2, "settings": "maml", "act": ["memory", 1, 3]},
    "outside": {"ranks": 2, "settings": "maml", "act": ["outside", 1, 3]},
    "drift": {"ranks": 2, "settings": "maml", "act": ["drift", 1, 3]},
    "not finite": {
        "ranks": 2,
        "settings": "maml",
        "changes": {"dataset": {"_target_": "tiny_runs.Lines", "poison": 18, "version": "a"}},
    },
    "other seed": {"ranks": 2, "settings": "maml", "other": {"seed": 3}},
    "other rhythm": {"ranks": 4, "settings": "maml", "other": {"train__checkpoint_every": 4}},
    "other place": {"ranks": 2, "settings": "maml", "other": {"paths__data": "elsewhere"}},
    "one mistake": {"ranks": 2, "settings": "maml", "other": {"train__steps": -1}},
    "too few": {"ranks": 2, "settings": "maml", "changes": {"train__meta_batch_size": 1}},
    "one batch": {"ranks": 2, "settings": "proto_net", "changes": {"algorithm": {"_target_": "tiny_runs.Pretrained"}}},
    "no data": {"ranks": 2, "settings": "maml", "changes": {"dataset": {"_target_": "tiny_runs.Missing"}}},
    "help": {"ranks": 2, "argv": ["--help"]},
    "typo": {"ranks": 2, "argv": ["train.stps=3"]},
    "sweep": {"ranks": 2, "argv": ["-m", "seed=0,1"]},
    "evaluate": {"ranks": 2, "argv": ["evaluate", "somewhere"]},
}


class Shared:
    """How the processes of every job ended, and what they left."""

    def __init__(self, report: dict[str, Any]) -> None:
        self.report = report

    def folder(self, name: str) -> Path:
        return Path(self.report[name]["folder"])

    def codes(self, name: str) -> list[int]:
        codes: list[int] = self.report[name]["codes"]
        return codes

    def said(self, name: str, rank: int) -> str:
        """What a rank printed, on either stream, without the lines that torch 2.10's gloo prints when ranks connect."""
        lines = (self.report[name]["out"][rank] + self.report[name]["err"][rank]).splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("[Gloo] "))

    def record(self, name: str) -> RunRecord:
        return read_record(self.folder(name))

    def metrics(self, name: str) -> list[dict[str, float]]:
        return [json.loads(line) for line in (self.folder(name) / "metrics.jsonl").read_text().splitlines()]

    def state(self, name: str) -> dict[str, torch.Tensor]:
        return read(self.folder(name) / "checkpoints" / "step_000000008")[0]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """All jobs, run once for all processes of a test session."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared_runs"
    place.mkdir(exist_ok=True)
    with (place / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "report.json").exists():
            short = {
                name: {**job, "changes": {"train__steps": 8, **job.get("changes", {})}} for name, job in JOBS.items()
            }
            (place / "jobs.json").write_text(json.dumps(short))
            code, printed = run_program(KILLS / "shared_runs.py", [place, place / "jobs.json"], place)
            assert code == 0, printed
    return Shared(json.loads((place / "report.json").read_text()))


def differs(first: list[dict[str, float]], second: list[dict[str, float]]) -> list[str]:
    """The metrics that are not equal to rounding; of those before any line is wrong by its step or its names."""
    assert [list(line) for line in first] == [list(line) for line in second]
    return [
        f"{key} after {a['step']}: {a[key]} and {b[key]}"
        for a, b in zip(first, second, strict=True)
        for key in a
        if not math.isclose(
            a[key], b[key], rel_tol=CLOSE_GRADIENTS if key == "train/gradient_norm" else CLOSE, abs_tol=1e-5
        )
    ]


@pytest.mark.parametrize(("kind", "n_ranks"), [("maml", 2), *((kind, 4) for kind in KINDS)])
def test_the_numbers_are_those_of_one_process(shared: Shared, kind: str, n_ranks: int) -> None:
    one, several = f"{kind}1", f"{kind}{n_ranks}"
    assert shared.codes(several) == [0] * n_ranks
    assert differs(shared.metrics(one), shared.metrics(several)) == []
    episodes = [torch.tensor(read_episodes(shared.folder(name) / "test_episodes.csv")) for name in (one, several)]
    assert torch.allclose(*episodes, rtol=CLOSE, atol=1e-5)
    assert shared.record(one).episode_bank == shared.record(several).episode_bank
    assert shared.record(one).config_hash == shared.record(several).config_hash


@pytest.mark.parametrize("kind", KINDS)
def test_weights_statistics_and_the_optimisers_state_are_those_of_one_process(shared: Shared, kind: str) -> None:
    one, four = shared.state(f"{kind}1"), shared.state(f"{kind}4")
    assert one.keys() == four.keys()
    for name, tensor in one.items():
        assert torch.allclose(tensor.double(), four[name].double(), rtol=1e-3, atol=1e-4), name
    moving = [name for name in one if "running_mean" in name or "second_moment" in name]
    assert any(one[name].any() for name in moving)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_were_clipped(shared: Shared, kind: str) -> None:
    assert max(line.get("train/gradient_norm", 0.0) for line in shared.metrics(f"{kind}1")) > 0.25


def test_buffers_that_are_written_in_place_are_those_of_the_first_rank(shared: Shared) -> None:
    assert shared.codes("counting2") == [0, 0]
    one, two = shared.state("counting1"), shared.state("counting2")
    assert one["weights/seen"].item() == 8 * 5
    assert two["weights/seen"].item() == 8 * 2, "two of five tasks are those of rank 0"
    assert one["weights/average"].item() != two["weights/average"].item() != 0


@pytest.mark.parametrize("wrong", ["wrong slice", "wrong mean"])
def test_a_wrong_share_would_be_noticed(shared: Shared, wrong: str) -> None:
    assert shared.codes(wrong) == [0, 0]
    assert differs(shared.metrics("maml1"), shared.metrics(wrong)) != []


def test_with_the_same_weights_every_test_episode_has_the_same_bits(shared: Shared) -> None:
    one, four = (shared.folder(f"untrained{n}") for n in (1, 4))
    for name in ("test_episodes.csv", "metrics.jsonl"):
        assert (one / name).read_bytes() == (four / name).read_bytes()
    assert (one / "test_episodes.csv").read_bytes() != (shared.folder("maml1") / "test_episodes.csv").read_bytes()


def test_no_rank_tests_a_run_that_is_not_to_be_tested(shared: Shared) -> None:
    assert shared.codes("untested") == [0, 0]
    assert shared.record("untested").status == "completed"
    assert shared.record("untested").test is None
    *trained, tested = shared.metrics("maml2")
    assert "test/mse" in tested
    assert shared.metrics("untested") == trained


def test_only_the_first_rank_speaks_and_writes(shared: Shared) -> None:
    assert "run folder:" in shared.said("maml4", 0)
    assert [shared.said("maml4", rank) for rank in (1, 2, 3)] == ["", "", ""]
    names = [
        {str(p.relative_to(shared.folder(f"maml{n}"))) for p in shared.folder(f"maml{n}").rglob("*")} for n in (1, 4)
    ]
    assert names[0] == names[1]


def test_a_warning_of_another_rank_is_shown_once_by_the_first(shared: Shared) -> None:
    said = [shared.said("warned", rank) for rank in range(4)]
    assert said[0].count("warning of rank 2 of 4: ") == said[0].count("UserWarning: this rank has 7 doubts about") == 1
    assert said[1:] == ["", "", ""]
    assert "warning of" not in shared.said("maml4", 0)
    assert result(shared, "warned") == result(shared, "maml4")


def test_a_warning_of_all_ranks_is_that_of_the_first(shared: Shared) -> None:
    first, second = (shared.said("all warned", rank) for rank in range(2))
    assert first.count("UserWarning: this rank has 7 doubts about range(0, 2)") == 1
    assert "warning of" not in first
    assert second == ""


def test_what_another_rank_logs_is_shown_once_by_the_first_and_is_in_its_log(shared: Shared) -> None:
    said = [shared.said("logged", rank) for rank in range(4)]
    lines = [
        "warning of rank 2 of 4: this rank finds range(2, 3) odd",
        "error of rank 2 of 4: my_code.data: 5 files are gone",
    ]
    log = (shared.folder("logged") / "run.log").read_text()
    for line in lines:
        assert said[0].count(line) == log.count(f" INFO {line}") == 1
    assert said[1:] == ["", "", ""]
    assert "nothing to say" not in said[0] + log
    assert result(shared, "logged") == result(shared, "maml4")


def test_what_all_ranks_log_is_that_of_the_first(shared: Shared) -> None:
    first, second = (shared.said("all logged", rank) for rank in range(2))
    assert first.count("warning: this rank finds range(0, 2) odd") == 1
    assert first.count("5 files are gone") == 1
    assert "of rank" not in first
    assert second == ""


def test_a_rank_that_leaves_says_itself_what_the_first_has_not_heard(shared: Shared) -> None:
    assert shared.codes("logged and left") == [6, 1]
    assert "odd" not in shared.said("logged and left", 0)
    said = shared.said("logged and left", 1).splitlines()
    assert said[:3] == [
        "warning of rank 1 of 2: this rank finds range(2, 5) odd",
        "error of rank 1 of 2: my_code.data: 5 files are gone",
        "metaexp train, rank 1 of 2:",
    ]


def test_the_record_says_how_many_ranks_there_were(shared: Shared) -> None:
    found = {n: shared.record(f"maml{n}").device for n in (1, 2, 4)}
    assert {n: machine.ranks for n, machine in found.items() if machine is not None} == {1: 1, 2: 2, 4: 4}
    assert shared.record("maml4").exact_resume is True
    assert "4 ranks, each on cpu" in (shared.folder("maml4") / "run.log").read_text()


def test_a_signal_to_any_rank_stops_all_after_the_same_step(shared: Shared) -> None:
    assert shared.codes("stopped") == [143, 143]
    assert "stopped by SIGTERM after 7 of 8 steps, and saved" in shared.said("stopped", 0)
    assert shared.said("stopped", 1) == ""
    assert shared.codes("interrupted") == [130, 130]
    assert "stopped by SIGINT after 7 of 8 steps, and saved" in shared.said("interrupted", 0)


def test_a_stopped_run_goes_on_bit_for_bit_with_as_many_ranks(shared: Shared) -> None:
    assert shared.codes("continued") == [0, 0]
    assert result(shared, "continued") == result(shared, "maml2")
    assert result(shared, "continued") != result(shared, "maml4")
    assert shared.record("continued").exact_resume is True


def test_it_goes_on_with_another_number_of_ranks_and_says_that_it_is_not_exact(shared: Shared) -> None:
    assert shared.codes("continued by four") == [0, 0, 0, 0]
    assert differs(shared.metrics("reptile1"), shared.metrics("continued by four")) == []
    record = shared.record("continued by four")
    assert record.exact_resume is False
    assert record.device is not None
    assert record.device.ranks == 4
    assert "not bit for bit: ranks was 2 and is 4" in shared.said("continued by four", 0)


def test_a_killed_rank_ends_the_others_and_the_run_can_go_on(shared: Shared) -> None:
    assert shared.codes("killed") == [6, 6, -9, 6]
    assert "another rank of this run has ended" in shared.said("killed", 0)
    assert [shared.said("killed", rank) for rank in (1, 3)] == ["", ""]
    assert shared.codes("continued after the kill") == [0, 0, 0, 0]
    assert result(shared, "continued after the kill") == result(shared, "maml4")


def test_when_the_first_rank_is_killed_one_process_can_go_on(shared: Shared) -> None:
    assert shared.codes("first killed") == [-9, 6]
    assert shared.codes("continued alone") == [0]
    assert differs(shared.metrics("maml1"), shared.metrics("continued alone")) == []
    assert shared.record("continued alone").exact_resume is False


def result(shared: Shared, name: str) -> dict[str, bytes]:
    """The files that must be equal, byte for byte."""
    names = ["metrics.jsonl", "test_episodes.csv", "checkpoints/step_000000008.safetensors"]
    return {name_: (shared.folder(name) / name_).read_bytes() for name_ in names}


ENDS = {
    "error": ([1, 1], "rank 1 of 2 failed: ValueError: this rank does not want to"),
    "memory": ([6, 6], "rank 1 of 2 failed: out of memory: no memory is left for 12 bytes"),
    "outside": ([6, 1], "another rank of this run has ended"),
    "drift": ([6, 6], "the state after 5 steps of rank 1"),
    "counting apart": ([6, 6], "They differ in average, seen. Code of your own that writes to a buffer must not do so"),
    "not finite": ([5, 5], "the loss of training task 18 is not finite in step 4 of 8"),
    "other seed": ([6, 6], "the configuration of rank 1"),
    "one mistake": ([2, 2], "rank 1 of 2 failed: train.steps=-1"),
    "too few": ([2, 2], "train.meta_batch_size=1 gives 1 task per step, which 2 ranks cannot share"),
    "one batch": ([2, 2], "Pretrained trains on one batch of train.meta_batch_size=5 examples per step"),
    "no data": ([3, 3], "the lines are nowhere to be found"),
    "typo": ([2, 2], "train.stps is not a key of train. Did you mean train.steps?"),
    "sweep": ([2, 2], "metaexp train: a sweep (-m, train.seeds) runs in one process, and 2 were started"),
    "evaluate": ([2, 2], "metaexp evaluate: this verb runs in one process, and 2 were started"),
    "help": ([0, 0], "usage: metaexp VERB"),
    "complete": ([0, 0], "is complete; there is nothing to continue"),
}


@pytest.mark.parametrize("name", ENDS)
def test_all_ranks_end_and_the_first_says_why(shared: Shared, name: str) -> None:
    codes, message = ENDS[name]
    assert shared.codes(name) == codes
    assert message in shared.said(name, 0)
    assert "Traceback" not in shared.said(name, 0)


@pytest.mark.parametrize("name", [name for name in ENDS if name not in ("error", "outside")])
def test_other_ranks_do_not_repeat_the_messages_of_rank_0(shared: Shared, name: str) -> None:
    assert shared.said(name, 1) == ""


@pytest.mark.parametrize("name", ["error", "outside"])
def test_a_bug_is_shown_where_it_happened(shared: Shared, name: str) -> None:
    assert "rank 1 of 2" in shared.said(name, 1)
    assert "ValueError: this rank does not want to" in shared.said(name, 1)


@pytest.mark.parametrize("name", ["error", "memory", "outside", "drift", "not finite", "killed"])
def test_a_failure_is_in_the_record_unless_the_run_went_on(shared: Shared, name: str) -> None:
    assert shared.record(name).status == ("completed" if name == "killed" else "failed")


def test_settings_that_differ_between_ranks_are_refused_unless_they_name_places(shared: Shared) -> None:
    assert shared.codes("other rhythm") == [6, 6, 6, 6]
    assert "the configuration of rank 3" in shared.said("other rhythm", 0)
    assert shared.codes("other place") == [0, 0]
    assert result(shared, "other place") == result(shared, "maml2")


@pytest.mark.parametrize("name", ["too few", "one batch", "no data", "other seed", "other rhythm", "one mistake"])
def test_nothing_is_written_for_what_cannot_be_shared(shared: Shared, name: str) -> None:
    assert not shared.folder(name).exists()


def test_the_checkpoints_before_a_drift_are_kept_out(shared: Shared) -> None:
    assert list((shared.folder("drift") / "checkpoints").glob("*")) == []
