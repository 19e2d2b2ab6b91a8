"""Whether a split can serve tasks of a shape. Importing this module does not import torch."""

from __future__ import annotations

from metaexp.core.shapes import Capacity, Split, TaskShape


def misfits(dataset: str, split: Split, capacity: Capacity, shape: TaskShape, group: str) -> list[str]:
    """Why ``split`` of ``dataset`` cannot serve classification tasks of ``shape``; empty when it can.

    group: the configuration group whose keys gave the shape (``task`` or ``train``), for the messages.
    """
    problems = []
    if shape.n_way > capacity.n_classes:
        problems.append(
            f"{group}.n_way={shape.n_way} needs {shape.n_way} classes; {dataset} has {capacity.n_classes} for {split}."
        )
    needed = shape.k_shot + shape.n_query
    if needed > capacity.per_class:
        problems.append(
            f"{group}.k_shot={shape.k_shot} and {group}.n_query={shape.n_query} need {needed} images per class; "
            f"{dataset} has {capacity.per_class}."
        )
    return problems
