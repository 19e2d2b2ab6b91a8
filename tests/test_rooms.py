"""The rooms of the project: imports point down, and what checks it would notice if they did not."""

from __future__ import annotations

import ast
import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import metaexp

ROOT = Path(__file__).resolve().parents[1]

ORDER = "imports point down"
LINTED = {
    "core/disk/files.py": ("import metaexp.models.init", ORDER),
    "tracking/files.py": ("import metaexp.results.record", ORDER),
    "config/check.py": ("import metaexp.machine.device", ORDER),
    "cli/train.py": ("import metaexp.api", ORDER),
    "sweep/run.py": ("import metaexp.reproduce.causes", ORDER),
    "algorithms/anil.py": ("import metaexp.algorithms.maml", "an algorithm is one file"),
    "models/base.py": ("import omegaconf", "only cli, config, search and sweep know Hydra"),
    "results/record.py": ("import wandb", "only tracking/wandb.py knows"),
    "results/display/terminal.py": ("import mlflow", "only tracking/mlflow.py knows MLflow"),
    "run/session.py": ("import optuna", "only search/study.py knows optuna"),
    "folders/find.py": ("import filelock", "only core/disk/locks.py knows filelock"),
    "data/glyphs.py": ("import fontTools", "only the room data/font knows fontTools"),
    "models/conv4.py": ("import timm", "only models/timm_network.py knows timm"),
    "newroom/__init__.py": ("", ORDER),
}
"""File -> a line that import-linter must refuse there, and the contract that it breaks."""

ONLY_IN = {"hydra._internal": "config/hydra_internals.py", "torch.distributed": "machine/ranks.py"}
"""Part of a library -> the one file that may import it. import-linter knows whole libraries only."""

TORCH_FREE = ("cli.main", "config", "sweep", "compare", "report", "results")
"""Every module of these is imported without torch."""

MOST_FILES = 22
"""At most so many Python files in a folder."""
WITH_PYTHON = ("benchmarks", "conf", "docs", "examples", "metaexp", "scripts", "tests")
"""All folders of the repository that have Python files, at any depth."""

PLANTED: list[Path] = []
"""The files that a test has planted lines in."""


@pytest.fixture(scope="module")
def one_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, compiled as far as it is here, and of its contracts."""
    place = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "metaexp", place / "metaexp")
    shutil.copy(ROOT / "setup.cfg", place)
    return place


@pytest.fixture
def copy(one_copy: Path) -> Iterator[Path]:
    """The copy, in which a test may plant lines. They are taken out again."""
    yield one_copy
    for path in PLANTED:
        own = ROOT / path.relative_to(one_copy)
        if own.is_file():
            shutil.copy2(own, path)
        else:
            shutil.rmtree(path.parent)
    PLANTED.clear()


def broken(folder: Path) -> list[str]:
    """Names of the contracts that are broken."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]
    env = os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert "Contracts:" in done.stdout, done.stdout + done.stderr
    return [line.partition(" BROKEN")[0] for line in done.stdout.splitlines() if " BROKEN" in line]


def plant(folder: Path, name: str, line: str) -> None:
    """Add a line to a file of the copied package."""
    path = folder / "metaexp" / name
    PLANTED.append(path)
    path.parent.mkdir(exist_ok=True)
    path.write_text((path.read_text() if path.exists() else "") + f"\n{line}\n")


def test_the_rooms_are_in_order(copy: Path) -> None:
    assert broken(copy) == []


@pytest.mark.parametrize("name", LINTED)
def test_a_planted_import_breaks_its_contract(copy: Path, name: str) -> None:
    line, contract = LINTED[name]
    plant(copy, name, line)
    (found,) = broken(copy)
    assert found.startswith(contract)


def test_every_room_that_must_not_know_hydra_is_listed() -> None:
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    listed = setup["importlinter:contract:hydra"]["source_modules"].split()
    rooms = {f"metaexp.{path.parent.name}" for path in (ROOT / "metaexp").glob("*/__init__.py")}
    allowed = {f"metaexp.{room}" for room in ("cli", "config", "search", "sweep")}
    assert set(listed) == rooms - allowed | {"metaexp.api"}


def test_every_contract_has_a_planted_violation() -> None:
    names = [line[7:] for line in (ROOT / "setup.cfg").read_text().splitlines() if line.startswith("name = ")]
    contracts = [name for name in names if name != "metaexp"]
    planted = {contract for _, contract in LINTED.values()}
    assert len(contracts) == len(planted)
    assert all(any(name.startswith(start) for start in planted) for name in contracts)


