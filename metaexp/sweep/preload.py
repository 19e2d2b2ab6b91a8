"""What a warm parent does before it forks jobs: the imports of a run, and the data of the next job.

Nothing here computes with torch: a parallel region would start threads, and a process with threads cannot be forked.
Nothing of the user's own is imported either, so that each job reads it as it is then. This module itself is imported
without torch.
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

_ROOMS = ("algorithms", "config", "core", "data", "engines", "models", "results", "run", "tracking")
_LIBRARIES = (
    "torch._dynamo", "torch.profiler", "torch.testing", "numpy.ctypeslib", "numpy.fft", "numpy.random", "filelock",
    "matplotlib.backends.backend_agg", "matplotlib.patheffects", "rich._emoji_codes", "PIL.BmpImagePlugin",
    "PIL.GifImagePlugin", "PIL.JpegImagePlugin", "PIL.PngImagePlugin", "PIL.PpmImagePlugin",
)  # fmt: skip
"""What a run imports late: torch when it makes the first optimiser and the first vmap, matplotlib for the figures."""


_held_in: dict[tuple[str, Path], Path] = {}
"""Data that were asked for -> the file of the cache that has them."""


def import_everything() -> None:
    """Import what a run on the CPU will import, and see to it that forked processes differ where fresh ones do."""
    import numpy as np

    for name in (*_modules(), *_LIBRARIES):
        importlib.import_module(name)
    os.register_at_fork(after_in_child=np.random.seed)  # from the system, as at an import; random does it by itself
    gc.collect()
    gc.freeze()  # so that no collection touches, and copies, what the processes share


def hold_data(dataset: Mapping[str, Any], folder: Path) -> None:
    """Read the prepared data of a dataset into memory, where its cache is there, for the processes forked later.

    They look at the same key as ever, and read it anew where the files or the cache have changed since.

    Args:
        dataset: The section ``dataset`` of a configuration.
        folder: ``paths.data``.
    """
    from metaexp.data.files.cache import HELD

    assert not trusted(), "the user's own code is for the jobs"
    asked = (json.dumps(dataset, sort_keys=True), folder)
    if asked in _held_in and HELD.is_current(_held_in[asked]):
        return
    try:
        spec = class_spec(dataset, Slot("metaexp.data.base.Dataset"), "dataset")
    except ConfigError:  # of the user's own, or wrong; the job will tell
        return
    description = make(spec, Dataset)  # type: ignore[type-abstract]
    path = HELD.fill(lambda progress: description.load(folder, progress)) if description.reads_cache else None
    if path is not None:
        _held_in[asked] = path


def _modules() -> Iterator[str]:
    """The modules of the rooms that a run uses."""
    root = Path(metaexp.__file__).parent
    for room in _ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            parts = path.relative_to(root.parent).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
