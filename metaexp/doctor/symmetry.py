"""Checks that orders and names of classes do not matter, and that the support and right answers do."""

from __future__ import annotations

import itertools
from typing import Final, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from metaexp.core.algorithm import Algorithm
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.doctor.finding import OTHER, SAME, Finding, does_not_apply, gap, no_nan, ok, wrong
from metaexp.doctor.subject import Subject, draws_noise, losses_of, predictions
from metaexp.doctor.tiny import N_TARGETS, N_WAY, mislabelled, shuffled, stack

Place = Literal["only", "first", "last"]
_PLACES: Final[tuple[Place, ...]] = get_args(Place)
_OTHER_WAY = 5
_ROUNDING = 1e-9
_NO_SUM = "the meta-loss is not a sum over queries: does training predict a query with the labels of others?"


def support_used(subject: Subject) -> Finding:
    """Check that predictions, and the meta-loss of tasks, depend on the inputs and labels of the support.

    What the meta-loss does with queries is said where it is unusual, and is not wrong: Reptile uses none of them, and a
    marginal likelihood is that of support and queries together.
    """
    name = "support used"
    algorithm = subject.build().eval()
    support, query = subject.task()
    scores = predictions(algorithm, support, query.x)
    strange = support._replace(x=subject.task(1).support.x)
    numbers = {
        "other_labels_change_predictions_by": gap(predictions(algorithm, mislabelled(support), query.x), scores),
        "other_inputs_by": gap(predictions(algorithm, strange, query.x), scores),
    }
    unused = [what for what, number in zip(("labels", "inputs"), numbers.values(), strict=True) if number < SAME]
    if unused:
        return wrong(name, f"predictions do not depend on the support's {' and '.join(unused)}", **numbers)
    unusual = ""
    if subject.cls.training_tasks == "episodes":
        algorithm.train()
        with torch.no_grad():
            usual, *others = (
                losses_of(algorithm, stack([Episode(s, q)]))
                for s, q in ((support, query), (strange, query), (support, subject.task(1).query))
            )
        if torch.equal(usual, others[0]):
            return wrong(name, "the meta-loss does not depend on the support", **numbers)
        leaked = _leak(subject, algorithm)
        if torch.equal(usual, others[1]):
            unusual = "; training does not use the queries: is that meant?"
        elif leaked > _ROUNDING:
            unusual = f"; {_NO_SUM}"
            numbers["one_query_by_the_label_of_another"] = leaked
    return ok(name, f"labels and inputs of the support decide what is predicted{unusual}", **numbers)


def _leak(subject: Subject, algorithm: Algorithm) -> float:
    """How much of the change that the label of a query makes to the meta-loss depends on the label of another query.

    Nothing depends on it if the meta-loss is a sum over queries, each predicted without their labels. A ``loss`` that
    is itself no such sum (of pairs of scores, say) shows nothing, and gives 0. A ``meta_loss`` that is none, such as
    the root of a sum, looks the same as one that learns from the queries.
    """
    support, query = subject.task()
    scores = torch.randn(len(query.x), query.n_way or N_TARGETS, generator=torch.Generator().manual_seed(4)).double()
    targets = [query.y.clone() for _ in range(4)]
    for y, changed in zip(targets, ((), (0,), (1,), (0, 1)), strict=True):
        for i in changed:
            y[i] = (y[i] + 1) % query.n_way if query.n_way else y[i] + 1

    def interplay(losses: Tensor) -> float:
        neither, first, second, both = losses
        size = torch.maximum((first - neither).abs(), 1e-3 * neither.abs()).clamp_min(1e-300)
        return no_nan(float((both - first - second + neither).abs() / size))

    with torch.no_grad():
        if interplay(torch.stack([algorithm.loss(scores, y) for y in targets])) > _ROUNDING:
            return 0.0
        episodes = [stack([Episode(support, query._replace(y=y))]) for y in targets]
        return interplay(torch.cat([losses_of(algorithm, episode, 1) for episode in episodes]))  # each with equal noise