@cache
def imported(text: str) -> list[str]:
    """Every module that a file of this text names in an import, ``from a import b`` as ``a.b`` too."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def importers(package: Path, part: str) -> set[str]:
    """The files of the package that import a part of a library."""
    found = set()
    for path in package.rglob("*.py"):
        if any(f"{name}.".startswith(f"{part}.") for name in imported(path.read_text("utf-8"))):
            found.add(path.relative_to(package).as_posix())
    return found


@pytest.mark.parametrize("part", ONLY_IN)
def test_only_one_file_imports_a_delicate_part_of_a_library(copy: Path, part: str) -> None:
    assert importers(ROOT / "metaexp", part) == {ONLY_IN[part]}
    library, _, name = part.rpartition(".")
    for line in (f"import {part}", f"from {library} import {name}", f"from {part}.x import y"):
        plant(copy, "core/shapes.py", line)
        assert importers(copy / "metaexp", part) == {ONLY_IN[part], "core/shapes.py"}
        shutil.copy2(ROOT / "metaexp" / "core" / "shapes.py", copy / "metaexp" / "core" / "shapes.py")


@cache
def goes_around_the_order(text: str) -> bool:
    """Whether a file takes a name of ``import metaexp``."""
    handed_on = {f"metaexp.{name}" for name in metaexp.__all__ if not name.startswith("_")}
    used = {ast.unparse(node) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)}
    renamed = re.search(r"^\s*import metaexp as", text, re.MULTILINE)
    return renamed is not None or bool(handed_on & {*imported(text), *used})


def around_the_order(package: Path) -> list[str]:
    """The files that take a name of ``import metaexp``, for import-linter does not see from which room it comes."""
    paths = sorted(package.rglob("*.py"))
    return [path.relative_to(package).as_posix() for path in paths if goes_around_the_order(path.read_text("utf-8"))]


@pytest.mark.parametrize(
    "line",
    [
        "from metaexp import train",
        "import metaexp\nRUNS = metaexp.runs",
        "def late():\n    import metaexp as mx",
    ],
)
def test_no_room_imports_another_through_the_package_itself(copy: Path, line: str) -> None:
    assert around_the_order(ROOT / "metaexp") == []
    plant(copy, "core/shapes.py", line)
    assert around_the_order(copy / "metaexp") == ["core/shapes.py"]


def loads_torch(folder: Path) -> list[str]:
    """Modules of the torch-free rooms that bring torch when they are imported from the package in ``folder``."""
    paths = [path.relative_to(folder).with_suffix("") for path in (folder / "metaexp").rglob("*.py")]
    names = sorted(".".join(path.parts).removesuffix(".__init__") for path in paths)
    wanted = [name for name in names if f"{name}.".startswith(tuple(f"metaexp.{room}." for room in TORCH_FREE))]
    assert len(wanted) > 60
    code = f"""
import importlib, sys
for name in ["metaexp", *{wanted!r}]:
    importlib.import_module(name)
    if "torch" in sys.modules:
        sys.exit(name)
"""
    env = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True)
    return done.stderr.splitlines()


def test_rooms_that_promise_it_are_imported_without_torch(copy: Path) -> None:
    assert loads_torch(ROOT) == []
    plant(copy, "compare/as_data.py", "import torch")  # the first of its room
    assert loads_torch(copy) == ["metaexp.compare.as_data"]


PROMISE = re.compile(
    r"\bwithout\s+torch\b|\b(does\s+not\s+import|imports\s+(no|neither)|takes\s+no)\s+torch\b"
    r"|\btorch\s+(and\s+\w+\s+)?(is|are)\s+not\s+imported\b",
    re.IGNORECASE,
)
"""How the docstring of a module says that importing the module brings no torch."""


@cache
def docstring(text: str) -> str:
    """The docstring of a module with this text; empty if it has none."""
    return ast.get_docstring(ast.parse(text)) or ""


def promising(folder: Path) -> list[str]:
    """The modules of the package in ``folder`` whose docstrings promise that importing them brings no torch."""
    found = []
    for path in sorted((folder / "metaexp").rglob("*.py")):
        if PROMISE.search(docstring(path.read_text("utf-8"))):
            found.append(".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__"))
    return found


def first_with_torch(folder: Path, names: list[str]) -> str:
    """The first of these modules that loads torch, when one process imports all; empty if none does."""
    code = """
import importlib, json, sys
for name in json.load(sys.stdin):
    importlib.import_module(name)
    if "torch" in sys.modules:
        print(name)
        break
