"""Finds modules of the user's own code that were edited after this Python process had imported them.

Python imports a module once. After an edit, a notebook would compute with the code from before it, while the record
would name the code from after it.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from metaexp.config.classes.own_code import installed_folders
from metaexp.core.own_imports import import_own

_loaded: dict[str, tuple[ModuleSpec | None, str]] = {}
"""Module -> its specification (a reload makes a new one), and the SHA-256 (hex) of its source when it was imported."""


def import_module(name: str) -> ModuleType:
    """Import a module, and remember the source of the modules of the user's own that are imported with it.

    Args:
        name: The dotted name.

    Raises:
        ConfigError: A module of the user's own fails. The message names the line and the cause.
    """
    if name in sys.modules:  # nothing is imported with it
        return importlib.import_module(name)
    before = set(sys.modules)
    module = import_own(name)
    for new in set(sys.modules) - before:
        path = _source(new)
        if path is not None and not any(path.is_relative_to(folder) for folder in installed_folders()):
            _loaded[new] = (sys.modules[new].__spec__, _digest(path.read_bytes()))
    return module


def edited_since_import(files: Mapping[str, bytes]) -> list[str]:
    """Return the files whose modules were imported before their last edit.

    Args:
        files: Path inside the package (``lab/losses.py``) -> its source now.
    """
    return sorted(name for name, content in files.items() if _is_edited(_module_name(name), content))


def _is_edited(name: str, content: bytes) -> bool:
    module = sys.modules.get(name)
    if module is None or _source(name) is None:
        return False
    spec, digest = module.__spec__, _digest(content)
    known = _loaded.get(name)
    if known is not None and known[0] is spec:
        return known[1] != digest
    # It was imported or reloaded by somebody else, so what was imported is known by its functions only.
    edited = spec is not None and type(spec.loader) is SourceFileLoader and _has_other_functions(module, content)
    if not edited:
        _loaded[name] = (spec, digest)
    return edited


def _has_other_functions(module: ModuleType, content: bytes) -> bool:
    try:
        written = list(_codes(compile(content, module.__file__ or "", "exec", dont_inherit=True)))
    except (SyntaxError, ValueError):
        return True  # it was imported, so it was correct then
    return any(code not in written for code in _functions(vars(module), module.__file__))


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Code, and that of the functions and classes inside."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _functions(names: Mapping[str, Any], file: str | None) -> Iterator[CodeType]:
    """The code of the functions of a module or a class that were written in a file."""
    for value in list(names.values()):
        inner = value  # only what Python itself wraps is unwrapped: other objects may refuse to be asked
        if isinstance(value, property):
            inner = value.fget
        elif isinstance(value, (staticmethod, classmethod, MethodType)):
            inner = value.__func__
        if isinstance(inner, FunctionType) and inner.__code__.co_filename == file:
            yield inner.__code__
        elif isinstance(inner, type) and inner.__module__ == names.get("__name__"):
            yield from _functions({**vars(inner), "__name__": None}, file)


def _module_name(file: str) -> str:
    parts = file.removesuffix(".py").split("/")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _source(name: str) -> Path | None:
    """The source file of an imported module; None where it has none."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return Path(file) if isinstance(file, str) and file.endswith(".py") and Path(file).is_file() else None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
