"""What helps where tasks do not fit a dataset: other values of its keys, each tried before it is proposed.

Pure functions, without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from math import ceil
from typing import Any, Final, NamedTuple

from metaexp.core.shapes import SPLITS, Capacity, Split, TaskShape

_DECIMALS: Final = (2, 3, 4)


class Changes(NamedTuple):
    """What a dataset would hold if keys of its section had other values. By default nothing is known about that.

    Attributes:
        capacity: What each split has with other values of some keys: none where these are impossible; None where only
            loading tells.
        leave_out_key: The key that leaves out small classes or tasks; "" where there is none.
        has_fractions: Whether ``fractions`` is a key.
        unturned: The values with which no class is added by rotations.
    """

    capacity: Callable[[Mapping[str, Any]], Mapping[Split, Capacity] | None] = lambda _: None
    leave_out_key: str = ""
    has_fractions: bool = False
    unturned: Mapping[str, Any] = {}


class FitAdvice:
    """Ends of sentences about a dataset that is too small. Nothing is tried before one of them is asked for."""

    def __init__(self, changes: Changes, capacity: Mapping[Split, Capacity], wanted: Mapping[Split, TaskShape]) -> None:
        """Take what is known.

        Args:
            changes: What the dataset would hold with other values.
            capacity: What each split has now.
            wanted: The tasks that each split must serve.
        """
        self._changes = changes
        self._capacity = capacity
        self._wanted = wanted

    def on_examples(self, limits: Capacity, group: str) -> str:
        """Return what helps where a class or task has too few examples.

        Args:
            limits: What the split has.
            group: ``class`` or ``task``.
        """
        lower = "Lower SECTION.k_shot or SECTION.n_query"
        key, groups = self._changes.leave_out_key, "classes" if group == "class" else "tasks"
        if not key:
            return f"{lower}."
        if self._leaving_out_helps is None:
            return f"{lower}, or, if enough {groups} are larger, leave out small ones: dataset.{key}={self._needed}."
        if self._leaving_out_helps:
            return f"{lower}, or leave out small {groups}: dataset.{key}={self._needed}."
        if limits.per_class < 2:
            return f"Give each {group} {self._needed} examples or more."
        return f"{lower} (together at most {limits.per_class}), or give each {group} {self._needed} examples or more."

    @cached_property
    def on_classes(self) -> str:
        """What helps where a split has fewer classes than a task."""
        lower = "Lower SECTION.n_way"
        before = self._changes.capacity(self._changes.unturned) if self._changes.has_fractions else None
        if not before or {*before} != {*SPLITS}:
            return f"{lower}."
        n_classes = {split: size.n_classes for split, size in before.items()}
        least = {split: self._least(split, n_classes[split]) for split in n_classes}
        total = sum(n_classes.values())
        if sum(least.values()) > total:
            val_and_test = f"{least['val']} for val and {least['test']} for test"
            return (
                f"{lower}, or give more classes: {total} are too few for {least['train']} for train, {val_and_test}, "
                "whatever dataset.fractions is."
            )
        fractions = self._fractions(n_classes, least, total)
        if not fractions:
            return f"{lower}."
        return f"{lower}, or divide the {total} classes otherwise: dataset.fractions=[{fractions}]."

    @property
    def _needed(self) -> int:
        return max(shape.k_shot + shape.n_query for shape in self._wanted.values())

    @cached_property
    def _leaving_out_helps(self) -> bool | None:
        """Whether everything fits once small classes are left out; None if that is not known."""
        left = self._changes.capacity({self._changes.leave_out_key: self._needed})
        return None if left is None else self._has_classes(left)

    def _has_classes(self, capacity: Mapping[Split, Capacity]) -> bool:
        return all(
            split in capacity and capacity[split].n_classes >= max(shape.n_way, 1)
            for split, shape in self._wanted.items()
        )

    def _least(self, split: Split, n_unturned: int) -> int:
        """The fewest classes that a split needs before rotations add to them."""
        if split not in self._wanted:
            return 1
        times = max(1, self._capacity[split].n_classes // max(1, n_unturned))
        return max(1, ceil(self._wanted[split].n_way / times))

    def _fractions(self, now: Mapping[Split, int], least: Mapping[Split, int], total: int) -> str:
        """Fractions with as few decimals as can be that give each split enough classes; "" where none are found.

        Validation and test keep the classes that they have, unless training has too few then.
        """
        val, test = max(now["val"], least["val"]), max(now["test"], least["test"])
        if total - val - test < least["train"]:
            val, test = least["val"], least["test"]
        for decimals in _DECIMALS:
            parts = [round(number / total, decimals) for number in (val, test)]
            values = [round(1 - sum(parts), decimals), *parts]
            if self._has_classes(self._changes.capacity({"fractions": values}) or {}):
                return ",".join(f"{value:g}" for value in values)
        return ""
