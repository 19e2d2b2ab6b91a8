"""The comparison of a run with its rerun: the first difference, and what could have caused it."""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from metaexp.core.errors import RunFolderError
from metaexp.core.json_lines import METRICS_FILE, TIMINGS_FILE, encode
from metaexp.reproduce.difference import compare_folders
from metaexp.results.beginning import Git
from metaexp.results.episodes import EPISODES_FILE, write_episodes
from metaexp.results.record import Machine, RunRecord, Score, write_record


def lines(loss: float = 0.5) -> list[bytes]:
    """Training at 10, 20, ... 50, validation at 20 and 40, the test at 50."""
    train = [encode(step, {"train/loss": loss / step, "train/lr": 0.1}) for step in range(10, 60, 10)]
    val = [encode(step, {"val/accuracy": 0.5 + step / 100}) for step in (20, 40)]
    return [*train, *val, encode(50, {"test/accuracy": 0.9})]


@pytest.fixture
def pair(record: RunRecord, tmp_path: Path) -> tuple[Path, Path]:
    """Two equal run folders."""
    for name in ("run", "again"):
        folder = tmp_path / name
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "checkpoints" / "best.safetensors").write_bytes(b"weights")
        (folder / TIMINGS_FILE).write_bytes(b"")
        (folder / METRICS_FILE).write_bytes(b"".join(lines()))
        write_episodes(folder / EPISODES_FILE, [[0.2, 0.4], [0.8, 1.0]])
        write_record(record, folder)
    return tmp_path / "run", tmp_path / "again"


def change(folder: Path, index: int, **values: float) -> None:
    """Write other values into one line of the metrics."""
    content = lines()
    step = int(content[index].split(b":")[1].split(b",")[0])
    content[index] = encode(step, {key.replace("__", "/"): value for key, value in values.items()})
    (folder / METRICS_FILE).write_bytes(b"".join(content))


def test_equal_folders_are_identical_and_everything_was_compared(pair: tuple[Path, Path]) -> None:
    found = compare_folders(*pair)
    assert found.identical
    assert (found.differences, found.causes, found.conditions) == ([], [], [])
    assert found.compared == [
        "8 lines of metrics.jsonl, steps 10 to 50", "2 test episodes",
        "the selected step, the validation score and the test score", "the selected weights",
    ]  # fmt: skip


def test_the_first_difference_names_the_step_the_quantity_both_values_and_their_ratio(
    pair: tuple[Path, Path],
) -> None:
    change(pair[1], 2, train__loss=0.5 / 30 * 1.01, train__lr=0.1)
    found = compare_folders(*pair)
    assert not found.identical
    (first,) = found.differences
    assert (first.where, first.quantity) == ("metrics.jsonl, step 30", "train/loss")
    assert (first.run, first.again) == (0.5 / 30, 0.5 / 30 * 1.01)
    assert first.relative == pytest.approx(0.01)
    assert first.format() == (
        f"metrics.jsonl, step 30: train/loss is {0.5 / 30} in the run and {0.5 / 30 * 1.01} now "
        "(relative difference 0.01)"
    )


def test_the_last_bit_counts(pair: tuple[Path, Path]) -> None:
    change(pair[1], 5, val__accuracy=math.nextafter(0.7, 1.0))
    (first,) = compare_folders(*pair).differences
    assert (first.where, first.quantity) == ("metrics.jsonl, step 20", "val/accuracy")


def test_only_the_beginning_is_compared_where_only_that_was_made(pair: tuple[Path, Path]) -> None:
    change(pair[1], 2, train__loss=9.0, train__lr=0.1)
    assert compare_folders(*pair, until=29).identical
    assert compare_folders(*pair, until=29).compared == ["3 lines of metrics.jsonl, steps 10 to 20"]
    assert not compare_folders(*pair, until=30).identical


def test_a_number_that_is_not_finite_equals_itself(pair: tuple[Path, Path]) -> None:
    change(pair[0], 2, train__loss=math.nan, train__lr=0.1)
    assert not compare_folders(*pair).identical
    change(pair[1], 2, train__loss=math.nan, train__lr=0.1)
    assert compare_folders(*pair).identical


