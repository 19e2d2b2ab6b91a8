"""Batch norm, ReLU and pooling in one node: the values, statistics and gradients of doing one after the other."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad

from metaexp.models.base import buffers_of, call, parameters_of
from metaexp.models.batch_norm import BatchNorm, Statistics
from metaexp.models.nodes.fused_batch_norm import batch_statistics, by_elementary_operations, normalise_and_activate

torch.manual_seed(0)
EVEN = torch.randn(6, 3, 4, 4, dtype=torch.float64) * 2 + 1
ODD = torch.randn(5, 3, 7, 3, dtype=torch.float64) * 2 + 1
FAR = EVEN + 100.0  # the mean exceeds the spread by far


class Activation(BatchNorm):
    """Calls ``activate``, so that it can be called functionally."""

    pool = False

    def forward(self, x: Tensor) -> Tensor:
        return self.activate(x, pool=self.pool) if not self.inside else super().forward(x)

    inside = False

    def activate(self, x: Tensor, *, pool: bool = False) -> Tensor:
        self.inside = True
        try:
            return super().activate(x, pool=pool)
        finally:
            self.inside = False


class OneAfterTheOther(BatchNorm):
    """The same by the layer's own elementary operations."""

    pool = False

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x).relu()
        return F.max_pool2d(out, 2) if self.pool else out


def pair(scale: bool = True, shift: bool = True, pool: bool = False) -> tuple[BatchNorm, BatchNorm]:
    """Both classes with the same random weights, one of them negative, and statistics, in float64."""
    plain = OneAfterTheOther(3, momentum=0.3, scale=scale, shift=shift).double()
    fused = Activation(3, momentum=0.3, scale=scale, shift=shift).double()
    plain.pool = fused.pool = pool
    for tensor in [*plain.parameters(), *plain.buffers()]:
        tensor.data.uniform_(0.5, 2.0)
    if plain.weight is not None:
        plain.weight.data[1] *= -1
    fused.load_state_dict(plain.state_dict())
    return plain, fused


def outcome(norm: BatchNorm, x: Tensor, statistics: Statistics) -> list[Tensor]:
    """Values, statistics afterwards, and gradients of a weighted sum of the values."""
    x = x.clone().requires_grad_()
    out = call(norm, parameters_of(norm), buffers_of(norm), x, statistics)
    weights = torch.linspace(-1, 1, out.values.numel(), dtype=x.dtype).view_as(out.values)
    gradients = torch.autograd.grad((out.values * weights).sum(), [x, *norm.parameters()])
    return [out.values, *out.buffers.values(), *gradients]


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("statistics", ["batch", "collect", "replace", "stored"])
@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("x", [EVEN, ODD, FAR], ids=["even", "odd", "far from zero"])
def test_values_statistics_and_gradients_are_those_of_one_after_the_other(
    x: Tensor, pool: bool, statistics: Statistics, affine: bool
) -> None:
    plain, fused = pair(affine, affine, pool)
    expected = outcome(plain, x, statistics)
    found = outcome(fused, x, statistics)
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-10) for a, b in zip(found, expected, strict=True))
    other: Statistics = "batch" if statistics == "stored" else "stored"
    assert not torch.allclose(outcome(fused, x, other)[0], expected[0], atol=1e-3)