def labels(subject: Subject) -> Finding:
    """Check that other names for the classes change only the order of the scores.

    Where outputs belong to classes (``fixed_way``), they are reordered with the classes. So are the inputs of a layer
    that reads a label beside other numbers, as an LSTM does that is given the support with its labels.
    """
    name = "labels"
    if subject.kind == "regression":
        return does_not_apply(name, "regression has no classes to rename")
    algorithm = subject.build().eval()
    support, query = subject.task()
    order = torch.randperm(N_WAY, generator=torch.Generator().manual_seed(2))  # new label -> old label
    relabelled = support._replace(y=order.argsort()[support.y])
    scores = predictions(algorithm, support, query.x)
    expected = scores[:, order]
    as_it_is = gap(predictions(algorithm, relabelled, query.x), expected)
    differences = [as_it_is]
    if algorithm.fixed_way:
        differences = []
        for place in _PLACES:
            reordered = subject.build().eval()
            permute_classes(reordered, order, class_axes(subject), place)
            differences.append(gap(predictions(reordered, relabelled, query.x), expected))
    numbers = {
        "relabelled_scores_differ_by": min(differences),
        "before_relabelling_by": gap(expected, scores),
    }
    if algorithm.fixed_way:
        numbers["without_relabelling_the_outputs_by"] = as_it_is
    if numbers["before_relabelling_by"] < OTHER:
        return wrong(name, "all classes get the same score", **numbers)
    if numbers["relabelled_scores_differ_by"] > SAME:
        return wrong(name, "renaming the classes changes more than the names", **numbers)
    return ok(name, "other names for the classes change nothing but the names", **numbers)


def support_order(subject: Subject) -> Finding:
    """Check that a shuffled support gives the same predictions, unless the algorithm says that its order matters."""
    name = "support order"
    algorithm = subject.build().eval()
    support, query = subject.task()
    scores = predictions(algorithm, support, query.x)
    moved = max(gap(predictions(algorithm, shuffled(support, seed), query.x), scores) for seed in (5, 6, 7))
    numbers = {"a_shuffled_support_changes_predictions_by": moved}
    if algorithm.depends_on_support_order:
        does = "does" if moved > SAME else "does not on these tasks"
        return ok(name, f"it says that the order of the support matters, and it {does}", **numbers)
    if moved > SAME:
        what = "it matters, though depends_on_support_order is false: are positions taken for labels?"
        return wrong(name, what, **numbers)
    return ok(name, "does not matter", **numbers)


def query_order(subject: Subject) -> Finding:
    """Check that shuffled queries get the same predictions and the same meta-loss."""
    name = "query order"
    algorithm = subject.build().eval()
    support, query = subject.task()
    order = torch.randperm(len(query.x), generator=torch.Generator().manual_seed(3))
    scores = predictions(algorithm, support, query.x)
    moved_scores = predictions(algorithm, support, query.x[order])
    numbers = {
        "predictions_for_shuffled_queries_differ_by": gap(moved_scores, scores[order]),
        "between_queries_by": gap(scores[order], scores),
    }
    algorithm.train()
    episode = subject.training_task()
    moved = episode._replace(query=shuffled(episode.query, 3))
    if not draws_noise(algorithm, stack([episode])):
        with torch.no_grad():
            loss, again = losses_of(algorithm, stack([episode, moved]), 1)
        numbers["meta-loss_by"] = no_nan(float((loss - again).abs() / loss.abs().clamp_min(1e-300)))
    if numbers["between_queries_by"] < SAME:
        return wrong(name, "all queries get the same prediction", **numbers)
    if numbers["predictions_for_shuffled_queries_differ_by"] > SAME:
        return wrong(name, "predictions change when the queries come in another order", **numbers)
    if numbers.get("meta-loss_by", 0.0) > _ROUNDING:
        return wrong(name, "the meta-loss changes when the queries come in another order", **numbers)
    return ok(name, "does not matter", **numbers)


