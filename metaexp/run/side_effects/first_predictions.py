"""Warns of predictions that make the numbers of an algorithm of one's own mean something else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

import torch
from torch import Tensor

from metaexp.core.algorithm import Algorithm
from metaexp.core.losses import require_predictions
from metaexp.core.types import Episode, Examples
from metaexp.models.checks.made_again import is_foreign
from metaexp.run.side_effects.detect import noise_of

log = logging.getLogger(__name__)

_SAME_CPU: Final = 1e-3
"""The part of the largest prediction that rounding may change where fewer queries are computed at once."""
_SAME: Final = 0.02
"""That part where numbers may be rounded to few bits: on an accelerator, or in another precision."""
_ROUNDING: Final = 1e-4


def warn_of_predictions(algorithm: Algorithm, first_task: Callable[[], AbstractContextManager[Episode]]) -> None:
    """Warn of predictions that depend on other queries, on the support's order or on chance, and of wrong scores.

    Scores are wrong if they are probabilities, or not one for each class.

    Algorithms of metaexp are not looked at, and no task is made for them.

    Args:
        algorithm: The algorithm, in evaluation mode.
        first_task: Makes one task, for a ``with`` block in which it is predicted.
    """
    if is_foreign(type(algorithm)):
        with first_task() as episode:
            _warn_of_task(algorithm, episode)


def _warn_of_task(algorithm: Algorithm, episode: Episode) -> None:
    support, (x, _, n_way) = episode
    states = [noise_of(x)]
    adapted = algorithm.adapt(support)
    together = algorithm.predict(adapted, x)
    require_predictions(together)
    states.append(noise_of(x))
    if not torch.equal(*states):
        log.warning(
            "%s draws random numbers where it is tested, so its result depends on luck. Is dropout left on? Let only "
            "training draw (if self.training). If that is meant, eval.seed decides what is drawn.",
            type(algorithm).__name__,
        )
    else:
        _warn_of_other_queries(algorithm, together, _apart(algorithm, adapted, x))
        _warn_of_support_order(algorithm, together, support, x)
    if n_way > 1:
        _warn_of_scores(algorithm, together, n_way)


def _apart(algorithm: Algorithm, adapted: object, x: Tensor) -> Tensor | None:
    """The predictions for one half of the queries, and for the other; None where they cannot be computed so."""
    halves = x.tensor_split(2) if len(x) > 1 else ()
    try:
        return torch.cat([algorithm.predict(adapted, half) for half in halves]) if halves else None
    except Exception as error:  # code of users that takes one number of queries
        log.debug("half of the queries were not predicted: %s: %s", type(error).__name__, error)
        return None


def _warn_of_other_queries(algorithm: Algorithm, together: Tensor, apart: Tensor | None) -> None:
    """Say that a prediction depends on the other queries where ``batch_norm`` does not say so, and the other way."""
    if apart is None or apart.shape != together.shape:
        return
    is_exact = together.is_cpu and not torch.is_autocast_enabled("cpu")
    difference = _difference(together, apart)
    if algorithm.batch_norm == "transductive":
        if difference < _ROUNDING and _difference(together, together.roll(1, 0)) > _SAME:
            log.warning(
                "the property batch_norm of %s returns 'transductive', and records repeat it, but its predictions do "
                "not depend on the other queries of a task. Return 'running', 'episode' or 'none', whichever is so.",
                type(algorithm).__name__,
            )
    elif difference > (_SAME_CPU if is_exact else _SAME):
        log.warning(
            "the predictions of %s for a query depend on the other queries of its task, and batch_norm says %s. Its "
            "numbers cannot be compared with those of methods that see one query at a time. If that is meant, let the "
            "property batch_norm return 'transductive', which records then show. `metaexp check` says more.",
            type(algorithm).__name__, algorithm.batch_norm,
        )  # fmt: skip


def _warn_of_support_order(algorithm: Algorithm, scores: Tensor, support: Examples, x: Tensor) -> None:
    """Say that another order of the support gives other predictions, where the algorithm does not say so."""
    if algorithm.depends_on_support_order:
        return
    moved = Examples(support.x.roll(1, 0), support.y.roll(1, 0), support.n_way)
    shuffled = algorithm.predict(algorithm.adapt(moved), x)
    if shuffled.shape == scores.shape and _difference(scores, shuffled) > _SAME:
        log.warning(
            "the predictions of %s depend on the order of the support, which is shuffled. Labels may be taken from "
            "positions: use support.y. If the order is meant to matter, let the property depends_on_support_order "
            "return True. `metaexp check` says more.",
            type(algorithm).__name__,
        )


def _difference(first: Tensor, second: Tensor) -> float:
    """The largest difference between predictions, as a part of the largest prediction."""
    first, second = first.detach().float(), second.detach().float()
    largest = float(first.nan_to_num(0, 0, 0).abs().max())
    found = float((first - second).abs().nan_to_num().max())
    return found / largest if largest else 0.0


def _warn_of_scores(algorithm: Algorithm, scores: Tensor, n_way: int) -> None:
    """Say that there are more or fewer scores than classes, or that they are probabilities."""
    if scores.shape[-1] != n_way:
        log.warning(
            "%s gives %d scores for %d classes. A score beyond them is never right, and classes without one are never "
            "found. Let predict return one score for each class of the support.",
            type(algorithm).__name__, scores.shape[-1], n_way,
        )  # fmt: skip
    if not _takes_softmax(type(algorithm)):
        return
    are_probabilities = bool((scores >= 0).all()) and bool(((scores.float().sum(-1) - 1).abs() < _ROUNDING).all())
    if are_probabilities:
        log.warning(
            "the scores of %s are probabilities: they sum to 1, as after softmax. Cross-entropy takes the softmax of "
            "scores itself, so that training with these is slow, and cannot become sure of a class. Let predict return "
            "what the softmax is taken of, or the logarithms of the probabilities.",
            type(algorithm).__name__,
        )


def _takes_softmax(cls: type[Algorithm]) -> bool:
    """Whether the loss of a task is metaexp's, as far as is known: a meta-loss of one's own may call another."""
    owner = next(base for base in cls.__mro__ if "meta_loss" in vars(base))
    return cls.loss is Algorithm.loss and not is_foreign(owner)
