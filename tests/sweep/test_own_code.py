"""A sweep whose jobs use the user's own code: an edit of it is a new sweep, never an old result."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from metaexp.config.classes import targets
from metaexp.config.classes.source import read_module
from metaexp.config.classes.targets import trust
from metaexp.core.errors import ConfigError
from metaexp.results.beginning import OwnCodeRecord
from metaexp.results.record import RunRecord
from metaexp.sweep import reuse
from metaexp.sweep.folder import create
from metaexp.sweep.prepare import Prepared, prepare

CODE = "from metaexp.models.mlp import MLP\nclass Mine(MLP):\n    pass\n"
MODEL = """\
_target_: own_mlp.Mine
hidden: [4]
use_batch_norm: false
norm_scale: false
norm_eps: 0.001
weight_init: default
init_std: 0.01
"""
ASKED = ["dataset=sinusoid", "model=mine", "seed=0,1"]


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the user's own network, in the current folder."""
    (tmp_path / "own_mlp.py").write_text(CODE)
    (tmp_path / "my_conf" / "model").mkdir(parents=True)
    (tmp_path / "my_conf" / "model" / "mine.yaml").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(targets, "_trusted", set())
    monkeypatch.setattr(sys, "path", list(sys.path))
    read_module.cache_clear()
    trust("own_mlp")
    return tmp_path / "own_mlp.py"


def asked(*more: str) -> Prepared:
    read_module.cache_clear()  # each command is a process of its own
    return prepare([*ASKED, *more], Path("my_conf"), "config")


def begin(prepared: Prepared) -> None:
    create(prepared.path, [], prepared.digest, prepared.jobs)


def test_the_same_code_is_the_same_sweep() -> None:
    first = asked()
    begin(first)
    assert (asked().path, asked().notes) == (first.path, [])


def test_edited_code_is_a_new_sweep_even_where_the_old_one_is_not_complete(own: Path) -> None:
    first = asked()
    begin(first)
    own.write_text(CODE + "# better\n")
    second = asked()
    assert second.path != first.path
    assert second.sweep is None
    (note,) = second.notes
    assert "is not complete, but the code of your own that job 0 uses has changed since: this is a new sweep" in note
    own.write_text(CODE)
    assert asked().path == first.path


def test_a_job_is_not_run_with_other_code_than_it_was_frozen_with(own: Path) -> None:
    job = asked().jobs[0]
    assert job.settings(1).seed == 0
    own.write_text(CODE + "# better\n")
    with pytest.raises(ConfigError, match=r"the code of own_mlp was changed after the sweep was made.*new sweep"):
        job.settings(1)


def test_jobs_with_other_code_are_other_jobs_and_shipped_classes_have_none(own: Path) -> None:
    before = asked().jobs[0]
    own.write_text(CODE + "# better\n")
    after = asked().jobs[0]
    assert before.config_hash == after.config_hash
    assert before.identity != after.identity
    shipped = prepare(["dataset=sinusoid", "seed=0,1"], None, "config").jobs[0]
    assert shipped.own_code is None


def test_a_completed_run_is_taken_over_for_the_same_code_only(record: RunRecord) -> None:
    job = asked().jobs[0]
    assert job.own_code is not None
    run = replace(record, config=job.config, config_hash=job.config_hash)
    assert not reuse._is_same(run, job)
    assert not reuse._is_same(replace(run, own_code=OwnCodeRecord("f" * 64, {})), job)
    assert reuse._is_same(replace(run, own_code=OwnCodeRecord(job.own_code, {})), job)
