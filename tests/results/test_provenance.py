"""The commit and the versions that a record names."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from metaexp.results import provenance
from metaexp.results.provenance import git_commit, git_state, versions


def _git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    package = tmp_path / "repository" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    _git(package.parent, "init", "-q")
    _git(package.parent, "add", ".")
    _git(package.parent, "commit", "-qm", "first")
    return package


def test_a_clean_checkout_is_named_by_its_commit(checkout: Path) -> None:
    state = git_state(checkout)
    assert state is not None
    assert (state.commit, state.dirty) == (_git(checkout, "rev-parse", "HEAD"), False)


def test_a_change_anywhere_or_a_new_file_beside_the_sources_is_dirty(checkout: Path) -> None:
    (checkout / "mine.py").write_text("")
    state = git_state(checkout)
    assert state is not None
    assert state.dirty
    (checkout / "mine.py").unlink()
    (checkout.parent / "notes.txt").write_text("not source")
    state = git_state(checkout)
    assert state is not None
    assert not state.dirty
    (checkout / "__init__.py").write_text("changed")
    state = git_state(checkout)
    assert state is not None
    assert state.dirty


def test_a_new_folder_beside_the_sources_is_dirty_unless_it_is_ignored(checkout: Path) -> None:
    (checkout / "room").mkdir()
    (checkout / "room" / "mine.py").write_text("")
    state = git_state(checkout)
    assert state is not None
    assert state.dirty
    (checkout.parent / ".git" / "info" / "exclude").write_text("room/")
    state = git_state(checkout)
    assert state is not None
    assert not state.dirty


def test_a_copy_installed_inside_another_repository_has_no_commit(checkout: Path) -> None:
    installed = checkout.parent / ".venv" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert git_state(installed) is None


def test_no_repository_and_no_git_give_no_commit(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain").mkdir()
    assert git_state(tmp_path / "plain") is None
    monkeypatch.setenv("PATH", str(tmp_path / "nothing here"))
    assert git_state(checkout) is None


def test_the_commit_alone_is_that_of_the_state(checkout: Path) -> None:
    state = git_state(checkout)
    assert state is not None
    assert git_commit(checkout) == state.commit
    assert git_commit(checkout, "not_tracked.py") is None
    (checkout / "__init__.py").write_text("changed")
    assert git_commit(checkout) == state.commit
    _git(checkout, "commit", "-qam", "second")
    assert git_commit(checkout) != state.commit


def test_a_git_hooks_environment_does_not_lead_astray(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(checkout / "nowhere"))
    assert git_state(checkout) is not None


def test_versions_are_those_of_what_is_installed() -> None:
    import torch

    found = versions()
    assert found["torch"] == torch.__version__
    assert found["python"] == platform.python_version()
    assert platform.node() not in "".join(found.values()).split()


def test_the_build_of_torch_is_recorded_even_if_its_metadata_lacks_it(tmp_path: Path) -> None:
    (tmp_path / "torch-2.13.0.dist-info").mkdir()
    (tmp_path / "torch-2.13.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0\n"
    )
    (tmp_path / "torch").mkdir()
    (found,) = metadata.distributions(name="torch", path=[str(tmp_path)])
    for written, expected in (("2.13.0+cu130", "2.13.0+cu130"), ("2.12.0+cu130", "2.13.0")):
        (tmp_path / "torch" / "version.py").write_text(f"__all__ = ['x']\n__version__ = '{written}'\n")
        assert provenance._version(found) == expected
    (tmp_path / "torch" / "version.py").unlink()
    assert provenance._version(found) == "2.13.0"


def test_a_package_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PACKAGES", ("torch", "no-such-package"))
    assert "no-such-package" not in versions()
    assert "torch" in versions()
