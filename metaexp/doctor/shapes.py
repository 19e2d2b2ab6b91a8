"""Checks ways and shots, the states of adaptation, and saved weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from metaexp.core.algorithm import Algorithm
from metaexp.core.counted import listed
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.doctor.finding import OTHER, SAME, Finding, format_error, gap, ok, wrong
from metaexp.doctor.gradients import InnerGradients
from metaexp.doctor.subject import Subject, losses_of, predictions
from metaexp.doctor.tiny import N_TARGETS, N_WAY, Kind, mislabelled, stack, task
from metaexp.models.base import unknown_like, weights_of
from metaexp.results.display.wording import format_task

OTHER_SHAPES: dict[Kind, list[TaskShape]] = {
    "classification": [TaskShape(N_WAY, 1, 1), TaskShape(N_WAY, 4, 3), TaskShape(2, 1, 5), TaskShape(13, 3, 1)],
    "regression": [TaskShape(0, 1, 1), TaskShape(0, 5, 3), TaskShape(0, 20, 2)],
}


def ways_and_shots(subject: Subject) -> Finding:
    """Check other shots, and other ways than those of training unless ``fixed_way`` is true."""
    name = "ways and shots" if subject.kind == "classification" else "shots"
    shapes = OTHER_SHAPES[subject.kind]
    trained = subject.build()
    for shape in shapes:
        is_other_way = trained.fixed_way and shape.n_way != N_WAY and subject.kind == "classification"
        algorithm = subject.build(shape) if is_other_way else trained
        try:
            problem = problem_with(subject, algorithm, shape)
        except Exception as error:
            problem = format_error(error)
        if problem:
            claim = "" if trained.fixed_way or not shape.n_way else ", though fixed_way is false"
            return wrong(name, f"{format_task(shape)} {problem}{claim}", shapes_tried=shapes.index(shape) + 1)
    found = [", ".join(format_task(shape) for shape in shapes)]
    if subject.kind == "classification":
        found.append("built for the ways it is tested with" if trained.fixed_way else "the same object for any ways")
    twice = _twice(subject)
    found.append("shots are averaged" if twice < SAME else "more shots weigh more (summed, or taken in turn)")
    return ok(name, "; ".join(found), a_support_given_twice_changes_predictions_by=twice)


def adaptation_path(subject: Subject) -> Finding:
    """Check the states after 0, 1, ... steps: the first is there, and the last is that of ``adapt``.

    A first state that does not depend on labels is there. One that does may begin with class means, as the head of
    Proto-MAML does. Then the inner gradients tell: none is taken before it, or there are more states than gradients.
    """
    name = "adaptation path"
    algorithm = subject.build().eval()
    support, query = subject.task()
    before = None
    path = []
    with torch.no_grad():
        with InnerGradients() as inner:
            for state in algorithm.adaptation_path(support):
                before = inner.calls if before is None else before
                path.append(algorithm.predict(state, query.x))
        start = next(iter(algorithm.adaptation_path(mislabelled(support))))
        elsewhere = algorithm.predict(start, query.x)
    end = predictions(algorithm, support, query.x)
    numbers = {"states": len(path), "end_differs_from_adapt_by": gap(path[-1], end)}
    if numbers["end_differs_from_adapt_by"] > SAME:
        return wrong(name, "its last state is not what adapt returns", **numbers)
    if len(path) == 1:
        return ok(name, "one state, that of adapt: it makes no steps", **numbers)
    numbers["start_changes_with_labels_by"] = gap(elsewhere, path[0])
    numbers["start_to_end"] = gap(path[0], path[-1])
    knows_labels = numbers["start_changes_with_labels_by"] > SAME
    if knows_labels and not (inner.calls and (before == 0 or len(path) > inner.calls)):
        return wrong(name, "its first state knows the labels already: the state after 0 steps is missing", **numbers)
    if numbers["start_to_end"] < OTHER:
        return wrong(name, "its steps lead nowhere", **numbers)
    what = ", with what it takes from the labels at once," if knows_labels else ""
    return ok(name, f"begins before the first step{what} and ends where adapt ends", **numbers)


def save_and_load(subject: Subject) -> Finding:
    """Check that weights saved as safetensors, and loaded by a copy with other weights, predict the same.

    What only training needs is left out, as in the selected weights of a run.
    """
    name = "save and load"
    algorithm, copy = subject.build(), subject.build(seed=1)
    not_saved = algorithm.only_for_training
    if not_saved - set(weights_of(algorithm)):
        strange = listed(sorted(not_saved - set(weights_of(algorithm))), 3)
        return wrong(name, f"only_for_training names what is neither a parameter nor a buffer: {strange}")
    _move(algorithm)
    support, query = subject.task()
    expected = predictions(algorithm.eval(), support, query.x)
    before = gap(predictions(copy.eval(), support, query.x), expected)
    saved = {key: t.detach().contiguous() for key, t in weights_of(algorithm).items() if key not in not_saved}
    _load(copy, safetensors.torch.load(safetensors.torch.save(saved)))
    after = predictions(copy, support, query.x)
    numbers = {"tensors": len(saved), "loaded_differs_by": gap(after, expected), "before_loading_by": before}
    if not_saved and not torch.equal(after, expected):
        _load(copy, weights_of(algorithm))
    if not torch.equal(after, expected) and torch.equal(predictions(copy, support, query.x), expected):
        return wrong(name, f"predictions read what only_for_training names: {listed(sorted(not_saved), 3)}", **numbers)
    if not torch.equal(after, expected):
        return wrong(name, "something that decides predictions is neither a parameter nor a buffer", **numbers)
    if saved and before < SAME:
        return wrong(name, "weights do not change predictions at all", **numbers)
    return ok(name, "saved weights are all there is to it" if saved else "there is nothing to save", **numbers)


def _load(algorithm: Algorithm, weights: Mapping[str, Tensor]) -> None:
    """Give an algorithm these weights, and unknown ones for those that are not there."""
    with torch.no_grad():
        for key, own in weights_of(algorithm).items():
            own.copy_(weights[key] if key in weights else unknown_like(own))


def problem_with(subject: Subject, algorithm: Algorithm, shape: TaskShape) -> str:
    """Return what goes wrong with a task of this shape; an empty text if nothing does.

    Args:
        subject: What is checked.
        algorithm: The algorithm.
        shape: Ways, shots and queries of the task.
    """
    support, query = task(shape, seed=0)
    scores: Any = predictions(algorithm.eval(), support, query.x)
    wanted = (shape.n_queries, shape.n_way or N_TARGETS)
    if not isinstance(scores, Tensor):
        advice = ": is return forgotten?" if scores is None else ", not one tensor"
        return f"gives predictions of the type {type(scores).__name__}{advice}"
    if tuple(scores.shape) != wanted:
        return f"gives scores of shape {tuple(scores.shape)}, not {wanted}"
    if not scores.isfinite().all():
        return "gives scores that are not finite"
    if not subject.is_supervised:
        with torch.no_grad():
            loss = losses_of(algorithm.train(), stack([Episode(support, query)]), 1)
        if not loss.isfinite().all():
            return "gives a meta-loss that is not finite"
    return ""


def _twice(subject: Subject) -> float:
    """How much predictions change when every support example is given twice; not at all if shots are averaged."""
    algorithm = subject.build().eval()
    support, query = subject.task()
    doubled = Examples(support.x.repeat(2, 1, 1, 1), torch.cat([support.y, support.y]), support.n_way)
    return gap(predictions(algorithm, doubled, query.x), predictions(algorithm, support, query.x))


def _move(algorithm: Algorithm) -> None:
    """Change parameters and buffers a little, as training does. Stored variances stay positive."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for t in weights_of(algorithm).values():
            if t.is_floating_point():
                t.mul_(1 + 0.1 * torch.rand(t.shape, generator=generator, dtype=t.dtype))
                t.add_(0.01 * torch.rand(t.shape, generator=generator, dtype=t.dtype))
