"""Finds classes in source files. Nothing is imported.

A configuration is checked before torch, or any user's code, is imported. So the files that define its classes are
parsed, and names are followed through imports and aliases to their definition.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Module:
    """A parsed source file: the statement that binds each top-level name, and what was made of its statements."""

    name: str
    path: Path
    names: dict[str, ast.AST]
    made: dict[ast.AST, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class ClassSource:
    """A class found in source: the module that defines it, and its definition."""

    module: Module
    node: ast.ClassDef

    @property
    def path(self) -> str:
        """Where the class is defined, as a dotted path."""
        return f"{self.module.name}.{self.node.name}"

    @property
    def package(self) -> str:
        """The top-level package it is defined in."""
        return self.module.name.partition(".")[0]


def find_class(target: str) -> ClassSource | None:
    """Find a class by its dotted path, followed through re-exports to its definition.

    Returns:
        The class; None if there is none.
    """
    origin = Scope(None).locate(target)
    return origin if isinstance(origin, ClassSource) else None


def known_classes(module_name: str) -> list[str]:
    """Return the names of the public classes in a module, to suggest from; [] if there is no such module."""
    module = read_module(module_name)
    if module is None:
        return []
    bound = (ast.ClassDef, ast.ImportFrom)
    return [name for name, node in module.names.items() if isinstance(node, bound) and not name.startswith("_")]


def lineage(source: ClassSource) -> list[ClassSource]:
    """Return the class and those of its bases whose source can be read, nearest first."""
    found = [source]
    for base in source.node.bases:
        origin = Scope(source.module).locate_node(base)
        if isinstance(origin, ClassSource):
            found += [item for item in lineage(origin) if item not in found]
    return found


def derives_from(source: ClassSource, base: str) -> bool:
    """Whether the class is, or has among its bases, the class at dotted path ``base``.

    Args:
        source: The class.
        base: The dotted path of another class.
    """
    origin = find_class(base)
    wanted = origin.path if origin else base
    ancestors = list(lineage(source))
    return any(ancestor.path == wanted for ancestor in ancestors) or wanted in _base_paths(ancestors)


def derives_from_library(source: ClassSource, library: str) -> bool:
    """Whether a base of the class is defined in the package at dotted path ``library``, and none in metaexp.

    Args:
        source: The class.
        library: The dotted path of the package, such as ``torch.nn``.
    """
    ancestors = list(lineage(source))
    if any(ancestor.path.startswith("metaexp.") for ancestor in ancestors):
        return False
    return any(path.startswith(f"{library}.") for path in _base_paths(ancestors))


def _base_paths(ancestors: Iterable[ClassSource]) -> Iterator[str]:
    """The dotted paths of the bases that the classes name."""
    for ancestor in ancestors:
        for node in ancestor.node.bases:
            located = Scope(ancestor.module).locate_node(node)
            path = located.path if isinstance(located, ClassSource) else located
            if isinstance(path, str):
                yield path


def class_attribute(source: ClassSource, name: str) -> Any:
    """Return the literal that the class, or the nearest base that has one, assigns to an attribute; None without one.

    Args:
        source: The class.
        name: The attribute.
    """
    for ancestor in lineage(source):
        for statement in ancestor.node.body:
            target: ast.expr | None = None
            if isinstance(statement, ast.AnnAssign):
                target = statement.target
            elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
                target = statement.targets[0]
            else:
                continue
            if isinstance(target, ast.Name) and target.id == name and statement.value is not None:
                try:
                    return ast.literal_eval(statement.value)
                except ValueError:
                    return None
    return None


@lru_cache(maxsize=256)
def read_module(name: str) -> Module | None:
    """Parse a module by its dotted name. Neither it nor its parents are imported.

    Returns:
        The parsed module; None if there is no source.
    """
    path = module_path(name) if _is_worth_reading(name) else None
    try:
        return None if path is None else Module(name, path, _names(path.read_text(encoding="utf-8")))
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None


@lru_cache(maxsize=256)
def _names(content: str) -> dict[str, ast.AST]:
    """The top-level names of a source text. Parsing takes long, so a text that was seen before is not parsed again."""
    return dict(_bindings(ast.parse(content).body))


def _is_worth_reading(name: str) -> bool:
    """Not the standard library, whose names are known, nor torch beyond its optimisers, which is large."""
    top = name.partition(".")[0]
    if top == "torch":
        return name == "torch.optim" or name.startswith("torch.optim.")
    return top not in sys.stdlib_module_names


def module_path(name: str, suffixes: Sequence[str] = (".py",)) -> Path | None:
    """Find the file of a module, importing nothing but what `find_spec` needs; None if there is none.

    Args:
        name: The dotted name of the module.
        suffixes: How its file may end.
    """
    top, *parts = name.split(".")
    spec = _top_level(top) if all(part.isidentifier() for part in parts) else None
    if spec is None:
        return None
    if not parts:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(tuple(suffixes)) else None
    folders = package_folders(top)
    for part in parts[:-1]:
        folders = [folder / part for folder in folders if (folder / part).is_dir()]
    for folder in folders:
        for candidate in (folder / parts[-1] / "__init__", folder / parts[-1]):
            for suffix in suffixes:
                file = candidate.with_name(candidate.name + suffix)
                if file.is_file():
                    return file
    return None


def package_folders(package: str) -> list[Path]:
    """Return the folders of a top-level package, several where it has no ``__init__.py``; [] if there is none."""
    spec = _top_level(package)
    return [] if spec is None else [Path(folder) for folder in spec.submodule_search_locations or []]


def _top_level(name: str) -> ModuleSpec | None:
    if not name.isidentifier():
        return None
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def _bindings(body: list[ast.stmt]) -> Iterator[tuple[str, ast.AST]]:
    """Top-level names of a module, also those bound under ``if`` and ``try``."""
    for statement in body:
        if isinstance(statement, ast.If):
            yield from _bindings(statement.body + statement.orelse)
        elif isinstance(statement, ast.Try):
            yield from _bindings(statement.body)
        else:
            yield from _bound_by(statement)


def _bound_by(statement: ast.stmt) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        yield from ((alias.asname or alias.name.partition(".")[0], statement) for alias in statement.names)
    elif isinstance(statement, (ast.ClassDef, ast.FunctionDef)):
        yield statement.name, statement
    elif isinstance(statement, ast.Assign):
        yield from ((target.id, statement.value) for target in statement.targets if isinstance(target, ast.Name))
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        if statement.value is not None:
            yield statement.target.id, statement.value
    elif type(statement).__name__ == "TypeAlias":  # `type X = ...`, Python 3.12
        yield statement.name.id, statement.value  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Alias:
    """A name bound to an expression (a type alias), with the module that the expression is read in."""

    module: Module
    name: str
    value: ast.expr

    @property
    def path(self) -> str:
        """Where the alias is defined, as a dotted path."""
        return f"{self.module.name}.{self.name}"


Origin = ClassSource | Alias | str | None
"""What a name comes from; a dotted path where its source is not read, None where it is not a name at all."""


class Scope:
    """The names of one module, followed to where they come from."""

    def __init__(self, module: Module | None) -> None:
        """Look at names from inside ``module``; None: absolute dotted paths only."""
        self.module = module

    def locate_node(self, node: ast.expr) -> Origin:
        """Return what a name or dotted name in an expression stands for."""
        if isinstance(node, ast.Subscript):  # a generic base: Base[T]
            return self.locate_node(node.value)
        attributes: list[str] = []
        while isinstance(node, ast.Attribute):
            attributes.insert(0, node.attr)
            node = node.value
        return self._follow(node.id, attributes, 0) if isinstance(node, ast.Name) else None

    def locate(self, dotted: str, depth: int = 0) -> Origin:
        """Return what an absolute dotted path stands for.

        Args:
            dotted: The path.
            depth: How many imports were followed so far. A limit on it ends circles of imports.
        """
        module_name, _, name = dotted.rpartition(".")
        module = read_module(module_name) if module_name and depth < 16 else None
        if module is None or name not in module.names:
            return dotted
        return Scope(module)._follow(name, [], depth + 1)

    def _follow(self, name: str, attributes: list[str], depth: int) -> Origin:
        if self.module is None or name not in self.module.names:
            return ".".join([name, *attributes])  # a builtin
        node = self.module.names[name]
        if isinstance(node, ast.Import):
            alias = next(a for a in node.names if (a.asname or a.name.partition(".")[0]) == name)
            return self.locate(".".join([alias.name if alias.asname else name, *attributes]), depth)
        if isinstance(node, ast.ImportFrom):
            original = next(a.name for a in node.names if (a.asname or a.name) == name)
            return self.locate(".".join([self._source_of(node), original, *attributes]), depth)
        if attributes:
            return None
        if isinstance(node, ast.ClassDef):
            return ClassSource(self.module, node)
        return Alias(self.module, name, node) if isinstance(node, ast.expr) else f"{self.module.name}.{name}"

    def _source_of(self, node: ast.ImportFrom) -> str:
        """The absolute module of a ``from ... import``, relative ones included."""
        if not node.level or self.module is None:
            return node.module or ""
        parts = self.module.name.split(".")
        package = parts[: len(parts) - node.level + (self.module.path.name == "__init__.py")]
        return ".".join([*package, node.module] if node.module else package)
