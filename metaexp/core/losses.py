"""Losses and metrics of one task."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def task_loss(scores: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy for integer ``y`` (S,) and ``scores`` (S, N); mean squared error for float ``y`` (S, D).

    Returns a scalar ().

    Args:
        scores: (S, N), or (S, D) in regression.
        y: Labels (S,) int64, or targets (S, D) float.
    """
    if y.dtype == torch.int64:
        return F.cross_entropy(scores, y)
    return F.mse_loss(scores, y)


def task_metric(scores: Tensor, y: Tensor) -> Tensor:
    """Accuracy in [0, 1] for integer ``y``, mean squared error for float ``y``. Returns a scalar ().

    Args:
        scores: (S, N), or (S, D) in regression.
        y: Labels (S,) int64, or targets (S, D) float.
    """
    if y.dtype == torch.int64:
        return (scores.argmax(-1) == y).float().mean()
    return F.mse_loss(scores, y)
