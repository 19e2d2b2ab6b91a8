from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.func import functional_call

from metaexp.algorithms.maml import MAML
from metaexp.algorithms.maml_plus_plus import MAMLPlusPlus, multi_step_weights
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode
from metaexp.machine.device import Compute
from metaexp.models.mlp import MLP
from metaexp.run.chunk_size import training_chunk

MakeTask = Callable[..., Episode]
ALL_OFF: dict[str, Any] = {
    "inner_lr": 0.25,
    "inner_steps": 3,
    "inner_steps_test": 3,
    "multi_step_loss_epochs": 0,
    "learn_inner_lr": False,
    "per_step_batch_norm": False,
    "first_order_epochs": 0,
    "epoch": 10,
    "batch_norm": "transductive",
}


def network(n_outputs: int = 3, norm: bool = True) -> MLP:
    torch.manual_seed(0)
    return MLP((4,), n_outputs, [8, 8], norm, True, 1e-3, "default", 0.01)


def maml_plus_plus(n_outputs: int = 3, norm: bool = True, **switches: Any) -> MAMLPlusPlus:
    return MAMLPlusPlus(network(n_outputs, norm), **(ALL_OFF | switches)).double()


def maml(n_outputs: int = 3, first_order: bool = False, steps: int = 3) -> MAML:
    model = network(n_outputs)
    return MAML(model, 0.25, steps, steps, first_order, "mean", "no_batch_norm", "transductive").double()


def loss_and_buffers(algorithm: MAMLPlusPlus, episode: Episode) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    state = dict(algorithm.named_buffers())
    loss = functional_call(algorithm, state, (episode,))
    return loss, state


@pytest.mark.parametrize("n_way", [3, 0])
def test_with_every_switch_off_it_is_maml(make_task: MakeTask, n_way: int) -> None:
    episode = make_task(n_way=n_way, k_shot=4)
    ours, theirs = maml_plus_plus(n_way or 2), maml(n_way or 2)
    assert torch.allclose(ours(episode), theirs(episode), rtol=1e-9)
    gradients = [torch.autograd.grad(a(episode), list(a.parameters())) for a in (ours, theirs)]
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-10) for a, b in zip(*gradients, strict=True))
    assert not torch.allclose(ours(episode), maml(n_way or 2, steps=2)(episode))


@pytest.mark.parametrize("switch", ["learn_inner_lr", "per_step_batch_norm"])
def test_learned_rates_and_per_step_norms_start_as_maml(make_task: MakeTask, switch: str) -> None:
    algorithm, episode = maml_plus_plus(**{switch: True}), make_task()
    assert torch.allclose(algorithm(episode), maml()(episode))
    assert sum(p.numel() for p in algorithm.parameters()) > sum(p.numel() for p in maml().parameters())


def test_the_multi_step_loss_is_the_weighted_sum_over_the_inner_steps(make_task: MakeTask) -> None:
    algorithm, episode = maml_plus_plus(multi_step_loss_epochs=4), make_task()
    losses = torch.stack([maml(steps=steps)(episode) for steps in (1, 2, 3)])
    assert torch.allclose(algorithm(episode), losses.mean())
    algorithm.set_progress(20, 1000)
    assert torch.allclose(algorithm(episode), losses @ losses.new_tensor([1 / 6, 1 / 6, 2 / 3]))
    algorithm.set_progress(40, 1000)
    assert torch.allclose(algorithm(episode), losses[-1])
    assert not torch.allclose(losses.mean(), losses[-1])


def test_in_evaluation_only_the_last_step_counts(make_task: MakeTask) -> None:
    algorithm, episode = maml_plus_plus(multi_step_loss_epochs=4), make_task()
    assert torch.allclose(algorithm.eval()(episode), maml()(episode))
    assert not torch.allclose(algorithm.train()(episode), maml()(episode))


@pytest.mark.parametrize("epochs", [10, 100])  # of 100, the last three have the least weight of the early steps
def test_weights_of_the_multi_step_loss_follow_the_authors_formula(epochs: int) -> None:
    steps = 5
    for epoch in range(epochs):
        decay, least = 1 / steps / epochs, 0.03 / steps
        early = max(1 / steps - epoch * decay, least)
        last = min(1 / steps + epoch * (steps - 1) * decay, 1 - (steps - 1) * least)
        assert multi_step_weights(steps, epoch, epochs) == pytest.approx([early] * 4 + [last])
    assert multi_step_weights(steps, epochs, epochs) == [0, 0, 0, 0, 1]
    assert multi_step_weights(steps, 0, 0) == [0, 0, 0, 0, 1]
    assert multi_step_weights(1, 0, 10) == [1]


