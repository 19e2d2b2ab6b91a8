import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaexp.core.errors import ConfigError
from metaexp.models.batch_norm import BatchNorm, Statistics, normalise_with
from metaexp.models.pair_norm import PairNorm
from metaexp.models.relation_module import MapRelation, Relation, VectorRelation, relation_for

OMNIGLOT, MINI_IMAGENET = (64, 5, 5), (64, 19, 19)


def map_relation(padding: int = 1, channels: int = 6) -> MapRelation:
    """For maps of 4 channels, with weights that tell pairs apart, which the published ones hardly do at first."""
    torch.manual_seed(0)
    module = MapRelation((4, 11, 11), channels, 5, padding, 0.1)
    for p in module.parameters():
        nn.init.normal_(p, std=0.3)
    return module


def naive(module: MapRelation, memory: Tensor, query: Tensor, memory_first: bool = True) -> Tensor:
    """The module as the paper draws it: whole pairs, concatenated, through torch's own operations."""
    n_memory, n_query = len(memory), len(query)
    left, right = memory.repeat(n_query, 1, 1, 1), query.repeat_interleave(n_memory, 0)
    x = torch.cat([left, right] if memory_first else [right, left], 1)
    for conv, norm in ((module.conv1, module.norm1), (module.conv2, module.norm2)):
        x = F.conv2d(x, conv.weight, conv.bias, padding=module.padding)
        x = F.max_pool2d(F.batch_norm(x, None, None, norm.weight, norm.bias, training=True).relu(), 2)
    return module.linear2(module.linear1(x.flatten(1)).relu()).view(n_query, n_memory)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("padding", [0, 1])
def test_scores_and_gradients_are_those_of_concatenated_pairs(
    padding: int, dtype: torch.dtype, tolerance: float
) -> None:
    module = map_relation(padding).to(dtype)
    memory, query = (torch.rand(n, 4, 11, 11, dtype=dtype, requires_grad=True) for n in (3, 7))
    inputs = [memory, query, *module.parameters()]
    results = []
    for scores in (module(memory, query), naive(module, memory, query), naive(module, memory, query, False)):
        loss = (scores.sigmoid() * torch.linspace(-1, 1, scores.numel(), dtype=dtype).view_as(scores)).sum()
        results.append([scores, *torch.autograd.grad(loss, inputs)])
    ours, theirs, swapped = results
    assert all(torch.allclose(a, b, rtol=tolerance, atol=10 * tolerance) for a, b in zip(ours, theirs, strict=True))
    assert not torch.allclose(ours[0], swapped[0], atol=1e-2)


@pytest.mark.parametrize("statistics", ["batch", "collect", "replace", "stored"])
def test_halves_add_up_to_the_batch_norm_of_all_pairs(statistics: Statistics) -> None:
    torch.manual_seed(0)
    memory, query = torch.randn(3, 4, 5, 5).double() * 2 + 3, torch.randn(7, 4, 5, 5).double() - 1
    memory, query = memory + 2 * query.mean(0), query * (1 + memory.mean(0))  # so that the halves are correlated
    halved, whole = PairNorm(4, momentum=0.3).double(), BatchNorm(4, momentum=0.3).double()
    for tensor in [*halved.parameters(), *halved.buffers()]:
        tensor.data.uniform_(0.5, 2.0)
    whole.load_state_dict(halved.state_dict())
    with normalise_with(statistics):
        a, b = halved.halves(memory, query)
        expected = whole((memory + query.unsqueeze(1)).flatten(0, 1)).detach()
    sums = (a + b.unsqueeze(1)).flatten(0, 1)
    assert torch.allclose(sums, expected, rtol=1e-9, atol=1e-12)
    for ours, theirs in zip(halved.buffers(), whole.buffers(), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    with normalise_with(statistics):
        each_by_itself = (whole(memory) + whole(query).unsqueeze(1)).flatten(0, 1)
    assert not torch.allclose(each_by_itself, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("map_shape", "padding", "count", "flat"), [(OMNIGLOT, 1, 111_505, 64), (MINI_IMAGENET, 0, 115_601, 576)]
)
def test_parameters_and_flattened_sizes_are_as_published(
    map_shape: tuple[int, int, int], padding: int, count: int, flat: int
) -> None:
    module = MapRelation(map_shape, 64, 8, padding, 0.1)
    assert sum(p.numel() for p in module.parameters()) == count
    assert module.linear1.in_features == flat
    assert module(torch.rand(2, *map_shape), torch.rand(3, *map_shape)).shape == (3, 2)


def test_linear_layers_start_with_biases_of_one_and_small_weights() -> None:
    module = MapRelation(MINI_IMAGENET, 64, 8, 0, 0.1)
    for layer in (module.linear1, module.linear2):
        assert torch.equal(layer.bias, torch.ones_like(layer.bias))
    assert 0.009 < module.linear1.weight.std().item() < 0.011
    assert not torch.equal(nn.Linear(4, 4).bias, torch.ones(4))


def test_a_padding_that_leaves_no_map_is_refused_with_the_size_it_needs() -> None:
    with pytest.raises(ConfigError, match=r"relation_padding=0 needs maps of at least 10x10, .* as 5x5"):
        MapRelation(OMNIGLOT, 64, 8, 0, 0.1)
    with pytest.raises(ConfigError, match=r"relation_padding=1 needs maps of at least 4x4, .* as 3x9"):
        MapRelation((64, 3, 9), 64, 8, 1, 0.1)
    MapRelation((2, 10, 10), 4, 2, 0, 0.1), MapRelation((2, 4, 4), 4, 2, 1, 0.1)


def test_vectors_are_related_as_concatenated_pairs_memory_first() -> None:
    torch.manual_seed(0)
    module = VectorRelation(4, 6, 5).double()
    memory, query = torch.randn(3, 4).double(), torch.randn(7, 4).double()

    def by_concatenation(left: Tensor, right: Tensor) -> Tensor:
        hidden = module.linear2(module.linear1(torch.cat([left, right], 1)).relu()).relu()
        return module.linear3(hidden).view(7, 3)

    memory_of_pair, query_of_pair = memory.repeat(7, 1), query.repeat_interleave(3, 0)
    scores = module(memory, query)
    assert torch.allclose(scores, by_concatenation(memory_of_pair, query_of_pair), rtol=1e-9, atol=1e-12)
    assert not torch.allclose(scores, by_concatenation(query_of_pair, memory_of_pair), atol=1e-3)


def test_the_module_fits_the_features_and_other_shapes_are_refused() -> None:
    def kind(shape: tuple[int, ...]) -> type[Relation]:
        return type(relation_for(shape, 4, 4, 1, 0.1))

    assert kind((3, 5, 5)) is MapRelation
    assert kind((7,)) is VectorRelation
    with pytest.raises(ConfigError, match=r"features of shape \(5, 5\)"):
        kind((5, 5))
