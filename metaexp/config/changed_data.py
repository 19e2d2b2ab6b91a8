"""What a dataset would hold if keys of its section had other values. Torch is not imported for those of metaexp."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metaexp.config.classes.make import make
from metaexp.config.schema import ClassSpec
from metaexp.core.errors import MetaexpError
from metaexp.core.fit.advice import Changes
from metaexp.core.shapes import Capacity, Split
from metaexp.data.base import Dataset
from metaexp.data.files.left_out import leave_out_key
from metaexp.data.inventory.before_loading import ask_dataset


def changes_of(spec: ClassSpec, folder: Path | None) -> Changes:
    """Return what other values of a dataset's keys would change.

    Args:
        spec: The class of the dataset, with its arguments.
        folder: The data folder, in which files are counted; None reads no file, so that nothing is known.
    """

    def capacity(values: Mapping[str, Any]) -> Mapping[Split, Capacity] | None:
        if folder is None:
            return None
        changed = dataclasses.replace(spec, arguments={**spec.arguments, **values})
        try:
            found: Mapping[Split, Capacity] | None = ask_dataset(make(changed, Dataset), "capacity_in", folder)  # type: ignore[type-abstract]
        except (MetaexpError, OSError):
            return {}
        return found

    return Changes(
        capacity,
        leave_out_key(spec.arguments),
        "fractions" in spec.arguments,
        {"rotations": "none"} if "rotations" in spec.arguments else {},
    )
