"""Makes the subject of ``metaexp check`` from an algorithm's configuration."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from metaexp.config.classes.make import import_class, make
from metaexp.config.schema import ClassSpec
from metaexp.core.algorithm import Algorithm
from metaexp.core.shapes import TaskShape
from metaexp.doctor.subject import Subject
from metaexp.models.base import Network

_LOOP_KEYS = ("_steps", "inner_epochs")


def make_subject(name: str, spec: ClassSpec, given: Collection[str] = ()) -> Subject:
    """Make the subject of an examination, with shortened inner loops.

    Args:
        name: Name of the algorithm.
        spec: Its class with arguments.
        given: Keys whose values the user chose. They are not shortened.
    """

    def build(
        most_steps: int,
        *,
        model: Network,
        input_shape: tuple[int, ...],
        n_outputs: int,
        train_shape: TaskShape,
    ) -> Algorithm:
        return make(
            replace(spec, arguments={**spec.arguments, **shorten_loops(spec, most_steps, given)}),
            Algorithm,  # type: ignore[type-abstract]
            model=model,
            input_shape=input_shape,
            n_outputs=n_outputs,
            train_shape=train_shape,
        )

    return Subject(name, import_class(spec, Algorithm), build)  # type: ignore[type-abstract]


def shorten_loops(spec: ClassSpec, most_steps: int, given: Collection[str] = ()) -> dict[str, Any]:
    """Return shorter values for the keys that count steps of an inner loop.

    Args:
        spec: The class with arguments.
        most_steps: The largest number of steps.
        given: Keys that are left out.

    Returns:
        Key -> ``most_steps``, for every key whose value is larger.
    """
    return {
        key: most_steps
        for key, value in spec.arguments.items()
        if any(word in key for word in _LOOP_KEYS)
        and isinstance(value, int)
        and value > most_steps
        and key not in given
    }
