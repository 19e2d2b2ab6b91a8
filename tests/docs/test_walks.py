"""The walks of docs/walks run from the top in an empty folder, with the metaexp of an installed wheel.

Each walk is one process: the commands are called in it, because importing torch takes longer than such a command. Runs
are cut to a few steps.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
WALKS = sorted((ROOT / "docs" / "walks").glob("*.md"))
WALKER = Path(__file__).resolve().parents[1] / "support" / "docs" / "walker.py"
SHIPPED = ("metaexp", "conf", "setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the content of a wheel, as installing it makes one: built once, by one of several processes."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "wheel_of_walks"
    place.mkdir(exist_ok=True)
    with FileLock(place / ".lock"):
        if not (place / "installed").exists():
            build(place / "source").rename(place / "installed")
    return place / "installed"


def build(source: Path) -> Path:
    """Build a wheel from a copy of what is shipped, and return a folder with its content."""
    source.mkdir()
    for name in SHIPPED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    command = [sys.executable, "setup.py", "-q", "bdist_wheel", "-d", "dist"]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=600)
    (wheel,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(source.parent / "unpacked")
    shutil.rmtree(source)
    return source.parent / "unpacked"


def walk(page: Path, installed: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Walk along a page in an empty folder."""
    folder.mkdir()
    mine = {"XDG_CONFIG_HOME": str(folder.parent / "config"), "METAEXP_DATA": str(folder / "data")}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("METAEXP_")}
    return subprocess.run(
        [sys.executable, str(WALKER), str(page), str(installed)], cwd=folder, env=environment | mine,
        capture_output=True, text=True, timeout=1000,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("page", WALKS, ids=lambda page: page.stem)
def test_a_walk_of_the_documentation_works_from_a_wheel_in_an_empty_folder(
    page: Path, installed: Path, tmp_path: Path
) -> None:
    done = walk(page, installed, tmp_path / "empty")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert f"metaexp of {installed}" in done.stdout
    if page.stem == "paper" and shutil.which("pdflatex"):
        assert (tmp_path / "empty" / "paper" / "paper.pdf").stat().st_size > 10_000
        assert "Overfull \\hbox" not in (tmp_path / "empty" / "paper" / "paper.log").read_text(errors="replace")


@pytest.mark.slow
def test_a_mistake_in_a_walk_would_be_seen(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong.md").write_text("```sh\nmetaexp plan train.stepps=3\n```\n")
    assert walk(tmp_path / "wrong.md", installed, tmp_path / "first").returncode == 1
    (tmp_path / "wrong.md").write_text("```py\n1 / 0\n```\n")
    assert "ZeroDivisionError" in walk(tmp_path / "wrong.md", installed, tmp_path / "second").stderr


@pytest.mark.parametrize("page", WALKS, ids=lambda page: page.stem)
def test_links_of_a_walk_lead_to_files_and_the_index_has_it(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []
    assert f"(walks/{page.name})" in (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert f"walks/{page.name}" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
