"""The losses of a task have the bits of torch's own, outside of ``torch.func`` and inside."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import grad, jvp, vmap

from metaexp.core.errors import ConfigError, DataError
from metaexp.core.losses import check_labels, task_loss, task_metric
from metaexp.core.types import Episode, Examples

Loss = Callable[[Tensor, Tensor], Tensor]


def inner(loss: Loss, weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The loss of a task after two inner steps."""
    for _ in range(2):
        weights = weights - 0.1 * grad(lambda w: loss(x @ w, y))(weights)
    return loss(x @ weights, y)


def adapted(loss: Loss, x: Tensor, y: Tensor, weights: Tensor) -> list[Tensor]:
    """The losses of tasks after two inner steps, and their gradient through these steps."""
    x = x.clone().requires_grad_()
    losses = vmap(partial(inner, loss))(weights, x, y)
    return [losses, *torch.autograd.grad(losses.mean(), x)]


def adapted_alone(loss: Loss, x: Tensor, y: Tensor, weights: Tensor) -> list[Tensor]:
    """The same of one task, without vmap."""
    x = x.clone().requires_grad_()
    value = inner(loss, weights, x, y)
    return [value.detach(), *torch.autograd.grad(value, x)]


def tasks(kind: str, n_tasks: int, n_examples: int, n_outputs: int, dtype: torch.dtype) -> list[Tensor]:
    """Features, labels or targets, and weights of each task."""
    draw = torch.Generator().manual_seed(n_examples)
    x = 3 * torch.randn(n_tasks, n_examples, 4, generator=draw, dtype=dtype)
    if kind == "classes":
        y = torch.randint(n_outputs, (n_tasks, n_examples), generator=draw)
    else:
        y = torch.randn(n_tasks, n_examples, n_outputs, generator=draw, dtype=dtype)
    return [x, y, torch.randn(n_tasks, 4, n_outputs, generator=draw, dtype=dtype)]


def torch_loss(scores: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(scores, y) if y.dtype == torch.int64 else F.mse_loss(scores, y)


def summed_first(scores: Tensor, y: Tensor) -> Tensor:
    """The same loss to rounding, in another order."""
    return torch_loss(scores[::2], y[::2]) * (len(y[::2]) / len(y)) + torch_loss(scores[1::2], y[1::2]) * (
        len(y[1::2]) / len(y)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["classes", "numbers"])
@pytest.mark.parametrize(("n_tasks", "n_examples", "n_outputs"), [(8, 5, 5), (3, 75, 5), (2, 20, 20), (4, 10, 1)])
def test_the_loss_and_its_second_derivatives_have_the_bits_of_torch(
    kind: str, dtype: torch.dtype, n_tasks: int, n_examples: int, n_outputs: int
) -> None:
    x, y, weights = tasks(kind, n_tasks, n_examples, n_outputs, dtype)
    ours, theirs, others = (adapted(loss, x, y, weights) for loss in (task_loss, torch_loss, summed_first))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    if n_outputs > 1:  # of one class, every loss is 0
        assert not all(torch.equal(a, b) for a, b in zip(ours, others, strict=True))
    for task in range(n_tasks):
        alone = [adapted_alone(loss, x[task], y[task], weights[task]) for loss in (task_loss, torch_loss)]
        assert all(torch.equal(a, b) for a, b in zip(*alone, strict=True))
        scores = x[task] @ weights[task]
        assert torch.equal(task_loss(scores, y[task]), torch_loss(scores, y[task]))


@pytest.mark.parametrize("casts_back", [False, True])
@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_it_has_the_bits_of_torch_in_mixed_precision(kind: str, casts_back: bool) -> None:
    def of(loss: Loss) -> Loss:
        return lambda scores, y: loss(scores.float() if casts_back else scores, y)

    x, y, weights = tasks(kind, 4, 10, 5, torch.float32)
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        ours, theirs, others = (adapted(of(loss), x, y, weights) for loss in (task_loss, torch_loss, summed_first))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(ours, others, strict=True))


