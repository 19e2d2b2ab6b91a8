"""The walks of docs/walks run from the top in an empty folder, with the metaexp of an installed wheel.

Each walk is one process, forked from one that has imported torch: the commands are called in it, because importing
torch takes longer than such a command. Runs are cut to a few steps.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from sampling import only_exhaustive

ROOT = Path(__file__).resolve().parents[2]
WALKS = sorted((ROOT / "docs" / "walks").glob("*.md"))
WALKER = Path(__file__).resolve().parents[1] / "support" / "docs" / "walker.py"
SHIPPED = ("metaexp", "conf", "setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


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


def walk(installed: Path, folder: Path, *pages: Path) -> subprocess.CompletedProcess[str]:
    """Walk along each page in an empty folder."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("METAEXP_")}
    command = [sys.executable, str(WALKER), str(installed), str(folder), *map(str, pages)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1000)


@only_exhaustive
@pytest.mark.slow
def test_the_walks_of_the_documentation_work_from_a_wheel_in_an_empty_folder(tmp_path: Path) -> None:
    installed = build(tmp_path / "source")
    (tmp_path / "walks").mkdir()
    done = walk(installed, tmp_path / "walks", *WALKS)
    said = {page.stem: (tmp_path / "walks" / f"{page.stem}.log").read_text() for page in WALKS}
    assert done.returncode == 0, {name: text[-2000:] for name, text in said.items()}
    assert f"metaexp of {installed}" in done.stdout
    assert all(text.startswith("-- ") for text in said.values())
    if shutil.which("pdflatex"):
        paper = tmp_path / "walks" / "paper" / "paper"
        assert (paper / "paper.pdf").stat().st_size > 10_000
        assert "Overfull \\hbox" not in (paper / "paper.log").read_text(errors="replace")


MISTAKES = [("sh\nmetaexp plan train.stepps=3", "train.stepps"), ("py\n1 / 0", "ZeroDivisionError")]


@pytest.mark.parametrize(("block", "said"), MISTAKES, ids=["a command", "code"])
def test_a_mistake_in_a_walk_would_be_seen(block: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.md").write_text(f"```{block}\n```\n")
    assert walk(ROOT, tmp_path, tmp_path / "wrong.md").returncode == 1
    assert said in (tmp_path / "wrong.log").read_text()


@pytest.mark.parametrize("page", WALKS, ids=lambda page: page.stem)
def test_the_index_and_the_navigation_have_a_walk(page: Path) -> None:
    assert f"(walks/{page.name})" in (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert f"walks/{page.name}" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
