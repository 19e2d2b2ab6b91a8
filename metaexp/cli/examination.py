"""An algorithm's configuration made into the subject of an examination."""

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

_STEP_WORDS = ("_steps", "inner_epochs")


def subject_of(name: str, spec: ClassSpec, as_given: Collection[str] = ()) -> Subject:
    """The algorithm that ``spec`` describes, with its inner loops cut short.

    as_given: keys that are not cut, since someone chose their values.
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
            replace(spec, arguments={**spec.arguments, **cut(spec, most_steps, as_given)}),
            Algorithm,  # type: ignore[type-abstract]
            model=model,
            input_shape=input_shape,
            n_outputs=n_outputs,
            train_shape=train_shape,
        )

    return Subject(name, import_class(spec, Algorithm), build)  # type: ignore[type-abstract]


def cut(spec: ClassSpec, most_steps: int, as_given: Collection[str] = ()) -> dict[str, Any]:
    """The keys of ``spec`` that count steps of an inner loop and exceed ``most_steps``, with that value instead."""
    return {
        key: most_steps
        for key, value in spec.arguments.items()
        if any(word in key for word in _STEP_WORDS)
        and isinstance(value, int)
        and value > most_steps
        and key not in as_given
    }
