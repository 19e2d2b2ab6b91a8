"""What a run keeps of the user's own code, and what is said where the code changed."""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from metaexp.compare.why import explain, read_side
from metaexp.config.classes import targets
from metaexp.config.identity import numeric_part
from metaexp.config.schema import OwnCode, Settings
from metaexp.core.errors import RunFolderError
from metaexp.machine import environment
from metaexp.reproduce.causes import conditions
from metaexp.reproduce.from_weights import format_reproduced_tests, reproduce_tests
from metaexp.reproduce.planned_tests import plan_test
from metaexp.results.own_code import source_files
from metaexp.results.record import OwnCodeRecord, read_record
from metaexp.run import job
from metaexp.run.evaluation import evaluate
from metaexp.run.job import resume_job, run_job


def test_a_run_keeps_a_copy_of_the_users_own_code_and_its_digest(tiny: ModuleType, tmp_path: Path) -> None:
    settings = tiny.settings(tmp_path)
    done = run_job(settings)
    assert settings.own_code is not None
    assert done.record.own_code is not None
    assert done.record.own_code.digest == settings.own_code.digest
    assert "tiny_runs" in done.record.own_code.git
    copy = done.folder / "code" / settings.own_code.digest[:12] / "tiny_runs.py"
    assert copy.read_bytes() == Path(tiny.__file__).read_bytes()
    assert done.record.sources is not None


def edited(code: OwnCode) -> OwnCode:
    return replace(code, files={**code.files, "tiny_runs.py": b"# edited\n"})


