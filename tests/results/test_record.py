"""record.json: written whole, read strictly."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metaexp.core.errors import RunFolderError
from metaexp.results.record import RECORD_FILE, RunRecord, Score, read_record, to_json, write_record


def test_a_record_reads_back_equal(record: RunRecord, tmp_path: Path) -> None:
    path = write_record(record, tmp_path)
    assert read_record(tmp_path) == read_record(path) == record
    write_record(dataclasses.replace(record, seed=1), tmp_path)
    assert read_record(tmp_path) != record


def test_a_record_that_has_only_begun_reads_back_equal(record: RunRecord, tmp_path: Path) -> None:
    begun = RunRecord(
        status="running", name="a", algorithm="maml", dataset="glyphs", model="conv4", task=record.task, seed=0,
        config={}, config_hash="0",
    )  # fmt: skip
    write_record(begun, tmp_path)
    assert read_record(tmp_path) == begun


def test_every_field_is_in_the_file_in_a_fixed_order(record: RunRecord) -> None:
    names = [field.name for field in dataclasses.fields(RunRecord)]
    assert list(json.loads(to_json(record))) == ["schema_version", *names[:-1], "digest"]
    assert to_json(record) == to_json(dataclasses.replace(record))
    assert to_json(record).endswith("}\n")


def _damage(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.update(changes)


FAULTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "missing": (lambda c: c.pop("batch_norm"), r"key batch_norm is missing"),
    "missing deep": (lambda c: c["test"].pop("ci95"), r"key test\.ci95 is missing"),
    "misspelt": (_damage(episode_banks="x"), r"key episode_banks is unknown\. Did you mean 'episode_bank'\?"),
    "unknown deep": (lambda c: c["task"].update(ways=5), r"key task\.ways is unknown"),
    "text for a number": (lambda c: c["test"].update(mean="0.9"), r"key test\.mean is '0\.9'; it must be a number"),
    "true for a number": (_damage(seed=True), r"key seed is True; it must be an integer"),
    "number for text": (_damage(name=3), r"key name is 3; it must be text"),
    "number for a claim": (_damage(exact_resume=1), r"key exact_resume is 1; it must be true or false"),
    "not a list": (_damage(overrides="a=1"), r"key overrides is 'a=1'; it must be a list"),
    "item of a list": (lambda c: c["after_steps"].append(1), r"key after_steps\[3\] is 1; it must be a mapping"),
    "a time below 0": (_damage(seconds=-5.0), r"key seconds is -5\.0; it must be 0 or more"),
    "an interval below 0": (lambda c: c["test"].update(ci95=-0.1), r"key test\.ci95 is -0\.1; it must be 0 or more"),
    "null": (_damage(config=None), r"key config is None; it must be a mapping"),
    "a name of many characters": (_damage(group="x" * 501), r"group has 501 characters; names have at most 500"),
    "another name of many characters": (
        _damage(dataset="x" * 9_000),
        r"dataset has 9000 characters; names have at",
    ),
    "status": (_damage(status="done"), r"key status is 'done'; allowed: 'running', 'completed'"),
    "not a number in the configuration": (
        _damage(config={"algorithm": {"inner_lr": [0.1, float("nan")]}}),
        r"key config\.algorithm\.inner_lr\[1\] is nan; it must be a finite number of usual size",
    ),
    "an infinite number in the configuration": (
        _damage(config={"train": {"steps": float("-inf")}}),
        r"key config\.train\.steps is -inf; it must be a finite",
    ),
    "a huge number in the configuration": (
        _damage(config={"seed": 10**400}),
        r"key config\.seed is 1000.* of usual size",
    ),
    "a section that is a number": (_damage(config={"train": 3}), r"key config\.train is 3; it must be a mapping"),
    "a section that is null": (_damage(config={"model": None}), r"key config\.model is None; it must be a mapping"),
    "a key of a newer version": (
        _damage(joules=1.0),
        r"key joules is unknown\. .*Perhaps a newer metaexp wrote it: then upgrade",
    ),
    "newer": (_damage(schema_version=2), r"schema_version is 2; this version of metaexp reads 1\. A newer metaexp"),
    "no version": (lambda c: c.pop("schema_version"), r"schema_version is None"),
    "true for version 1": (_damage(schema_version=True), r"schema_version is True"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_record_is_refused_with_file_and_key(fault: str, record: RunRecord, tmp_path: Path) -> None:
    damage, message = FAULTS[fault]
    content = json.loads(to_json(record))
    damage(content)
    (tmp_path / RECORD_FILE).write_text(json.dumps(content))
    with pytest.raises(RunFolderError, match=message) as caught:
        read_record(tmp_path)
    assert str(tmp_path / RECORD_FILE) in str(caught.value)


@pytest.mark.parametrize("key", ["seconds", "overrides", "n_parameters", "error"])
def test_a_record_that_was_changed_is_refused(key: str, record: RunRecord, tmp_path: Path) -> None:
    record = dataclasses.replace(record, test_episodes_sha256="f" * 64)
    path = write_record(record, tmp_path)
    assert read_record(tmp_path) == record
    changed: dict[str, object] = {"seconds": 1.0, "overrides": ["seed=1"], "n_parameters": 1, "error": "no"}
    content = json.loads(path.read_text()) | {key: changed[key]}
    path.write_text(json.dumps(content))
    with pytest.raises(RunFolderError, match=r"record\.json was changed after it was written: key digest is not"):
        read_record(tmp_path)
    del content["digest"]
    path.write_text(json.dumps(content))
    with pytest.raises(RunFolderError, match=r"was changed after it was written: key digest is missing\. Restore it"):
        read_record(tmp_path)
    del content["test_episodes_sha256"]  # as records were before they had digests
    path.write_text(json.dumps(content))
    assert getattr(read_record(tmp_path), key) == changed[key]


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e400", "1" + "0" * 400])
@pytest.mark.parametrize("key", ["seconds", "seed"])
def test_a_number_that_no_run_has_is_refused(number: str, key: str, record: RunRecord, tmp_path: Path) -> None:
    text = json.dumps(json.loads(to_json(record)) | {key: "HERE"}).replace('"HERE"', number)
    (tmp_path / RECORD_FILE).write_text(text)
    with pytest.raises(RunFolderError, match=f"key {key} is"):
        read_record(tmp_path)


@pytest.mark.parametrize("text", ["", '{"schema_version": 1', "[]", "\x00"])
def test_a_file_that_is_not_a_record_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / RECORD_FILE).write_text(text)
    with pytest.raises(RunFolderError, match=RECORD_FILE):
        read_record(tmp_path)


def test_a_folder_without_a_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"is not a run folder: it has no record\.json"):
        read_record(tmp_path)
    with pytest.raises(RunFolderError, match="is not a run folder"):
        read_record(tmp_path / "nowhere")


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_number_that_json_does_not_have_is_not_written(number: float, record: RunRecord, tmp_path: Path) -> None:
    write_record(record, tmp_path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_record(dataclasses.replace(record, test=Score("accuracy", number, 0.1, 600)), tmp_path)
    assert read_record(tmp_path) == record


def test_records_are_read_without_torch_or_matplotlib() -> None:
    code = (
        "import sys, metaexp.results.record, metaexp.results.verdict, metaexp.report.pages, metaexp.report.publish;"
        "sys.exit(bool({'torch', 'matplotlib', 'numpy', 'hydra', 'omegaconf'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
