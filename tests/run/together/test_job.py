"""Runs that are trained together have the folders of ordinary runs: they fail, stop and go on each by itself."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from metaexp.core.errors import NotFiniteError, RunFolderError
from metaexp.machine.signals import Interrupted
from metaexp.results.record import read_record
from metaexp.run.checkpoint import Checkpoints
from metaexp.run.evaluation.evaluate import evaluate_run
from metaexp.run.initial.command import Provenance
from metaexp.run.job import resume_job, run_job
from metaexp.run.progress import Lines
from metaexp.run.together.job import Start, common_step, run_together

SEEDS = (0, 1, 2)
NO_NOISE = {"model": {"_target_": "tiny_runs.Net", "width": 8, "dropout": 0.0}}
MAML = {
    "_target_": "metaexp.algorithms.maml.MAML", "inner_lr": 0.1, "inner_steps": 2, "inner_steps_test": 3,
    "first_order": False, "inner_loss_reduction": "mean", "adapt": "all", "batch_norm": "transductive",
}  # fmt: skip
FILES = ("metrics.jsonl", "test_episodes.csv", "checkpoints/best.safetensors", "checkpoints/step_000000012.safetensors")


def starts(tiny: ModuleType, place: Path, changes: Sequence[dict[str, Any]] | None = None) -> list[Start]:
    """Runs that differ in their seeds, or in ``changes``, in folders 0, 1, ... of ``place``."""
    found = []
    for number, change in enumerate(changes or [{"seed": seed} for seed in SEEDS]):
        settings = tiny.settings(place, **(NO_NOISE | change))
        found.append(Start(settings, Provenance(), place / str(number), f"run {number}"))
    return found


def result_of(folder: Path) -> dict[str, bytes]:
    """The files that must be equal, byte for byte."""
    return {name: (folder / name).read_bytes() for name in FILES}


def numbers_of(folder: Path) -> list[float]:
    """All numbers of the metrics."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [value for line in lines for value in json.loads(line).values()]


def folders(place: Path) -> list[Path]:
    return [place / str(number) for number in range(len(SEEDS))]


@pytest.fixture
def undisturbed(tiny: ModuleType, tmp_path: Path, silent: Lines) -> list[Path]:
    """The folders of three seeds that were trained together."""
    place = tmp_path / "undisturbed"
    assert run_together(starts(tiny, place), display=silent) == [None] * 3
    return folders(place)


def test_their_numbers_are_those_of_separate_runs_to_rounding(tiny: ModuleType, tmp_path: Path, silent: Lines) -> None:
    changes = [{"seed": seed, "algorithm": MAML, "model": {"_target_": "tiny_runs.Features"}} for seed in SEEDS]
    assert run_together(starts(tiny, tmp_path / "together", changes), display=silent) == [None] * 3
    together = folders(tmp_path / "together")
    alone = [
        run_job(start.settings, folder=start.folder, display=silent).folder for start in starts(tiny, tmp_path, changes)
    ]
    for found, expected in zip(together, alone, strict=True):
        assert numbers_of(found) == pytest.approx(numbers_of(expected), rel=1e-4, abs=1e-5)
        a, b = read_record(found), read_record(expected)
        assert (a.seed, a.config_hash, a.episode_bank) == (b.seed, b.config_hash, b.episode_bank)
        assert (a.status, a.steps, a.device and a.device.runs_together) == ("completed", 12, 3)
        assert b.device is not None
        assert b.device.runs_together == 1
    assert numbers_of(together[0]) != pytest.approx(numbers_of(alone[1]), rel=1e-4, abs=1e-5)
    evaluation = evaluate_run(together[1], ["eval.episodes=4"], display=silent).evaluation
    assert evaluation.test.n_episodes == 4


def test_each_message_is_in_the_log_of_its_own_run(undisturbed: list[Path]) -> None:
    for number, folder in enumerate(undisturbed):
        text = (folder / "run.log").read_text()
        assert f"seed {number}" in text
        assert not any(f"seed {other}" in text for other in SEEDS if other != number)
        assert text.count("validation after 8 of 12 steps") == 1


