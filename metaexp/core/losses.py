"""Losses and metrics of one task."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from metaexp.core.errors import ConfigError, DataError, first_line
from metaexp.core.inner import in_forward_mode, in_vmap
from metaexp.core.types import Episode

_NOT_A_LABEL = torch.iinfo(torch.int64).min
"""The label that torch's loss ignores, in place of -100: :func:`task_metric` counts every query."""
_GIVE_SOME = "Give support and query one example or more, and leave no part of them empty."
_ADVICE = "N classes have labels from 0 to N - 1, and N scores. `metaexp check` examines your own dataset or algorithm."


def task_loss(scores: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy for integer ``y`` (S,) and ``scores`` (S, N); mean squared error for float ``y`` (S, D).

    Returns a scalar (). Where examples have parts with a label each, ``y`` is (S, ...) and ``scores`` (S, N, ...), as
    in torch.

    Args:
        scores: (S, N) or (S, N, ...); or (S, D) in regression.
        y: Labels (S,) or (S, ...) int64; or targets (S, D) float.

    Raises:
        DataError: There are no examples, or a label is not that of a class. There is no label that leaves an example
            out, as -100 does in torch.
        ConfigError: The shapes or the types do not fit.
    """
    try:
        return _task_loss(scores, y)
    except (IndexError, RuntimeError) as error:  # torch's, without vmap and with it
        if y.dtype != torch.int64 or "out of bounds" not in str(error):
            raise
        raise DataError(f"{first_line(error).rstrip('.')}: {_ADVICE}") from error


def require_predictions(scores: object) -> None:
    """Refuse predictions that are not a tensor.

    Args:
        scores: What ``predict`` of an algorithm has returned.

    Raises:
        ConfigError: It is something else, such as None where ``return`` is forgotten.
    """
    if not isinstance(scores, Tensor):
        advice = " Is `return` forgotten?" if scores is None else ""
        raise ConfigError(
            f"predictions are of the type {type(scores).__name__}. Let predict return one tensor: scores (M, N) of M "
            f"queries, or outputs (M, D_out) in regression.{advice}"
        )


def _task_loss(scores: Tensor, y: Tensor) -> Tensor:
    require_predictions(scores)
    is_exact = in_vmap() and scores.dtype != torch.bfloat16  # where ours have the bits of torch's own
    if y.dtype != torch.int64 and not y.is_floating_point():
        raise ConfigError(f"labels or targets are {_kind(y)}. Give labels as int64 (y.long()), and targets as floats.")
    if y.dtype == torch.int64 and y.dim() > 1:
        _require_shape_of_parts(scores.shape, y)
    else:
        _require_shape(scores.shape, y)
    _require_examples(y)
    if not scores.is_floating_point():
        raise ConfigError(f"predictions are {_kind(scores)}. Let predict return {_WANTED[y.dtype == torch.int64]}.")
    if y.dtype == torch.int64:
        if is_exact and scores.dim() == 2:
            return _mapped_cross_entropy(scores, y)
        return F.cross_entropy(scores, y, ignore_index=_NOT_A_LABEL)
    if is_exact or in_forward_mode():  # torch cannot take a derivative of its own loss's gradient forwards
        return (scores - y).square().mean()
    return F.mse_loss(scores, y)


_WANTED = {
    True: "scores (M, N) of M queries, which the loss compares, and not the class with the highest one",
    False: "outputs (M, D_out) as floats, and do not round them: whole numbers have no gradient",
}
"""What predictions must be: for labels, and for targets."""


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _mapped_cross_entropy(scores: Tensor, y: Tensor) -> Tensor:
    """The same bits as ``F.cross_entropy``, whose derivatives torch composes in Python for several tasks at once."""
    log_probabilities = F.log_softmax(scores, dim=1).gather(1, y.unsqueeze(1)).squeeze(1)
    return (-log_probabilities).sum() / len(y)


def check_labels(episodes: Episode) -> None:
    """Raise DataError where a label of an episode, or of several, is not that of a class, or where there are none."""
    for part, (_, y, n_way) in zip(("support", "query"), episodes, strict=True):
        if not y.numel():
            raise DataError(f"the {part} of an episode has no examples: y has the shape {tuple(y.shape)}. {_GIVE_SOME}")
        if n_way and bool(((y < 0) | (y >= n_way)).any()):
            wrong = y[(y < 0) | (y >= n_way)].flatten()[0]
            raise DataError(f"a {part} example of an episode of {n_way} classes has the label {int(wrong)}: {_ADVICE}")


def task_metric(scores: Tensor, y: Tensor) -> Tensor:
    """Accuracy in [0, 1] for integer ``y``, mean squared error for float ``y``. Returns a scalar ().

    It is NaN if a score is NaN, which torch would take for the largest.

    Args:
        scores: (S, N), or (S, D) in regression.
        y: Labels (S,) int64, or targets (S, D) float.

    Raises:
        DataError: There are no examples.
        ConfigError: The shapes do not fit.
    """
    require_predictions(scores)
    _require_shape(scores.shape, y)
    _require_examples(y)
    if y.dtype == torch.int64:
        accuracy = (scores.argmax(-1) == y).float().mean()
        return accuracy.masked_fill(scores.isnan().any(), torch.nan)
    return F.mse_loss(scores, y)


def _require_shape_of_parts(scores: torch.Size, y: Tensor) -> None:
    """Refuse scores of which the classes are not the second axis, where labels are (S, ...)."""
    if scores[:1] + scores[2:] != y.shape:
        wanted = ", ".join(map(str, (y.shape[0], "N", *y.shape[1:])))
        advice = ""
        if y.dim() == 2 and y.shape[1] == 1:
            advice = " If each example has one label, give y[:, 0]. If these are targets, give y.float()."
        elif scores == y.shape:
            advice = " If the labels are one-hot rows, give y.argmax(1). If these are targets, give y.float()."
        elif scores[:-1] == y.shape:
            advice = " scores.movedim(-1, 1) puts the classes there."
        raise ConfigError(
            f"scores have the shape {tuple(scores)}, and labels {tuple(y.shape)}. For these labels the loss takes "
            f"scores ({wanted}), with the classes second.{advice} For labels (M,) it takes scores (M, N)."
        )


def _require_shape(scores: torch.Size, y: Tensor) -> None:
    """Refuse shapes that torch would broadcast over all pairs of queries, which gives a meaningless number."""
    is_label = y.dtype == torch.int64
    if (scores[:-1] if is_label else scores) != y.shape or (is_label and not scores):
        what = "labels" if is_label else "targets"
        alone = " If this is one query, give y[None], of the shape (1,)." if y.dim() == 0 else ""
        raise ConfigError(
            f"predictions have the shape {tuple(scores)}, and {what} {tuple(y.shape)}. Let predict return scores "
            f"(M, N) of M queries, or outputs (M, D_out) in regression.{alone}"
        )


def _require_examples(y: Tensor) -> None:
    """Refuse labels or targets of no example, whose mean is not a number."""
    if not y.numel():
        raise DataError(
            f"there is nothing to compute a loss or a metric of: labels or targets have the shape {tuple(y.shape)}. "
            f"{_GIVE_SOME}"
        )
