"""A block of convolution, batch norm and ReLU gives the same with the bias of its convolution left out or in."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from metaexp.models.base import buffers_of, call, parameters_of
from metaexp.models.batch_norm import BatchNorm, Statistics
from metaexp.models.conv_block import convolve_normalise_activate
from metaexp.models.nodes.mapped_conv import Conv2d


class Block(nn.Module):
    """Five channels to four, by the function that is tested."""

    def __init__(self, pool: bool = False, stride: int = 1) -> None:
        super().__init__()
        self.conv = Conv2d(5, 4, 3, padding=1, stride=stride)
        self.norm = BatchNorm(4, momentum=0.3)
        self.pool = pool
        with torch.no_grad():
            self.norm.weight.copy_(torch.tensor([1.5, -0.5, 0.7, 2.0]))  # type: ignore[union-attr]
            self.conv.bias.copy_(torch.tensor([3.0, -2.0, 0.5, 1.0]))  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        return convolve_normalise_activate(x, self.conv, self.norm, pool=self.pool)


class Layers(Block):
    """The same by elementary operations."""

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm(self.conv(x)).relu()
        return F.max_pool2d(out, 2) if self.pool else out


def pair(pool: bool = False, stride: int = 1) -> tuple[Block, Layers]:
    torch.manual_seed(0)
    made, layers = Block(pool, stride).double(), Layers(pool, stride).double()
    layers.load_state_dict(made.state_dict())
    return made, layers


def outcome(made: nn.Module, x: Tensor, statistics: Statistics) -> list[Tensor]:
    """Values, buffers, and gradients by the input and the parameters."""
    x = x.clone().requires_grad_()
    out = call(made, parameters_of(made), buffers_of(made), x, statistics)
    weights = torch.randn(out.values.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(3))
    return [
        out.values,
        *out.buffers.values(),
        *torch.autograd.grad((out.values * weights).sum(), [x, *made.parameters()]),
    ]


X = torch.randn(6, 5, 7, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("statistics", ["batch", "collect", "replace", "stored"])
@pytest.mark.parametrize(("pool", "stride"), [(True, 1), (False, 1), (False, 2)])
@pytest.mark.parametrize("x", [X, X[:1]], ids=["six images", "one image"])
def test_it_is_what_its_layers_are(x: Tensor, pool: bool, stride: int, statistics: Statistics) -> None:
    made, layers = pair(pool, stride)
    found, expected = outcome(made, x, statistics), outcome(layers, x, statistics)
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-10) for a, b in zip(found, expected, strict=True))
    with torch.no_grad():
        made.conv.bias += 1.0  # type: ignore[operator]
    moved = outcome(made, x, statistics)
    assert torch.allclose(moved[0], expected[0]) == (statistics != "stored")
    assert torch.allclose(moved[1], expected[1]) == (statistics in ("stored", "batch"))  # the stored mean


def test_the_bias_is_left_out_where_batch_norm_takes_it_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with_bias: list[bool] = []
    convolve = F.conv2d

    def spy(x: Tensor, weight: Tensor, bias: Tensor | None = None, *rest: object) -> Tensor:
        with_bias.append(bias is not None)
        return convolve(x, weight, bias, *rest)  # type: ignore[arg-type]

    made, _ = pair()
    monkeypatch.setattr("torch.nn.functional.conv2d", spy)
    made.train()(X)
    made.eval()(X)
    state = {**parameters_of(made), **buffers_of(made)}
    vmap(lambda x: functional_call(made.train(), dict(state), (x,)))(X.unsqueeze(0))
    assert with_bias == [False, True, True]
    [by_bias] = torch.autograd.grad(made.train()(X).square().sum(), [made.conv.bias])  # type: ignore[list-item]
    assert torch.equal(by_bias, torch.zeros(4, dtype=torch.float64))


def test_it_can_be_differentiated_twice() -> None:
    made, _ = pair(pool=True)
    names = [name for name, _ in made.named_parameters() if name != "conv.bias"]  # its gradient is the constant zero
    weights = [made.get_parameter(name).detach().clone().requires_grad_() for name in names]

    def outputs(x: Tensor, *weights: Tensor) -> Tensor:
        values: Tensor = functional_call(made.train(), dict(zip(names, weights, strict=True)), (x,))
        return values

    x = X[:2, :, :4, :4].clone().requires_grad_()
    assert torch.autograd.gradcheck(outputs, (x, *weights), fast_mode=True)
    assert torch.autograd.gradgradcheck(outputs, (x, *weights), fast_mode=True)
