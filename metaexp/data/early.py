"""Questions that a dataset is asked before it is loaded. Importing this module does not import torch."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any, Literal

from metaexp.core.errors import ConfigError, MetaexpError
from metaexp.data.base import Dataset

Question = Literal["capacity", "capacity_in", "class_ids_in", "fixed_bank"]


def ask(dataset: Dataset, question: Question, *given: Path | None) -> Any:
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
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise ConfigError(
            f"{question} of the dataset {type(dataset).__name__} raises {type(error).__name__}: {error} "
            f"({place.filename}, line {place.lineno}). Correct it, or let it return None."
        ) from error
