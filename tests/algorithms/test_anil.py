from collections.abc import Callable
from typing import Literal

import pytest
import torch
from torch import nn

from metaexp.algorithms.anil import ANIL
from metaexp.algorithms.maml import MAML
from metaexp.core.errors import ConfigError
from metaexp.core.types import Episode
from metaexp.models.mlp import MLP

MakeTask = Callable[..., Episode]
Mode = Literal["transductive", "episode"]


def network(n_outputs: int | None = 3) -> MLP:
    torch.manual_seed(0)
    return MLP((4,), n_outputs, [8, 8], True, True, 1e-3, "default", 0.01)


def anil(model: MLP, first_order: bool = False, batch_norm: Mode = "transductive") -> ANIL:
    return ANIL(model, 0.3, 2, 3, first_order, "sum_over_k", batch_norm).double()


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("batch_norm", ["transductive", "episode"])
@pytest.mark.parametrize("n_way", [3, 0])
def test_losses_and_gradients_equal_those_of_maml_that_adapts_the_head(
    make_task: MakeTask, first_order: bool, batch_norm: Mode, n_way: int
) -> None:
    episode = make_task(n_way=n_way)
    ours = anil(network(n_way or 2), first_order, batch_norm)
    theirs = MAML(network(n_way or 2), 0.3, 2, 3, first_order, "sum_over_k", "head", batch_norm).double()
    assert torch.allclose(ours(episode), theirs(episode), rtol=1e-9)
    gradients = [torch.autograd.grad(a(episode), list(a.parameters())) for a in (ours, theirs)]
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-8) for a, b in zip(*gradients, strict=True))
    whole = MAML(network(n_way or 2), 0.3, 2, 3, first_order, "sum_over_k", "all", batch_norm).double()
    assert not torch.allclose(ours(episode), whole(episode))


def test_the_body_sees_the_support_once_however_many_steps_there_are(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    support, _ = make_task()
    algorithm = anil(network())
    seen: list[int] = []
    features = MLP.features
    monkeypatch.setattr(MLP, "features", lambda self, x: (seen.append(len(x)), features(self, x))[1])
    algorithm.adapt(support)
    assert seen == [6]
    MAML(network(), 0.3, 2, 3, False, "mean", "head", "transductive").double().adapt(support)
    assert len(seen) > 2


def test_evaluation_takes_its_own_number_of_steps(make_task: MakeTask) -> None:
    algorithm, (support, _) = anil(network()), make_task()
    assert len(list(algorithm.train().adaptation_path(support))) == 3
    path = list(algorithm.eval().adaptation_path(support))
    assert len(path) == 4
    assert torch.equal(path[0].head["weight"], algorithm.model.get_parameter("head.weight"))
    assert not torch.equal(path[3].head["weight"], path[2].head["weight"])


def test_a_network_without_a_head_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"MLP has no parameters whose names start with 'head\.'"):
        anil(network(None))


def test_a_head_of_several_layers_adapts_as_a_whole(make_task: MakeTask) -> None:
    model = network()
    model.head = nn.Sequential(nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3))
    algorithm, (support, query) = anil(model), make_task()
    start, *_, end = algorithm.adaptation_path(support)
    assert all(not torch.equal(end.head[name], start.head[name]) for name in ("0.weight", "2.weight"))
    assert algorithm.predict(end, query.x).shape == (6, 3)
