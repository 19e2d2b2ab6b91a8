"""A block of convolution, batch norm and ReLU gives the same with the bias of its convolution left out or in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.modules.module import register_module_forward_hook, register_module_full_backward_hook
from torch.utils.hooks import RemovableHandle

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


def _hook(made: Block, seen: list[str]) -> None:
    made.conv.register_forward_hook(lambda *_: seen.append("called"))


def _pre_hook(made: Block, seen: list[str]) -> None:
    made.conv.register_forward_pre_hook(lambda *_: seen.append("called"))


def _backward_hook(made: Block, seen: list[str]) -> None:
    made.conv.register_full_backward_hook(lambda *_: seen.append("called"))


def _own_forward(made: Block, seen: list[str]) -> None:
    forward = made.conv.forward
    made.conv.forward = lambda x: (seen.append("called"), forward(x))[1]  # type: ignore[method-assign]


def _subclass(made: Block, seen: list[str]) -> None:
    class Own(Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            seen.append("called")
            return super().forward(x)

    made.conv.__class__ = Own


def _parametrised(made: Block, seen: list[str]) -> None:
    class Noted(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            seen.append("called")
            return weight

    nn.utils.parametrize.register_parametrization(made.conv, "weight", Noted())
    seen.clear()  # it is called once when it is registered


def _of_torch(made: Block, seen: list[str]) -> None:
    class Foreign(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            seen.append("called")
            return super().forward(x)

    plain = Foreign(made.conv.in_channels, 4, 3, padding=1).double()
    plain.load_state_dict(made.conv.state_dict())
    made.conv = plain  # type: ignore[assignment]


def _own_norm(made: Block, seen: list[str]) -> None:
    class Own(BatchNorm):
        def activate(self, x: Tensor, *, pool: bool = False, offset: Tensor | None = None) -> Tensor:
            seen.append("called")
            return super().activate(x, pool=pool, offset=offset)

    made.norm.__class__ = Own


@pytest.mark.parametrize(
    "change",
    [_hook, _pre_hook, _backward_hook, _own_forward, _subclass, _parametrised, _of_torch, _own_norm],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("channels", [5, 1], ids=["inner block", "first block"])
def test_layers_of_a_user_are_called(channels: int, change: Callable[[Block, list[str]], None]) -> None:
    """Weights that a hook computes, and maps that it reads, would be wrong otherwise, and nobody would notice."""
    made, _ = pair(pool=True)
    made.conv = Conv2d(channels, 4, 3, padding=1).double()
    x = X[:, :channels]
    expected = made(x)
    seen: list[str] = []
    change(made, seen)
    found = made(x)
    found.sum().backward()
    assert seen == ["called"]
    assert torch.allclose(found, expected)


def test_spectral_norm_computes_the_weight_that_is_used() -> None:
    made, _ = pair(pool=True)
    before = made(X)
    nn.utils.spectral_norm(made.conv)
    made(X).square().sum().backward()
    assert made.conv.weight_orig.grad.norm() > 0.1  # type: ignore[union-attr, operator]
    assert not torch.allclose(made(X), before)


@pytest.mark.parametrize(
    "register", [register_module_forward_hook, register_module_full_backward_hook], ids=["forward", "backward"]
)
@pytest.mark.parametrize("channels", [5, 1], ids=["inner block", "first block"])
def test_hooks_of_all_layers_see_the_convolution(channels: int, register: Callable[..., RemovableHandle]) -> None:
    made, _ = pair(pool=True)
    made.conv = Conv2d(channels, 4, 3, padding=1).double()
    seen: list[str] = []
    handle = register(lambda layer, *_: seen.append(type(layer).__name__))
    try:
        made(X[:, :channels]).sum().backward()
    finally:
        handle.remove()
    assert seen.count("Conv2d") == 1
    made(X[:, :channels]).sum().backward()
    assert seen.count("Conv2d") == 1


@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("channels", [5, 1], ids=["inner block", "first block"])
@pytest.mark.parametrize(
    "x",
    [X[:, :3], X[:, :0], X[:, :1].float(), X[:, :1].long(), X.unsqueeze(4), X[..., 0, 0]],
    ids=["channels", "no channels", "float32", "integers", "five axes", "vectors"],
)
def test_an_input_that_does_not_fit_gets_the_message_of_the_convolution(x: Tensor, channels: int, pool: bool) -> None:
    made, _ = pair(pool)
    made.conv = Conv2d(channels, 4, 3, padding=1).double()
    with pytest.raises(RuntimeError) as expected:
        made.conv(x)
    with pytest.raises(RuntimeError) as found:
        made(x)
    assert str(found.value) == str(expected.value)
    assert len(made(X[:, :channels])) == 6


def test_in_autocast_the_layers_are_called() -> None:
    made, _ = pair(pool=True)
    made = made.float()
    with torch.autocast("cpu", torch.bfloat16):
        found = made(X.float())
    assert not torch.equal(found, made(X.float()))
    assert torch.allclose(found.float(), made(X.float()), atol=0.1)
