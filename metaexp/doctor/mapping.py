"""Mapped over tasks by ``torch.vmap``, does it compute what a loop computes?"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from metaexp.core.over_tasks import over_tasks
from metaexp.core.types import Episode
from metaexp.doctor.finding import OTHER, SAME, Finding, gap, ok, wrong
from metaexp.doctor.subject import Subject, draws_noise, gradient_of, losses_of, predictions
from metaexp.doctor.tiny import stack

_CLOSE = 1e-6
_TASKS = 3


def vectorised(subject: Subject) -> Finding:
    """Meta-losses, meta-gradients and predictions of several tasks at once equal those of one task at a time."""
    name = "vectorised"
    try:
        scores, control = predictions_differ(subject)
        losses, gradients = training_differs(subject)
    except RuntimeError as error:
        if "vmap" not in str(error) and "functorch" not in str(error):
            raise
        return wrong(name, f"torch.vmap cannot map it over tasks: {str(error).strip().splitlines()[0]}")
    numbers = {"predictions_differ_by": scores, "meta-losses_by": losses, "meta-gradients_by": gradients}
    differing = [what for what, number in numbers.items() if number > _CLOSE]
    if differing:
        what = ", ".join(key.partition("_")[0] for key in differing)
        return wrong(name, f"{what} of several tasks at once are not those of one at a time", **numbers)
    if control < OTHER:
        return wrong(name, "it predicts the same for different tasks", between_tasks=control)
    return ok(name, "several tasks at once give what one at a time gives", **numbers, between_tasks=control)


def predictions_differ(subject: Subject) -> tuple[float, float]:
    """The gap between predictions of tasks at once and of one at a time; and that between those of different tasks."""
    algorithm = subject.build().eval()
    batch = stack([subject.task(seed) for seed in range(_TASKS)])

    def scores(episode: Episode) -> Tensor:
        return predictions(algorithm, episode.support, episode.query.x)

    together, apart = over_tasks(scores, batch), over_tasks(scores, batch, 1)
    return gap(together, apart), gap(together, apart.roll(1, 0))


def training_differs(subject: Subject) -> tuple[float, float]:
    """Relative differences of meta-losses and of meta-gradients; zero where noise makes them differ by intent."""
    algorithm = subject.build()
    batch = subject.training_batch(_TASKS)
    if draws_noise(algorithm, batch):
        return 0.0, 0.0
    together, apart = losses_of(algorithm, batch).detach(), losses_of(algorithm, batch, 1).detach()
    losses = float((together - apart).abs().max() / apart.abs().max().clamp_min(1e-300))
    return losses, largest_difference(gradient_of(algorithm, batch), gradient_of(algorithm, batch, 1))


def largest_difference(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """The largest difference between two gradients, relative to the largest entry of ``b``'s tensor (or of all)."""
    if not b:
        return 0.0
    overall = max(float(g.abs().max()) for g in b.values())
    least = max(SAME * overall, 1e-300)
    errors = [float((a[name] - g).abs().max()) / max(float(g.abs().max()), least) for name, g in b.items()]
    return max(errors) if all(map(math.isfinite, errors)) else math.inf
