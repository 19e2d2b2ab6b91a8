"""The user's own code that a configuration names: which files it is made of, and their digest. Nothing is imported.

Changed code gives other numbers, so the code is part of what a run is, like its settings. The files are found by
following imports in source, from the modules of the classes. An import whose module is named at run time only
(``importlib.import_module(name)``) is not found, nor is a file of data that the code reads.
"""

from __future__ import annotations

import ast
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from metaexp.config.classes.source import module_path
from metaexp.config.classes.targets import trusted
from metaexp.config.schema import ClassSpec, OwnCode


def own_code(values: Any) -> OwnCode | None:
    """Find the user's own code that checked values of a configuration name.

    Args:
        values: Nested mappings with a ClassSpec for each object.

    Returns:
        The code; None where every class is of metaexp or torch.
    """
    waiting = sorted({path.rpartition(".")[0] for path in _class_paths(values)})
    waiting = [name for name in waiting if name.partition(".")[0] not in ("metaexp", "torch")]
    files: dict[str, bytes] = {}
    places: dict[str, Path] = {}
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        path = module_path(name) if _is_own(name) else None
        if path is None:
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
        yield from _class_paths(values.arguments)
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from _class_paths(value)


def _imported(name: str, path: Path, content: bytes) -> list[str]:
    """The modules that a module may import, with the packages around it. Some are no modules but names in one."""
    found = [name.rpartition(".")[0]] if "." in name else []
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # the import will say so
        return found
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _base(package, node)
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return [part for name in found for part in _with_parents(name)]


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
    path = module_path(top)
    return path is not None and not any(path.is_relative_to(folder) for folder in _installed())


def _installed() -> set[str]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return {sysconfig.get_path(name) for name in names} | {*site.getsitepackages(), site.getusersitepackages()}


def _inside(name: str, path: Path) -> str:
    parts = name.split(".")
    return "/".join([*parts, "__init__.py"] if path.name == "__init__.py" else [*parts[:-1], f"{parts[-1]}.py"])