@pytest.mark.parametrize("shape", [(3,), (3, 2), (1, 3, 1)])
def test_outputs_of_another_shape_than_the_targets_are_refused_inside_as_they_are_outside(shape: tuple[int]) -> None:
    """torch stretches (3,) and (3, 1) to the errors of all nine pairs."""
    scores, y = torch.zeros(2, *shape), torch.arange(6.0).reshape(2, 3, 1)
    for function in (task_loss, task_metric):
        for call in (lambda f=function: vmap(f)(scores, y), lambda f=function: f(scores[0], y[0])):
            with pytest.raises(ConfigError, match=r"predictions have the shape .*, and targets \(3, 1\)"):
                call()


@pytest.mark.parametrize("shape", [(3, 1, 4), (3, 4, 5), (1, 4), (4,)])
def test_scores_that_are_not_one_row_for_each_query_have_no_accuracy(shape: tuple[int]) -> None:
    y = torch.tensor([0, 1, 2])
    assert task_metric(torch.eye(3, 4), y) == 1
    with pytest.raises(ConfigError, match=r"predictions have the shape .*, and labels \(3,\). Let predict return"):
        task_metric(torch.zeros(shape), y)


def test_labels_of_the_parts_of_an_example_are_averaged_inside_as_they_are_outside() -> None:
    draw = torch.Generator().manual_seed(0)
    scores, y = torch.randn(2, 3, 5, 4, generator=draw), torch.randint(5, (2, 3, 4), generator=draw)
    alone = torch.stack([F.cross_entropy(one, label) for one, label in zip(scores, y, strict=True)])
    torch.testing.assert_close(vmap(task_loss)(scores, y), alone)


@pytest.mark.parametrize("label", [3, -1, -100])
def test_a_label_that_is_not_a_class_is_an_error_inside_as_it_is_outside(label: int) -> None:
    """Also torch's -100, which leaves an example out of the loss: the metric would count it as wrong."""
    x, y, weights = tasks("classes", 2, 5, 3, torch.float32)
    y[0, 0] = label
    for call in (lambda: vmap(task_loss)(x @ weights, y), lambda: task_loss(x[0] @ weights[0], y[0])):
        with pytest.raises(DataError, match=rf"{label} is out of bounds.*: N classes have labels from 0 to N - 1"):
            call()


@pytest.mark.parametrize("label", [3, -1, -100])
def test_an_episode_with_a_label_that_is_not_a_class_is_refused_where_it_is_measured(label: int) -> None:
    x, y, _ = tasks("classes", 2, 5, 3, torch.float32)
    part = Examples(x, y, 3)
    check_labels(Episode(part, part))
    check_labels(Episode(*[Examples(x, y.float() - 100)] * 2))  # regression has no classes
    wrong = y.clone()
    wrong[1, 4] = label
    with pytest.raises(DataError, match=rf"a query example of an episode of 3 classes has the label {label}: N"):
        check_labels(Episode(part, Examples(x, wrong, 3)))


@pytest.mark.parametrize("mapped", [False, True])
def test_scores_that_are_not_numbers_are_not_answers(mapped: bool) -> None:
    scores, y = torch.eye(4).repeat(3, 1, 1), torch.arange(4).repeat(3, 1)
    scores[1, 2, 0] = torch.nan  # torch calls a NaN the largest
    scores[2, 1] = torch.tensor([-torch.inf, torch.inf, 0.0, 0.0])  # these can be compared
    found = vmap(task_metric)(scores, y) if mapped else torch.stack(list(map(task_metric, scores, y)))
    assert found.isnan().tolist() == [False, True, False]
    assert found[[0, 2]].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("shape", [(5, 25), (25,), (25, 5, 1)])
def test_scores_of_another_shape_are_refused_by_the_loss_too(shape: tuple[int, ...]) -> None:
    y = torch.arange(25) % 5
    assert task_loss(torch.zeros(25, 5), y).isfinite()
    with pytest.raises(ConfigError, match=r"predictions have the shape \(.*\), and labels \(25,\)\. Let predict"):
        task_loss(torch.zeros(shape), y)


