"""An edit of one's own dataset, or of one's own loss, between stop and resume and between two sweeps."""

from __future__ import annotations

import re
import shutil
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import metaexp as mx
from metaexp.cli.main import main
from metaexp.compare.gather import gather
from metaexp.compare.rows import settings as settings_of
from metaexp.compare.why import explain, read_side
from metaexp.config.classes import targets
from metaexp.config.classes.source import read_module
from metaexp.config.classes.targets import trust
from metaexp.config.compose import Composer
from metaexp.config.identity import numeric_part
from metaexp.core.errors import ConfigError
from metaexp.reproduce.causes import likely_causes
from metaexp.results.beginning import InexactResume
from metaexp.results.display.terminal import print_summary
from metaexp.results.own_code import codes_used
from metaexp.results.record import RunRecord, read_record
from metaexp.run.first_record import with_resume
from metaexp.run.job import resume_job, run_job
from metaexp.sweep import reuse
from metaexp.sweep.folder import create
from metaexp.sweep.prepare import prepare

EXAMPLE = Path(__file__).parents[2] / "examples" / "dataset"
LOSS = "from torch import nn\n\n\ndef robust(scores, y):\n    return nn.functional.smooth_l1_loss(scores, y)\n"
METHOD = """\
from metaexp.algorithms.maml import MAML
from .losses import robust


class Robust(MAML):
    def loss(self, scores, y):
        return robust(scores, y)
"""
EDITS = {
    "dataset": ("lab/lines.py", "-1.0, 1.0)", "-1.5, 1.5)"),
    "loss": ("lab/losses.py", "(scores, y)\n", "(scores, y, beta=0.1)\n"),
}
OVERRIDES = [
    "algorithm=robust", "dataset=lines", "model.hidden=[4]", "train.steps=4", "train.meta_batch_size=1",
    "train.eval_every=4", "train.checkpoint_every=1", "eval.episodes=4", "tracker=files",
]  # fmt: skip


