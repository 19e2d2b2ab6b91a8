from collections.abc import Callable
from typing import Literal

import pytest
import torch

from metaexp.algorithms.maml import MAML
from metaexp.algorithms.meta_sgd import MetaSGD
from metaexp.core.errors import ConfigError
from metaexp.core.types import Episode
from metaexp.models.mlp import MLP

MakeTask = Callable[..., Episode]
Mode = Literal["transductive", "episode"]


def network(n_outputs: int = 3) -> MLP:
    torch.manual_seed(0)
    return MLP((4,), n_outputs, [8, 8], True, True, 1e-3, "default", 0.01)


def meta_sgd(
    alpha: tuple[float, float], n_outputs: int = 3, first_order: bool = False, mode: Mode = "episode"
) -> MetaSGD:
    return MetaSGD(network(n_outputs), *alpha, 2, 3, first_order, mode).double()


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("mode", ["transductive", "episode"])
@pytest.mark.parametrize("n_way", [3, 0])
def test_with_equal_rates_it_is_maml(make_task: MakeTask, first_order: bool, mode: Mode, n_way: int) -> None:
    episode = make_task(n_way=n_way)
    ours = meta_sgd((0.25, 0.25), n_way or 2, first_order, mode)
    theirs = MAML(network(n_way or 2), 0.25, 2, 3, first_order, "mean", "all", mode).double()
    assert torch.allclose(ours(episode), theirs(episode), rtol=1e-9)
    gradients = [torch.autograd.grad(a(episode), list(a.model.parameters())) for a in (ours, theirs)]
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-10) for a, b in zip(*gradients, strict=True))
    assert not torch.allclose(meta_sgd((0.2, 0.3), n_way or 2, first_order, mode)(episode), theirs(episode))
    in_training = ours(episode)
    assert torch.allclose(ours.eval()(episode), theirs.eval()(episode), rtol=1e-9)  # with inner_steps_test
    assert not torch.allclose(ours(episode), in_training)


def test_every_parameter_has_a_rate_of_its_own_in_the_range() -> None:
    algorithm = meta_sgd((0.005, 0.1))
    rates = torch.cat([alpha.flatten() for alpha in algorithm.alphas.values()])
    assert len(rates) == sum(p.numel() for p in algorithm.model.parameters())
    assert rates.min() >= 0.005
    assert rates.max() <= 0.1
    assert abs(rates.mean() - 0.0525) < 0.01
    assert len(rates.unique()) > 0.9 * len(rates)


def test_a_rate_moves_its_own_parameter_alone(make_task: MakeTask) -> None:
    support, _ = make_task()
    algorithm = meta_sgd((0.1, 0.1))
    algorithm.inner_steps = 1
    before = algorithm.adapt(support).params
    with torch.no_grad():
        algorithm.alphas["head/weight"][1, 2] = 0.9
    after = algorithm.adapt(support).params
    changed = {name: int((after[name] != p).sum()) for name, p in before.items()}
    assert changed.pop("head.weight") == 1
    assert not any(changed.values())


def test_a_range_upside_down_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"alpha_min=0\.2 is above algorithm\.alpha_max=0\.1"):
        meta_sgd((0.2, 0.1))
