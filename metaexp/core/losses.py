"""Losses and metrics of one task."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from metaexp.core.inner import in_vmap


def task_loss(scores: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy for integer ``y`` (S,) and ``scores`` (S, N); mean squared error for float ``y`` (S, D).

    Returns a scalar ().

    Args:
        scores: (S, N), or (S, D) in regression.
        y: Labels (S,) int64, or targets (S, D) float.
    """
    is_exact = in_vmap() and scores.dtype != torch.bfloat16  # where ours have the bits of torch's own
    if y.dtype == torch.int64:
        return _mapped_cross_entropy(scores, y) if is_exact and scores.dim() == 2 else F.cross_entropy(scores, y)
    if is_exact and scores.shape == y.shape:  # torch warns of others
        return (scores - y).square().mean()
    return F.mse_loss(scores, y)


def _mapped_cross_entropy(scores: Tensor, y: Tensor) -> Tensor:
    """The same bits as ``F.cross_entropy``, whose derivatives torch composes in Python for several tasks at once."""
    log_probabilities = F.log_softmax(scores, dim=1).gather(1, y.unsqueeze(1)).squeeze(1)
    return (-log_probabilities).sum() / len(y)


def task_metric(scores: Tensor, y: Tensor) -> Tensor:
    """Accuracy in [0, 1] for integer ``y``, mean squared error for float ``y``. Returns a scalar ().

    Args:
        scores: (S, N), or (S, D) in regression.
        y: Labels (S,) int64, or targets (S, D) float.
    """
    if y.dtype == torch.int64:
        return (scores.argmax(-1) == y).float().mean()
    return F.mse_loss(scores, y)
