"""Metrics beside accuracy and squared error, of one task: those of ``eval.metrics``. Importing it takes no torch."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

OF_CLASSES = ("nll", "ece", "top_2")
OF_REGRESSION = ("mae",)
N_BINS = 10
"""Of the confidences in the expected calibration error."""
_TOP = re.compile(r"top_([1-9]\d{0,3})")


def name_problem(name: str, n_way: int) -> str:
    """Say what is wrong with the name of a metric; '' where nothing is.

    Args:
        name: The name.
        n_way: Classes of a task; 0 for regression.
    """
    known = OF_CLASSES if n_way else OF_REGRESSION
    top = _TOP.fullmatch(name)
    if n_way and top and not 2 <= int(top[1]) < n_way:
        return f"{name} is not between top_2 and top_{n_way - 1}, the classes of a task less one"
    if name in known or (n_way and top):
        return ""
    kind = "classification" if n_way else "regression"
    return f"{name} is no metric of {kind}; known: {', '.join(known)}{' (any number of classes)' if n_way else ''}"


def extra_metric(name: str, scores: Tensor, y: Tensor) -> Tensor:
    """Return a metric () of one task, in float32.

    * ``nll``: mean negative log-likelihood of the true class, in nats, under the softmax of the scores.
    * ``ece``: expected calibration error (Naeini et al., 2015): the mean over ten equal bins of confidence of the
      distance between confidence and accuracy, weighted by the number of queries. With the few queries of one task it
      is biased upwards, so compare it between algorithms on the same episodes only.
    * ``top_K``: the fraction of queries whose true class is among the K with the largest scores.
    * ``mae``: mean absolute error.

    Args:
        name: The name, which :func:`name_problem` finds right.
        scores: (M, N) scores, or (M, D_out) outputs.
        y: (M,) classes, or (M, D_out) targets.
    """
    import torch
    import torch.nn.functional as F

    scores = scores.float()
    if name == "mae":
        return F.l1_loss(scores, y)
    if name == "nll":
        return F.cross_entropy(scores, y)
    if name == "ece":
        confidence, label = scores.softmax(-1).max(-1)  # (M,)
        bins = (confidence * N_BINS).long().clamp(max=N_BINS - 1)
        member = (bins.unsqueeze(-1) == torch.arange(N_BINS, device=scores.device)).float()  # (M, N_BINS)
        gaps = member.T @ ((label == y).float() - confidence)  # (N_BINS,), each times its number of queries
        return gaps.abs().sum() / len(y)
    top = int(name.removeprefix("top_"))
    return (scores.topk(top, -1).indices == y.unsqueeze(-1)).any(-1).float().mean()
