"""A network is made twice from the same seed, and what does not follow from the seed is refused by its name."""

from __future__ import annotations

import itertools
import math
import os
import random
import secrets
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from metaexp.core.errors import ConfigError
from metaexp.models.checks.made_again import is_foreign, make_twice, unlike
from metaexp.models.conv4 import Conv4
from metaexp.models.library_noise import seed_numpy_and_python
from metaexp.models.timm_network import TimmNetwork

_count = itertools.count()
_kept: list[nn.Module] = []
_of_module = torch.Generator().manual_seed(0)


def unseeded() -> torch.Generator:
    generator = torch.Generator()
    generator.seed()
    return generator


def from_bytes(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8).float()


UNSEEDED: dict[str, Callable[[], Tensor]] = {
    "a generator without a seed": lambda: torch.randn(3, generator=unseeded()),
    "a generator of the module": lambda: torch.randn(3, generator=_of_module),
    "numpy": lambda: torch.as_tensor(np.random.default_rng().normal(size=3)),
    "the system": lambda: from_bytes(os.urandom(8)),
    "secrets": lambda: from_bytes(secrets.token_bytes(8)),
    "Python": lambda: torch.full((3,), random.SystemRandom().random()),
    "a counter": lambda: torch.full((3,), float(next(_count))),
    "another shape": lambda: torch.zeros(1 + next(_count)),
    "another type": lambda: torch.zeros(3, dtype=[torch.float32, torch.float64][next(_count) % 2]),
    "complex": lambda: torch.complex(torch.zeros(3), torch.randn(3, generator=unseeded())),
}
SEEDED: dict[str, Callable[[], Tensor]] = {
    "torch": lambda: torch.randn(3),
    "numpy": lambda: torch.as_tensor(np.random.normal(size=3)),
    "Python": lambda: torch.full((3,), random.random()),
    "a generator that torch seeds": lambda: torch.as_tensor(
        np.random.default_rng(torch.randint(2**31, ()).item()).normal(size=3)
    ),
    "a generator with a seed": lambda: torch.randn(3, generator=torch.Generator().manual_seed(0)),
    "not a number": lambda: torch.tensor([math.nan, 1.0]),
    "complex": lambda: torch.randn(3, dtype=torch.complex64).conj(),
    "sparse": lambda: torch.randn(3, 3).to_sparse(),
    "on meta": lambda: torch.empty(3, device="meta"),
}
KEPT: dict[str, Callable[[nn.Module, Tensor], None]] = {
    "a parameter": lambda net, values: net.register_parameter("own", nn.Parameter(values)),
    "a buffer": lambda net, values: net.register_buffer("own", values),
    "a buffer that is not saved": lambda net, values: net.register_buffer("own", values, persistent=False),
    "an attribute": lambda net, values: setattr(net, "own", values),
    "a list": lambda net, values: setattr(net, "own", {"all": [values]}),
}


class Net(nn.Module):
    """A layer inside it holds what is drawn."""

    def __init__(self, hold: Callable[[nn.Module, Tensor], None], draw: Callable[[], Tensor]) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.lazy = nn.LazyLinear(2)
        hold(self.layer, draw())


