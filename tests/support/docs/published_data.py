"""Whether the data that a published run was tested on are here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from metaexp.config.classes.make import make
from metaexp.config.purpose import Purpose
from metaexp.config.revise import revise
from metaexp.core.errors import DataError
from metaexp.data.base import Dataset
from metaexp.data.mixture.dataset import Mixture

_DESCRIBED: dict[str, Dataset] = {}


def described(config: Mapping[str, Any]) -> Dataset:
    """The dataset of a run, made once for each configuration of it."""
    key = json.dumps(config["dataset"], sort_keys=True)
    if key not in _DESCRIBED:
        _DESCRIBED[key] = make(revise(config, {}, (), purpose=Purpose.READ).dataset, Dataset)
    return _DESCRIBED[key]


@cache
def why_missing(dataset: Dataset, digest: str | None, folder: Path) -> str:
    """Why the data of a record are not here; empty if they are.

    A dataset says itself which files it reads, a mixture those of all its datasets. Fonts are those of this machine, so
    they must also be the ones of the record. Other data are published: if their digest is another one, that is an
    error, which a test must show.
    """
    sources = dataset.sources(folder)
    if sources is None:
        return f"{type(dataset).__name__} does not say which files it reads"
    if sources.advice or not _reads_fonts(dataset, folder):
        return sources.advice
    try:
        found = dataset.load(folder, lambda _: None).digest
    except DataError as error:
        return str(error)
    return "" if found == digest else "the fonts of this machine are not those of the record"


def _reads_fonts(dataset: Dataset, folder: Path) -> bool:
    parts = dataset.domains.values() if isinstance(dataset, Mixture) else [dataset]
    return any(found.how == "fonts" for part in parts if (found := part.sources(folder)) is not None)
