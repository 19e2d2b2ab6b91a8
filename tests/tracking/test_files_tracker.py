"""metrics.jsonl: the same calls write the same bytes, and a resumed run goes on where its checkpoint was."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from metaexp.core.errors import RunFolderError
from metaexp.core.json_lines import encode, read_lines
from metaexp.tracking.files import JsonLines


def _write(path: Path, steps: range, position: int | None = 0) -> int:
    lines = JsonLines(path)
    lines.open(position)
    for step in steps:
        lines.append(step, {"train/loss": 1 / (step + 3), "train/accuracy": step / 7})
    end = lines.position()
    lines.close()
    return end


def test_same_scalars_write_the_same_bytes_whatever_the_order_of_keys() -> None:
    assert encode(3, {"train/loss": 0.1, "train/accuracy": 0.5}) == encode(
        3, {"train/accuracy": 0.5, "train/loss": 0.1}
    )
    assert encode(3, {"train/loss": 0.1}) != encode(3, {"train/loss": np.nextafter(0.1, 1.0)})


def test_a_line_starts_with_the_step_and_holds_no_clock() -> None:
    line = json.loads(encode(20, {"val/accuracy": 0.5}))
    assert list(line) == ["step", "val/accuracy"]


@pytest.mark.parametrize("number", [0.1, 1 / 3, 1e-300, 123456789.123456789, float(np.float32(0.3)), -0.0])
def test_a_float_reads_back_as_the_same_bits(number: float, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(encode(0, {"train/loss": number}))
    ((_, values),) = read_lines(tmp_path / "m")
    assert np.float64(values["train/loss"]).tobytes() == np.float64(number).tobytes()


def test_numbers_that_are_not_finite_are_valid_json_and_read_back(tmp_path: Path) -> None:
    given = {"train/a": math.nan, "train/b": math.inf, "train/c": -math.inf}
    raw = encode(0, given)
    json.loads(raw, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    (tmp_path / "m").write_bytes(raw)
    ((_, values),) = read_lines(tmp_path / "m")
    assert [str(values[key]) for key in given] == ["nan", "inf", "-inf"]


@pytest.mark.parametrize("name", ["loss", "train/", "/loss", "train loss/x", "train//x"])
def test_a_metric_without_a_split_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="val/accuracy"):
        encode(0, {name: 1.0})


def test_cut_back_to_a_checkpoint_and_continued_equals_an_undisturbed_file(tmp_path: Path) -> None:
    _write(tmp_path / "whole", range(10))
    position = _write(tmp_path / "killed", range(6))
    _write(tmp_path / "killed", range(6, 9), position)
    _write(tmp_path / "killed", range(6, 10), position)
    assert (tmp_path / "killed").read_bytes() == (tmp_path / "whole").read_bytes()


def test_continuing_without_cutting_back_does_not_equal_an_undisturbed_file(tmp_path: Path) -> None:
    _write(tmp_path / "whole", range(10))
    _write(tmp_path / "killed", range(8))
    _write(tmp_path / "killed", range(6, 10), None)
    assert (tmp_path / "killed").read_bytes() != (tmp_path / "whole").read_bytes()


def test_a_file_shorter_than_the_checkpoint_says_is_refused(tmp_path: Path) -> None:
    position = _write(tmp_path / "metrics.jsonl", range(3))
    with pytest.raises(
        RunFolderError, match=f"{position} bytes, but the checkpoint was saved when it had {position + 1}"
    ):
        JsonLines(tmp_path / "metrics.jsonl").open(position + 1)


def test_a_torn_last_line_is_ignored_by_readers_and_dropped_by_writers(tmp_path: Path) -> None:
    path = tmp_path / "timings.jsonl"
    _write(path, range(3))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"step": 3, "train/lo')
    assert [step for step, _ in read_lines(path)] == [0, 1, 2]
    _write(path, range(3, 4), None)
    assert [step for step, _ in read_lines(path)] == [0, 1, 2, 3]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(encode(0, {}) + b"oops\n" + encode(1, {}))
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl, line 2"):
        list(read_lines(path))


def test_a_missing_file_has_no_lines(tmp_path: Path) -> None:
    assert list(read_lines(tmp_path / "none")) == []


def test_a_line_can_be_read_before_the_file_is_closed(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "m")
    lines.open(0)
    lines.append(5, {"train/loss": 1.0})
    assert list(read_lines(tmp_path / "m")) == [(5, {"train/loss": 1.0})]
    lines.close()
    lines.close()
    with pytest.raises(RuntimeError, match="after close"):
        lines.append(6, {"train/loss": 1.0})


@pytest.mark.parametrize("torn", [1, 70_000, 200_000])
def test_a_torn_line_of_any_length_is_dropped(tmp_path: Path, torn: int) -> None:
    path = tmp_path / "timings.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n' + b"x" * torn)
    lines = JsonLines(path)
    lines.open()
    lines.close()
    assert path.read_bytes() == b'{"step": 1}\n{"step": 2}\n'


def test_a_file_that_is_a_torn_line_alone_is_emptied(tmp_path: Path) -> None:
    (tmp_path / "timings.jsonl").write_bytes(b"x" * 70_000)
    lines = JsonLines(tmp_path / "timings.jsonl")
    lines.open()
    lines.close()
    assert (tmp_path / "timings.jsonl").read_bytes() == b""


def test_a_file_of_zeros_without_an_end_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "timings.jsonl"
    path.write_bytes(b'{"step": 1}\n')
    os.truncate(path, 1 << 40)
    with pytest.raises(RunFolderError, match="bytes that are not a line"):
        JsonLines(path).open()
    assert path.stat().st_size == 1 << 40


def test_an_error_of_the_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    lines = JsonLines(tmp_path / "metrics.jsonl")
    lines.open()
    monkeypatch.setattr("os.fsync", broken)
    with pytest.raises(OSError, match="Input/output error") as raised:
        lines.sync()
    assert raised.value.filename == str(tmp_path / "metrics.jsonl")
    monkeypatch.undo()
    lines.close()
