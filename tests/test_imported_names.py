"""Every name is imported from the module that defines it, and each public class of a room has a name of its own."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import metaexp as mx

PACKAGE = Path(__file__).resolve().parents[1] / "metaexp"


def path_of(module: str) -> Path | None:
    """The file of a module of the package; None for what is not a module."""
    place = PACKAGE.parent.joinpath(*module.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


@cache
def imported_only(path: Path) -> set[str]:
    """The names that a module imports for itself: not those it offers, in ``__all__`` or by ``import name as name``."""
    text = path.read_text(encoding="utf-8")
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    aliases = [alias for node in nodes for alias in node.names if alias.asname != alias.name]
    names = {(alias.asname or alias.name).partition(".")[0] for alias in aliases}
    return {name for name in names if f'"{name}"' not in text.partition("__all__")[2].partition("]")[0]}


def taken_from_importers(files: list[Path]) -> list[str]:
    """``file: name`` for each name of the package that a file takes from a module that only imports it."""
    found = []
    for path in sorted(files):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("metaexp"):
                continue
            source = path_of(str(node.module))
            names = {alias.name for alias in node.names if path_of(f"{node.module}.{alias.name}") is None}
            found += [f"{path.name}: {name}" for name in sorted(names & (imported_only(source) if source else set()))]
    return found


def test_no_name_is_taken_from_a_module_that_only_imports_it(tmp_path: Path) -> None:
    assert taken_from_importers(list(PACKAGE.rglob("*.py"))) == []
    planted = tmp_path / "planted.py"
    planted.write_text("from metaexp.run.outputs import Outputs, draw\nfrom metaexp.run import outputs\n")
    assert taken_from_importers([planted]) == ["planted.py: draw"]


def shared_names(package: Path) -> dict[str, list[str]]:
    """Public classes whose name another class of the same room has, or any other if the package exports it, with files.

    Files of algorithms do not know each other, so several may have a class of the same name.
    """
    places: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package)
        if file.parts[0] == "algorithms":
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append((file.parts[0], str(file)))
    found: dict[str, list[str]] = {}
    for name, known in places.items():
        rooms = [room for room, _ in known]
        if len(rooms) > 1 and (name in mx.__all__ or len(set(rooms)) < len(rooms)):
            found[name] = [file for _, file in known]
    return found


def test_a_class_has_its_name_alone_in_its_room_and_an_exported_one_in_the_package(tmp_path: Path) -> None:
    assert shared_names(PACKAGE) == {}
    for file, name in {"api.py": "Run", "data/a.py": "Run", "data/b.py": "Row", "data/c.py": "Row"}.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(f"class {name}: ...\n")
    for file in ("models/a.py", "run/a.py", "algorithms/a.py", "algorithms/b.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("class _Own: ...\nclass Step: ...\n")
    assert shared_names(tmp_path) == {"Run": ["api.py", "data/a.py"], "Row": ["data/b.py", "data/c.py"]}
