"""Finds the user's own code that a configuration names: its files and their digest. Nothing is imported.

Changed code gives other numbers, so the code is part of what a run is, like its settings. The files are found by
following imports in source, from the modules of the classes and metrics. Where a module is named at run time only
(``importlib.import_module(name)``), every file of the package counts. A file of data that the code reads is not found.
"""

from __future__ import annotations

import ast
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

from metaexp.config.classes.source import module_path, package_folders
from metaexp.config.classes.targets import trusted
from metaexp.config.schema import ClassSpec, OwnCode
from metaexp.core.metric import is_own

_COMPILED = tuple(EXTENSION_SUFFIXES)
_SUFFIXES = (".py", *_COMPILED)
_NAMING = ("import_module", "__import__")
_IMPORTING = (*_NAMING, "spec_from_file_location", "run_path", "run_module", "walk_packages", "iter_modules")
"""Functions of the standard library that import, or list for an import, modules that are named at run time."""


def own_code(values: Mapping[str, Any]) -> OwnCode | None:
    """Find the user's own code that checked values of a configuration name.

    Args:
        values: Nested mappings with a ClassSpec for each object. ``eval.metrics`` may name functions.

    Returns:
        The code; None where everything is of metaexp or torch.
    """
    paths = [*_class_paths(values), *filter(is_own, (values.get("eval") or {}).get("metrics") or ())]
    waiting = sorted({path.rpartition(".")[0] for path in paths})
    waiting = [name for name in waiting if name.partition(".")[0] not in ("metaexp", "torch")]
    files: dict[str, bytes] = {}
    places: dict[str, Path] = {}
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if not _is_own(name):
            continue
        path = _file(name)
        if path is None:
            if "." not in name and (folders := package_folders(name)):
                places[name] = folders[0]  # a package without an __init__.py
            continue
        content = path.read_bytes()
        files[_inside(name, path)] = content
        if "." not in name:
            places[name] = path
        waiting += _imported(name, path, content)
    return OwnCode(files, places) if files else None


def _class_paths(values: Any) -> Iterator[str]:
    if isinstance(values, ClassSpec):
        yield values.path
        yield from values.named
        yield from _class_paths(values.arguments)
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from _class_paths(value)


def _imported(name: str, path: Path, content: bytes) -> list[str]:
    """The modules that a module may import, with the packages around it. Some are not modules, but names in one."""
    found = [name.rpartition(".")[0]] if "." in name else []
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    try:
        nodes = _calls_and_imports(content)
    except (SyntaxError, ValueError):  # the import will report it
        return found
    for node in nodes:
        if isinstance(node, ast.Call):
            found += _named_at_run_time(name, node)
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        else:
            base = _base(package, node)
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return [part for name in found for part in _with_parents(name)]


@lru_cache(maxsize=256)
def _calls_and_imports(content: bytes) -> list[ast.Call | ast.Import | ast.ImportFrom]:
    """The nodes of a source text that may import. Parsing takes long, so each text is parsed once."""
    return [node for node in ast.walk(ast.parse(content)) if isinstance(node, (ast.Call, ast.Import, ast.ImportFrom))]


def _named_at_run_time(name: str, call: ast.Call) -> list[str]:
    """The modules that a call may import: the one that it names, or all of a package where it computes a name."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if called not in _IMPORTING:
        return []
    argument = call.args[0] if call.args and called in _NAMING else None
    start = argument.values[0] if isinstance(argument, ast.JoinedStr) and argument.values else argument
    text = start.value if isinstance(start, ast.Constant) and isinstance(start.value, str) else ""
    if text and start is argument and not text.startswith("."):
        return [text]
    return [
        *_modules_of(name.partition(".")[0]),
        *_modules_of(text.partition(".")[0] if "." in text.lstrip(".") else ""),
    ]


def _modules_of(package: str) -> list[str]:
    """The dotted names of everything in a package of the user's."""
    if not package or not _is_own(package):
        return []
    found = []
    for folder in package_folders(package):
        for file in sorted(path for path in folder.rglob("*") if path.name.endswith(_SUFFIXES)):
            parts = [*file.relative_to(folder).parts[:-1], file.name.partition(".")[0]]
            found.append(".".join([package, *(part for part in parts if part != "__init__")]))
    return found


def _file(name: str) -> Path | None:
    """The source of a module, or its compiled code where it has no source."""
    return module_path(name) or module_path(name, _COMPILED)


def _base(package: str, node: ast.ImportFrom) -> str:
    """The absolute module of a ``from ... import``."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])


def _with_parents(name: str) -> Iterable[str]:
    parts = name.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _is_own(name: str) -> bool:
    """Whether a module is the user's: of a trusted package, or not installed but found in some folder."""
    top = name.partition(".")[0]
    if top in ("metaexp", "torch", "") or top in sys.stdlib_module_names:
        return False
    if top in trusted():
        return True
    path = _file(top)
    places = package_folders(top) if path is None else [path]
    return any(not any(place.is_relative_to(folder) for folder in installed_folders()) for place in places)


@cache
def installed_folders() -> frozenset[str]:
    """Return the folders of the standard library and of installed packages."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    known = [sysconfig.get_path(name) for name in names]
    return frozenset([*known, *site.getsitepackages(), site.getusersitepackages()])


def _inside(name: str, path: Path) -> str:
    parts = name.split(".")
    return "/".join([*parts, "__init__.py"] if path.name == "__init__.py" else [*parts[:-1], path.name])
