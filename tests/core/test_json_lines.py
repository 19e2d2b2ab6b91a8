"""Lines of metrics: written one a step, read back as they were, and damage named by its line."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from metaexp.core import json_lines
from metaexp.core.errors import RunFolderError
from metaexp.core.json_lines import encode, last_step, newest_values, read_all_lines, read_lines


def test_lines_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [(10, {"train/loss": 0.1, "train/lr": 1e-3}), (20, {"val/accuracy": 1 / 3})]
    path.write_bytes(b"".join(encode(step, values) for step, values in lines))
    assert list(read_lines(path)) == lines
    assert list(read_lines(path)) != [(10, lines[0][1]), (20, {"val/accuracy": 0.3333})]
    assert last_step(path) == 20


def test_numbers_that_are_not_finite_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(encode(1, {"train/loss": math.nan, "train/gradient_norm": math.inf}))
    ((_, values),) = read_lines(path)
    assert math.isnan(values["train/loss"])
    assert values["train/gradient_norm"] == math.inf


def test_a_name_without_its_split_is_refused() -> None:
    with pytest.raises(ValueError, match="'loss' is not named <split>/<quantity>"):
        encode(1, {"loss": 0.5})


def test_a_line_that_a_crash_cut_short_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(encode(1, {"train/loss": 0.5}) + b'{"step": 2, "tr')
    assert [step for step, _ in read_lines(path)] == [1]
    assert last_step(path) == 1


def test_damage_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(encode(1, {"train/loss": 0.5}) + b"not JSON\n" + encode(3, {"train/loss": 0.4}))
    with pytest.raises(RunFolderError, match="2"):
        list(read_lines(path))


@pytest.mark.parametrize(
    "line",
    ['{"step": 2, "train)loss": 0.4}', '{"step": 2, "train/loss": [0.4]}', '{"step": 2, "train/loss": true}',
     '{"step": 2, "loss": 0.4}', f'{{"step": 2, "train/loss": 1{"0" * 400}}}', '{"step": 2, "train/loss": null}'],
)  # fmt: skip
def test_a_name_or_value_that_no_run_writes_is_damage(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(encode(1, {"train/loss": 0.5, "train/count": 7}))
    assert list(read_lines(path)) == [(1, {"train/loss": 0.5, "train/count": 7})]
    path.write_bytes(path.read_bytes() + line.encode() + b"\n")
    with pytest.raises(RunFolderError, match="line 2 is not a line of metrics"):
        list(read_lines(path))


@pytest.mark.parametrize("step", ["9" * 400, "1e999", "-1", "2.5", "true", '"2"'])
def test_a_step_that_no_run_writes_is_damage(tmp_path: Path, step: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": {step}, "train/loss": 0.4}}\n')
    with pytest.raises(RunFolderError, match="line 1 is not a line of metrics") as caught:
        list(read_lines(path))
    assert len(str(caught.value)) < len(str(path)) + 200
    assert last_step(path) == 0


def test_a_missing_file_has_no_lines(tmp_path: Path) -> None:
    assert list(read_lines(tmp_path / "metrics.jsonl")) == []
    assert last_step(tmp_path / "metrics.jsonl") == 0


def test_a_line_without_an_end_takes_no_memory_without_an_end(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(encode(1, {"train/loss": 0.5}))
    os.truncate(path, 1 << 40)
    with pytest.raises(RunFolderError, match="line 2 is longer than a line of metrics"):
        list(read_lines(path))


def test_a_whole_file_is_read_up_to_a_size_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(encode(1, {"train/loss": 0.5}) * 3)
    assert read_all_lines(path) == [(1, {"train/loss": 0.5})] * 3
    assert read_all_lines(tmp_path / "none.jsonl") == []
    monkeypatch.setattr(json_lines, "MOST_METRICS", 10)
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl has \d+ bytes; at most 10 are read as a whole"):
        read_all_lines(path)
    assert len(list(read_lines(path))) == 3


def test_a_hole_of_a_terabyte_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(RunFolderError, match="1,099,511,627,776 bytes"):
        read_all_lines(path)


def test_the_newest_line_with_a_metric_is_found_at_the_end_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert newest_values(path, "val/") == {}
    lines = [encode(1, {"val/accuracy": 0.1}), encode(2, {"val/accuracy": 0.2, "val/ci95": 0.01})]
    path.write_bytes(b"".join([*lines, encode(3, {"train/loss": 1.0}), b'{"damage', b"\n", b'{"step": 4, "val/accu']))
    assert newest_values(path, "val/") == {"val/accuracy": 0.2, "val/ci95": 0.01}
    assert newest_values(path, "test/") == {}
    path.write_bytes(lines[0] + encode(5, {"train/loss": 1.0}) * 10_000)
    assert newest_values(path, "val/") == {}  # only the end is read
    link = tmp_path / "link"
    link.symlink_to(path)
    assert newest_values(link, "train/") == {}
    assert newest_values(path, "train/") == {"train/loss": 1.0}
