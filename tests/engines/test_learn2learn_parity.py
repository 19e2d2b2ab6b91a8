"""Our MAML against learn2learn's, on the same network, tasks and inner rate. Skipped where learn2learn is missing."""

import copy
from types import ModuleType

import pytest
import torch

from metaexp.algorithms.maml import MAML
from metaexp.core.losses import task_loss
from metaexp.core.over_tasks import over_tasks
from metaexp.core.types import Episode, Examples, one_task
from metaexp.doctor.differences import largest_difference
from metaexp.models.omniglot_conv import OmniglotConv

N_TASKS, N_WAY, STEPS = 3, 5, 2
LEAST = 1e-5
Found = tuple[torch.Tensor, dict[str, torch.Tensor]]
"""Losses, and gradients by name."""


def tasks() -> Episode:
    generator = torch.Generator().manual_seed(0)

    def draw() -> Examples:
        y = torch.stack([torch.randperm(N_WAY, generator=generator) for _ in range(N_TASKS)])
        return Examples(torch.rand(N_TASKS, N_WAY, 1, 28, 28, generator=generator).double(), y, N_WAY)

    return Episode(draw(), draw())


def network() -> OmniglotConv:
    torch.manual_seed(0)
    return OmniglotConv((1, 28, 28), N_WAY, 16, True, 1e-3, "tf_same", "xavier", "mean").double()


def ours(episodes: Episode, inner_lr: float, first_order: bool) -> Found:
    algorithm = MAML(network(), inner_lr, STEPS, STEPS, first_order, "mean", "all", "transductive")
    losses = over_tasks(algorithm, episodes)
    losses.mean().backward()
    return losses.detach(), {name: p.grad for name, p in algorithm.model.named_parameters()}


def theirs(package: ModuleType, episodes: Episode, inner_lr: float, first_order: bool) -> Found:
    wrapped = package.algorithms.MAML(copy.deepcopy(network()), lr=inner_lr, first_order=first_order)
    losses = []
    for index in range(N_TASKS):
        support, query = one_task(episodes, index)
        learner = wrapped.clone()
        for _ in range(STEPS):
            learner.adapt(task_loss(learner(support.x), support.y))
        losses.append(task_loss(learner(query.x), query.y))
    torch.stack(losses).mean().backward()
    return torch.stack(losses).detach(), {name: p.grad for name, p in wrapped.module.named_parameters()}


@pytest.mark.parametrize("first_order", [False, True])
def test_losses_and_meta_gradients_equal_those_of_learn2learn(learn2learn: ModuleType, first_order: bool) -> None:
    our_losses, our_gradients = ours(tasks(), 0.4, first_order)
    their_losses, their_gradients = theirs(learn2learn, tasks(), 0.4, first_order)
    assert torch.allclose(our_losses, their_losses, rtol=1e-10)
    assert largest_difference(our_gradients, their_gradients, LEAST)[1] <= 1e-8


def test_the_comparison_tells_the_orders_of_the_gradient_and_the_inner_rates_apart(learn2learn: ModuleType) -> None:
    _, gradients = theirs(learn2learn, tasks(), 0.4, False)
    for inner_lr, first_order in ((0.4, True), (0.3, False)):
        _, other = ours(tasks(), inner_lr, first_order)
        for name, g in gradients.items():
            if name.endswith("weight"):  # a bias in front of batch norm has no gradient
                assert (other[name] - g).norm() > 1e-2 * g.norm(), name