def test_lines_that_only_one_has_are_differences(pair: tuple[Path, Path]) -> None:
    (pair[1] / METRICS_FILE).write_bytes(b"".join(lines()[1:]))
    (first,) = compare_folders(*pair).differences
    assert (first.where, first.run, first.again) == ("metrics.jsonl, step 10", "there", "missing")
    (first,) = compare_folders(pair[1], pair[0]).differences
    assert (first.where, first.run, first.again) == ("metrics.jsonl, step 10", "missing", "there")


def test_a_published_copy_may_have_fewer_lines_of_training_but_not_of_validation(pair: tuple[Path, Path]) -> None:
    run, again = pair
    (run / TIMINGS_FILE).unlink()
    shutil.rmtree(run / "checkpoints")
    (run / METRICS_FILE).write_bytes(b"".join(lines()[1:]))
    found = compare_folders(run, again)
    assert found.identical
    assert "the selected weights" not in found.compared
    (run / METRICS_FILE).write_bytes(b"".join(lines()[:5] + lines()[6:]))
    (first,) = compare_folders(run, again).differences
    assert (first.where, first.quantity) == ("metrics.jsonl, step 20", "val/accuracy")


def test_episodes_scores_and_weights_are_compared_each(pair: tuple[Path, Path], record: RunRecord) -> None:
    run, again = pair
    write_episodes(again / EPISODES_FILE, [[0.2, 0.4], [0.8, 0.9]])
    (again / "checkpoints" / "best.safetensors").write_bytes(b"weighty")
    write_record(dataclasses.replace(record, test=Score("accuracy", 0.97, 0.0031, 600), selected_step=5000), again)
    found = compare_folders(run, again)
    assert [(d.where, d.quantity) for d in found.differences] == [
        ("test_episodes.csv, episode 1", "after_1"), ("record.json", "selected_step"),
        ("checkpoints/best.safetensors", "SHA-256"),
    ]  # fmt: skip
    write_episodes(again / EPISODES_FILE, [[0.2], [0.8]])
    assert compare_folders(run, again).differences[0].run == "(2, 2)"


def weights(folder: Path, **tensors: list[float]) -> None:
    """Write selected weights."""
    content = safetensors.numpy.save({name: np.array(values, np.float32) for name, values in tensors.items()})
    (folder / "checkpoints" / "best.safetensors").write_bytes(content)


def test_weights_that_the_rerun_did_not_save_are_named_and_the_others_compared(pair: tuple[Path, Path]) -> None:
    """An earlier version saved the classifier of training classes with the selected weights."""
    run, again = pair
    weights(run, body=[1.0, 2.0], head=[3.0], bias=[])
    weights(again, body=[1.0, 2.0])
    found = compare_folders(run, again)
    assert found.identical
    assert found.compared[-1] == "the selected weights (except bias, head, which the rerun did not save)"


@pytest.mark.parametrize(
    "now",
    [
        {"body": [1.0, 2.5]},  # another value
        {"body": [1.0]},  # another shape
        {"body": [1.0, 2.0], "head": [3.0], "new": [4.0]},  # one more
        {"new": [1.0, 2.0]},  # another name
        {},
    ],
)
def test_weights_differ_where_what_the_rerun_saved_is_not_in_the_run(
    now: dict[str, list[float]], pair: tuple[Path, Path]
) -> None:
    run, again = pair
    weights(run, body=[1.0, 2.0], head=[3.0])
    weights(again, **now)
    assert [item.where for item in compare_folders(run, again).differences] == ["checkpoints/best.safetensors"]


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"\x02" + b"\0" * 7 + b"[]", b"\xff" * 20])
def test_weights_that_are_damaged_differ(content: bytes, pair: tuple[Path, Path]) -> None:
    run, again = pair
    weights(run, body=[1.0, 2.0], head=[3.0])
    (again / "checkpoints" / "best.safetensors").write_bytes(content)
    assert not compare_folders(run, again).identical
    assert not compare_folders(again, run).identical