def test_the_order_of_the_gradient_is_annealed(make_task: MakeTask) -> None:
    algorithm, episode = maml_plus_plus(first_order_epochs=2), make_task()

    def differs_from(first_order: bool) -> bool:
        other = maml(first_order=first_order)
        pairs = zip(
            torch.autograd.grad(algorithm(episode), list(algorithm.parameters())),
            torch.autograd.grad(other(episode), list(other.parameters())),
            strict=True,
        )
        return not all(torch.allclose(a, b, atol=1e-10) for a, b in pairs)

    for step, first_order in ((0, True), (19, True), (20, False), (500, False)):
        algorithm.set_progress(step, 1000)
        assert algorithm.first_order == first_order
        assert not differs_from(first_order)
        assert differs_from(not first_order)


def test_each_step_and_tensor_has_its_own_rate(make_task: MakeTask) -> None:
    algorithm, (support, _) = maml_plus_plus(learn_inner_lr=True), make_task()
    assert isinstance(algorithm.inner_lr, torch.nn.Parameter)
    assert algorithm.inner_lr.shape == (3, 6)  # three linear layers of two tensors; gammas and betas do not adapt
    before = list(algorithm.adaptation_path(support))
    with torch.no_grad():
        algorithm.inner_lr[1, algorithm.adapted_names.index("head.bias")] = 0.9
    after = list(algorithm.adaptation_path(support))
    assert all(torch.equal(before[1].params[name], p) for name, p in after[1].params.items())
    changed = [name for name, p in after[2].params.items() if not torch.equal(before[2].params[name], p)]
    assert changed == ["head.bias"]


def test_each_step_has_its_own_gamma_and_beta_and_none_adapts(make_task: MakeTask) -> None:
    algorithm, (support, query) = maml_plus_plus(per_step_batch_norm=True), make_task()
    gamma = algorithm.get_parameter("model.layers.0.norm.weight")
    assert gamma.shape == (3, 8)
    before = [algorithm.predict(learner, query.x) for learner in algorithm.adaptation_path(support)]
    with torch.no_grad():
        gamma[1] *= 2
    path = list(algorithm.adaptation_path(support))
    after = [algorithm.predict(learner, query.x) for learner in path]
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [True, True, False, False]
    assert [learner.params["layers.0.norm.weight"][0].item() for learner in path] == [1, 1, 2, 1]


def test_more_steps_at_test_go_on_with_the_last_rates_and_norms(make_task: MakeTask) -> None:
    algorithm = maml_plus_plus(inner_steps_test=5, learn_inner_lr=True, per_step_batch_norm=True).eval()
    support, _ = make_task()
    path = list(algorithm.adaptation_path(support))
    assert len(path) == 6
    assert not torch.equal(path[5].params["head.weight"], path[4].params["head.weight"])
    assert torch.equal(path[5].params["layers.0.norm.weight"], path[3].params["layers.0.norm.weight"])


@pytest.mark.parametrize(("per_step", "sets"), [(True, (3, 8)), (False, (8,))])
def test_running_statistics_are_kept_per_step_and_used_at_test(
    make_task: MakeTask, per_step: bool, sets: tuple[int, ...]
) -> None:
    algorithm = maml_plus_plus(batch_norm="running", per_step_batch_norm=per_step)
    assert algorithm.batch_norm == "running"
    episode = make_task()
    _, state = loss_and_buffers(algorithm.train(), episode)
    mean = state["model.layers.0.norm.running_mean"]
    assert mean.shape == sets
    assert mean.abs().max() > 0
    assert not algorithm.get_buffer("model.layers.0.norm.running_mean").any()
    if per_step:
        assert not torch.allclose(mean[1], mean[2])  # only the last step's queries count here, and pass
    algorithm.eval()
    before = algorithm.predict(algorithm.adapt(episode.support), episode.query.x)
    algorithm.load_state_dict(state, strict=False)
    after = algorithm.predict(algorithm.adapt(episode.support), episode.query.x)
    assert not torch.allclose(before, after)


