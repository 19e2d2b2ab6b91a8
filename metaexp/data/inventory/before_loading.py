"""Questions that a dataset is asked before it is loaded. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Any, Literal

from metaexp.core.counted import shortened
from metaexp.core.errors import ConfigError, MetaexpError
from metaexp.core.own_imports import lines_of
from metaexp.core.shapes import Capacity, FixedBank
from metaexp.data.base import Dataset

Question = Literal["capacity", "capacity_in", "class_ids_in", "fixed_bank"]


def ask_dataset(dataset: Dataset, question: Question, *given: Path | None) -> Any:
    """Return what a method of a dataset returns.

    Args:
        dataset: The description of a dataset, perhaps somebody's own.
        question: The method.
        given: Its arguments.

    Raises:
        ConfigError: The method raises what only a mistake in it can raise, and the message says where; or it returns
            something else than the base class says.
        DataError: The files are missing or wrong.
        OSError: A file cannot be read.
    """
    is_answer, wanted = _ANSWERS[question]
    try:
        found = getattr(dataset, question)(*given)
        is_right = found is None or is_answer(found)
    except (MetaexpError, OSError):
        raise
    except Exception as error:
        raise ConfigError(
            f"{question} of the dataset {type(dataset).__name__} raises {type(error).__name__}: {error} "
            f"({_place(error, getattr(type(dataset), question))}). Correct it, or let it return None."
        ) from error
    if not is_right:
        raise ConfigError(
            f"{question} of the dataset {type(dataset).__name__} returns {shortened(repr(found))}; it must return "
            f"{wanted}, or None where that is not known."
        )
    return found


def _are_sizes(found: Any) -> bool:
    return isinstance(found, Mapping) and all(isinstance(size, Capacity) for size in found.values())


def _are_classes(found: Any) -> bool:
    tables = found.values() if isinstance(found, Mapping) else [None]
    return all(isinstance(table, Mapping) and all(map(_are_texts, table.values())) for table in tables)


def _are_texts(names: Any) -> bool:
    return isinstance(names, Set) and all(isinstance(name, str) for name in names)


_SIZES = "a mapping from splits to metaexp.core.shapes.Capacity"
_ANSWERS: Mapping[Question, tuple[Callable[[Any], bool], str]] = {
    "capacity": (_are_sizes, _SIZES),
    "capacity_in": (_are_sizes, _SIZES),
    "class_ids_in": (_are_classes, "a mapping from splits to mappings from the names of classes to sets of texts"),
    "fixed_bank": (lambda found: isinstance(found, FixedBank), "a metaexp.core.shapes.FixedBank"),
}
"""What is right as the answer to a question, and a name for it."""


def _place(error: Exception, method: Callable[..., Any]) -> str:
    """The last line outside libraries; the first line of the method if it cannot be called like that."""
    lines, own = lines_of(error)
    code = getattr(method, "__code__", None)
    first = [] if code is None else [(code.co_filename, code.co_firstlineno)]
    file, line = (own or lines or first or [("?", 0)])[-1]
    return f"{file}, line {line}"