@pytest.mark.parametrize("lost", [False, True])
def test_stopped_runs_go_on_together_as_if_nothing_had_happened(
    tiny: ModuleType,
    tmp_path: Path,
    silent: Lines,
    stop_after: Callable[..., Lines],
    undisturbed: list[Path],
    lost: bool,
) -> None:
    errors = run_together(starts(tiny, tmp_path / "stopped"), display=stop_after(7))
    assert [type(error) for error in errors] == [Interrupted] * 3
    assert [read_record(folder).steps for folder in folders(tmp_path / "stopped")] == [7, 7, 7]
    if lost:  # as after a kill between the saves of two runs
        Checkpoints(tmp_path / "stopped" / "1" / "checkpoints").drop_after(6)
    assert run_together(starts(tiny, tmp_path / "stopped"), display=silent) == [None] * 3
    for found, expected in zip(folders(tmp_path / "stopped"), undisturbed, strict=True):
        assert result_of(found) == result_of(expected)
        assert read_record(found).exact_resume
    assert result_of(undisturbed[0]) != result_of(undisturbed[1]), "the comparison must be able to fail"


def test_one_that_goes_on_alone_says_that_this_is_not_bit_for_bit(
    tiny: ModuleType, tmp_path: Path, silent: Lines, stop_after: Callable[..., Lines]
) -> None:
    run_together(starts(tiny, tmp_path), display=stop_after(7))
    record, _ = resume_job(tmp_path / "1", silent)
    assert (record.status, record.exact_resume) == ("completed", False)
    assert record.inexact_resumes[0].changed == ["runs_together was 3 and is 1"]


def test_runs_that_have_come_less_far_catch_up_first(
    tiny: ModuleType, tmp_path: Path, silent: Lines, stop_after: Callable[..., Lines]
) -> None:
    with pytest.raises(Interrupted):
        run_job(starts(tiny, tmp_path)[0].settings, folder=tmp_path / "0", display=stop_after(11))
    assert common_step([Checkpoints(folder / "checkpoints") for folder in folders(tmp_path)]) is None
    assert run_together(starts(tiny, tmp_path), display=silent) == [None] * 3
    assert [read_record(folder).steps for folder in folders(tmp_path)] == [12, 12, 12]
    assert "continues after step 11" in (tmp_path / "0" / "run.log").read_text()


def test_one_that_fails_does_not_stop_the_others(tiny: ModuleType, tmp_path: Path, silent: Lines) -> None:
    rates = [{"optimizer": {"_target_": "torch.optim.SGD", "lr": lr}} for lr in (0.01, 1e30, 0.02)]
    errors = run_together(starts(tiny, tmp_path, rates), display=silent)
    assert errors[0] is errors[2] is None
    assert isinstance(errors[1], NotFiniteError)
    records = [read_record(folder) for folder in folders(tmp_path)]
    assert [record.status for record in records] == ["completed", "failed", "completed"]
    assert "optimizer.lr=1e+30" in str(errors[1])
    assert "is not finite" in str(records[1].error)


def test_one_may_end_before_the_others(tiny: ModuleType, tmp_path: Path, silent: Lines) -> None:
    still = {"_target_": "torch.optim.SGD", "lr": 1e-30}
    changes = [{"seed": 0}, {"seed": 1, "optimizer": still, "train__patience": 1}, {"seed": 2}]
    assert run_together(starts(tiny, tmp_path, changes), display=silent) == [None] * 3
    assert [read_record(folder).steps for folder in folders(tmp_path)] == [12, 8, 12]


def test_a_second_interrupt_ends_all_of_them_at_once(tiny: ModuleType, tmp_path: Path, acting_at: Any) -> None:
    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    errors = run_together(starts(tiny, tmp_path), display=acting_at("train", 7, interrupt))
    assert all(
        isinstance(error, Interrupted) and "since its last checkpoint are lost" in str(error) for error in errors
    )
    assert {read_record(folder).status for folder in folders(tmp_path)} == {"interrupted"}


def test_one_whose_folder_is_damaged_is_left_out(
    tiny: ModuleType, tmp_path: Path, silent: Lines, stop_after: Callable[..., Lines]
) -> None:
    run_together(starts(tiny, tmp_path), display=stop_after(7))
    (tmp_path / "1" / "config.yaml").write_text("no mapping")
    errors = run_together(starts(tiny, tmp_path), display=silent)
    assert errors[0] is errors[2] is None
    assert isinstance(errors[1], RunFolderError)