def test_a_run_that_goes_on_with_edited_code_says_so_and_keeps_both(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny.settings(tmp_path)
    folder = run_job(settings, stop_after=6).folder
    check = job.check
    monkeypatch.setattr(job, "check", lambda *a: (s := check(*a)) and replace(s, own_code=edited(s.own_code)))
    record = resume_job(folder).record
    assert not record.exact_resume
    assert "own code was" in (folder / "run.log").read_text()
    assert len(list((folder / "code").iterdir())) == 2


def test_a_run_that_goes_on_with_the_same_code_is_exact(tiny: ModuleType, tmp_path: Path) -> None:
    folder = run_job(tiny.settings(tmp_path), stop_after=6).folder
    assert resume_job(folder).record.exact_resume
    assert len(list((folder / "code").iterdir())) == 1


def test_an_edit_of_metaexp_between_stop_and_resume_counts(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run_job(tiny.settings(tmp_path), stop_after=6).folder
    monkeypatch.setattr(environment.provenance, "sources_digest", lambda: "e" * 64)
    assert not resume_job(folder).record.exact_resume
    assert "metaexp sources was" in (folder / "run.log").read_text()


def test_a_checkpoint_that_does_not_name_its_code_is_not_taken_for_different() -> None:
    then = {"torch": "2"}
    here = {"torch": "2", "ranks": 1, "runs_together": 1, "metaexp sources": "a", "own code": "b", "processor": "c"}
    assert environment.changed_environment(then, here) == []
    assert environment.changed_environment({**then, "own code": "c"}, here) == ["own code was c and is b"]
    assert environment.changed_environment(then, {**here, "runs_together": 3}) == ["runs_together was 1 and is 3"]
    assert environment.changed_environment({**then, "processor": "d"}, here) == ["processor was d and is c"]


def test_why_and_reproduce_name_code_that_differs(tiny: ModuleType, tmp_path: Path) -> None:
    folder = run_job(tiny.settings(tmp_path)).folder
    before = read_side(folder)
    content = json.loads((folder / "record.json").read_text())
    content["own_code"]["digest"] = "f" * 64
    del content["digest"], content["test_episodes_sha256"]
    (folder / "record.json").write_text(json.dumps(content))
    after = read_side(folder)
    assert [(f.kind, f.key) for f in explain(before, after, numeric_part).findings] == [("code", "own code")]
    assert any(line.startswith("own code was") for line in conditions(before.record, after.record))
    assert explain(after, after, numeric_part).findings == []
    content["sources"] = "f" * 64
    (folder / "record.json").write_text(json.dumps(content))
    keys = [finding.key for finding in explain(after, read_side(folder), numeric_part).findings]
    assert keys == ["metaexp sources"]
    assert any("metaexp sources was" in line for line in conditions(after.record, read_record(folder)))


def with_edited_code(folder: Path, copy: Path, *, keeps_names: bool = True) -> Path:
    """A copy of a run that was made with another version of ``tiny_runs.py`` and with one file more."""
    shutil.copytree(folder, copy)
    content = json.loads((copy / "record.json").read_text())
    for key in ("digest", "test_episodes_sha256"):  # as in records from before digests
        content.pop(key, None)
    own = content["own_code"]
    own["digest"] = "f" * 64
    code = copy / "code" / ("f" * 12)
    next((copy / "code").iterdir()).rename(code)
    (code / "tiny_runs.py").write_text("# edited\n")
    (code / "helpers.py").write_text("")
    own["files"] |= {
        "tiny_runs.py": hashlib.sha256(b"# edited\n").hexdigest(),
        "helpers.py": hashlib.sha256().hexdigest(),
    }
    if not keeps_names:
        del own["files"]
    (copy / "record.json").write_text(json.dumps(content))
    return copy


@pytest.mark.parametrize("keeps_names", [True, False])
def test_why_names_the_files_of_ones_own_code_that_differ(tiny: ModuleType, tmp_path: Path, keeps_names: bool) -> None:
    folder = run_job(tiny.settings(tmp_path)).folder
    other = with_edited_code(folder, tmp_path / "other", keeps_names=keeps_names)
    found = explain(read_side(folder), read_side(other), numeric_part).findings
    assert [(f.kind, f.key) for f in found] == [
        ("code", "own code"), ("code", "own file helpers.py"), ("code", "own file tiny_runs.py"),
    ]  # fmt: skip
    helpers, edited_file = found[1:]
    assert helpers.first == "-"
    assert edited_file.first == hashlib.sha256(Path(tiny.__file__).read_bytes()).hexdigest()[:12]
    assert edited_file.second == hashlib.sha256(b"# edited\n").hexdigest()[:12]
    assert explain(read_side(other), read_side(other), numeric_part).findings == []


def test_reproduce_names_the_files_of_ones_own_code_that_differ(tiny: ModuleType, tmp_path: Path) -> None:
    folder = run_job(tiny.settings(tmp_path)).folder
    other = with_edited_code(folder, tmp_path / "other")
    found = conditions(read_record(folder), read_record(other))
    assert found[-1] == "own code differs in helpers.py, tiny_runs.py"
    assert conditions(read_record(folder), read_record(folder)) == []


def test_a_digest_that_is_not_one_leads_to_no_file(tmp_path: Path) -> None:
    (tmp_path / "run" / "code").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("secret")
    assert source_files(OwnCodeRecord("../../secret", {}), tmp_path / "run") == {}


def test_weights_that_are_tested_again_with_edited_code_say_so(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run_job(tiny.settings(tmp_path)).folder
    assert "your own code" not in format_reproduced_tests(reproduce_tests([plan_test(folder)]))
    read = evaluate.revise
    monkeypatch.setattr(evaluate, "revise", lambda *a: (s := read(*a)) and replace(s, own_code=edited(s.own_code)))
    text = format_reproduced_tests(reproduce_tests([plan_test(folder)]))
    assert "not what was trained: your own code was edited since (tiny_runs.py)" in text


@pytest.mark.parametrize("name", ["config.yaml", "checkpoints/best.json"])
def test_a_completed_run_whose_files_were_edited_is_not_called_complete(
    name: str, tiny: ModuleType, tmp_path: Path
) -> None:
    folder = run_job(tiny.settings(tmp_path)).folder
    assert resume_job(folder).record.status == "completed"
    path = folder / name
    if name == "config.yaml":
        path.write_text(path.read_text().replace("  steps: 1", "  steps: 3"))
    else:
        content = json.loads(path.read_text())
        content["values"]["config_hash"] = "f" * 64
        path.write_text(json.dumps(content))
    with pytest.raises(RunFolderError, match=name):
        resume_job(folder)


BROKEN = """
import tiny_runs


class Broken(tiny_runs.Lines):
    def load(self, folder, progress):
        fail_at("load")
        return BrokenLines(self.poison, self.version)


class BrokenLines(tiny_runs.LoadedLines):
    def tasks(self, shape, seed):
        fail_at("tasks")
        return BrokenTasks(shape, seed, None)


class BrokenTasks(tiny_runs.LineTasks):
    def episodes(self, split, indices):
        fail_at("first tasks" if split == "val" and len(indices) <= 3 else split)
        return super().episodes(split, indices)


def fail_at(place):
    if place == PLACE:
        raise RuntimeError(f"no luck\\nat {place}")
"""


@pytest.fixture
def broken(tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Settings]:
    """Settings of a run whose own dataset raises an error at some place."""
    (tmp_path / "broken_lines.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(targets, "_trusted", {"tiny_runs", "broken_lines"})
    monkeypatch.delitem(sys.modules, "broken_lines", raising=False)

    def settings(place: str) -> Settings:
        module = importlib.import_module("broken_lines")
        monkeypatch.setattr(module, "PLACE", place, raising=False)
        return tiny.settings(tmp_path / "outputs", dataset={"_target_": "broken_lines.Broken", "poison": None})

    return settings


@pytest.mark.parametrize(("place", "steps"), [("train", 0), ("val", 4), ("test", 12)])
def test_a_run_whose_own_code_fails_once_it_has_a_folder_says_there_where(
    broken: Callable[[str], Settings], tmp_path: Path, place: str, steps: int
) -> None:
    with pytest.raises(RuntimeError, match="no luck"):
        run_job(broken(place))
    (folder,) = (tmp_path / "outputs").iterdir()
    record = read_record(folder)
    assert (record.status, record.steps, record.error) == ("failed", steps, "RuntimeError: no luck")
    log = (folder / "run.log").read_text()
    line = next(n for n, text in enumerate(BROKEN.splitlines(), 1) if "raise RuntimeError" in text)
    assert f'File "{tmp_path / "broken_lines.py"}", line {line}, in fail_at' in log
    assert log.rstrip().endswith(f"RuntimeError: no luck\nat {place}")


@pytest.mark.parametrize("place", ["load", "tasks", "first tasks"])
def test_a_run_whose_own_code_fails_before_all_is_built_leaves_no_folder(
    broken: Callable[[str], Settings], tmp_path: Path, place: str
) -> None:
    with pytest.raises(RuntimeError, match=f"at {place}"):
        run_job(broken(place))
    assert not (tmp_path / "outputs").exists()
    assert run_job(broken("nowhere")).record.status == "completed"
