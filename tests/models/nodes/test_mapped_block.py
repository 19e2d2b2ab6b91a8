"""Batch norm, pooling and ReLU inside transforms: values and derivatives of every order, mapped or not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad, jvp, vmap

from metaexp.models.base import buffers_of, call, parameters_of
from metaexp.models.batch_norm import BatchNorm, normalise_with
from metaexp.models.conv4 import ConvBlock
from metaexp.models.nodes.fused_batch_norm import by_elementary_operations
from metaexp.models.nodes.mapped_block import max_pool, normalise_and_activate_mapped

Block = Callable[[Tensor, Tensor, Tensor], Tensor]
SHAPES = {"even": (3, 2, 4, 6), "odd": (4, 2, 5, 7)}


def inputs(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Maps, gamma with a negative entry, and beta."""
    torch.manual_seed(0)
    maps = torch.randn(*shape, dtype=dtype) * 2.0 + 1.0
    gamma, beta = torch.tensor([1.3, -0.7], dtype=dtype), torch.tensor([0.2, -0.1], dtype=dtype)
    return maps.requires_grad_(), gamma.requires_grad_(), beta.requires_grad_()


def mapped(pool: bool) -> Block:
    """The block under test."""
    return lambda x, weight, bias: normalise_and_activate_mapped(x, weight, bias, 1e-3, pool).values


def elementary(pool: bool) -> Block:
    """The same by autograd."""
    return lambda x, weight, bias: by_elementary_operations(x, weight, bias, 1e-3, pool)


def derivative(block: Block, arguments: tuple[Tensor, ...], order: int, keeps_graph: bool) -> Tensor:
    """The gradient, of a function of the gradient ..., ``order`` deep, flattened."""
    total = weighted(block(*arguments))
    for depth in range(order):
        wants_graph = keeps_graph or depth < order - 1
        gradients = torch.autograd.grad(total, arguments, create_graph=wants_graph)
        total = sum((weighted(g) for g in gradients), torch.zeros(()))
    return torch.cat([g.detach().flatten() for g in gradients])


def weighted(values: Tensor) -> Tensor:
    """A function () that is not linear."""
    return (values.square() * torch.linspace(-1, 1.5, values.numel(), dtype=values.dtype).view_as(values)).sum()


@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_it_passes_torchs_checks_of_both_derivatives(shape: tuple[int, ...], pool: bool) -> None:
    assert torch.autograd.gradcheck(mapped(pool), inputs(shape), fast_mode=True)
    assert torch.autograd.gradgradcheck(mapped(pool), inputs(shape), fast_mode=True)


@pytest.mark.parametrize("keeps_graph", [True, False])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_derivatives_of_every_order_are_those_of_elementary_operations(
    shape: tuple[int, ...], pool: bool, order: int, keeps_graph: bool
) -> None:
    arguments = inputs(shape)
    found = derivative(mapped(pool), arguments, order, keeps_graph)
    expected = derivative(elementary(pool), arguments, order, keeps_graph)
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-11 * float(expected.abs().max()))
    other = derivative(elementary(not pool), arguments, order, keeps_graph)
    assert not torch.allclose(found, other, rtol=1e-3)


def test_of_equal_values_in_a_window_the_first_gets_the_gradient_as_in_torch() -> None:
    torch.manual_seed(0)
    x = torch.randint(0, 3, (6, 2, 8, 8)).double()
    weight, bias = torch.ones(2, dtype=torch.float64), torch.full((2,), 9.0, dtype=torch.float64)

    def gradient(block: Block) -> Tensor:
        leaf = x.clone().requires_grad_()
        found: Tensor = torch.autograd.grad(weighted(block(leaf, weight, bias)), leaf)[0]
        return found

    assert torch.allclose(gradient(mapped(True)), gradient(elementary(True)), rtol=1e-9, atol=1e-12)

    def shared(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return max_pool(by_elementary_operations(x, weight, bias, 1e-3, pool=False))

    assert not torch.allclose(gradient(mapped(True)), gradient(shared), atol=1e-3)


@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (2, 3, 5, 7)])
def test_maxima_of_slices_are_torchs_max_pooling(shape: tuple[int, ...]) -> None:
    x = torch.randn(*shape)
    x[0, 0, 0, 0] = torch.nan
    assert torch.equal(max_pool(x).nan_to_num(7.0), F.max_pool2d(x, 2).nan_to_num(7.0))
    assert not torch.equal(max_pool(x), F.max_pool2d(-x, 2))


