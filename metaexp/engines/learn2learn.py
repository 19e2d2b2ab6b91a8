"""Import learn2learn where it is installed, beside a torch for CPUs that torchvision does not match."""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType

import torch

from metaexp.core.errors import ConfigError

_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library: torch.library.Library | None = None


def import_learn2learn() -> ModuleType:
    """The learn2learn package.

    learn2learn imports torchvision. Where torchvision's compiled operators are missing, its import fails only because
    two of them must be *declared*. They are declared here, and never called.

    Raises:
        ConfigError: learn2learn cannot be imported; the message says how to install it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _declare_vision_operators()
            return importlib.import_module("learn2learn")
        except ImportError as error:
            raise ConfigError(
                f"learn2learn cannot be imported ({error}). It is optional; install it into this environment with "
                "`make learn2learn` in the repository, which needs a C compiler."
            ) from error


def _declare_vision_operators() -> None:
    global _library
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        if _library is None:
            _library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
            for schema in _OPERATORS:
                _library.define(schema)  # type: ignore[no-untyped-call]
