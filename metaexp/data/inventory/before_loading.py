"""Questions that a dataset is asked before it is loaded. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from metaexp.core.errors import ConfigError, MetaexpError
from metaexp.core.own_imports import lines_of
from metaexp.data.base import Dataset

Question = Literal["capacity", "capacity_in", "class_ids_in", "fixed_bank"]


def ask_dataset(dataset: Dataset, question: Question, *given: Path | None) -> Any:
    """Return what a method of a dataset returns.

    Args:
        dataset: The description of a dataset, perhaps somebody's own.
        question: The method.
        given: Its arguments.

    Raises:
        ConfigError: The method raises what only a mistake in it can raise; the message says where.
        DataError: The files are missing or wrong.
        OSError: A file cannot be read.
    """
    try:
        return getattr(dataset, question)(*given)
    except (MetaexpError, OSError):
        raise
    except Exception as error:
        raise ConfigError(
            f"{question} of the dataset {type(dataset).__name__} raises {type(error).__name__}: {error} "
            f"({_place(error, getattr(type(dataset), question))}). Correct it, or let it return None."
        ) from error


def _place(error: Exception, method: Callable[..., Any]) -> str:
    """The last line outside libraries; the first line of the method if it cannot be called like that."""
    lines, own = lines_of(error)
    code = getattr(method, "__code__", None)
    first = [] if code is None else [(code.co_filename, code.co_firstlineno)]
    file, line = (own or lines or first or [("?", 0)])[-1]
    return f"{file}, line {line}"
