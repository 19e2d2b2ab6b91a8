"""Checks that an algorithm mapped over tasks by ``torch.vmap`` computes what a loop computes."""

from __future__ import annotations

from torch import Tensor

from metaexp.core.over_tasks import over_tasks
from metaexp.core.types import Episode
from metaexp.doctor.differences import largest_difference
from metaexp.doctor.finding import OTHER, Finding, does_not_apply, format_error, gap, no_nan, ok, wrong
from metaexp.doctor.subject import Subject, draws_noise, gradient_of, losses_of, predictions
from metaexp.doctor.tiny import stack

_CLOSE = 1e-6
_LEAST_GRADIENT = 1e-2
"""See :func:`largest_difference`. Reptile's Adam makes 1e-9 of the whole gradient out of rounding."""
_TASKS = 3


def vectorised(subject: Subject) -> Finding:
    """Check that several tasks at once give the meta-losses, meta-gradients and predictions of one task at a time."""
    name = "vectorised"
    algorithm = subject.build()
    if not algorithm.vectorises:
        return does_not_apply(name, "it says that it does not map over tasks; training takes one at a time")
    if not algorithm.can_be_mapped:
        return does_not_apply(name, "it has layers that torch.vmap cannot map; training takes one task at a time")
    tested = stack([subject.task(seed) for seed in range(_TASKS)])
    trained = subject.training_batch(_TASKS)
    scores, losses, gradients = _results(subject, tested, trained, chunk_size=1)
    try:
        mapped_scores, mapped_losses, mapped_gradients = _results(subject, tested, trained, chunk_size=None)
    except Exception as error:
        return wrong(name, f"one task at a time works; mapped over several by torch.vmap, it {format_error(error)}")
    numbers = {"predictions_differ_by": gap(mapped_scores, scores)}
    if not draws_noise(subject.build(), trained):  # which differs by intent
        largest = losses.abs().max().clamp_min(1e-300)
        numbers["meta-losses_by"] = no_nan(float((mapped_losses - losses).abs().max() / largest))
        numbers["meta-gradients_by"] = largest_difference(mapped_gradients, gradients, _LEAST_GRADIENT)[1]
    differing = [what.partition("_")[0] for what, number in numbers.items() if number > _CLOSE]
    numbers["between_tasks"] = gap(scores, scores.roll(1, 0))
    if differing:
        return wrong(name, f"{', '.join(differing)} of several tasks at once are not those of one at a time", **numbers)
    if numbers["between_tasks"] < OTHER:
        return wrong(name, "it predicts the same for different tasks", **numbers)
    return ok(name, "several tasks at once give what one at a time gives", **numbers)


def _results(
    subject: Subject, tested: Episode, trained: Episode, chunk_size: int | None
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Predictions (T, M, ...), meta-losses (T,) and meta-gradients by name."""
    algorithm = subject.build()

    def scores(episode: Episode) -> Tensor:
        return predictions(algorithm, episode.support, episode.query.x)

    algorithm.eval()
    out: Tensor = over_tasks(scores, tested, chunk_size)
    algorithm.train()
    losses = losses_of(algorithm, trained, chunk_size).detach()
    return out, losses, gradient_of(algorithm, trained, chunk_size)
