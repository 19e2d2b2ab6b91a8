"""metaexp new: what it writes is complete, passes metaexp check, trains, and overwrites nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import forking
import pytest
from sampling import only_exhaustive

from metaexp.cli.main import main
from metaexp.config.classes import targets
from metaexp.config.classes.source import read_module
from metaexp.config.permissions import allowed

KINDS = [
    ["algorithm", "mine"], ["model", "mine"], ["dataset", "mine"], ["dataset", "curve_family", "--regression"],
    ["experiment", "mine"],
]  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder, with settings of the user's own beside it."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setattr(targets, "_trusted", set())
    monkeypatch.setattr(targets, "_folders", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    read_module.cache_clear()
    yield tmp_path / "here"
    for name in [name for name in sys.modules if f"{name}.".startswith("my_code.")]:
        del sys.modules[name]


def texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.suffix in SUFFIXES}


SUFFIXES = (".py", ".yaml", ".toml")


def run_tests(here: Path) -> tuple[int, str]:
    """Run the tests of the project, up to the first failure, in a process forked from this one: exit code, output."""
    forking.import_everything()
    log = here.parent / "tests.log"
    log.unlink(missing_ok=True)
    arguments = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", f"--basetemp={here.parent / 'made'}", "tests"]
    pid = forking.fork(lambda: int(pytest.main(arguments)), log)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("words", KINDS, ids=" ".join)
def test_the_files_pass_check_and_train_and_their_own_tests_pass(
    words: list[str], here: Path, no_figures: None
) -> None:
    """The tests that ``new`` writes run ``metaexp check`` and train."""
    kind, name = words[:2]
    assert main(["new", *words]) == 0
    found = texts(here)
    assert f"conf/{kind}/{name}.yaml" in found
    assert f"tests/test_{kind}_{name}.py" in found
    assert re.findall(r"@[A-Z]+@", "".join(found.values())) == []
    code, output = run_tests(here)
    assert code == 0, output
    assert "2 passed" in output
    files = [path for path in here.rglob(f"{name}.py") if kind in str(path)]
    for path in files:  # a fault is found: by the check, or because nothing can be trained
        path.write_text(path.read_text().replace("super().__init__", "super().__init_subclass__"))
        if kind != "dataset" or "--regression" in words:
            code, output = run_tests(here)
            assert code == 1, output


@pytest.mark.parametrize("words", KINDS, ids=" ".join)
def test_the_new_code_may_run_at_once_by_the_permission_that_new_has_written(
    words: list[str], here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", *words]) == 0
    command = ["train", f"{words[0]}={words[1]}", "--cfg", "job"]
    monkeypatch.setattr(targets, "_trusted", set())
    assert main(command) == 0
    capsys.readouterr()
    monkeypatch.setattr(targets, "_trusted", set())
    monkeypatch.setenv("XDG_CONFIG_HOME", str(here / "of another user"))
    assert main(command) == (0 if words[0] == "experiment" else 2)  # which has no code
    assert words[0] == "experiment" or "my_code" in capsys.readouterr().err


@only_exhaustive
@pytest.mark.slow
def test_a_process_of_its_own_checks_the_new_code(here: Path) -> None:
    """As a user starts it; -P keeps Python from finding the code in the current folder by itself."""
    assert main(["new", "dataset", "mine"]) == 0
    done = subprocess.run([sys.executable, "-P", "-m", "metaexp", "check", "dataset=mine"], capture_output=True)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


def test_several_go_into_one_project_from_any_folder_of_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["new", "algorithm", "first"]) == 0
    before = texts(here)
    (here / "deep").mkdir()
    monkeypatch.chdir(here / "deep")
    assert main(["new", "dataset", "first"]) == 0
    after = texts(here)
    assert {name: after[name] for name in before} == before
    assert "my_code/datasets/first.py" in after
    assert not (here / "deep" / "metaexp.toml").exists()
    assert allowed(here / "metaexp.toml") == {"my_code"}


@pytest.mark.parametrize("shipped", ["config.yaml", "model/conv4.yaml"])
def test_a_folder_with_names_of_shipped_files_is_not_made_the_folder_of_the_project(
    shipped: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as a clone of metaexp, or a project that has Hydra's usual ``conf/config.yaml``."""
    (here / "conf" / shipped).parent.mkdir(parents=True, exist_ok=True)
    (here / "conf" / shipped).write_text("hidden: 3\n")
    assert main(["new", "algorithm", "mine"]) == 0
    assert "wrote my_conf/algorithm/mine.yaml" in capsys.readouterr().out
    assert main(["train", "algorithm=mine", "--cfg", "job"]) == 0