def test_shared_statistics_are_moved_by_the_queries_of_every_step_that_counts(make_task: MakeTask) -> None:
    algorithm, episode = maml_plus_plus(batch_norm="running", multi_step_loss_epochs=4), make_task()
    seen: list[torch.Tensor] = []  # the mean of each batch that reaches the first norm
    algorithm.model.layers[0]["norm"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].mean(0)))
    _, state = loss_and_buffers(algorithm, episode)
    assert len(seen) == 6  # support and queries of three steps

    def moved_by(means: list[torch.Tensor]) -> torch.Tensor:
        mean = torch.zeros(8, dtype=torch.float64)
        for batch in means:
            mean = 0.9 * mean + 0.1 * batch
        return mean

    stored = state["model.layers.0.norm.running_mean"]
    assert torch.allclose(stored, moved_by(seen))
    assert not torch.allclose(stored, moved_by([*seen[::2], seen[-1]]))  # of the queries, only those of the last step


@pytest.mark.parametrize("inner_steps", [1, 3])
def test_per_step_norms_leave_other_buffers_of_the_network_alone(make_task: MakeTask, inner_steps: int) -> None:
    class Scaled(MLP):
        """Multiplies its inputs by a buffer."""

        def features(self, x: torch.Tensor) -> torch.Tensor:
            return super().features(x * self.scale)

    scale = torch.tensor([1.0, 2.0, 3.0, 4.0])
    switches: dict[str, Any] = {"per_step_batch_norm": True, "inner_steps": inner_steps}
    torch.manual_seed(0)
    model = Scaled((4,), 3, [8, 8], True, True, 1e-3, "default", 0.01)
    model.register_buffer("scale", scale)
    loss = MAMLPlusPlus(model, **(ALL_OFF | switches)).double()(make_task())
    support, query = make_task()
    scaled = Episode(support._replace(x=support.x * scale), query._replace(x=query.x * scale))
    assert torch.allclose(loss, maml_plus_plus(**switches)(scaled))
    assert not torch.allclose(loss, maml_plus_plus(**switches)(make_task()))


@pytest.mark.parametrize("per_step", [True, False])
def test_a_frozen_gamma_stays_frozen(make_task: MakeTask, per_step: bool) -> None:
    model = network()
    model.layers[0]["norm"].weight.requires_grad_(False)
    algorithm = MAMLPlusPlus(model, **(ALL_OFF | {"per_step_batch_norm": per_step})).double()
    episode = make_task()
    assert torch.allclose(algorithm(episode), maml_plus_plus(per_step_batch_norm=per_step)(episode))
    algorithm(episode).backward()
    trained = {name for name, p in algorithm.named_parameters() if p.grad is not None}
    assert {name for name, _ in algorithm.named_parameters()} - trained == {"model.layers.0.norm.weight"}


def test_transductive_batch_norm_moves_no_statistics(make_task: MakeTask) -> None:
    algorithm = maml_plus_plus(per_step_batch_norm=True).train()
    _, state = loss_and_buffers(algorithm, make_task())
    assert all(torch.equal(state[name], t) for name, t in algorithm.named_buffers())
    assert algorithm.batch_norm == "transductive"


def test_a_network_without_batch_norm_is_reported_as_such(make_task: MakeTask) -> None:
    algorithm = maml_plus_plus(norm=False, per_step_batch_norm=True)
    assert algorithm.batch_norm == "none"
    assert algorithm(make_task()).isfinite()


def test_queries_that_are_predicted_after_every_step_count_for_every_step() -> None:
    """On images of 84x84 a step took 9 GB, because two tasks were computed at once."""
    compute = Compute(torch.device("cpu"), "test", "float32", 1, True, None)

    def chunk(epochs: int, n_query: int = 15) -> int | None:
        algorithm = maml_plus_plus(inner_steps=5, multi_step_loss_epochs=epochs)
        return training_chunk(TaskShape(5, 1, n_query), (3, 42, 42), algorithm, compute, 2)

    assert chunk(0) == 2
    assert chunk(15) == 1
    assert chunk(15, n_query=1) == 2