def test_the_number_of_a_class_is_not_a_score() -> None:
    y = torch.arange(25) % 5
    with pytest.raises(ConfigError, match=r"^predictions are int64\. Let predict return scores"):
        task_loss(torch.nn.functional.one_hot(y, 5), y)


@pytest.mark.parametrize("kind", ["classes", "numbers"])
@pytest.mark.parametrize("mapped", [False, True])
def test_products_of_hessian_and_vector_are_those_of_two_gradients(kind: str, mapped: bool) -> None:
    """Implicit gradients and second-order optimisers take them, by torch.func.jvp of a gradient."""
    x, y, weights = tasks(kind, 2, 6, 3, torch.float64)

    def forwards(x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        product: Tensor = jvp(grad(lambda w: task_loss(x @ w, y)), (weights,), (weights.cos(),))[1]
        return product

    def backwards(x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        slope = grad(lambda w: torch_loss(x @ w, y))
        product: Tensor = grad(lambda w: (slope(w) * weights.cos()).sum())(weights)
        return product

    if mapped:
        assert torch.allclose(vmap(forwards)(x, y, weights), vmap(backwards)(x, y, weights), rtol=1e-10)
        return
    found = forwards(x[0], y[0], weights[0])
    assert torch.allclose(found, backwards(x[0], y[0], weights[0]), rtol=1e-10)
    assert not torch.allclose(found, backwards(x[1], y[1], weights[1]), rtol=1e-3)


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_products_of_hessian_and_vector_are_taken_by_dual_numbers_too(kind: str) -> None:
    x, y, weights = (part[0] for part in tasks(kind, 1, 6, 3, torch.float64))
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(weights.clone().requires_grad_(), weights.cos())
        (slope,) = torch.autograd.grad(task_loss(x @ dual, y), dual, create_graph=True)
        product = forward_ad.unpack_dual(slope).tangent
    expected = jvp(grad(lambda w: task_loss(x @ w, y)), (weights,), (weights.cos(),))[1]
    assert torch.allclose(product, expected, rtol=1e-10)
    assert not torch.allclose(product, -expected, rtol=1e-3)


@pytest.mark.parametrize("y", [torch.arange(5), torch.zeros(5, 1)], ids=["labels", "targets"])
@pytest.mark.parametrize("judge", [task_loss, task_metric])
def test_predictions_that_are_not_one_tensor_are_refused(judge: Callable[..., Tensor], y: Tensor) -> None:
    for scores, said in (
        (None, "the type NoneType.*Is `return` forgotten"),
        ((torch.zeros(5, 1), torch.ones(5, 1)), "the type tuple. Let predict return one tensor"),
        ({"mean": torch.zeros(5, 1)}, "the type dict"),
    ):
        with pytest.raises(ConfigError, match=f"^predictions are of {said}"):
            judge(scores, y)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.bool])
@pytest.mark.parametrize("mapped", [False, True])
def test_whole_numbers_are_not_outputs_of_regression(dtype: torch.dtype, mapped: bool) -> None:
    scores, y = torch.ones(2, 6, 1, dtype=dtype), torch.ones(2, 6, 1)
    assert task_loss(scores[0].float(), y[0]) == 0
    kind = str(dtype).removeprefix("torch.")
    with pytest.raises(
        ConfigError, match=rf"^predictions are {kind}\. Let predict return outputs \(M, D_out\) as floats"
    ):
        vmap(task_loss)(scores, y) if mapped else task_loss(scores[0], y[0])