@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("images", [1, 2, 4])
@pytest.mark.parametrize("x", [EVEN, ODD], ids=["six images", "five images"])
def test_a_gradient_in_parts_has_the_bits_of_the_whole(
    x: Tensor, images: int, pool: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, fused = pair(pool=pool)
    expected = outcome(fused, x, "batch")
    parts: list[int] = []
    monkeypatch.setattr("metaexp.models.nodes.fused_batch_norm.IN_CACHE", images * x[0].numel() * x.element_size())
    addcmul = torch.addcmul

    def count(shift: Tensor, part: Tensor, *rest: Tensor, **options: Tensor) -> Tensor:
        parts.extend([len(part)] if options else [])
        return addcmul(shift, part, *rest, **options)

    monkeypatch.setattr("metaexp.models.nodes.fused_batch_norm.torch.addcmul", count)
    assert all(torch.equal(a, b) for a, b in zip(outcome(fused, x, "batch"), expected, strict=True))
    assert parts == [min(images, len(x) - start) for start in range(0, len(x), images)]
    assert not torch.equal(outcome(fused, x[:-1], "batch")[-3], expected[-3][:-1])  # an image changes all gradients


@pytest.mark.parametrize("x", [EVEN[:, :, 0, 0], EVEN[:1, :, :1, :1]], ids=["vectors", "one value"])
def test_vectors_and_single_values_are_taken_too(x: Tensor) -> None:
    plain, fused = pair()
    expected = outcome(plain, x, "collect")
    assert all(torch.allclose(a, b) for a, b in zip(outcome(fused, x, "collect"), expected, strict=True))


@pytest.mark.parametrize("pool", [True, False])
def test_it_can_be_differentiated_twice(pool: bool) -> None:
    x = torch.randn(2, 2, 4, 3, dtype=torch.float64, requires_grad=True)  # not yet with channels innermost
    weight = torch.tensor([1.5, -0.5], dtype=torch.float64, requires_grad=True)
    bias = torch.tensor([0.1, -0.2], dtype=torch.float64, requires_grad=True)

    def outputs(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return normalise_and_activate(x, weight, bias, 1e-5, pool)[0]

    assert torch.autograd.gradcheck(outputs, (x, weight, bias), fast_mode=True)
    assert torch.autograd.gradgradcheck(outputs, (x, weight, bias), fast_mode=True)


@pytest.mark.parametrize("images", [5, 100, 400])
def test_float32_is_accurate_at_the_sizes_of_real_networks(images: int) -> None:
    """64 channels of 28x28; torch's own kernel, whose sums are plain, is the negative control."""
    generator = torch.Generator().manual_seed(images)
    x = torch.randn(images, 64, 28, 28, generator=generator) * 1.7 + 2.0
    x = x.contiguous(memory_format=torch.channels_last)
    mean, variance = batch_statistics(x)
    exact = x.double()
    assert torch.allclose(mean.double(), exact.mean((0, 2, 3)), atol=2e-6)
    assert torch.allclose(variance.double(), exact.var((0, 2, 3), unbiased=False), rtol=2e-6)
    expected = by_elementary_operations(exact, None, None, 1e-5, pool=True)
    found = normalise_and_activate(x, None, None, 1e-5, pool=True).values
    assert float((found.double() - expected).abs().max()) < 1e-5
    if images >= 100:
        kernel = F.max_pool2d(F.batch_norm(x, None, None, None, None, True), 2).relu()
        assert float((kernel.double() - expected).abs().max()) > 1e-5


def test_float32_stays_accurate_where_the_mean_is_far_from_zero() -> None:
    x = (torch.randn(20, 8, 14, 14) + 300.0).contiguous(memory_format=torch.channels_last)
    _, variance = batch_statistics(x)
    assert torch.allclose(variance.double(), x.double().var((0, 2, 3), unbiased=False), rtol=1e-4)
    naive = (x * x).mean((0, 2, 3)) - x.mean((0, 2, 3)) ** 2
    assert not torch.allclose(naive.double(), x.double().var((0, 2, 3), unbiased=False), rtol=1e-3)


def test_it_is_not_used_inside_transforms(monkeypatch: pytest.MonkeyPatch) -> None:
    _, fused = pair()

    def forbidden(*_: object, **__: object) -> Tensor:
        raise AssertionError("the node was used")

    monkeypatch.setattr("metaexp.models.batch_norm.normalise_and_activate", forbidden)
    state = {**parameters_of(fused), **buffers_of(fused)}
    torch.vmap(lambda x: functional_call(fused, dict(state), (x,)))(EVEN.unsqueeze(0))
    grad(lambda x: functional_call(fused, dict(state), (x,)).square().sum())(EVEN)
    with pytest.raises(AssertionError, match="node was used"):
        fused(EVEN)


def test_statistics_collected_by_a_functional_call_leave_the_module_alone() -> None:
    _, fused = pair()
    before = {name: buffer.clone() for name, buffer in fused.named_buffers()}
    collected = call(fused, parameters_of(fused), buffers_of(fused), EVEN, "collect").buffers
    assert all(torch.equal(buffer, before[name]) for name, buffer in fused.named_buffers())
    assert not torch.allclose(collected["running_mean"], before["running_mean"], atol=1e-3)
