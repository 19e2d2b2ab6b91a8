"""Finds where an algorithm in float64 computes in a type of fewer digits."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from metaexp.doctor.finding import is_of_an_algorithm


class LowPrecision(TorchDispatchMode):
    """Notes the first operation that makes fewer digits of numbers in float64, while it is active.

    ``scalar * torch.eye(n)`` is one: without ``dtype`` the matrix is in float32, and a scalar tensor follows it.

    Attributes:
        dtype: The type of the result; None if there was no such operation.
        place: File and line in the algorithm's own code; empty if it is not there.
    """

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)  # by its name, as untyped_calls_exclude in setup.cfg does not know super()
        self.dtype: torch.dtype | None = None
        self.place = ""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False, so that torch does not import its compiler to hide this class from it, which takes seconds."""
        return False

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Compute ``func`` and look at the types of what it takes and gives."""
        out = func(*args, **(kwargs or {}))
        if self.dtype is None and torch.float64 in _float_types((args, kwargs)):
            self.dtype = next((dtype for dtype in _float_types(out) if dtype.itemsize < torch.float64.itemsize), None)
            if self.dtype is not None:
                self.place = _own_place(sys._getframe(1))
        return out


def _float_types(values: object) -> list[torch.dtype]:
    return [leaf.dtype for leaf in tree_leaves(values) if isinstance(leaf, Tensor) and leaf.dtype.is_floating_point]


def _own_place(frame: FrameType | None) -> str:
    """The innermost line of the algorithm's own code that led to a frame."""
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if is_of_an_algorithm(file):
            return f"{file.name}, line {frame.f_lineno}"
        frame = frame.f_back
    return ""
