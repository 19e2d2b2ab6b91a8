"""The first block as one node has the values, statistics and gradients of its layers, and keeps no maps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, vmap

from metaexp.models.base import Network, buffers_of, call, call_features, parameters_of
from metaexp.models.batch_norm import Statistics
from metaexp.models.conv4 import Conv4, ConvBlock
from metaexp.models.nodes import first_block
from metaexp.models.nodes.first_block import PatchMoments, is_first, patch_moments
from metaexp.models.nodes.fused_batch_norm import by_elementary_operations
from metaexp.models.nodes.mapped_conv import Conv2d
from metaexp.models.relation_embedding import RelationEmbedding

SIZES = {"even": (6, 1, 28, 28), "odd": (5, 3, 17, 12), "one image": (1, 2, 9, 8)}


def block(channels: int, scale: bool = True, padding: int = 1, bias: bool = True) -> ConvBlock:
    """A block with 8 filters, random weights, some gammas negative, and statistics, in float64."""
    made = ConvBlock(channels, 8, scale, "ones", 1e-3, 0.3).double()
    made.conv = Conv2d(channels, 8, 3, padding=padding, bias=bias).double()
    generator = torch.Generator().manual_seed(1)
    for tensor in made.parameters():
        tensor.data = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
    made.norm.running_mean.normal_(generator=generator)
    made.norm.running_var.uniform_(0.5, 2.0, generator=generator)
    return made


def images(size: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(0), dtype=dtype)


def outcome(made: ConvBlock, x: Tensor, statistics: Statistics = "collect") -> dict[str, Tensor]:
    """Values, statistics afterwards, and gradients of a weighted sum of the values, by name."""
    out = call(made, parameters_of(made), buffers_of(made), x, statistics)
    weights = torch.randn(out.values.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(x.dtype)
    names = [name for name, _ in made.named_parameters()]
    gradients = torch.autograd.grad((out.values * weights).sum(), list(made.parameters()))
    return {"values": out.values, **out.buffers, **dict(zip(names, gradients, strict=True))}


def by_layers(made: ConvBlock, x: Tensor, statistics: Statistics = "collect") -> dict[str, Tensor]:
    """:func:`outcome` by one layer after the other, which an input that needs a gradient asks for."""
    x = x.clone().requires_grad_()
    assert not is_first(made.conv, x)
    return outcome(made, x, statistics)


def differ(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-9) -> list[str]:
    """The names of what differs by more than ``tolerance`` of its norm. The gradient of a bias is noise around 0."""
    assert found.keys() == expected.keys()
    scale = {name: max(float(tensor.detach().norm()), 1e-3) for name, tensor in expected.items()}
    return [
        name for name in expected if float((found[name] - expected[name]).detach().norm()) > tolerance * scale[name]
    ]


@pytest.mark.parametrize("options", [{}, {"scale": False}, {"padding": 0}, {"bias": False}], ids=str)
@pytest.mark.parametrize("statistics", ["batch", "collect"])
@pytest.mark.parametrize("size", SIZES.values(), ids=list(SIZES))
def test_it_is_what_its_layers_are(size: tuple[int, ...], statistics: Statistics, options: dict[str, bool]) -> None:
    made, x = block(size[1], **options), images(size)
    assert is_first(made.conv, x)
    expected = by_layers(made, x, statistics)
    assert differ(outcome(made, x, statistics), expected) == []
    changed = differ(outcome(made, x.flip(3), statistics), expected)
    assert {"values", "conv.weight", "norm.bias"} <= set(changed)


def test_covariances_are_not_mean_squares(monkeypatch: pytest.MonkeyPatch) -> None:
    made, x = block(1), images(SIZES["even"])
    expected = by_layers(made, x)

    def uncentred(x: Tensor, size: int, padding: int) -> PatchMoments:
        mean, covariance = patch_moments(x, size, padding)
        return PatchMoments(mean, covariance + torch.outer(mean, mean))

    monkeypatch.setattr(first_block, "patch_moments", uncentred)
    assert {"values", "norm.running_var", "conv.weight"} <= set(differ(outcome(made, x), expected))


def test_moments_of_patches_are_those_of_all_patches() -> None:
    x = images(SIZES["odd"])
    patches = F.unfold(x, 3, padding=1).transpose(1, 2).flatten(0, 1)  # (B * h * w, C * 3 * 3)
    mean, covariance = patch_moments(x, 3, 1)
    assert torch.allclose(mean, patches.mean(0), atol=1e-12)
    assert torch.allclose(covariance, patches.T.cov(correction=0), atol=1e-12)
    assert not torch.allclose(covariance, patch_moments(x, 3, 0).covariance, atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_parts_of_any_size_give_the_same(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made, x = block(1), images((5, 1, 28, 28))
    expected = outcome(made, x)
    monkeypatch.setattr(first_block, "IN_CACHE", count * 8 * 28 * 28 * x.element_size())
    sizes: list[int] = []
    convolve = F.conv2d

    def spy(x: Tensor, *rest: Tensor, **options: int) -> Tensor:
        sizes.append(len(x))
        return convolve(x, *rest, **options)

    monkeypatch.setattr("metaexp.models.nodes.first_block.F.conv2d", spy)
    assert differ(outcome(made, x), expected, 1e-12) == []
    assert sizes == [min(count, 5 - start) for start in range(0, 5, count)]


def test_in_float32_it_is_nearer_to_the_truth_than_its_layers() -> None:
    x = images((360, 1, 28, 28)).round()
    made = block(1)
    exact = outcome(made, x)
    made, x = made.float(), x.float()
    found, expected = ({k: t.double() for k, t in f(made, x).items()} for f in (outcome, by_layers))
    assert differ(found, exact, 5e-6) == []
    assert "conv.weight" in differ(expected, exact, 5e-6)


@pytest.mark.parametrize("channels", [1, 2])
def test_it_can_be_differentiated_twice(channels: int) -> None:
    made, x = block(channels), images((2, channels, 6, 5))
    weights = [p.detach().clone().requires_grad_() for p in made.parameters()]
    names = [name for name, _ in made.named_parameters()]

    def outputs(*weights: Tensor) -> Tensor:
        values: Tensor = functional_call(made.train(), dict(zip(names, weights, strict=True)), (x,))
        return values

    assert torch.autograd.gradcheck(outputs, weights, fast_mode=True)
    assert torch.autograd.gradgradcheck(outputs, weights, fast_mode=True)


@pytest.mark.parametrize("options", [{}, {"scale": False}, {"bias": False}], ids=str)
def test_with_stored_statistics_and_no_gradients_it_is_what_its_layers_are(
    options: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_block, "_LARGE", 0)
    made, x = block(3, **options).eval(), images(SIZES["odd"])
    with torch.no_grad():
        found = made(x)
        expected = F.max_pool2d(made.norm(made.conv(x)), 2).relu()
        assert torch.allclose(found, expected, atol=1e-12)
        assert not torch.allclose(made.train()(x), expected, atol=1e-3)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
def test_a_trace_takes_batches_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_block, "_LARGE", 0)
    monkeypatch.setattr(first_block, "IN_CACHE", 0)
    made, x = block(1).eval(), images((5, 1, 28, 28))
    with torch.no_grad():
        assert is_first(made.conv, x)
        traced = torch.jit.trace(made, x[:2])
        assert torch.allclose(traced(x), made(x), atol=1e-12)
        assert not torch.allclose(traced(x.flip(3)), made(x), atol=1e-3)


def test_no_map_is_kept_for_the_gradient() -> None:
    made, x = block(1), images((6, 1, 28, 28))

    def largest(run: Callable[[], object]) -> int:
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: (sizes.append(t.numel()), t)[1], lambda t: t):
            run()
        return max(sizes)

    n_values = 6 * 8 * 14 * 14
    assert largest(lambda: made(x)) == n_values
    assert largest(lambda: made(x.clone().requires_grad_())) == 4 * n_values


@pytest.mark.parametrize("gradients", [True, False])
def test_places_are_kept_for_gradients_alone(gradients: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[bool] = []
    in_parts = first_block._in_parts

    def spy(*inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        found = in_parts(*inputs)  # type: ignore[arg-type]
        kept.append(found[1] is not None)
        return found

    monkeypatch.setattr(first_block, "_in_parts", spy)
    monkeypatch.setattr(first_block, "_LARGE", 0)
    with torch.set_grad_enabled(gradients):
        block(1)(images((2, 1, 8, 8)))
    assert kept == [gradients]


@pytest.mark.parametrize(
    ("conv", "x"),
    [
        (Conv2d(1, 4, 3), torch.zeros(2, 1, 8, 8, requires_grad=True)),
        (Conv2d(4, 4, 3), torch.zeros(2, 4, 8, 8)),
        (Conv2d(1, 4, 3, stride=2), torch.zeros(2, 1, 8, 8)),
        (Conv2d(1, 4, (3, 1)), torch.zeros(2, 1, 8, 8)),
        (Conv2d(1, 4, 3, padding=1, padding_mode="reflect"), torch.zeros(2, 1, 8, 8)),
        (Conv2d(1, 4, 3), torch.zeros(0, 1, 8, 8)),
        (Conv2d(1, 4, 3), torch.zeros(2, 1, 3, 8)),
        (Conv2d(1, 4, 3), torch.zeros(2, 1, 8, 8, device="meta")),
        (Conv2d(1, 4, 3).bfloat16(), torch.zeros(2, 1, 8, 8, dtype=torch.bfloat16)),
    ],
    ids=["gradient", "channels", "stride", "not square", "reflects", "empty", "too small", "device", "bfloat16"],
)
def test_other_convolutions_are_left_alone(conv: Conv2d, x: Tensor) -> None:
    assert not is_first(conv, x)
    assert is_first(Conv2d(1, 4, 3), torch.zeros(2, 1, 8, 8))


def test_without_gradients_it_is_for_large_maps_alone() -> None:
    conv = Conv2d(1, 64, 3)
    small, large = torch.zeros(40, 1, 28, 28), torch.zeros(100, 1, 28, 28)
    with torch.no_grad():
        assert [is_first(conv, small), is_first(conv, large)] == [False, True]
    assert [is_first(conv, small), is_first(conv, large)] == [True, True]


def test_it_is_not_used_inside_transforms() -> None:
    conv, x = Conv2d(1, 4, 3), torch.zeros(2, 2, 1, 8, 8)
    answers: list[bool] = []
    vmap(lambda x: (answers.append(is_first(conv, x)), x)[1])(x)
    assert answers == [False]
    assert is_first(conv, x[0])


@pytest.mark.parametrize(
    "network",
    [Conv4((1, 28, 28), None, 8, True, "ones", 1e-5, 0.1, "default"), RelationEmbedding((1, 28, 28), None, 8, 0.1)],
    ids=["conv4", "relation_embedding"],
)
def test_networks_use_it_for_their_first_block(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []
    node = first_block._FirstBlock.apply

    def spy(x: Tensor, *rest: object) -> object:
        calls.append(tuple(x.shape))
        return node(x, *rest)

    monkeypatch.setattr(first_block._FirstBlock, "apply", spy)
    x = images((3, 1, 28, 28), torch.float32)
    expected = call_features(network, parameters_of(network), buffers_of(network), x.requires_grad_(), "collect")
    assert calls == []
    x = x.detach()
    found = call_features(network, parameters_of(network), buffers_of(network), x, "collect")
    assert calls == [(3, 1, 28, 28)]
    assert torch.allclose(found.values, expected.values, atol=1e-5)
    for name, buffer in expected.buffers.items():
        assert torch.allclose(found.buffers[name], buffer, atol=1e-6)
    stored = call_features(network, parameters_of(network), buffers_of(network), x, "stored")
    assert not torch.allclose(stored.values, expected.values, atol=1e-2)


def test_elementary_operations_are_the_definition() -> None:
    made, x = block(1), images((2, 1, 8, 8))
    found = made.train()(x)
    maps = made.conv(x)
    assert torch.allclose(found, by_elementary_operations(maps, made.norm.weight, made.norm.bias, 1e-3, pool=True))
    assert not torch.allclose(found, by_elementary_operations(maps, made.norm.weight, made.norm.bias, 1e-1, pool=True))
