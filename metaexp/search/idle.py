"""Finds the values of a search that change nothing that validation measures. Without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metaexp.config.check import SLOTS
from metaexp.config.identity import validated_part
from metaexp.core.counted import listed
from metaexp.core.nested import values_by_key
from metaexp.search.space import Space, Value, format_value
from metaexp.sweep.frozen_job import FrozenJob

_MOST_KEYS = 4


def idle_values(space: Space, jobs: Sequence[FrozenJob]) -> list[str]:
    """Return a sentence for each dimension with values between which validation cannot decide.

    Two values are equal if the parts of the configuration that decide what validation measures are the same with both,
    wherever all other keys are.

    Args:
        space: The search space.
        jobs: The jobs of its corners, in order.
    """
    found = []
    parts = [(corner, validated_part(job.config)) for corner, job in zip(space.corners(), jobs, strict=True)]
    for place, dimension in enumerate(space.dimensions):
        measured: dict[str, dict[tuple[Value, ...], dict[str, Any]]] = {}
        for corner, part in parts:
            others = (*corner[:place], *corner[place + 1 :])
            measured.setdefault(format_value(corner[place]), {})[others] = part
        if equal := _equal_values(measured):
            found.append(_refusal(dimension.key.lstrip("+"), equal, jobs[0], are_all=len(equal) == len(measured)))
    return found


def _equal_values(measured: Mapping[str, Mapping[tuple[Value, ...], dict[str, Any]]]) -> list[str]:
    """The first values that differ in nothing, wherever they were composed with the same others; [] if there are none.

    Args:
        measured: Value -> values of the other keys -> the part that decides what validation measures.
    """
    names = list(measured)
    for index, name in enumerate(names):
        first = measured[name]
        same = [
            other
            for other in names[index + 1 :]
            if all(first[point] == part for point, part in measured[other].items() if point in first)
        ]
        if same:
            return [name, *same]
    return []


def _refusal(key: str, values: Sequence[str], job: FrozenJob, *, are_all: bool) -> str:
    """The sentence about equal values of a key; ``are_all`` says that it has no others."""
    equal = (
        f"{key} is {listed(values, _MOST_KEYS, mark=' or ')}, and that changes nothing that validation measures, "
        "beyond rounding. The search would rank equal trials."
    )
    if not are_all:
        return f"{equal} Keep one of these values."
    classes = {slot: job.config[slot] for slot in SLOTS if slot != "dataset" and slot in job.config}
    numbers = [
        name
        for name, value in values_by_key(classes).items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    ]
    others = listed(numbers or ["optimizer.lr"], _MOST_KEYS, more="more")
    return f"{equal} Give {key} one of these values, and vary keys that training depends on, such as {others}."
