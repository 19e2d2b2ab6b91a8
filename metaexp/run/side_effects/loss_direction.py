"""Warns of a loss of own code that prefers an answer without knowledge to the right one."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from metaexp.core.algorithm import Algorithm
from metaexp.core.types import Episode
from metaexp.doctor.subject import fix_noise

log = logging.getLogger(__name__)


def warn_of_loss_direction(algorithm: Algorithm, first_task: Callable[[], Episode]) -> None:
    """Warn if the loss of the right answers is greater than that of the same answer to every query.

    A loss that was negated is such a one, and one of regression whose scores (M, 1) and targets (M,) were broadcast to
    (M, M): its least value is at the mean of all targets. A copy of the algorithm is asked.

    Args:
        algorithm: One whose ``loss`` is of own code; others are left out.
        first_task: Makes the task, with a leading T of 1.
    """
    if type(algorithm).loss.__module__.startswith("metaexp."):
        return
    try:
        query = first_task().query
        y = query.y[0]
        right, same = _answers(y, query.n_way)
        twin = copy.deepcopy(algorithm)
        with torch.no_grad(), fix_noise(0):
            of_right, of_same = (float(twin.loss(answer, y.clone())) for answer in (right, same))
    except Exception as error:  # code of users, which may expect other scores
        log.debug("the loss was not tried on right answers: %s: %s", type(error).__name__, error)
        return
    if of_right > of_same:
        log.warning(
            "the loss of %s is %.3g where every answer of the first task is right, and %.3g where all answers are the "
            "same, so training leads away from the right ones. Is its sign wrong, or do scores and y have other "
            "shapes, as (M, 1) and (M,), which torch broadcasts to (M, M)?",
            type(algorithm).__name__, of_right, of_same,
        )  # fmt: skip


def _answers(y: Tensor, n_way: int) -> tuple[Tensor, Tensor]:
    """Scores or outputs that are right, and the same for every query: (M, N) of classes, (M, D_out) of targets."""
    if y.is_floating_point():
        return y.clone(), y.mean(0, keepdim=True).expand_as(y).clone()
    right = one_hot(y, max(n_way, int(y.max()) + 1)).float()
    return right, torch.zeros_like(right)
