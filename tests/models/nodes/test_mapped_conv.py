"""The convolution for tasks mapped on a GPU computes what torch's does, in every order of gradient."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from metaexp.models.checks.inspection import convert_convolutions
from metaexp.models.nodes import mapped_conv
from metaexp.models.nodes.mapped_conv import Conv2d, convolve_mapped
from metaexp.models.omniglot_conv import OmniglotConv

Convolution = Callable[[Tensor, Tensor, Tensor | None], Tensor]
TASKS = 3


def tensors(n_in: int, n_out: int, side: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    return draw(n_out, n_in, size, size), draw(n_out), draw(TASKS, 2, n_in, side, side)


def adapted_loss(convolve: Convolution, steps: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The loss of a task after gradient steps on its weights: its gradient has derivatives of order ``steps + 1``."""

    def of_task(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
        def loss(params: tuple[Tensor, Tensor]) -> Tensor:
            return convolve(x, *params).sin().square().mean()

        params = (weight, bias)
        for _ in range(steps):
            by_weight, by_bias = grad(loss)(params)
            params = (params[0] - by_weight, params[1] - by_bias)
        return loss(params)

    return lambda weight, bias, x: vmap(of_task, in_dims=(None, None, 0))(weight, bias, x).sum()


@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize(
    ("n_in", "n_out", "side", "size", "stride", "padding"),
    [(2, 4, 9, 3, 2, 1), (3, 2, 8, 3, 1, 1), (1, 3, 7, 3, 2, 0), (2, 2, 6, 1, 1, 0), (1, 2, 9, 5, 3, 2)],
)
def test_gradients_of_every_order_are_those_of_torch(
    n_in: int, n_out: int, side: int, size: int, stride: int, padding: int, steps: int
) -> None:
    arguments = tensors(n_in, n_out, side, size)

    def gradients(convolve: Convolution) -> list[Tensor]:
        return list(grad(adapted_loss(convolve, steps), argnums=(0, 1, 2))(*arguments))

    ours = gradients(lambda x, w, b: convolve_mapped(x, w, b, stride, padding))
    torchs = gradients(lambda x, w, b: F.conv2d(x, w, b, stride, padding))
    other = gradients(lambda x, w, b: F.conv2d(x, w.flip(-1), b, stride, padding))
    assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in zip(ours, torchs, strict=True))
    assert size == 1 or not torch.allclose(ours[0], other[0], rtol=1e-3)  # a kernel turned over is found


def test_maml_on_omniglot_has_the_same_gradient_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = OmniglotConv((1, 28, 28), 5, 8, False, 1e-3, "tf_same", "normal", "mean").double()
    x = torch.rand(TASKS, 5, 1, 28, 28, dtype=torch.float64)
    y = torch.arange(5)
    calls: list[int] = []
    plain = mapped_conv.convolve_mapped

    def counted(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
        calls.append(1)
        return plain(x, weight, bias, stride, padding)

    monkeypatch.setattr(mapped_conv, "convolve_mapped", counted)

    def gradient() -> dict[str, Tensor]:
        params = {name: p.detach() for name, p in network.named_parameters()}

        def of_task(params: dict[str, Tensor], x: Tensor) -> Tensor:
            def loss(own: dict[str, Tensor]) -> Tensor:
                return F.cross_entropy(functional_call(network, own, (x,)), y)

            inner = grad(loss)(params)
            return loss({name: p - 0.4 * inner[name] for name, p in params.items()})

        found: dict[str, Tensor] = grad(lambda p: vmap(of_task, in_dims=(None, 0))(p, x).mean())(params)
        return found

    expected = gradient()
    assert not calls  # on a CPU the layer is torch's
    monkeypatch.setattr(mapped_conv, "runs_on_gpu", lambda x: True)
    found = gradient()
    assert len(calls) == 8  # four layers, twice
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=1e-9, atol=1e-12), name


@pytest.mark.parametrize(
    ("arguments", "is_mappable"),
    [
        ({"padding": 1}, True),
        ({"stride": 2}, True),
        ({"padding": "same"}, False),
        ({"dilation": 2}, False),
        ({"groups": 2}, False),
        ({"stride": (1, 2)}, False),
        ({"padding": 1, "padding_mode": "reflect"}, False),
    ],
)
def test_layers_of_another_geometry_are_left_to_torch(arguments: dict[str, object], is_mappable: bool) -> None:
    assert Conv2d(2, 4, 3, **arguments).is_mappable is is_mappable


def test_the_convolutions_of_an_own_network_are_converted_and_keep_their_weights() -> None:
    class Own(nn.Conv2d):
        pass

    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.Conv2d(2, 2, 3)), Own(2, 2, 3))
    before = {name: t.clone() for name, t in network.state_dict().items()}
    x = torch.rand(2, 1, 9, 9)
    expected = network(x)
    convert_convolutions(network)
    assert [type(layer) for layer in (network[0], network[1][0], network[2])] == [Conv2d, Conv2d, Own]
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())
    assert torch.equal(network(x), expected)