def twice(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(3)

    def seeded() -> nn.Module:
        with seed_numpy_and_python(3):
            return make()

    return make_twice(seeded, seeded, "model")


@pytest.mark.parametrize("hold", KEPT.values(), ids=KEPT)
@pytest.mark.parametrize("draw", UNSEEDED.values(), ids=UNSEEDED)
def test_values_that_do_not_follow_from_the_seed_are_refused(
    hold: Callable[[nn.Module, Tensor], None], draw: Callable[[], Tensor]
) -> None:
    def as_held(values: Tensor) -> Tensor:
        return values if values.is_complex() or values.is_floating_point() else values.float()

    with pytest.raises(ConfigError, match=r"model: Net has other initial values in layer\.own when it is made again"):
        twice(lambda: Net(hold, lambda: as_held(draw())))


@pytest.mark.parametrize("hold", KEPT.values(), ids=KEPT)
@pytest.mark.parametrize("draw", SEEDED.values(), ids=SEEDED)
def test_values_that_follow_from_the_seed_are_those_of_a_network_made_once(
    hold: Callable[[nn.Module, Tensor], None], draw: Callable[[], Tensor]
) -> None:
    found = twice(lambda: Net(hold, draw))
    after = torch.get_rng_state()
    torch.manual_seed(3)
    with seed_numpy_and_python(3):
        once = Net(hold, draw)
    assert torch.equal(torch.get_rng_state(), after)
    assert unlike(found, once) == []
    torch.manual_seed(4)
    assert "layer.weight" in unlike(found, Net(hold, draw))


def warnings_of(make: Callable[[], nn.Module], caplog: pytest.LogCaptureFixture) -> list[str]:
    torch.manual_seed(3)

    def seeded(seed: int = 3) -> nn.Module:
        with seed_numpy_and_python(seed):
            return make()

    caplog.clear()
    make_twice(seeded, seeded, "model", lambda: seeded(4))
    return caplog.messages


@pytest.mark.parametrize("hold", KEPT.values(), ids=KEPT)
@pytest.mark.parametrize("draw", SEEDED.values(), ids=SEEDED)
def test_random_values_that_are_not_saved_are_warned_of(
    hold: Callable[[nn.Module, Tensor], None], draw: Callable[[], Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    """Weights of another run would meet other ones, and nothing would tell."""
    names = {id(values): name for name, values in [*KEPT.items(), *SEEDED.items()]}
    is_saved = names[id(hold)] in ("a parameter", "a buffer")
    is_random = names[id(draw)] not in ("a generator with a seed", "not a number", "on meta")
    found = warnings_of(lambda: Net(hold, draw), caplog)
    if is_saved or not is_random:
        assert found == []
    else:
        (line,) = found
        assert line.startswith("model: Net draws layer.own at random, which is not saved with its weights.")
        assert line.endswith("self.register_buffer(name, values).")


def old_weight_norm() -> nn.Module:
    with pytest.warns(FutureWarning):
        return nn.utils.weight_norm(nn.Linear(2, 2))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.LSTM(2, 2),
        lambda: nn.MultiheadAttention(4, 2),
        lambda: nn.utils.spectral_norm(nn.Linear(2, 2)),
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2)),
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)),
        old_weight_norm,
        lambda: nn.Sequential(nn.LazyLinear(3), nn.BatchNorm1d(3), nn.Dropout()),
    ],
)
def test_layers_of_torch_that_hold_their_weights_twice_are_not_warned_of(
    make: Callable[[], nn.Module], caplog: pytest.LogCaptureFixture
) -> None:
    assert warnings_of(make, caplog) == []


def test_torch_keeps_its_state_and_a_network_that_takes_one_seed_only_is_used(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def with_one_seed() -> nn.Module:
        if torch.initial_seed() != 3:
            raise ValueError("three, please")
        return Net(KEPT["an attribute"], SEEDED["torch"])

    assert warnings_of(with_one_seed, caplog) == []
    after = torch.get_rng_state()
    torch.manual_seed(3)
    with_one_seed()
    assert torch.equal(torch.get_rng_state(), after)


def test_arrays_of_numpy_are_compared_and_objects_are_not() -> None:
    def hold(net: nn.Module, _: Tensor) -> None:
        net.objects, net.array = np.array([object()]), np.random.default_rng().normal(size=2)  # type: ignore[assignment]

    with pytest.raises(ConfigError, match=r"other initial values in layer\.array when"):
        twice(lambda: Net(hold, lambda: torch.zeros(1)))


@pytest.mark.parametrize("is_trained", [True, False])
def test_a_layer_that_all_networks_share_may_not_be_trained(is_trained: bool) -> None:
    shared = nn.Linear(2, 2).requires_grad_(is_trained)

    def make() -> nn.Module:
        return nn.Sequential(shared, nn.Linear(2, 2))

    if is_trained:
        with pytest.raises(
            ConfigError, match="model: Sequential shares 0.weight, 0.bias with .* begin with weights that"
        ):
            twice(make)
    else:
        assert twice(make)[0] is shared  # type: ignore[index]


def test_a_network_that_cannot_be_made_twice_is_refused() -> None:
    def make() -> nn.Module:
        if _kept:
            raise ValueError("one network is enough")
        _kept.append(nn.Linear(1, 1))
        return _kept[0]

    with pytest.raises(ConfigError, match=r"Linear cannot be made twice in one process \(ValueError: one network is"):
        twice(make)


def test_the_classes_of_metaexp_are_not_foreign_unless_they_hold_such_layers() -> None:
    assert [is_foreign(cls) for cls in (Conv4, TimmNetwork, Net)] == [False, True, True]
