"""torch's compiler is imported when something is compiled, not with the first optimiser or the first gradient."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from contextlib import nullcontext
from types import ModuleType
from typing import Any

import torch

_COMPILER = "torch._dynamo"
_HIDDEN = "__dynamo_disable"  # the attribute in which torch keeps how it calls a function that the compiler may not see


def put_off_compiler() -> None:
    """Let optimisers and ``torch.func`` work without torch's compiler, until something imports it.

    Optimisers import it to hide some of their methods from it, and ``torch.func.grad`` to switch off compiled
    gradients. Neither does anything as long as there is no compiler, and the import takes a quarter of the time to the
    first step. Where a version of torch is built differently, it imports its compiler as before.
    """
    if _COMPILER in sys.modules or isinstance(vars(torch).get("_dynamo"), _NotImported):
        return
    for method in vars(torch.optim.Optimizer).values():
        if _is_made_by("_disable_dynamo", method):
            setattr(method.__wrapped__, _HIDDEN, _hidden(method))
    for optimizer in vars(torch.optim).values():
        if isinstance(optimizer, type) and _is_made_by("_use_grad_for_differentiable", vars(optimizer).get("step")):
            optimizer.step = _step(optimizer.step)  # type: ignore[attr-defined]
    gradients = _NotImported(f"{_COMPILER}.compiled_autograd", _disable=nullcontext)
    torch._dynamo = _NotImported(_COMPILER, compiled_autograd=gradients)  # the import replaces it


def _is_made_by(decorator: str, method: Any) -> bool:
    """Whether a method is what this decorator of torch returned, and has what it was given."""
    made_in = getattr(getattr(method, "__code__", None), "co_qualname", "")
    return made_in.startswith(f"{decorator}.<locals>.") and hasattr(method, "__wrapped__")


def _hidden(method: Any) -> Callable[..., Any]:
    """How torch is to call a method that it hides from the compiler: as it is, until there is a compiler."""
    function = method.__wrapped__

    def call(*args: Any, **kwargs: Any) -> Any:
        if _COMPILER not in sys.modules:
            return function(*args, **kwargs)
        vars(function).pop(_HIDDEN, None)  # torch makes its own
        return method(*args, **kwargs)

    return call


def _step(method: Any) -> Callable[..., Any]:
    """The step of an optimiser: torch's own without its hints to the compiler, until there is a compiler."""

    @functools.wraps(method)
    def step(self: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> Any:
        if _COMPILER in sys.modules:
            return method(self, *args, **kwargs)
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return method.__wrapped__(self, *args, **kwargs)

    return step


class _NotImported(ModuleType):
    """Stands for a module that is not imported: it has what is given, and imports the module for everything else."""

    def __init__(self, name: str, **given: object) -> None:
        super().__init__(name)
        vars(self).update(given)

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)
