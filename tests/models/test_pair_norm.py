"""All pairs of two sets of maps in one node: the values and gradients of the halves, added up and pooled."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, vmap

from metaexp.models import pair_norm
from metaexp.models.base import buffers_of, call, parameters_of
from metaexp.models.batch_norm import BatchNorm, Statistics
from metaexp.models.pair_norm import PairNorm


class Pairs(PairNorm):
    """Takes a memory of three maps and the queries as one batch, so that it can be called functionally."""

    def forward(self, x: Tensor) -> Tensor:
        offset = torch.tensor([0.5, -1.0, 2.0, 0.0], dtype=x.dtype)
        return self.activate_pairs(x[:3], x[3:], offset)


class Definition(BatchNorm):
    """The same on all pairs, one operation after the other."""

    def forward(self, x: Tensor) -> Tensor:
        offset = torch.tensor([0.5, -1.0, 2.0, 0.0], dtype=x.dtype).view(1, -1, 1, 1)
        pairs = (x[:3] + x[3:].unsqueeze(1) + offset).flatten(0, 1)
        return F.max_pool2d(super().forward(pairs), 2).relu()


def pair(scale: bool = True, shift: bool = True) -> tuple[Pairs, Definition]:
    """Both with the same weights, one negative, and statistics, in float64."""
    torch.manual_seed(0)
    made = Pairs(4, momentum=0.3, scale=scale, shift=shift).double()
    for tensor in [*made.parameters(), *made.buffers()]:
        tensor.data.uniform_(0.5, 2.0)
    if made.weight is not None:
        made.weight.data[1] *= -1
    plain = Definition(4, momentum=0.3, scale=scale, shift=shift).double()
    plain.load_state_dict(made.state_dict())
    return made, plain


def maps(height: int = 5, width: int = 6, dtype: torch.dtype = torch.float64) -> Tensor:
    """Three maps of the memory and four queries, which are correlated and far from zero."""
    x = torch.randn(7, 4, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x[3:] += 2 * x[:3].mean(0) + 3
    return x.to(dtype)


def outcome(norm: BatchNorm, x: Tensor, statistics: Statistics) -> list[Tensor]:
    """Values, statistics afterwards, and gradients of a weighted sum of the values."""
    x = x.clone().requires_grad_()
    out = call(norm, parameters_of(norm), buffers_of(norm), x, statistics)
    weights = torch.randn(out.values.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(x.dtype)
    gradients = torch.autograd.grad((out.values * weights).sum(), [x, *norm.parameters()])
    return [out.values, *out.buffers.values(), *gradients]


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("statistics", ["batch", "collect", "replace", "stored"])
@pytest.mark.parametrize("size", [(4, 6), (5, 6), (5, 3), (2, 2)])
def test_it_is_batch_norm_of_all_pairs(size: tuple[int, int], statistics: Statistics, affine: bool) -> None:
    made, plain = pair(affine, affine)
    x = maps(*size)
    found, expected = outcome(made, x, statistics), outcome(plain, x, statistics)
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-10) for a, b in zip(found, expected, strict=True))
    changed = outcome(made, torch.cat([x[:3], x[3:] + torch.randn_like(x[3:])]), statistics)
    assert not torch.allclose(changed[0], expected[0], atol=1e-3)
    assert not torch.allclose(changed[3], expected[3], atol=1e-3)  # the gradient by the maps


def test_the_formula_needs_the_mean_of_the_other_half(monkeypatch: pytest.MonkeyPatch) -> None:
    made, plain = pair()
    by_half = pair_norm._by_half

    def without(g: Tensor, u: Tensor, other: Tensor, *rest: Tensor) -> Tensor:
        return by_half(g, u, torch.zeros_like(other), *rest)

    monkeypatch.setattr(pair_norm, "_by_half", without)
    found, expected = outcome(made, maps(), "batch"), outcome(plain, maps(), "batch")
    assert torch.allclose(found[0], expected[0])
    assert not torch.allclose(found[3], expected[3], atol=1e-6)


def test_float32_is_as_accurate_as_elementary_operations() -> None:
    made, plain = pair()
    x = maps(8, 8)
    exact = outcome(plain, x, "collect")
    found, expected = (outcome(norm.float(), x.float(), "collect") for norm in (made, plain))
    for a, b, c in zip(found, expected, exact, strict=True):
        assert float((a.double() - c).detach().norm()) <= 4 * float((b.double() - c).detach().norm()) + 1e-6 * float(
            c.detach().norm()
        )


def test_it_can_be_differentiated_twice() -> None:
    made, _ = pair()
    weights = [p.detach().clone().requires_grad_() for p in made.parameters()]
    names = [name for name, _ in made.named_parameters()]

    def outputs(x: Tensor, *weights: Tensor) -> Tensor:
        values: Tensor = functional_call(made.train(), dict(zip(names, weights, strict=True)), (x,))
        return values

    x = maps(4, 3).requires_grad_()
    assert torch.autograd.gradcheck(outputs, (x, *weights), fast_mode=True)
    assert torch.autograd.gradgradcheck(outputs, (x, *weights), fast_mode=True)


def test_it_is_not_used_inside_transforms(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = pair()
    used: list[bool] = []
    node = pair_norm._Pairs.apply
    monkeypatch.setattr(pair_norm._Pairs, "apply", lambda *inputs: (used.append(True), node(*inputs))[1])
    state = {**parameters_of(made), **buffers_of(made)}
    [mapped] = vmap(lambda x: functional_call(made.train(), dict(state), (x,)))(maps().unsqueeze(0))
    assert used == []
    assert torch.allclose(made.train()(maps()), mapped)
    assert used == [True]