def as_a_new_process() -> None:
    """Forget the modules of the package, which a new Python process would import again."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "lab"]:
        del sys.modules[name]
    read_module.cache_clear()


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a dataset, a loss in a file of its own, and an algorithm that uses it; the current folder."""
    (tmp_path / "lab").mkdir()
    (tmp_path / "conf" / "algorithm").mkdir(parents=True)
    shutil.copytree(EXAMPLE / "conf" / "dataset", tmp_path / "conf" / "dataset")
    shipped = (Path(__file__).parents[2] / "conf" / "algorithm" / "maml.yaml").read_text()
    lines = (tmp_path / "conf" / "dataset" / "lines.yaml").read_text()
    (tmp_path / "conf" / "dataset" / "lines.yaml").write_text(lines.replace("my_data.lines", "lab.lines"))
    method = shipped.replace("metaexp.algorithms.maml.MAML", "lab.methods.Robust")
    (tmp_path / "conf" / "algorithm" / "robust.yaml").write_text(method)
    for name, text in {"__init__": "", "losses": LOSS, "methods": METHOD}.items():
        (tmp_path / "lab" / f"{name}.py").write_text(text)
    shutil.copy(EXAMPLE / "my_data" / "lines.py", tmp_path / "lab" / "lines.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(targets, "_trusted", set())
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("metaexp.run.outputs.draw", lambda *_: {})
    as_a_new_process()
    trust("lab")
    return tmp_path


def edit(part: str) -> str:
    """Edit a part of the project; return the name of the file."""
    name, old, new = EDITS[part]
    text = Path(name).read_text()
    assert text.count(old) == 1
    Path(name).write_text(text.replace(old, new))
    as_a_new_process()
    return name


def begun(folder: str, *overrides: str, stop_after: int | None = None) -> Path:
    settings = Composer(Path("conf")).settings([*OVERRIDES, *overrides])
    run_job(settings, folder=Path(folder), stop_after=stop_after)
    return Path(folder)


@pytest.mark.parametrize("part", EDITS)
def test_a_resume_with_an_edited_part_says_so_and_the_record_keeps_it(
    part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, folder = begun("whole"), begun("stopped", stop_after=2)
    name = edit(part)
    record = resume_job(folder).record
    assert not record.exact_resume
    (resume,) = record.inexact_resumes
    assert resume.step == 2
    assert resume.changed[-1] == f"own code differs in {name}"
    assert "own code differs in" in (folder / "run.log").read_text()
    print_summary(record, folder)
    assert f"continued after step 2, but not bit for bit: {'; '.join(resume.changed)}" in capsys.readouterr().out
    found = explain(read_side(whole), read_side(folder), numeric_part).findings
    assert ("course", "resumed after step 2") in [(finding.kind, finding.key) for finding in found]
    assert ("code", "own code") in [(finding.kind, finding.key) for finding in found]
    assert any(name in finding.second for finding in found)
    assert any(name in cause for cause in likely_causes(read_record(whole), record, []))
    assert settings_of(record)["own_code"] == ", then ".join(codes_used(record))
    assert len(gather([whole, folder]).runs) == 2  # not two runs of one code


def test_a_resume_without_an_edit_is_exact_and_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    whole, folder = begun("whole"), begun("stopped", stop_after=2)
    as_a_new_process()
    record = resume_job(folder).record
    assert (record.exact_resume, record.inexact_resumes) == (True, [])
    assert (folder / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    print_summary(record, folder)
    assert "bit for bit" not in capsys.readouterr().out
    assert explain(read_side(whole), read_side(folder), numeric_part).findings == []
    assert len(gather([whole, folder]).runs) == 1


@pytest.mark.parametrize("part", EDITS)
def test_predictions_with_an_edited_part_say_so(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = begun("whole")
    x, y = np.linspace(-1, 1, 4, dtype=np.float32)[:, None], np.ones((4, 1), np.float32)
    np.savez("known.npz", x=x, y=y)
    np.savez("new.npz", x=x)
    words = ["predict", str(folder), "--support", "known.npz", "--query", "new.npz"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mx.load_run(folder).predict(x, y, x)
    assert main(words) == 0
    assert "edited" not in "".join(capsys.readouterr())
    line = f"not what was trained: your own code was edited since ({edit(part)})"
    with pytest.warns(UserWarning, match=re.escape(line)):
        mx.load_run(folder).predict(x, y, x)
    assert main(words) == 0
    assert line in capsys.readouterr().out


@pytest.mark.usefixtures("no_figures")
def test_a_run_is_not_tested_again_for_a_comparison_with_edited_code(capsys: pytest.CaptureFixture[str]) -> None:
    for seed, folder in enumerate(["first", "second"]):
        begun(folder, f"seed={seed}")
    begun("odd", "seed=2", "eval.episodes=6")
    words = ["compare", "first", "second", "odd", "--retest", "--output"]
    name = edit("loss")
    assert main([*words, "edited"]) == 4
    assert (
        f"odd cannot be tested again: your own code was edited since it was trained ({name})."
        in capsys.readouterr().err
    )
    assert not Path("edited").exists()
    Path(name).write_text(LOSS)
    as_a_new_process()
    assert main([*words, "same"]) == 0


@pytest.mark.parametrize("part", EDITS)
def test_a_sweep_with_an_edited_part_is_a_new_sweep(part: str) -> None:
    asked = [*OVERRIDES, "seed=0,1"]
    first = prepare(asked, Path("conf"), "config")
    create(first.path, [], first.digest, first.jobs)
    as_a_new_process()
    assert prepare(asked, Path("conf"), "config").path == first.path
    edit(part)
    assert prepare(asked, Path("conf"), "config").path != first.path


@pytest.mark.parametrize("part", EDITS)
def test_a_job_that_was_completed_by_hand_with_an_edited_part_does_not_count_as_done(part: str) -> None:
    first = prepare([*OVERRIDES, "seed=0,1"], Path("conf"), "config")
    sweep = create(first.path, [], first.digest, first.jobs)
    folders = [sweep.folder(job) for job in first.jobs]
    for job, folder in zip(first.jobs, folders, strict=True):
        run_job(job.settings(None), folder=folder, stop_after=2)
    resume_job(folders[0])
    original = {path: path.read_text() for path in Path("lab").glob("*.py")}
    edit(part)
    resume_job(folders[1])
    for path, text in original.items():
        path.write_text(text)
    done, other = [sweep.state(job) for job in first.jobs]
    assert done.status == "completed"
    assert (other.status, other.is_damaged) == ("failed", True)
    assert "was completed with other code of your own" in str(other.error)
    assert not reuse._is_same(read_record(folders[1]), first.jobs[1])


def test_an_edit_in_a_process_that_has_imported_the_code_is_refused() -> None:
    begun("first")
    text = Path("lab/losses.py").read_text()
    Path("lab/losses.py").write_text(text + "# edited\n")
    with pytest.raises(ConfigError, match=r"^lab/losses\.py was edited after this Python process had imported it"):
        begun("second")
    assert not Path("second").exists()
    Path("lab/losses.py").write_text(text)
    begun("second")


def test_going_back_to_an_earlier_checkpoint_undoes_the_resumes_after_it(record: RunRecord) -> None:
    made = [InexactResume(step, ["threads was 2 and is 1"], None, None) for step in (3, 7)]
    run = replace(record, inexact_resumes=made)
    assert with_resume(run, 5, None).inexact_resumes == made[:1]
    assert with_resume(run, 7, made[1]).inexact_resumes == made
    assert with_resume(run, 9, None).inexact_resumes == made
