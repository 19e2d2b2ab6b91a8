"""Measures the batch-norm mode at test, and compares it with the mode that the algorithm names.

Every record has the mode beside the numbers, since transductive accuracies are higher. It is measured on a network with
batch norm and on one without.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from metaexp.core.algorithm import Algorithm
from metaexp.core.types import Episode
from metaexp.doctor.finding import SAME, Finding, gap, no_nan, ok, wrong
from metaexp.doctor.subject import Subject, predictions
from metaexp.models.batch_norm import BatchNorm

Measured = Literal["transductive", "running", "support", "none"]

_KEPT = 3
_WORDS: dict[Measured, str] = {
    "transductive": "predictions depend on the other queries",
    "running": "inductive, with stored statistics",
    "support": "inductive, with statistics of the support",
    "none": "inductive, nothing is normalised by statistics",
}
_DECLARED: dict[str, Measured] = {
    "transductive": "transductive",
    "running": "running",
    "episode": "support",
    "support_and_query": "support",
    "none": "none",
}


class Dependence(NamedTuple):
    """What a prediction depends on.

    Attributes:
        on_other_queries: How much it changes with the other queries.
        on_stored_statistics: How much it changes with stored statistics.
        batch_norm_calls: How often batch-norm layers were called.
    """

    on_other_queries: float
    on_stored_statistics: float
    batch_norm_calls: int

    @property
    def mode(self) -> Measured:
        """The batch-norm mode that follows from these numbers."""
        if self.on_other_queries > SAME:
            return "transductive"
        if self.on_stored_statistics > SAME:
            return "running"
        return "support" if self.batch_norm_calls else "none"


def batch_norm(subject: Subject) -> Finding:
    """Check the declared mode around a network with batch norm."""
    return _compared("batch norm", subject, use_batch_norm=True)


def without_batch_norm(subject: Subject) -> Finding:
    """Check the declared mode around a network without batch norm."""
    return _compared("without batch norm", subject, use_batch_norm=False)


def _compared(name: str, subject: Subject, use_batch_norm: bool) -> Finding:
    algorithm = subject.build(use_batch_norm=use_batch_norm).eval()
    found, declared = dependence(algorithm, subject.task()), algorithm.batch_norm
    numbers = {"other_queries_change_a_prediction_by": found.on_other_queries}
    if found.batch_norm_calls:
        numbers["other_stored_statistics_by"] = found.on_stored_statistics
    where = "" if use_batch_norm else " around a network without batch norm"
    if _DECLARED.get(declared) == found.mode:
        return ok(name, f"{declared}, as it says: {_WORDS[found.mode]}{where}", **numbers)
    says = f"batch_norm says {declared!r}, and so would records"
    return wrong(name, f"measured: {_WORDS[found.mode]}{where}; {says}", **numbers)


def dependence(algorithm: Algorithm, episode: Episode) -> Dependence:
    """Measure what a prediction depends on. The algorithm's stored statistics are changed afterwards.

    Args:
        algorithm: The algorithm; its batch norm is changed.
        episode: One task.
    """
    support, query = episode
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    norms = [module for module in algorithm.modules() if isinstance(module, (BatchNorm, _BatchNorm))]
    hooks: list[RemovableHandle] = [module.register_forward_pre_hook(count) for module in norms]
    together = predictions(algorithm, support, query.x)[:_KEPT]
    for hook in hooks:
        hook.remove()
    apart = predictions(algorithm, support, query.x[:_KEPT])
    alone = predictions(algorithm, support, query.x[:1])
    among_others = max(gap(together, apart), _distance(alone, apart[:1], apart))
    _disturb(norms)
    disturbed = gap(predictions(algorithm, support, query.x[:_KEPT]), apart)
    return Dependence(among_others, disturbed, calls)


def _distance(a: Tensor, b: Tensor, scale: Tensor) -> float:
    """The largest difference between ``a`` and ``b`` in units of how much ``scale`` varies."""
    return no_nan(float((a - b).abs().max() / scale.std()))


def _disturb(norms: Iterable[nn.Module]) -> None:
    """Change stored statistics: move means and multiply variances, by amounts that differ between features."""
    with torch.no_grad():
        for module in norms:
            for name, buffer in module.named_buffers(recurse=False):
                if buffer.is_floating_point():
                    ramp = torch.linspace(1, 2, buffer.numel(), dtype=buffer.dtype).view(buffer.shape)
                    buffer.copy_(buffer + ramp if name.endswith("mean") else buffer * (1 + ramp))
