import pytest
import torch
from torch import nn
from torch.func import functional_call

from metaexp.algorithms.maml import MAML
from metaexp.core.over_tasks import over_tasks
from metaexp.core.types import Episode, Examples, one_task
from metaexp.models.mlp import MLP
from metaexp.models.omniglot_conv import OmniglotConv

DEFAULTS = {
    "inner_lr": 0.4,
    "inner_steps": 2,
    "inner_steps_test": 3,
    "first_order": False,
    "inner_loss_reduction": "sum_over_k",
    "adapt": "no_batch_norm",
    "batch_norm": "transductive",
}


def maml(model: nn.Module, **changes: object) -> MAML:
    return MAML(model, **(DEFAULTS | changes)).double()  # type: ignore[arg-type]


def small_mlp(norm: bool = True, n_outputs: int = 3, width: int = 8) -> MLP:
    torch.manual_seed(0)
    return MLP((4,), n_outputs, [width, width], norm, True, 1e-3, "default", 0.01)


def episodes(n_tasks: int = 3, n_way: int = 3, k_shot: int = 2, n_query: int = 2, seed: int = 0) -> Episode:
    """Tasks whose classes are noisy points in four dimensions."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(n_tasks, n_way, 4, generator=generator, dtype=torch.float64) * 2

    def draw(per_class: int) -> Examples:
        y = torch.stack([torch.randperm(n_way * per_class, generator=generator) % n_way for _ in range(n_tasks)])
        x = torch.gather(centres, 1, y.unsqueeze(-1).expand(-1, -1, 4))
        return Examples(x + 0.3 * torch.randn(x.shape, generator=generator, dtype=torch.float64), y, n_way)

    return Episode(draw(k_shot), draw(n_query))


def meta_gradient(algorithm: MAML, batch: Episode, chunk_size: int | None = None) -> torch.Tensor:
    algorithm.zero_grad()
    over_tasks(algorithm, batch, chunk_size).mean().backward()
    return torch.cat([p.grad.flatten() for p in algorithm.parameters()])


def finite_differences(algorithm: MAML, batch: Episode, directions: torch.Tensor, step: float = 1e-6) -> torch.Tensor:
    """The slopes (D,) of the meta-loss along directions (D, P)."""
    slopes = []
    start = nn.utils.parameters_to_vector(algorithm.parameters()).detach()
    with torch.no_grad():
        for direction in directions:
            losses = []
            for place in (start + step * direction, start - step * direction):
                nn.utils.vector_to_parameters(place, algorithm.parameters())
                losses.append(over_tasks(algorithm, batch).mean())
            slopes.append((losses[0] - losses[1]) / (2 * step))
        nn.utils.vector_to_parameters(start, algorithm.parameters())
    return torch.stack(slopes)


@pytest.mark.parametrize("adapt", ["all", "no_batch_norm", "head"])
@pytest.mark.parametrize("batch_norm", ["transductive", "episode"])
def test_second_order_meta_gradient_equals_finite_differences(adapt: str, batch_norm: str) -> None:
    algorithm, batch = maml(small_mlp(width=4), adapt=adapt, batch_norm=batch_norm), episodes()
    gradient = meta_gradient(algorithm, batch)
    directions = torch.randn(10, len(gradient), generator=torch.Generator().manual_seed(0)).double()
    slopes = finite_differences(algorithm, batch, directions)
    assert torch.allclose(directions @ gradient, slopes, atol=1e-6)
    gradient[0] += 1e-4  # a fault of one number is seen along all directions
    assert not torch.allclose(directions @ gradient, slopes, atol=1e-6)


def test_first_order_gradient_is_the_query_gradient_at_the_adapted_parameters() -> None:
    algorithm, batch = maml(small_mlp(norm=False), adapt="all", first_order=True), episodes(n_tasks=1)
    measured = meta_gradient(algorithm, batch)
    task = one_task(batch, 0)
    adapted = {name: p.detach().requires_grad_() for name, p in algorithm.adapt(task.support).params.items()}
    loss = nn.functional.cross_entropy(functional_call(algorithm.model, adapted, (task.query.x,)), task.query.y)
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(adapted.values()))])
    assert torch.allclose(measured, expected, rtol=1e-9, atol=1e-12)
    second_order = meta_gradient(maml(small_mlp(norm=False), adapt="all"), batch)
    assert not torch.allclose(measured, second_order, atol=1e-3)


@pytest.mark.parametrize("first_order", [False, True])
def test_vectorised_losses_and_gradients_equal_a_loop(first_order: bool) -> None:
    torch.manual_seed(0)
    model = OmniglotConv((1, 12, 12), 3, 8, False, 1e-3, "tf_same", "normal", "mean")
    algorithm = maml(model, first_order=first_order)
    images = [Examples(torch.rand(4, 6, 1, 12, 12).double(), torch.arange(6).expand(4, 6) % 3, 3) for _ in range(2)]
    batch = Episode(*images)
    loop = meta_gradient(algorithm, batch, 1)
    for chunk_size in (None, 3):
        assert torch.allclose(meta_gradient(algorithm, batch, chunk_size), loop, rtol=1e-9, atol=1e-12)
    other = Episode(images[1], images[0])
    assert not torch.allclose(meta_gradient(algorithm, other), loop, rtol=1e-3)


@pytest.mark.parametrize(("reduction", "factor"), [("sum_over_k", 3.0), ("mean", 1.0)])
def test_one_step_of_a_linear_model_equals_the_closed_form_in_both_reductions(reduction: str, factor: float) -> None:
    """The sum over N * K support losses divided by K is N times their mean."""
    model = nn.Linear(4, 3).double()
    algorithm = maml(model, inner_steps=1, adapt="all", inner_loss_reduction=reduction)
    support = one_task(episodes(n_tasks=1), 0).support
    probabilities = (support.x @ model.weight.T + model.bias).softmax(-1)
    residual = probabilities - nn.functional.one_hot(support.y, 3)
    expected = model.weight - 0.4 * factor * residual.T @ support.x / len(support.y)
    assert torch.allclose(algorithm.adapt(support).params["weight"], expected, atol=1e-12)
    wrong = model.weight - 0.4 * (4.0 - factor) * residual.T @ support.x / len(support.y)
    assert not torch.allclose(algorithm.adapt(support).params["weight"], wrong, atol=1e-3)


def test_regression_losses_are_means_in_both_reductions() -> None:
    support = Examples(torch.randn(5, 4).double(), torch.randn(5, 2).double())
    after = [
        maml(small_mlp(False, 2), inner_loss_reduction=reduction, adapt="all").adapt(support).params["head.bias"]
        for reduction in ("sum_over_k", "mean")
    ]
    assert torch.equal(*after)
    slower = maml(small_mlp(False, 2), inner_lr=0.1, adapt="all").adapt(support).params["head.bias"]
    assert not torch.allclose(after[0], slower)


def test_the_same_task_twice_gives_the_gradient_of_one() -> None:
    algorithm, batch = maml(small_mlp()), episodes(n_tasks=1)
    doubled = Episode(*(Examples(e.x.repeat(2, 1, 1), e.y.repeat(2, 1), e.n_way) for e in batch))
    once = meta_gradient(algorithm, batch)
    assert torch.allclose(meta_gradient(algorithm, doubled), once, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(2 * meta_gradient(algorithm, doubled), once, atol=1e-3)


def test_only_the_chosen_parameters_adapt() -> None:
    support = one_task(episodes(n_tasks=1), 0).support
    head = {"head.weight", "head.bias"}
    norms = {f"layers.{i}.norm.{part}" for i in (0, 1) for part in ("weight", "bias")}
    every = {name for name, _ in small_mlp().named_parameters()}
    for adapt, expected in {"all": every, "no_batch_norm": every - norms, "head": head}.items():
        algorithm = maml(small_mlp(), adapt=adapt)
        start = dict(algorithm.model.named_parameters())
        after = algorithm.adapt(support).params
        # A bias in front of batch norm has no effect and a zero gradient.
        changed = {name for name in every if not torch.allclose(after[name], start[name], atol=1e-9)}
        silent = {"layers.0.linear.bias", "layers.1.linear.bias"}
        assert changed == expected - silent


def test_evaluation_takes_its_own_number_of_steps_and_the_trajectory_ends_at_the_adapted_learner() -> None:
    algorithm = maml(small_mlp())
    support = one_task(episodes(n_tasks=1), 0).support
    assert len(list(algorithm.train().adaptation_path(support))) == 3
    after_two = algorithm.adapt(support).params["head.weight"]
    path = list(algorithm.eval().adaptation_path(support))
    assert len(path) == 4
    assert torch.equal(path[0].params["head.weight"], algorithm.model.head.weight)
    assert torch.equal(path[-1].params["head.weight"], algorithm.adapt(support).params["head.weight"])
    assert torch.equal(path[2].params["head.weight"], after_two)
    assert not torch.equal(path[3].params["head.weight"], after_two)


@pytest.mark.parametrize(("batch_norm", "depends"), [("transductive", True), ("episode", False)])
def test_predictions_depend_on_other_queries_only_when_transductive(batch_norm: str, depends: bool) -> None:
    algorithm = maml(small_mlp(), batch_norm=batch_norm).eval()
    assert algorithm.batch_norm == batch_norm
    task = one_task(episodes(n_tasks=1), 0)
    adapted = algorithm.adapt(task.support)
    together = algorithm.predict(adapted, task.query.x)[:2]
    apart = algorithm.predict(adapted, task.query.x[:2])
    assert torch.allclose(together, apart, atol=1e-9) != depends


def test_a_network_without_batch_norm_is_reported_as_such() -> None:
    assert maml(small_mlp(norm=False)).batch_norm == "none"


def test_adapting_and_predicting_leave_no_trace() -> None:
    algorithm = maml(small_mlp(), batch_norm="episode").eval()
    task = one_task(episodes(n_tasks=1), 0)
    before = {name: t.clone() for name, t in algorithm.state_dict().items()}
    first = algorithm.predict(algorithm.adapt(task.support), task.query.x)
    assert all(torch.equal(t, before[name]) for name, t in algorithm.state_dict().items())
    assert torch.equal(first, algorithm.predict(algorithm.adapt(task.support), task.query.x))


def test_it_learns_far_above_chance() -> None:
    algorithm = maml(small_mlp(), inner_lr=0.03, inner_steps=1)
    optimizer = torch.optim.Adam(algorithm.parameters(), lr=0.01)

    def right(task: Episode) -> torch.Tensor:
        scores = algorithm.predict(algorithm.adapt(task.support), task.query.x)
        return (scores.argmax(-1) == task.query.y).double().mean()

    unseen = episodes(200, seed=10**6)
    before = over_tasks(right, unseen).mean().item()
    for step in range(100):
        optimizer.zero_grad()
        over_tasks(algorithm, episodes(16, seed=step)).mean().backward()
        optimizer.step()
    after = over_tasks(right, unseen).mean().item()
    assert before < 0.65
    assert after > 0.85
