"""The metric of a kind of task, and the further metrics of ``eval.metrics``. Importing it takes no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

PER_CLASS = "per_class"
"""The further metric with which the answers for each class are kept, too."""
N_BINS = 10
"""Bins of confidence in the expected calibration error."""
_TOP = re.compile(r"top_([1-9]\d{0,3})")


class Facts(NamedTuple):
    """What is known of a metric.

    Attributes:
        words: What tables and figures call it.
        larger_is_better: Whether a larger value is better.
        is_hit_rate: Whether it is a share of queries that are right, from 0 to 1.
        least: The least value that it can have.
        compute: For a further metric, the function that returns its value () of one task from scores (M, N) and
            classes (M,), or from outputs and targets (M, D_out).
    """

    words: str
    larger_is_better: bool = True
    is_hit_rate: bool = False
    least: float = 0.0
    compute: Callable[[Tensor, Tensor], Tensor] | None = None


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
        return cls(name, larger_is_better(name))

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
    return _facts(name).larger_is_better


def is_hit_rate(name: str) -> bool:
    """Whether a metric is a share of queries that are right, from 0 to 1: the accuracy, and ``top_K``."""
    return _facts(name).is_hit_rate


def least_value(name: str) -> float:
    """Return the least value that a metric can have: 0, or minus infinity for a metric of the user's own."""
    return _facts(name).least


def format_metric_name(name: str) -> str:
    """Return the name of a metric for tables and figures."""
    return _facts(name).words


def format_digits(value: float) -> str:
    """Return three significant digits, zeros too: ``0.650``, ``4.00``, ``123``."""
    text = f"{value:#.3g}"
    return f"{value:.3g}" if "e" in text else text.rstrip(".")


def decimals(spread: float) -> int:
    """Return how many decimals show two significant digits of the width of an interval: 2 for 0.13, 3 for 0.026.

    Args:
        spread: The width, or half of it; 0 and NaN count as 0.1.
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
    known = [*OF_CLASSES, "top_2"] if n_way else [*OF_REGRESSION]
    top = _TOP.fullmatch(name)
    if n_way and top and not 2 <= int(top[1]) < n_way:
        return f"{name} is not between top_2 and top_{n_way - 1}, the classes of a task less one"
    if name in known or (n_way and top):
        return ""
    kind = "classification" if n_way else "regression"
    return f"{name} is not a metric of {kind}; known: {', '.join(known)}{' (any number of classes)' if n_way else ''}"


def extra_metric(name: str, scores: Tensor, y: Tensor) -> Tensor:
    """Return a further metric () of one task, in float32.

    Args:
        name: The name, which :func:`name_problem` finds right.
        scores: (M, N) scores, or (M, D_out) outputs.
        y: (M,) classes, or (M, D_out) targets.
    """
    compute = _facts(name).compute
    assert compute is not None
    return compute(scores.float(), y)


def _nll(scores: Tensor, y: Tensor) -> Tensor:
    """Mean negative log-likelihood of the true class, in nats, under the softmax of the scores."""
    import torch.nn.functional as F

    return F.cross_entropy(scores, y)


def _ece(scores: Tensor, y: Tensor) -> Tensor:
    """Expected calibration error over :data:`N_BINS` bins (Naeini, Cooper & Hauskrecht, AAAI 2015).

    It is the mean over equal bins of confidence of the distance between confidence and accuracy, weighted by the
    number of queries. With the few queries of one task it is biased upwards, so compare it between algorithms on the
    same episodes only.
    """
    import torch

    confidence, label = scores.softmax(-1).max(-1)  # (M,)
    bins = (confidence * N_BINS).long().clamp(max=N_BINS - 1)
    member = (bins.unsqueeze(-1) == torch.arange(N_BINS, device=scores.device)).float()  # (M, N_BINS)
    gaps = member.T @ ((label == y).float() - confidence)  # (N_BINS,), each times its number of queries
    return gaps.abs().sum() / len(y)


def _top_k(scores: Tensor, y: Tensor, k: int) -> Tensor:
    """The share of queries whose true class is among the ``k`` with the largest scores."""
    return (scores.topk(k, -1).indices == y.unsqueeze(-1)).any(-1).float().mean()


def _worst_class(scores: Tensor, y: Tensor) -> Tensor:
    """The accuracy on the queries of the class where it is lowest."""
    accuracies, has_queries = _by_class(scores, y)
    return accuracies.masked_fill(~has_queries, 1.0).min()


def _balanced(scores: Tensor, y: Tensor) -> Tensor:
    """The balanced accuracy: the mean over the classes of the accuracy on the queries of the class."""
    accuracies, has_queries = _by_class(scores, y)
    return accuracies.sum() / has_queries.sum()


def _by_class(scores: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The accuracy (N,) on the queries of each class, 0 without any, and whether it has queries (N,)."""
    import torch

    member = y.unsqueeze(-1) == torch.arange(scores.shape[-1], device=scores.device)  # (M, N)
    right = (scores.argmax(-1) == y).unsqueeze(-1) & member
    return right.sum(0) / member.sum(0).clamp(min=1), member.any(0)


def _mae(outputs: Tensor, y: Tensor) -> Tensor:
    """Mean absolute error over queries and outputs."""
    import torch.nn.functional as F

    return F.l1_loss(outputs, y)


_OF_TASKS: Mapping[str, Facts] = {
    "accuracy": Facts("accuracy", is_hit_rate=True),
    "mse": Facts("mean squared error", larger_is_better=False),
}
OF_CLASSES: Mapping[str, Facts] = {
    "nll": Facts("negative log-likelihood", larger_is_better=False, compute=_nll),
    "ece": Facts("expected calibration error", larger_is_better=False, compute=_ece),
    "worst_class": Facts("accuracy of the worst class", is_hit_rate=True, compute=_worst_class),
    PER_CLASS: Facts("balanced accuracy", is_hit_rate=True, compute=_balanced),
}
"""The further metrics of classification, beside ``top_K``. A new one is one row here, and its function above."""
OF_REGRESSION: Mapping[str, Facts] = {
    "mae": Facts("mean absolute error", larger_is_better=False, compute=_mae),
}
"""The further metrics of regression."""
_KNOWN: Mapping[str, Facts] = {**_OF_TASKS, **OF_CLASSES, **OF_REGRESSION}


def _facts(name: str) -> Facts:
    """What is known of a metric. Larger values of the user's own count as better, and none is the least."""
    if top := _TOP.fullmatch(name):
        return Facts(f"top-{top[1]} accuracy", is_hit_rate=True, compute=partial(_top_k, k=int(top[1])))
    return _KNOWN.get(name) or Facts(name.rpartition(".")[2], least=-math.inf)
