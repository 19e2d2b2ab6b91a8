"""``metaexp why``: a key that a later version added does not count as a difference if it has its default."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from folders_of_runs import a_record, write_run

from metaexp.cli.main import main
from metaexp.config.identity import config_hash


@pytest.mark.parametrize(
    ("section", "key", "default", "other"),
    [("train", "n_tasks", None, 4), ("eval", "metrics", [], ["nll"]), ("augment", "flip", False, True)],
)
def test_a_key_that_was_added_later_differs_only_if_it_is_not_at_its_default(
    section: str, key: str, default: object, other: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = a_record()
    config = {"train": {}, "eval": {}, **record.config}
    older = {name: value for name, value in config.items() if name != "augment"}
    write_run(tmp_path / "older", replace(record, config=older, config_hash=config_hash(older)))
    for value, is_listed in ((default, False), (other, True)):
        newer = {**config, section: {**config.get(section, {}), key: value}}
        write_run(tmp_path / "newer", replace(record, config=newer, config_hash=config_hash(newer)))
        assert main(["why", str(tmp_path / "older"), str(tmp_path / "newer")]) == 0
        assert (f"{section}.{key}" in capsys.readouterr().out) is is_listed
        shutil.rmtree(tmp_path / "newer")
