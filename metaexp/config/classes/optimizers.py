"""Finds arguments of torch's optimisers that are each of the right type, and cannot train. Torch is not imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metaexp.config.classes.values import format_setting
from metaexp.config.schema import ClassSpec


def optimizer_problems(spec: ClassSpec, is_new: bool) -> list[str]:
    """Return a sentence for each argument that torch refuses together with others, or that cannot train.

    What arguments of other optimisers mean is not known, so these are left alone.

    Args:
        spec: The optimiser's class and its checked arguments.
        is_new: Whether the configuration was composed now. Earlier runs keep what they had.
    """
    given = spec.arguments
    found = _nesterov_problems(given)
    if is_new and spec.path.startswith("torch.optim."):
        found += _endless_problems(given, spec.path.rpartition(".")[2])
    return found


def _nesterov_problems(given: Mapping[str, Any]) -> list[str]:
    if not given.get("nesterov") or "momentum" not in given:
        return []
    if given["momentum"] > 0 and given.get("dampening", 0) == 0:
        return []
    return [
        "optimizer.nesterov=true needs momentum and no dampening. Set optimizer.momentum=0.9, say, and "
        "optimizer.dampening=0, or optimizer.nesterov=false."
    ]


def _endless_problems(given: Mapping[str, Any], name: str) -> list[str]:
    """Find running sums that forget nothing, and those that take nothing in. Torch takes them without a word."""
    found = []
    momentum, dampening = _number(given, "momentum"), _number(given, "dampening")
    if momentum >= 1:
        found.append(
            f"optimizer.momentum={format_setting(momentum)} must be a finite number >= 0 and < 1. From 1 on, no "
            "earlier gradient fades, and the steps grow without a bound. Set optimizer.momentum=0.9, say."
        )
    if momentum > 0 and dampening >= 1:
        found.append(
            f"optimizer.dampening={format_setting(dampening)} must be < 1 with optimizer.momentum: each gradient is "
            "multiplied by 1 - dampening, so the first one alone would train. Set optimizer.dampening=0."
        )
    alpha = _number(given, "alpha")
    if name == "RMSprop" and alpha >= 1:
        found.append(
            f"optimizer.alpha={format_setting(alpha)} must be a finite number >= 0 and < 1: the mean square takes in "
            "1 - alpha of each new square. Set optimizer.alpha=0.99, say."
        )
    return found


def _number(given: Mapping[str, Any], key: str) -> float:
    """The number of a key; 0 where it is not given, or is none."""
    value = given.get(key)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0
