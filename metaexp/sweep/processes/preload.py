"""Prepares a warm parent for its forks: imports what runs need, and loads the data of the next job.

Nothing here computes with torch, because torch would start threads, and a process with threads cannot be forked safely.
The user's own code is not imported either, so that each job imports its newest state. Importing this module imports no
torch.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import metaexp
from metaexp.config.classes.checker import Slot, class_spec
from metaexp.config.classes.make import make
from metaexp.config.classes.targets import trusted
from metaexp.core.errors import ConfigError
from metaexp.data.base import Dataset
from metaexp.results.provenance import loaded_state, sources_digest, versions

_ROOMS = ("algorithms", "config", "core", "data", "engines", "models", "results", "run", "tracking")
_LIBRARIES = (
    "torch.profiler", "torch.testing", "numpy.ctypeslib", "numpy.fft", "numpy.random", "filelock",
    "matplotlib.backends.backend_agg", "matplotlib.patheffects", "rich._emoji_codes", "PIL.BmpImagePlugin",
    "PIL.GifImagePlugin", "PIL.JpegImagePlugin", "PIL.PngImagePlugin", "PIL.PpmImagePlugin",
)  # fmt: skip
"""Modules that a run imports late: with its first optimiser, its first vmap, its first figure."""

HeldData = dict[tuple[str, Path], Path]
"""Section ``dataset`` (as JSON) and ``paths.data`` -> the file of the cache with these data, which are in memory."""


def import_everything() -> None:
    """Import what a run on the CPU imports, and read which versions these are and of which commit.

    Forked processes will draw different random numbers, as new ones do.
    """
    import numpy as np

    for name in (*_modules(), *_LIBRARIES):
        importlib.import_module(name)
    versions()
    sources_digest()
    loaded_state()  # all three are kept. A warm parent ends when metaexp's files or the installed packages change
    os.register_at_fork(after_in_child=np.random.seed)  # the module random does this by itself
    gc.collect()
    gc.freeze()  # a collection would write to memory that the processes share, and so copy it


def draw_figures(classification: bool) -> None:
    """Draw figures as a run does, so that the processes that are forked later have fonts and texts in memory.

    Args:
        classification: Whether the next jobs are classification. Regression has other figures.
    """
    from metaexp.results.figures.warm import draw_figures_once

    draw_figures_once(classification)
    gc.collect()
    gc.freeze()


def hold_data(dataset: Mapping[str, Any], folder: Path, held: HeldData) -> None:
    """Load the prepared data of a dataset from its cache, for the processes that are forked later.

    A process uses them only if the files and the cache are still the same. It reads them again otherwise.

    Args:
        dataset: The section ``dataset`` of a configuration.
        folder: ``paths.data``.
        held: What was loaded before, to which these data are added.
    """
    from metaexp.data.cache.prepared import HELD

    assert not trusted(), "only jobs import the user's own code"
    key = (json.dumps(dataset, sort_keys=True), folder)
    if key in held and HELD.is_current(held[key]):
        return
    try:
        spec = class_spec(dataset, Slot("metaexp.data.base.Dataset"), "dataset")
    except ConfigError:  # a class of the user, or a wrong key, which the job will report
        return
    description = make(spec, Dataset)  # type: ignore[type-abstract]
    path = HELD.fill(lambda progress: description.load(folder, progress)) if description.reads_cache else None
    if path is not None:
        held[key] = path


def _modules() -> Iterator[str]:
    """The modules of the rooms that a run uses."""
    root = Path(metaexp.__file__).parent
    for room in _ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            parts = path.relative_to(root.parent).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