def test_weights_of_another_size_differ_unread(pair: tuple[Path, Path]) -> None:
    run, again = pair
    os.truncate(run / "checkpoints" / "best.safetensors", 1 << 40)
    (found,) = compare_folders(run, again).differences
    assert (found.where, found.quantity, found.run, found.again) == (
        "checkpoints/best.safetensors", "bytes", 1 << 40, 7,
    )  # fmt: skip


def test_the_validation_of_a_run_that_was_not_tested_is_compared(pair: tuple[Path, Path], record: RunRecord) -> None:
    """Such as a trial of a search."""
    untested = dataclasses.replace(record, test=None, after_steps=[])
    for folder in pair:
        (folder / EPISODES_FILE).unlink()
        write_record(untested, folder)
    found = compare_folders(*pair)
    assert found.identical
    assert "the selected step, the validation score" in found.compared
    write_record(dataclasses.replace(untested, selected_step=40), pair[1])
    assert [d.quantity for d in compare_folders(*pair).differences] == ["selected_step"]


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"versions": {"metaexp": "0.1.0", "torch": "2.14.0"}}, "torch was 2.13.0+cpu and is 2.14.0"),
        ({"device": Machine("cpu", "AMD EPYC", "float32", 1, True, None)}, "threads was 2 and is 1"),
        ({"device": Machine("cpu", "AMD EPYC", "float32", 2, True, None, ranks=4)}, "ranks was 1 and is 4"),
        ({"device": Machine("cuda", "H200", "float32", 2, True, None)}, "accelerator was cpu and is cuda"),
        ({"git": Git("b" * 40, False)}, "commit was aaaaaaaaaaaa and is bbbbbbbbbbbb"),
        ({"git": Git("a" * 40, True)}, "the rerun was made with source files that differ from its commit"),
        ({"data_hash": "f" * 64}, "the data differ"),
        ({"exact_resume": False}, "the rerun was continued on another machine, version or code"),
        ({}, "data) differs (a record does not have the model of processor): look at"),
        ({"git": None}, "differs (a record does not have the commit and the model of processor): look at"),
    ],
)
def test_the_cause_is_what_is_not_as_it_was(
    pair: tuple[Path, Path], record: RunRecord, changes: dict[str, object], cause: str
) -> None:
    change(pair[1], 0, train__loss=9.0, train__lr=0.1)
    write_record(dataclasses.replace(record, **changes), pair[1])
    causes = compare_folders(*pair).causes
    assert any(cause in text for text in causes), causes
    assert not any("torch was" in text for text in causes) or "versions" in changes


@pytest.mark.parametrize(
    ("now", "cause"),
    [
        ("family 25, model 17", "processor was family 25, model 1 and is family 25, model 17"),
        ("family 25, model 1", "none of what is recorded (versions, device, threads, commit, data) differs: look at"),
    ],
)
def test_the_model_of_a_processor_is_a_cause_although_its_name_is_the_same(
    pair: tuple[Path, Path], record: RunRecord, now: str, cause: str
) -> None:
    change(pair[1], 0, train__loss=9.0)
    for folder, model in zip(pair, ("family 25, model 1", now), strict=True):
        assert record.device is not None
        write_record(dataclasses.replace(record, device=dataclasses.replace(record.device, processor=model)), folder)
    (found,) = compare_folders(*pair).causes
    assert found.startswith(cause)


def test_changed_conditions_are_listed_for_identical_runs_too(pair: tuple[Path, Path], record: RunRecord) -> None:
    write_record(dataclasses.replace(record, git=Git("b" * 40, False)), pair[1])
    found = compare_folders(*pair)
    assert found.identical
    assert found.conditions == ["commit was aaaaaaaaaaaa and is bbbbbbbbbbbb"]
    assert found.causes == []


def test_nothing_to_compare_is_not_called_identical(pair: tuple[Path, Path], record: RunRecord) -> None:
    with pytest.raises(RunFolderError, match="no numbers that could be compared"):
        compare_folders(*pair, until=5)
