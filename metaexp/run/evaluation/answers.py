"""What the queries of each class are taken for, counted on every episode for ``eval.metrics=[per_class]``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from metaexp.core.types import EpisodeClasses


def count_answers(scores: Tensor, y: Tensor) -> Tensor:
    """Return (N * N,) float32: the queries of each class by the class with the largest score.

    Args:
        scores: (M, N) scores.
        y: (M,) classes.
    """
    classes = torch.arange(scores.shape[-1], device=scores.device)
    true, taken_for = (labels.unsqueeze(-1) == classes for labels in (y, scores.argmax(-1)))  # (M, N)
    return (true.unsqueeze(-1) & taken_for.unsqueeze(-2)).sum(0).flatten().float()


def split_answers(
    rows: Sequence[list[float]], names: Sequence[tuple[str, ...]]
) -> tuple[list[list[float]], tuple[EpisodeClasses, ...]]:
    """Return rows of episodes without the counts at their ends, and the counts with the names of the classes.

    Args:
        rows: For each episode its metrics, and then what :func:`count_answers` gave.
        names: The classes of each episode; empty where nothing was counted.
    """
    if not names:
        return list(rows), ()
    metrics, classes = [], []
    for row, own in zip(rows, names, strict=True):
        n = len(own)
        start = len(row) - n * n
        metrics.append(row[:start])
        classes.append(
            EpisodeClasses(own, [[int(v) for v in row[start + i * n : start + i * n + n]] for i in range(n)])
        )
    return metrics, tuple(classes)