class ByAutograd(ConvBlock):
    """The block as it would be without a node of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(self.norm(self.conv(x)), 2).relu()


def meta_gradient(block: ConvBlock, in_axes: int | None, mapping: Callable[..., Callable[..., Tensor]]) -> Tensor:
    """The gradient through two inner steps that adapt everything, over three tasks."""
    torch.manual_seed(2)
    x = torch.randn(3, 5, 2, 6, 7, dtype=torch.float64)
    params = parameters_of(block)
    start = {name: p if in_axes is None else p.expand(3, *p.shape) for name, p in params.items()}

    def loss(p: dict[str, Tensor], x: Tensor) -> Tensor:
        with normalise_with("batch"):
            return weighted(functional_call(block, p, (x,)))

    def task(p: dict[str, Tensor], x: Tensor) -> Tensor:
        for _ in range(2):
            gradients = grad(loss)(p, x)
            p = {name: value - 0.01 * gradients[name] for name, value in p.items()}
        return loss(p, x.flip(0))

    total = mapping(task, in_dims=(in_axes, 0))(start, x).sum()
    gradients = torch.autograd.grad(total, list(params.values()))
    return torch.cat([g.flatten() for g in gradients])


def by_loop(task: Callable[..., Tensor], in_dims: tuple[int | None, int]) -> Callable[..., Tensor]:
    """What ``torch.vmap`` does, one task after the other."""

    def run(start: dict[str, Tensor], x: Tensor) -> Tensor:
        of = [{name: p if in_dims[0] is None else p[i] for name, p in start.items()} for i in range(len(x))]
        return torch.stack([task(p, one) for p, one in zip(of, x, strict=True)])

    return run


@pytest.mark.parametrize("in_axes", [None, 0], ids=["shared weights", "weights of each task"])
def test_meta_gradients_under_vmap_are_those_of_a_loop_and_of_autograd(in_axes: int | None) -> None:
    arguments = (2, 3, True, "uniform", 1e-3, 0.1)
    torch.manual_seed(1)
    block = ConvBlock(*arguments).double()
    with torch.no_grad():
        assert block.norm.weight is not None
        block.norm.weight[1] = -0.5
    plain = ByAutograd(*arguments).double()
    plain.load_state_dict(block.state_dict())
    expected = meta_gradient(plain, in_axes, by_loop)
    for mapping in (vmap, by_loop):
        assert torch.allclose(meta_gradient(block, in_axes, mapping), expected, rtol=1e-10)
    torch.manual_seed(3)
    assert not torch.allclose(meta_gradient(ConvBlock(*arguments).double(), in_axes, vmap), expected, rtol=1e-3)


def test_statistics_are_collected_inside_transforms_for_each_task() -> None:
    torch.manual_seed(0)
    block, x = ConvBlock(2, 3, True, "ones", 1e-5, 0.3).double(), torch.randn(4, 5, 2, 6, 6, dtype=torch.float64)

    def collected(x: Tensor) -> dict[str, Tensor]:
        return call(block, parameters_of(block), buffers_of(block), x, "collect").buffers

    found = vmap(collected)(x)
    for i, one in enumerate(x):
        assert all(torch.allclose(found[name][i], value) for name, value in collected(one).items())
    assert not torch.allclose(found["norm.running_mean"][0], found["norm.running_mean"][1])


def test_forward_mode_which_the_node_has_no_formula_for_gets_elementary_operations() -> None:
    torch.manual_seed(0)
    block, x = ConvBlock(2, 3, True, "ones", 1e-5, 0.3).double(), torch.randn(5, 2, 6, 6, dtype=torch.float64)
    direction = torch.randn_like(x)

    def run(x: Tensor) -> Tensor:
        return call(block, parameters_of(block), buffers_of(block), x, "batch").values

    _, slope = jvp(run, (x,), (direction,))
    finite = (run(x + 1e-6 * direction) - run(x - 1e-6 * direction)) / 2e-6
    assert torch.allclose(slope, finite, atol=1e-6)
    assert not torch.allclose(slope, torch.zeros_like(slope), atol=1e-3)


@pytest.mark.parametrize("images", [5, 100])
def test_float32_is_as_accurate_as_elementary_operations(images: int) -> None:
    torch.manual_seed(images)
    maps = torch.randn(images, 2, 28, 28) * 1.7 + 2.0
    gamma, beta = torch.tensor([1.2, -0.8]), torch.tensor([0.1, 0.3])
    leaves = [t.requires_grad_() for t in (maps, gamma, beta)]
    exact = [t.detach().double().requires_grad_() for t in leaves]
    expected = derivative(elementary(True), tuple(exact), 2, False)
    sizes = [t.numel() for t in leaves]
    error = [
        [
            float((part.double() - exact_part).norm() / exact_part.norm())
            for part, exact_part in zip(
                derivative(block(True), tuple(leaves), 2, False).split(sizes), expected.split(sizes), strict=True
            )
        ]
        for block in (mapped, elementary)
    ]
    assert all(ours < 2e-6 + 2 * plain for ours, plain in zip(*error, strict=True))


def test_a_linear_layer_or_one_value_keeps_to_elementary_operations() -> None:
    norm = BatchNorm(3).double()
    for shape in ((5, 3), (1, 3, 1, 1)):
        x = torch.randn(*shape, dtype=torch.float64)
        with normalise_with("batch"):
            found = grad(lambda x: norm.activate(x).square().sum())(x)
            expected = grad(lambda x: norm(x).relu().square().sum())(x)
            other = grad(lambda x: norm(x).square().sum())(x + 1.0)
        assert torch.allclose(found, expected)
        assert torch.allclose(found, other) == (shape[0] == 1)  # of one value, normalised to zero, all are zero
