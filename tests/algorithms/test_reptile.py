from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from torch import nn
from torch.func import functional_call

from metaexp.algorithms.reptile import Moments, Reptile, adam_step, mini_batch
from metaexp.core.over_tasks import over_tasks
from metaexp.core.types import Episode, Examples
from metaexp.models.base import parameters_of
from metaexp.models.mlp import MLP

MakeTask = Callable[..., Episode]


def reptile(
    adam_state: Literal["carried", "reset"] = "reset",
    batch_norm: Literal["transductive", "support_and_query"] = "transductive",
    n_outputs: int = 3,
    norm: bool = True,
    batch_size: int = 4,
) -> Reptile:
    torch.manual_seed(0)
    model = MLP((4,), n_outputs, [8, 8], norm, True, 1e-3, "default", 0.01)
    return Reptile(model, 0.01, 3, 6, batch_size, 2, adam_state, batch_norm).double()


def loss_and_buffers(algorithm: Reptile, episode: Episode) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    state = dict(algorithm.named_buffers())
    loss = functional_call(algorithm, state, (episode,))
    return loss, state


@pytest.mark.parametrize("n_way", [3, 0])
def test_sgd_with_rate_one_lands_on_the_mean_of_the_trained_weights(make_task: MakeTask, n_way: int) -> None:
    algorithm = reptile(n_outputs=n_way or 2).train()
    tasks = [make_task(n_way=n_way, seed=seed) for seed in range(2)]
    trained = [algorithm.adapt(task.support).params for task in tasks]
    batch = Episode(
        *(Examples(torch.stack([a.x, b.x]), torch.stack([a.y, b.y]), a.n_way) for a, b in zip(*tasks, strict=True))
    )
    start = {name: p.detach().clone() for name, p in parameters_of(algorithm.model).items()}
    optimizer = torch.optim.SGD(algorithm.parameters(), lr=1.0)
    over_tasks(algorithm, batch).mean().backward()
    optimizer.step()
    for name, p in parameters_of(algorithm.model).items():
        assert torch.allclose(p, (trained[0][name] + trained[1][name]) / 2)
        if name.endswith("weight"):  # a bias in front of batch norm has no effect and no gradient
            assert not torch.allclose(p, start[name], atol=1e-6)


def test_the_loss_is_half_the_squared_distance_travelled(make_task: MakeTask) -> None:
    algorithm, task = reptile().train(), make_task()
    trained = algorithm.adapt(task.support).params
    distance = sum(((trained[name] - p) ** 2).sum() for name, p in parameters_of(algorithm.model).items())
    assert torch.allclose(algorithm(task), 0.5 * torch.as_tensor(distance))
    assert algorithm(task) > 0


def test_training_never_looks_at_the_queries(make_task: MakeTask) -> None:
    algorithm, (support, query) = reptile().train(), make_task()
    without = algorithm(Episode(support, Examples(torch.full_like(query.x, torch.nan), query.y, 3)))
    assert torch.equal(algorithm(Episode(support, query)), without)
    assert not torch.equal(algorithm(Episode(query, support)), without)


def test_the_inner_optimiser_is_torchs_adam_without_first_moments() -> None:
    torch.manual_seed(0)
    params = {"w": torch.randn(3, 2), "b": torch.randn(2)}
    theirs = {name: p.clone().requires_grad_() for name, p in params.items()}
    moments = Moments({name: torch.zeros_like(p) for name, p in params.items()}, torch.zeros(()))
    optimizer = torch.optim.Adam(theirs.values(), lr=0.05, betas=(0.0, 0.999))
    for _ in range(4):
        gradients = {name: torch.randn_like(p) for name, p in params.items()}
        params, moments = adam_step(params, moments, gradients, 0.05)
        for name, p in theirs.items():
            p.grad = gradients[name]
        optimizer.step()
    assert all(torch.allclose(params[name], p, atol=1e-5) for name, p in theirs.items())
    again, _ = adam_step(params, Moments(moments.squares, torch.zeros(())), gradients, 0.05)
    right, _ = adam_step(params, moments, gradients, 0.05)
    assert not torch.allclose(again["w"], right["w"], atol=1e-3)


def test_mini_batches_go_round_through_the_support() -> None:
    support = Examples(torch.arange(5).unsqueeze(1), torch.arange(5), 5)
    batches = [mini_batch(support, step, 3).y.tolist() for step in range(5)]
    assert batches == [[0, 1, 2], [3, 4, 0], [1, 2, 3], [4, 0, 1], [2, 3, 4]]
    assert [mini_batch(support, step, 9).x[:, 0].tolist() for step in (0, 3)] == [[0, 1, 2, 3, 4]] * 2


def test_second_moments_continue_in_the_next_step(make_task: MakeTask) -> None:
    algorithm, task = reptile("carried").train(), make_task()
    first, state = loss_and_buffers(algorithm, task)
    assert state["adam_updates"] == 3
    assert algorithm.adam_updates == 0
    squares = [t for name, t in state.items() if name.startswith("second_moment/")]
    assert len(squares) == len(list(algorithm.parameters()))
    assert any(t.max() > 0 for t in squares)
    algorithm.load_state_dict(state, strict=False)
    second, state = loss_and_buffers(algorithm, task)
    assert state["adam_updates"] == 6
    assert not torch.allclose(first, second, rtol=1e-3)


def test_reset_moments_leave_no_state(make_task: MakeTask) -> None:
    algorithm, task = reptile("reset").train(), make_task()
    assert not [name for name, _ in algorithm.named_buffers() if not name.startswith("model.")]
    assert torch.equal(loss_and_buffers(algorithm, task)[0], loss_and_buffers(algorithm, task)[0])


def test_evaluation_moves_no_moments(make_task: MakeTask) -> None:
    algorithm, task = reptile("carried").eval(), make_task()
    _, state = loss_and_buffers(algorithm, task)
    assert all(torch.equal(state[name], t) for name, t in algorithm.named_buffers())


def test_without_transduction_each_query_is_batched_with_the_support(make_task: MakeTask) -> None:
    algorithm, (support, query) = reptile(batch_norm="support_and_query").eval(), make_task(n_query=8)
    learner = algorithm.adapt(support)
    scores = algorithm.predict(learner, query.x)
    assert len(scores) == 24  # more than are computed at once
    model: nn.Module = algorithm.model.train()
    for x, row in zip(query.x, scores, strict=True):
        together: Any = functional_call(model, dict(learner.params), (torch.cat([support.x, x[None]]),))
        assert torch.allclose(together[-1], row)
        assert not torch.allclose(functional_call(model, dict(learner.params), (query.x,))[0], row)


def test_the_batch_norm_mode_is_reported() -> None:
    assert reptile().batch_norm == "transductive"
    assert reptile(batch_norm="support_and_query").batch_norm == "support_and_query"
    assert reptile(norm=False).batch_norm == "none"


def test_evaluation_has_its_own_steps_and_batches(make_task: MakeTask) -> None:
    algorithm, (support, _) = reptile(), make_task()
    in_training = list(algorithm.train().adaptation_path(support))
    in_evaluation = list(algorithm.eval().adaptation_path(support))
    assert (len(in_training), len(in_evaluation)) == (4, 7)
    assert not torch.equal(in_training[1].params["head.weight"], in_evaluation[1].params["head.weight"])
