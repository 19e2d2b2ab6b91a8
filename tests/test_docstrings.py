"""Public functions of the rooms that compute say which shapes tensors have, and which errors they raise."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import metaexp

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("core", "algorithms", "engines", "models", "data")
Function = ast.FunctionDef
SHAPE = re.compile(r"\([^()]*\)|\bshape")
"""What counts as a shape: ``(B, C, H, W)``, ``()``, or the word itself, as in "of any shape"."""


def public_functions(body: list[ast.stmt], explained: str = "") -> Iterator[tuple[Function, str]]:
    """Each public function and method, with its docstring and that of its class."""
    for node in body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_"):
            own = f"{explained} {ast.get_docstring(node) or ''}"
            if isinstance(node, ast.ClassDef):
                yield from public_functions(node.body, own)
            else:
                yield node, own


def raised(function: Function) -> set[str]:
    """The errors that a function raises by name, without those of functions inside it."""
    inside = {id(n) for inner in ast.walk(function) if inner is not function and isinstance(inner, Function)
              for n in ast.walk(inner)}  # fmt: skip
    nodes = [n.exc for n in ast.walk(function) if isinstance(n, ast.Raise) and id(n) not in inside]
    names = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    return {name for name in names if name.endswith("Error") and name not in ("NotImplementedError", "AssertionError")}


def unexplained(package: Path) -> list[str]:
    """What the docstrings of a folder leave out."""
    found = []
    for path in sorted(package.rglob("*.py")):
        for function, text in public_functions(ast.parse(path.read_text("utf-8")).body):
            where = f"{path.relative_to(package)}: {function.name}"
            types = [ast.unparse(a.annotation) for a in function.args.args if a.annotation]
            types += [ast.unparse(function.returns)] if function.returns else []
            if any("Tensor" in kind and "Callable" not in kind for kind in types) and not SHAPE.search(text):
                found.append(f"{where} has no shape")
            found += [f"{where} does not name {error}" for error in sorted(raised(function)) if error not in text]
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_shapes_and_errors_are_in_the_docstring(room: str) -> None:
    assert unexplained(ROOT / "metaexp" / room) == []


def public_definitions() -> Iterator[tuple[str, Function, str]]:
    """What ``import metaexp as mx`` exports: each function and public method with its place and what explains it."""
    for module, names in metaexp._PLACES.items():
        tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text("utf-8"))
        exported = [node for node in tree.body if getattr(node, "name", None) in names]
        for function, text in public_functions(exported):
            yield module, function, text


def unnamed(function: Function, text: str) -> list[str]:
    """The arguments of a function that its docstring does not name, and the errors that it raises and does not name."""
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    names = [argument.arg for argument in every if argument is not None and argument.arg not in ("self", "cls")]
    missing = [name for name in names if not re.search(rf"\b{name}: |`{name}`", text)]
    return missing + [error for error in sorted(raised(function)) if error not in text]


def test_exported_names_say_what_their_arguments_are_and_which_errors_they_raise() -> None:
    found = [(where, function, text) for where, function, text in public_definitions()]
    assert {"train", "compare_runs", "scores", "adapt", "episodes"} <= {function.name for _, function, _ in found}
    assert [f"{where}.{function.name}: {unnamed(function, text)}" for where, function, text in found
            if unnamed(function, text)] == []  # fmt: skip


def test_an_argument_or_an_error_that_is_not_named_is_found() -> None:
    source = 'def add(x, *, much):\n    """Add ``x``."""\n    raise ConfigError("no")'
    (function,) = ast.parse(source).body
    assert isinstance(function, Function)
    assert unnamed(function, ast.get_docstring(function) or "") == ["much", "ConfigError"]
    assert unnamed(function, "Add ``x``.\n\nArgs:\n    much: How much.\n\nRaises:\n    ConfigError: Never.") == []


def test_a_docstring_without_them_is_found(tmp_path: Path) -> None:
    (tmp_path / "right.py").write_text(
        'def double(x: Tensor) -> Tensor:\n    """2 x (B, D). Raises ValueError."""\n    raise ValueError("x")'
    )
    assert unexplained(tmp_path) == []
    (tmp_path / "wrong.py").write_text(
        'class A:\n    """An A."""\n    def double(self, x: Tensor) -> int:\n        """Twice x."""\n'
        '        def inner() -> None:\n            raise KeyError("x")\n        raise ValueError("x")'
    )
    assert unexplained(tmp_path) == ["wrong.py: double has no shape", "wrong.py: double does not name ValueError"]
