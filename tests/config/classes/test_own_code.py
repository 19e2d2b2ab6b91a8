"""The user's own code that a configuration names: which files it is made of, and when it has changed."""

from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from metaexp.config.classes import targets
from metaexp.config.classes.own_code import own_code
from metaexp.config.classes.source import read_module
from metaexp.config.classes.targets import trust
from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.config.schema import ClassSpec, OwnCode

FILES = {
    "own_nets/__init__.py": "",
    "own_nets/nets.py": "from .parts import layer\nfrom own_nets.deep import blocks\nimport numpy, beside_it\n",
    "own_nets/parts.py": "def make():\n    from . import late\n",
    "own_nets/late.py": "",
    "own_nets/deep/__init__.py": "from ..shared import *\n",
    "own_nets/deep/blocks.py": "import os, torch\n",
    "own_nets/shared.py": "",
    "own_nets/unused.py": "",
    "beside_it.py": "import metaexp\n",
}
USED = sorted(name for name in FILES if "unused" not in name)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a trusted package, and a module that it imports from beside it."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(targets, "_trusted", set())
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    read_module.cache_clear()
    trust("own_nets")
    return tmp_path


def found() -> OwnCode:
    inner = ClassSpec("own_nets.nets.Net", "own_nets.nets.Net", {}, frozenset())
    outer = ClassSpec("torch.optim.SGD", "torch.optim.SGD", {"model": inner}, frozenset())
    code = own_code({"algorithm": outer, "seed": 3})
    assert code is not None
    return code


def test_imports_are_followed_through_the_package_and_beside_it_but_not_to_what_is_installed(folder: Path) -> None:
    assert sorted(found().files) == USED
    assert sorted(found().places) == ["beside_it", "own_nets"]
    assert found().places["own_nets"] == folder / "own_nets" / "__init__.py"
    assert "own_nets.nets" not in sys.modules


@pytest.mark.parametrize("name", USED)
def test_an_edit_of_any_file_that_is_imported_changes_the_digest(folder: Path, name: str) -> None:
    before = found().digest
    (folder / name).write_text(FILES[name] + "# edited\n")
    assert found().digest != before


def test_an_edit_of_another_file_does_not(folder: Path) -> None:
    before = found().digest
    (folder / "own_nets" / "unused.py").write_text("x = 1\n")
    assert found().digest == before


def test_a_file_that_is_not_python_is_hashed_all_the_same(folder: Path) -> None:
    before = found().digest
    (folder / "own_nets" / "late.py").write_text("class Broken(:\n")
    assert found().digest != before


def test_a_configuration_of_shipped_classes_has_none() -> None:
    assert Composer().settings([], Purpose.PLAN).own_code is None


ELSEWHERE = {
    "a namespace package beside it": ("import ns_utils.inner.tools\n", "ns_utils/inner/tools.py"),
    "a submodule of its own without an __init__": ("from own_nets.plain import x\n", "own_nets/plain/x.py"),
    "a literal name at run time": ("import importlib\nimportlib.import_module('late_one')\n", "late_one.py"),
    "a relative name at run time": ("from importlib import import_module as i\nimport importlib as b\n"
                                    "b.import_module('.plugin', __package__)\n", "own_nets/plugin.py"),
    "a computed name": ("def f(n):\n    return __import__(n)\n", "own_nets/deep/plugin.py"),
    "a computed name in another package": ("import importlib\nimportlib.import_module(f'plugs.{n}')\n", "plugs/a.py"),
    "all modules of a folder": ("import pkgutil\npkgutil.walk_packages(__path__)\n", "own_nets/other/deep/a.py"),
    "compiled code": ("from . import fast\n", f"own_nets/fast{EXTENSION_SUFFIXES[0]}"),
    "compiled code beside it": ("import swift\n", f"swift{EXTENSION_SUFFIXES[-1]}"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "name"), ELSEWHERE.values(), ids=list(ELSEWHERE))
def test_an_edit_of_a_file_that_is_found_in_another_way_changes_the_digest(folder: Path, text: str, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("x = 1\n")
    before = found()
    assert name not in before.files
    (folder / "own_nets" / "late.py").write_text(text)
    with_it = found()
    assert with_it.files[name] == b"x = 1\n"
    assert name.partition("/")[0].partition(".")[0] in with_it.places
    (folder / name).write_text("x = 2\n")
    assert found().digest != with_it.digest


def test_code_that_is_not_the_users_is_not_followed_by_a_computed_name(folder: Path) -> None:
    (folder / "own_nets" / "late.py").write_text("import importlib\nimportlib.import_module(f'numpy.{n}')\n")
    assert not [name for name in found().files if name.startswith("numpy")]