@pytest.mark.parametrize("outputs", [1, 5])
def test_a_column_of_whole_numbers_is_labels_or_targets(outputs: int) -> None:
    y = torch.tensor([[1], [0], [2]])
    with pytest.raises(ConfigError, match=r"give y\[:, 0\]\. If these are targets, give y\.float\(\)\."):
        task_loss(torch.zeros(3, outputs), y)
    assert task_loss(torch.zeros(3, 5), y[:, 0]).isfinite()
    assert task_loss(torch.zeros(3, 1), y.float()).isfinite()


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((3, 4, 5), r" scores\.movedim\(-1, 1\) puts the classes there\."),
        ((3, 5), ""),
        ((3,), ""),
        ((2, 5, 4), ""),
        ((3, 4), r" If the labels are one-hot rows, give y\.argmax\(1\)\. If these are targets, give y\.float\(\)\."),
    ],
)
def test_the_loss_says_which_scores_it_takes_for_labels_of_parts(
    shape: tuple[int, ...], advice: str, mapped: bool
) -> None:
    scores, y = torch.zeros(2, *shape), torch.zeros(2, 3, 4, dtype=torch.int64)
    assert task_loss(torch.zeros(3, 5, 4), y[0]).isfinite()
    said = (
        rf"labels \(3, 4\)\. For these labels the loss takes scores \(3, N, 4\), with the classes second\.{advice} For"
    )
    with pytest.raises(ConfigError, match=said):
        vmap(task_loss)(scores, y) if mapped else task_loss(scores[0], y[0])


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool])
def test_labels_of_another_type_are_refused_by_the_loss(dtype: torch.dtype) -> None:
    one_hot = torch.eye(5)
    assert task_loss(one_hot, torch.arange(5)).isfinite()
    kind = str(dtype).removeprefix("torch.")
    for y in (torch.arange(5).to(dtype), one_hot.to(dtype)):
        with pytest.raises(ConfigError, match=rf"labels or targets are {kind}\. Give labels as int64 \(y\.long\(\)\)"):
            task_loss(one_hot, y)


def test_one_label_alone_has_a_loss() -> None:
    assert task_loss(torch.zeros(5), torch.tensor(2)).isclose(torch.tensor(5.0).log())


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("compute", [task_loss, task_metric])
@pytest.mark.parametrize(
    ("scores", "y"),
    [
        (torch.zeros(2, 0, 5), torch.zeros(2, 0, dtype=torch.int64)),
        (torch.zeros(2, 0, 1), torch.zeros(2, 0, 1)),
        (torch.zeros(2, 3, 0), torch.zeros(2, 3, 0)),
    ],
)
def test_no_examples_have_no_loss_and_no_metric(scores: Tensor, y: Tensor, compute: Loss, mapped: bool) -> None:
    """torch gives NaN, and the run said that it had diverged."""
    with pytest.raises(
        DataError, match=r"labels or targets have the shape \([03],( [01])?\)\. Give support and query one"
    ):
        vmap(compute)(scores, y) if mapped else compute(scores[0], y[0])
    assert compute(torch.ones(1, 5), torch.zeros(1, dtype=torch.int64)).isfinite()


@pytest.mark.parametrize("part", ["support", "query"])
def test_an_episode_without_examples_is_refused_where_it_is_measured(part: str) -> None:
    some = Examples(torch.zeros(2, 5, 3), torch.zeros(2, 5, dtype=torch.int64), 3)
    empty = Examples(torch.zeros(2, 0, 3), torch.zeros(2, 0, dtype=torch.int64), 3)
    check_labels(Episode(some, some))
    with pytest.raises(DataError, match=rf"the {part} of an episode has no examples: y has the shape \(2, 0\)"):
        check_labels(Episode(some, some)._replace(**{part: empty}))


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("compute", [task_loss, task_metric])
@pytest.mark.parametrize("shape", [(1, 3), (1, 1, 3), ()])
def test_the_label_of_one_query_is_compared_with_its_scores_alone(
    shape: tuple[int, ...], compute: Loss, mapped: bool
) -> None:
    y = torch.tensor([2, 1])
    assert compute(torch.eye(3)[2], y[0]).isfinite()
    with pytest.raises(ConfigError, match=r"and labels \(\)\. Let predict .* If this is one query, give y\[None\]"):
        vmap(compute)(torch.zeros(2, *shape), y) if mapped else compute(torch.zeros(shape), y[0])
