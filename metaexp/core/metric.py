"""The metric of a kind of task, and the further metrics of ``eval.metrics``. Importing it takes no torch."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

_LARGER_IS_BETTER = {"accuracy": True, "mse": False, "nll": False, "ece": False, "mae": False}
"""The direction of a metric; those that are not here are ``top_K``, see :func:`larger_is_better`."""
_WORDS = {
    "accuracy": "accuracy",
    "mse": "mean squared error",
    "nll": "negative log-likelihood",
    "ece": "expected calibration error",
    "mae": "mean absolute error",
    "worst_class": "accuracy of the worst class",
    "per_class": "balanced accuracy",
}
PER_CLASS = "per_class"
"""The further metric with which the answers for each class are kept, too."""
OF_CLASSES = ("nll", "ece", "worst_class", PER_CLASS, "top_2")
OF_REGRESSION = ("mae",)
N_BINS = 10
"""Of the confidences in the expected calibration error."""
_TOP = re.compile(r"top_([1-9]\d{0,3})")


class Metric(NamedTuple):
    """The metric of a kind of task.

    Attributes:
        name: ``accuracy`` or ``mse``.
        larger_is_better: Whether a larger value is better.
    """

    name: str
    larger_is_better: bool

    @classmethod
    def of(cls, n_way: int) -> Metric:
        """Return accuracy for classification, mean squared error for regression (``n_way`` 0)."""
        name = "accuracy" if n_way else "mse"
        return cls(name, _LARGER_IS_BETTER[name])

    def is_better(self, new: float, old: float) -> bool:
        """Whether ``new`` is strictly better than ``old``, so that the earlier one of two equal values stays.

        Args:
            new: A value.
            old: The best value so far.
        """
        return new > old if self.larger_is_better else new < old

    @property
    def validation(self) -> str:
        """Its name among the scalars of a run, measured on validation tasks."""
        return f"val/{self.name}"


def larger_is_better(name: str) -> bool:
    """Whether larger values of a metric are better."""
    return _LARGER_IS_BETTER.get(name, True)


def is_hit_rate(name: str) -> bool:
    """Whether a metric is a share of queries that are right, from 0 to 1: the accuracy, and ``top_K``."""
    return name in ("accuracy", "worst_class", PER_CLASS) or _TOP.fullmatch(name) is not None


def format_metric_name(name: str) -> str:
    """Return what a metric is called in tables and figures."""
    if _TOP.fullmatch(name):
        return f"top-{name.removeprefix('top_')} accuracy"
    return _WORDS.get(name) or name.rpartition(".")[2]


def format_digits(value: float) -> str:
    """Return three significant digits, zeros too: ``0.650``, ``4.00``, ``123``."""
    text = f"{value:#.3g}"
    return f"{value:.3g}" if "e" in text else text.rstrip(".")


def decimals(spread: float) -> int:
    """Return how many decimals show two significant digits of the width of an interval: 2 for 0.13, 3 for 0.026.

    Args:
        spread: The width, or half of it; 0, or one that is no number, counts as 0.1.
    """
    exponent = int(f"{spread:.1e}".partition("e")[2]) if math.isfinite(spread) and spread else -1
    return max(0, 1 - exponent)


def is_own(name: str) -> bool:
    """Whether a metric is a function of the user's, given by its dotted path."""
    return "." in name


def name_problem(name: str, n_way: int) -> str:
    """Say what is wrong with the name of a metric; '' where nothing is.

    Args:
        name: The name.
        n_way: Classes of a task; 0 for regression.
    """
    if is_own(name):
        return ""  # whether there is such a function is found in its source
    known = OF_CLASSES if n_way else OF_REGRESSION
    top = _TOP.fullmatch(name)
    if n_way and top and not 2 <= int(top[1]) < n_way:
        return f"{name} is not between top_2 and top_{n_way - 1}, the classes of a task less one"
    if name in known or (n_way and top):
        return ""
    kind = "classification" if n_way else "regression"
    return f"{name} is not a metric of {kind}; known: {', '.join(known)}{' (any number of classes)' if n_way else ''}"


def extra_metric(name: str, scores: Tensor, y: Tensor) -> Tensor:
    """Return a metric () of one task, in float32.

    * ``nll``: mean negative log-likelihood of the true class, in nats, under the softmax of the scores.
    * ``ece``: expected calibration error (Naeini et al., 2015): the mean over ten equal bins of confidence of the
      distance between confidence and accuracy, weighted by the number of queries. With the few queries of one task it
      is biased upwards, so compare it between algorithms on the same episodes only.
    * ``top_K``: the fraction of queries whose true class is among the K with the largest scores.
    * ``worst_class``: the accuracy on the queries of the class where it is lowest.
    * ``per_class``: the balanced accuracy: the mean over the classes of the accuracy on the queries of the class.
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
    if name in ("worst_class", PER_CLASS):
        member = y.unsqueeze(-1) == torch.arange(scores.shape[-1], device=scores.device)  # (M, N)
        right = (scores.argmax(-1) == y).unsqueeze(-1) & member
        rates = right.sum(0) / member.sum(0).clamp(min=1)
        if name == PER_CLASS:
            return rates.sum() / member.any(0).sum()
        return torch.where(member.any(0), rates, 1.0).min()
    top = int(name.removeprefix("top_"))
    return (scores.topk(top, -1).indices == y.unsqueeze(-1)).any(-1).float().mean()