"""
    env = os.environ | {"PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, input=json.dumps(names))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_module_whose_docstring_promises_it_is_imported_without_torch(copy: Path) -> None:
    names = promising(ROOT)
    assert {"metaexp", "metaexp.data.base", "metaexp.machine.single_rank", "metaexp.data.icons.archive"} <= set(names)
    assert len(names) > 100
    assert "metaexp.machine.ranks" not in names
    assert first_with_torch(ROOT, names) == ""
    plant(copy, "data/icons/archive.py", "import torch")
    assert promising(copy) == names
    assert first_with_torch(copy, ["metaexp", "metaexp.data.icons.archive"]) == "metaexp.data.icons.archive"


@pytest.mark.parametrize(
    ("text", "promised"),
    [
        ("Reads rows. Without torch.", True),
        ("Importing this module does not\nimport torch.", True),
        ("It takes no torch and no fontTools.", True),
        ("Imports no torch.", True),
        ("It imports neither torch nor Hydra.", True),
        ("Torch and Hydra are not imported.", True),
        ("Runs of several ranks, without torchrun.", False),
        ("Does its work with torch.", False),
    ],
)
def test_a_promise_is_known_by_its_words(tmp_path: Path, text: str, promised: bool) -> None:
    (tmp_path / "metaexp").mkdir()
    (tmp_path / "metaexp" / "a.py").write_text(f'"""{text}"""\n')
    assert promising(tmp_path) == (["metaexp.a"] if promised else [])


def crowded(root: Path) -> list[str]:
    """Folders of the repository with more Python files than one can look over."""
    counts = Counter(path.parent for top in WITH_PYTHON for path in (root / top).rglob("*.py"))
    return sorted(folder.relative_to(root).as_posix() for folder, n in counts.items() if n > MOST_FILES)


def test_no_folder_holds_more_files_than_one_can_look_over() -> None:
    assert crowded(ROOT) == []
    listed = subprocess.run(["git", "ls-files", "*/*.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert {line.split("/")[0] for line in listed.stdout.splitlines()} <= set(WITH_PYTHON)


@pytest.mark.parametrize(
    "name", ["metaexp/core", "tests/support/kills", "benchmarks", "scripts", "examples/own", "conf"]
)
def test_a_folder_with_one_file_too_many_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir(parents=True)
    for number in range(MOST_FILES):
        (tmp_path / name / f"{number}.py").touch()
    assert crowded(tmp_path) == []
    (tmp_path / name / "more.py").touch()
    assert crowded(tmp_path) == [name]


NOT_OF_ROOMS = {"conf", "contracts", "docs", "old_runs", "support"}
"""Folders of tests/ that belong to no room of the package."""


def holding(folder: Path, pattern: str) -> set[str]:
    """The folders below ``folder``, at any depth, that hold such a file."""
    return {path.parent.relative_to(folder).as_posix() for path in folder.glob(f"*/**/{pattern}")}


def not_mirrored(root: Path) -> list[str]:
    """Rooms without a folder of tests at the same path, and folders of tests without a room there."""
    tests = {name for name in holding(root / "tests", "test_*.py") if name.split("/")[0] not in NOT_OF_ROOMS}
    return sorted(holding(root / "metaexp", "__init__.py") ^ tests)


def test_the_tests_lie_where_the_package_has_what_they_test(tmp_path: Path) -> None:
    assert not_mirrored(ROOT) == []
    assert [name for name in sorted(NOT_OF_ROOMS) if not (ROOT / "tests" / name).is_dir()] == []
    for name in ("metaexp/a/__init__.py", "metaexp/a/b/__init__.py", "tests/a/test_b.py", "tests/c/d/test_d.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert not_mirrored(tmp_path) == ["a/b", "c/d"]


def circles(folder: Path) -> list[list[str]]:
    """Groups of modules of the package in ``folder`` that import each other in a loop."""
    code = """
import json, grimp, networkx
graph = grimp.build_graph("metaexp", cache_dir=None)
inner = graph.modules - {"metaexp"}  # which only hands names on
found = networkx.DiGraph((a, b) for a in inner for b in graph.find_modules_directly_imported_by(a))
print(json.dumps([sorted(c) for c in networkx.strongly_connected_components(found) if len(c) > 1]))
"""
    env = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_no_modules_import_each_other_in_a_circle(copy: Path) -> None:
    assert circles(copy) == []
    plant(copy, "core/errors.py", "import metaexp.core.optim")
    plant(copy, "core/optim.py", "import metaexp.core.errors")
    assert circles(copy) == [["metaexp.core.errors", "metaexp.core.optim"]]
