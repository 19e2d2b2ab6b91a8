"""metaexp: an experiment framework for meta-learning.

``import metaexp as mx`` takes no torch. Each name below is imported when it is first used.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metaexp.api import Comparison as Comparison
    from metaexp.api import compare_runs as compare_runs
    from metaexp.api import dataset as dataset
    from metaexp.api import load_run as load_run
    from metaexp.api import runs as runs
    from metaexp.api import train as train
    from metaexp.core.algorithm import Algorithm as Algorithm
    from metaexp.core.errors import ConfigError as ConfigError
    from metaexp.core.errors import MetaexpError as MetaexpError
    from metaexp.core.fields import Fraction as Fraction
    from metaexp.core.fields import NonNegativeFloat as NonNegativeFloat
    from metaexp.core.fields import NonNegativeInt as NonNegativeInt
    from metaexp.core.fields import PositiveFloat as PositiveFloat
    from metaexp.core.fields import PositiveInt as PositiveInt
    from metaexp.core.shapes import TaskShape as TaskShape
    from metaexp.core.types import Episode as Episode
    from metaexp.core.types import Examples as Examples
    from metaexp.data.base import Dataset as Dataset
    from metaexp.data.inventory.loaded import LoadedDataset as LoadedDataset
    from metaexp.folders.run import Run as Run
    from metaexp.models.base import Network as Network
    from metaexp.results.evaluations import Evaluation as Evaluation
    from metaexp.results.run_table import RunTable as RunTable
    from metaexp.run.predict.conformal import Calibration as Calibration
    from metaexp.run.predict.learner import Learner as Learner

    compare = compare_runs

__version__ = "0.1.0"

_PLACES = {
    "metaexp.api": ("Comparison", "compare_runs", "dataset", "load_run", "runs", "train"),
    "metaexp.core.algorithm": ("Algorithm",),
    "metaexp.core.errors": ("ConfigError", "MetaexpError"),
    "metaexp.core.fields": ("Fraction", "NonNegativeFloat", "NonNegativeInt", "PositiveFloat", "PositiveInt"),
    "metaexp.core.shapes": ("TaskShape",),
    "metaexp.core.types": ("Episode", "Examples"),
    "metaexp.data.base": ("Dataset",),
    "metaexp.data.inventory.loaded": ("LoadedDataset",),
    "metaexp.folders.run": ("Run",),
    "metaexp.models.base": ("Network",),
    "metaexp.results.evaluations": ("Evaluation",),
    "metaexp.results.run_table": ("RunTable",),
    "metaexp.run.predict.conformal": ("Calibration",),
    "metaexp.run.predict.learner": ("Learner",),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "__version__", *sorted(_MODULES),
]  # fmt: skip


class _Compare(ModuleType):
    """The package ``metaexp.compare``, which can be called as well: ``mx.compare(runs)``."""

    def __call__(self, runs: Any, by: Any = (), *, metric: str | None = None, evaluations: bool = False) -> Comparison:
        """Compare runs: :func:`metaexp.compare_runs`, under a shorter name."""
        compare_runs = importlib.import_module("metaexp.api").compare_runs
        return compare_runs(runs, by, metric=metric, evaluations=evaluations)  # type: ignore[no-any-return]


importlib.import_module("metaexp.compare").__class__ = _Compare


if not TYPE_CHECKING:  # a type checker would take every name for one that is there

    def __getattr__(name: str) -> Any:
        """Import an exported name when it is first used."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(_MODULES[name]), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    """List the exported names, imported or not."""
    return sorted({*globals(), *_MODULES})
