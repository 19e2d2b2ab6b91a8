"""Modules of one's own that were edited after they had been imported."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from metaexp.config.classes.loaded_code import edited_since_import, import_module

CODE = """\
SCALE = 2


class Net:
    @property
    def size(self):
        return 3


def loss(x):
    return SCALE * x
"""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of a package's module, on the path and not imported yet."""
    (tmp_path / "own_lab").mkdir()
    (tmp_path / "own_lab" / "__init__.py").write_text("")
    path = tmp_path / "own_lab" / "losses.py"
    path.write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two edits within a second are two edits
    yield path
    for name in ("own_lab", "own_lab.losses"):
        sys.modules.pop(name, None)


def edited(path: Path, text: str = CODE) -> list[str]:
    path.write_text(text)
    return edited_since_import({"own_lab/__init__.py": b"", "own_lab/losses.py": text.encode()})


EDITS = {
    "a comment": CODE + "# more\n",
    "a constant": CODE.replace("SCALE = 2", "SCALE = 3"),
    "a function": CODE.replace("* x", "* x * x"),
    "a property": CODE.replace("return 3", "return 4"),
}


@pytest.mark.parametrize("text", EDITS.values(), ids=EDITS.keys())
def test_an_edit_after_an_import_for_a_run_is_found(source: Path, text: str) -> None:
    import_module("own_lab.losses")
    assert edited(source) == []
    assert edited(source, text) == ["own_lab/losses.py"]
    assert edited(source) == []


@pytest.mark.parametrize("name", ["a function", "a property"])
def test_an_edit_of_a_function_after_an_import_by_the_user_is_found(source: Path, name: str) -> None:
    importlib.import_module("own_lab.losses")
    assert edited(source, EDITS[name]) == ["own_lab/losses.py"]
    assert edited(source) == []


def test_an_object_that_refuses_unknown_attributes_is_left_alone(source: Path) -> None:
    strict = (
        "class Strict:\n    def __getattr__(self, name):\n        raise LookupError(name)\n\n\nSTRICT = Strict()\n\n\n"
    )
    source.write_text(strict + CODE)
    importlib.import_module("own_lab.losses")
    assert edited(source, strict + CODE) == []
    assert edited(source, strict + EDITS["a function"]) == ["own_lab/losses.py"]


def test_an_edit_before_the_import_is_none(source: Path) -> None:
    assert edited(source) == []
    assert edited(source, EDITS["a constant"]) == []
    importlib.import_module("own_lab.losses")
    assert edited(source, EDITS["a constant"]) == []


def test_a_second_import_changes_nothing(source: Path) -> None:
    first = import_module("own_lab.losses")
    source.write_text(EDITS["a constant"])
    assert import_module("own_lab.losses") is first
    assert edited(source, EDITS["a constant"]) == ["own_lab/losses.py"]


def test_a_module_that_was_loaded_again_is_not_edited(source: Path) -> None:
    module = import_module("own_lab.losses")
    source.write_text(EDITS["a function"])
    assert edited(source, EDITS["a function"]) == ["own_lab/losses.py"]
    importlib.reload(module)
    assert edited(source, EDITS["a function"]) == []


def test_a_file_that_is_no_longer_python_is_edited(source: Path) -> None:
    importlib.import_module("own_lab.losses")
    assert edited(source, "def (") == ["own_lab/losses.py"]
