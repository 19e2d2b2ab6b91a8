"""Gradients that can be differentiated again are right where one input of a node depends on another."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from metaexp.models.conv4 import ConvBlock
from metaexp.models.nodes.twice import gradients_for_more
from metaexp.models.pair_norm import PairNorm, pooled_pairs

GENERATOR = torch.Generator().manual_seed(0)
GAMMA = torch.tensor([1.5, -0.5, 0.7, 2.0], dtype=torch.float64)
MAPS = torch.randn(3, 4, 8, 8, dtype=torch.float64, generator=GENERATOR)
KERNELS = torch.randn(4, 4, 3, 3, dtype=torch.float64, generator=GENERATOR)
BIAS = torch.tensor([0.3, -0.2, 0.5, 0.1], dtype=torch.float64)


def convolve(x: Tensor, gamma: Tensor, bias: Tensor, by_layers: bool) -> Tensor:
    """A block whose kernels are multiples of its own gamma."""
    made = ConvBlock(x.shape[1], 4, True, "ones", 1e-3, 0.3).double().requires_grad_(False)
    weights = {"conv.weight": KERNELS[:, : x.shape[1]] * gamma.view(-1, 1, 1, 1) ** 2, "conv.bias": bias}
    if not by_layers:
        found: Tensor = functional_call(made, {**weights, "norm.weight": gamma}, (x,))
        return found
    maps = F.conv2d(x, weights["conv.weight"], bias, padding=1)
    return F.max_pool2d(F.batch_norm(maps, None, None, gamma, made.norm.bias, True, eps=1e-3), 2).relu()


def first_block(gamma: Tensor, bias: Tensor, by_layers: bool) -> Tensor:
    return convolve(MAPS[:, :1], gamma, bias, by_layers)


def inner_block(gamma: Tensor, bias: Tensor, by_layers: bool) -> Tensor:
    return convolve(MAPS, gamma, bias, by_layers)


def pairs(gamma: Tensor, bias: Tensor, by_layers: bool) -> Tensor:
    """All pairs of one set of maps with itself."""
    norm = PairNorm(4, scale=False).double().requires_grad_(False)
    maps = (MAPS * gamma.view(-1, 1, 1)).sin()
    if by_layers:
        return pooled_pairs(*norm.halves(maps, maps + bias.view(-1, 1, 1)))
    return norm.activate_pairs(maps, maps, bias)


def outcome(block: Callable[[Tensor, Tensor, bool], Tensor], by_layers: bool, bias_alone: bool = False) -> list[Tensor]:
    """The gradient by gamma and bias, and the gradient of its square."""
    gamma, bias = GAMMA.clone().requires_grad_(not bias_alone), BIAS.clone().requires_grad_()
    wanted = [bias] if bias_alone else [gamma, bias]
    gradients = torch.autograd.grad((block(gamma, bias, by_layers) ** 3).sum(), wanted, create_graph=True)
    size = torch.stack([gradient.square().sum() for gradient in gradients]).sum()
    return [*gradients, *torch.autograd.grad(size, wanted)]


@pytest.mark.parametrize("bias_alone", [False, True])
@pytest.mark.parametrize("block", [first_block, inner_block, pairs], ids=lambda f: f.__name__)
def test_what_inputs_share_is_counted_once(block: Callable[[Tensor, Tensor, bool], Tensor], bias_alone: bool) -> None:
    found, expected = outcome(block, False, bias_alone), outcome(block, True, bias_alone)
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-8) for a, b in zip(found, expected, strict=True))
    assert all(bool((a.abs() > 1).any()) != bias_alone for a in (found[0], expected[0]))


def test_inputs_are_told_apart() -> None:
    a = torch.tensor(3.0, requires_grad=True)
    b = a * a
    found = gradients_for_more(
        lambda a, _, b, constant: a * b * constant, (a, None, b, torch.tensor(2.0)), torch.ones(())
    )
    assert found[1] is found[3] is None
    assert [float(g.detach()) for g in found if g is not None] == [18.0, 6.0]  # a itself would have 18 + 6 * 6
    assert float(torch.autograd.grad(found[2], a)[0]) == 2.0  # type: ignore[arg-type, type-var]
    assert gradients_for_more(lambda x: x, (torch.tensor(2.0),), torch.ones(())) == [None]