def loss(subject: Subject) -> Finding:
    """Check that the loss is one finite number, lower for right answers, and the same for any order of examples."""
    name = "loss"
    algorithm = subject.build()
    y = subject.task().query.y
    right, false = _answers(subject.kind, y), _answers(subject.kind, y.roll(1, 0))
    low, high = algorithm.loss(right, y), algorithm.loss(false, y)
    if low.dim() or not low.isfinite() or not high.isfinite():
        return wrong(name, f"it must be one finite number, and has shape {tuple(low.shape)}: {low}, {high}")
    backwards = algorithm.loss(false.flip(0), y.flip(0))
    twice = algorithm.loss(false.repeat(2, 1), torch.cat([y, y]))
    numbers = {"right_answers": float(low), "wrong_answers": float(high), "all_examples_twice": float(twice)}
    if low >= high:
        return wrong(name, "wrong answers cost no more than right ones: is its sign right?", **numbers)
    if (backwards - high).abs() > _ROUNDING * high.abs():
        return wrong(name, "it changes when the examples come in another order", **numbers)
    is_mean = (twice - high).abs() < _ROUNDING * high.abs()
    kind = "a mean over examples" if is_mean else "not a mean over examples: learning rates depend on their number"
    numbers["meta-loss_of_all_queries_twice"] = ratio = _meta_loss_of_twice(subject)
    if is_mean and abs(ratio - 2) < _ROUNDING:
        kind += "; the meta-loss is a sum over queries, so that learning rates depend on their number: is that meant?"
    return ok(name, f"lower for right answers, {kind}", **numbers)


def _meta_loss_of_twice(subject: Subject) -> float:
    """How many times as large the meta-loss is where each query comes twice: 1 for a mean, 2 for a sum.

    It is 0 where nothing can be told: the meta-loss is 0 or draws random numbers. A supervised batch is support and
    queries at once, and is doubled as a whole.
    """
    algorithm = subject.build()
    episode = subject.training_task()
    doubled = _twice(episode.query)
    twice = Episode(doubled, doubled) if subject.is_supervised else episode._replace(query=doubled)
    if draws_noise(algorithm, stack([episode])):
        return 0.0
    with torch.no_grad():
        once, more = (float(losses_of(algorithm, stack([task]), 1)) for task in (episode, twice))
    return more / once if once else 0.0


def _twice(examples: Examples) -> Examples:
    return examples._replace(x=examples.x.repeat_interleave(2, 0), y=examples.y.repeat_interleave(2, 0))


def class_axes(subject: Subject) -> dict[str, list[int]]:
    """Return tensor -> its axes that stand for classes: those whose size follows the number of ways.

    Such an axis has an entry for each class, and may have entries for other things, which do not follow it. One with
    fewer entries than classes has none for each.
    """
    other = subject.build(TaskShape(_OTHER_WAY, 2, 2))
    sizes = {name: tuple(t.shape) for name, t in _tensors(other)}
    return {
        name: [
            axis
            for axis, (size, other_size) in enumerate(zip(t.shape, sizes.get(name, ()), strict=False))
            if size - other_size == N_WAY - _OTHER_WAY and size >= N_WAY
        ]
        for name, t in _tensors(subject.build())
    }


def permute_classes(algorithm: Algorithm, order: Tensor, axes: dict[str, list[int]], place: Place = "only") -> None:
    """Reorder the tensors of the algorithm along the axes that stand for classes.

    Args:
        algorithm: It is changed in place.
        order: The new order of the classes (N,).
        axes: Name of a tensor -> its axes that stand for classes.
        place: Whether classes are the first or the last entries of an axis that has others. With ``only``, such an axis
            is left as it is.
    """
    with torch.no_grad():
        for name, tensor in _tensors(algorithm):
            for axis in axes[name]:
                n_others = tensor.shape[axis] - len(order)
                if place == "only" and n_others:
                    continue
                classes = tensor.narrow(axis, n_others if place == "last" else 0, len(order))
                classes.copy_(classes.index_select(axis, order))


def _tensors(algorithm: Algorithm) -> itertools.chain[tuple[str, Tensor]]:
    return itertools.chain(algorithm.named_parameters(), algorithm.named_buffers())


def _answers(kind: str, y: Tensor) -> Tensor:
    """Right predictions for ``y``: score 1 for its classes and 0 for all others, or the targets themselves."""
    return F.one_hot(y, N_WAY).double() if kind == "classification" else y
