"""The same algorithm with both engines: its own inner loop, and that of learn2learn's wrappers.

Tests that need learn2learn are skipped where it is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, Literal

import pytest
import torch

from metaexp.algorithms.anil import ANIL
from metaexp.algorithms.maml import MAML
from metaexp.algorithms.meta_sgd import MetaSGD
from metaexp.core.algorithm import Algorithm
from metaexp.core.inner import descend
from metaexp.core.over_tasks import over_tasks
from metaexp.core.types import Episode, one_task
from metaexp.doctor.differences import largest_difference
from metaexp.doctor.subject import losses_of
from metaexp.engines.engines import Engine, descend_by_learn2learn
from metaexp.models.mlp import MLP

MakeTask = Callable[..., Episode]
Mode = Literal["transductive", "episode"]


def network(n_outputs: int) -> MLP:
    torch.manual_seed(0)
    return MLP((4,), n_outputs, [8, 8], True, True, 1e-3, "default", 0.01)


def maml_all(engine: Engine, n: int, first_order: bool, mode: Mode) -> Algorithm:
    return MAML(network(n), 0.3, 2, 3, first_order, "sum_over_k", "all", mode, engine).double()


def maml_without_norms(engine: Engine, n: int, first_order: bool, mode: Mode) -> Algorithm:
    return MAML(network(n), 0.3, 2, 3, first_order, "mean", "no_batch_norm", mode, engine).double()


def anil(engine: Engine, n: int, first_order: bool, mode: Mode) -> Algorithm:
    return ANIL(network(n), 0.3, 2, 3, first_order, "sum_over_k", mode, engine).double()


def meta_sgd(engine: Engine, n: int, first_order: bool, mode: Mode) -> Algorithm:
    return MetaSGD(network(n), 0.1, 0.5, 2, 3, first_order, mode, engine).double()


every_algorithm = pytest.mark.parametrize("make", [maml_all, maml_without_norms, anil, meta_sgd])


@every_algorithm
@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("mode", ["transductive", "episode"])
@pytest.mark.parametrize("n_way", [3, 0])
def test_losses_gradients_and_predictions_are_those_of_learn2learn(
    learn2learn: ModuleType, make: Any, first_order: bool, mode: Mode, n_way: int, make_task: MakeTask
) -> None:
    episode, n = make_task(n_way=n_way), n_way or 2
    ours, theirs = make("metaexp", n, first_order, mode), make("learn2learn", n, first_order, mode)
    assert torch.allclose(ours(episode), theirs(episode), rtol=1e-10)
    mine, other, wrong = (gradients(a, episode) for a in (ours, theirs, make("metaexp", n, not first_order, mode)))
    assert largest_difference(mine, other, 1e-5)[1] <= 1e-8
    assert largest_difference(wrong, other, 1.0)[1] > 1e-3
    for a in (ours, theirs):
        a.eval()
    with torch.no_grad():
        paths = [
            [a.predict(state, episode.query.x) for state in a.adaptation_path(episode.support)] for a in (ours, theirs)
        ]
    assert len(paths[0]) == len(paths[1]) == 4
    assert all(torch.allclose(a, b, rtol=1e-9) for a, b in zip(*paths, strict=True))
    assert not torch.allclose(paths[0][2], paths[1][3])


def gradients(algorithm: Algorithm, episode: Episode) -> dict[str, torch.Tensor]:
    parameters = dict(algorithm.named_parameters())
    found = torch.autograd.grad(
        algorithm(episode), list(parameters.values()), allow_unused=True, materialize_grads=True
    )
    return dict(zip(parameters, found, strict=True))


@every_algorithm
def test_the_inner_steps_are_really_those_of_the_wrappers(
    learn2learn: ModuleType, make: Any, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper = learn2learn.algorithms.MetaSGD if make is meta_sgd else learn2learn.algorithms.MAML
    calls: list[int] = []
    adapt = wrapper.adapt
    monkeypatch.setattr(wrapper, "adapt", lambda self, loss: (calls.append(1), adapt(self, loss))[1])
    make("learn2learn", 3, False, "episode")(make_task())
    assert len(calls) == 2
    make("metaexp", 3, False, "episode")(make_task())
    assert len(calls) == 2


def test_a_batch_of_tasks_is_taken_one_at_a_time(learn2learn: ModuleType, make_task: MakeTask) -> None:
    tasks = [make_task(seed=seed) for seed in range(3)]
    batch = Episode(
        *(
            part[0]._replace(x=torch.stack([e.x for e in part]), y=torch.stack([e.y for e in part]))
            for part in zip(*tasks, strict=True)
        )
    )
    ours, theirs = (maml_all(engine, 3, False, "episode") for engine in ("metaexp", "learn2learn"))
    assert ours.vectorises
    assert not theirs.vectorises
    assert torch.allclose(losses_of(ours, batch), losses_of(theirs, batch), rtol=1e-10)
    assert torch.allclose(losses_of(theirs, batch)[1], theirs(one_task(batch, 1)))
    with pytest.raises((RuntimeError, UnboundLocalError)):  # so they have to be
        over_tasks(theirs, batch)


def test_no_graph_is_kept_where_none_is_wanted(learn2learn: ModuleType) -> None:
    start = {"w": torch.nn.Parameter(torch.ones(2))}

    def loss(params: dict[str, torch.Tensor]) -> torch.Tensor:
        return (params["w"] ** 3).sum()

    with torch.no_grad():
        kept = list(descend_by_learn2learn(loss, start, 0.1, 2, False))[-1]["w"]
    assert not kept.requires_grad
    assert torch.allclose(kept, list(descend(loss, start, 0.1, 2, False))[-1]["w"])
    assert list(descend_by_learn2learn(loss, start, 0.1, 2, False))[-1]["w"].requires_grad