def test_a_folder_with_other_names_is_made_the_folder_of_the_project(here: Path) -> None:
    (here / "conf" / "model").mkdir(parents=True)
    (here / "conf" / "model" / "earlier.yaml").write_text("hidden: 3\n")
    assert main(["new", "algorithm", "mine"]) == 0
    assert (here / "conf" / "algorithm" / "mine.yaml").is_file()
    assert not (here / "my_conf").exists()


def test_where_no_folder_can_be_used_each_is_named_with_a_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("conf", "my_conf"):
        (here / folder).mkdir()
        (here / folder / "config.yaml").write_text("hidden: 3\n")
    before = texts(here)
    assert main(["new", "algorithm", "mine"]) == 2
    said = capsys.readouterr().err
    assert "here/conf/config.yaml has the name of a shipped file" in said
    assert "here/my_conf/config.yaml has the name of a shipped file" in said
    assert "a folder of your own" in said
    assert texts(here) == before


def test_nothing_is_overwritten(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "model", "mine"]) == 0
    (here / "my_code" / "models" / "mine.py").write_text("precious")
    before = texts(here)
    assert main(["new", "model", "mine"]) == 2
    assert "mine.py is there already, and nothing is overwritten" in capsys.readouterr().err
    assert texts(here) == before


@pytest.mark.parametrize("is_there", [True, False])
def test_where_pytest_is_missing_the_proposed_test_says_how_to_install_it(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    monkeypatch.setattr("metaexp.cli.new.find_spec", lambda name: object() if is_there else None)
    assert main(["new", "algorithm", "mine"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "  pytest tests/test_algorithm_mine.py" + ("" if is_there else "  # after: pip install pytest")


def test_code_that_was_there_before_is_not_allowed_to_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A stranger's package in the folder stays a stranger's."""
    (here / "my_code").mkdir()
    (here / "my_code" / "__init__.py").write_text("raise SystemExit('ran')")
    assert main(["new", "algorithm", "mine"]) == 0
    assert allowed(here / "metaexp.toml") == frozenset()
    assert "metaexp trust                  once, if you know the code of my_code" in capsys.readouterr().out
    assert main(["check", "algorithm=mine"]) == 2
    assert (here / "my_code" / "__init__.py").read_text() == "raise SystemExit('ran')"


WRONG = [
    (["algorithm", "My"], "My cannot be the name of a file of code"),
    (["algorithm", "a-b"], "cannot be the name of a file of code"),
    (["model", "class"], "cannot be the name of a file of code"),
    (["model", "../x"], "cannot be the name of a file of code"),
    (["algorithm", "maml"], "metaexp has algorithm=maml itself"),
    (["experiment", "maml_sinusoid"], "metaexp has experiment=maml_sinusoid itself"),
    (["model", "mine", "--regression"], "--regression is for datasets"),
    (["model", "mine", "--package", "a.b"], "--package a.b: give the name of one package"),
]


@pytest.mark.parametrize(("words", "said"), WRONG)
def test_what_cannot_be_written_is_refused(
    here: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", *words]) == 2
    assert said in capsys.readouterr().err
    assert list(here.iterdir()) == []


TOML = [
    ("trust = []", ["model", "mine"], "names no folder of configurations"),
    ("config_dir = 'conf'", ["model", "mine"], "names no package for code"),
    ("config_dir = 'conf'\ntrust = ['code']", ["model", "mine", "--package", "other"], "does not name it"),
]


@pytest.mark.parametrize(("toml", "words", "said"), TOML)
def test_a_project_that_names_no_place_is_explained(
    here: Path, toml: str, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "conf").mkdir()
    (here / "code").mkdir()
    (here / "metaexp.toml").write_text(toml)
    assert main(["new", *words]) == 2
    assert said in capsys.readouterr().err
    (here / "metaexp.toml").write_text("config_dir = 'conf'\ntrust = ['code']")
    assert main(["new", "model", "mine"]) == 0
    assert (here / "code" / "models" / "mine.py").is_file()
