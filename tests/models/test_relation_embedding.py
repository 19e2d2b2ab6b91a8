import math

import pytest
import torch
from torch import nn

from metaexp.core.errors import ConfigError
from metaexp.models.batch_norm import normalise_with
from metaexp.models.layout import channels_last
from metaexp.models.relation_embedding import RelationEmbedding

OMNIGLOT, MINI_IMAGENET = (1, 28, 28), (3, 84, 84)


def embedding(shape: tuple[int, ...], n_outputs: int | None = None, channels: int = 64) -> RelationEmbedding:
    torch.manual_seed(0)
    return RelationEmbedding(shape, n_outputs, channels, 0.1)


@pytest.mark.parametrize(
    ("shape", "count", "maps"), [(OMNIGLOT, 111_936, (64, 5, 5)), (MINI_IMAGENET, 113_088, (64, 19, 19))]
)
def test_parameters_and_maps_are_as_published(shape: tuple[int, ...], count: int, maps: tuple[int, ...]) -> None:
    network = embedding(shape)
    assert sum(p.numel() for p in network.parameters()) == count
    assert network.feature_shape(shape) == maps


def test_it_computes_what_torchs_own_layers_compute() -> None:
    network = embedding(OMNIGLOT, channels=4).double()

    def block(n_in: int, padding: int, pool: bool) -> list[nn.Module]:
        layers = [nn.Conv2d(n_in, 4, 3, padding=padding), nn.BatchNorm2d(4), nn.ReLU()]
        return [*layers, nn.MaxPool2d(2)] if pool else layers

    plan = [(1, 0, True), (4, 0, True), (4, 1, False), (4, 1, False)]
    reference = nn.Sequential(*(layer for step in plan for layer in block(*step))).double()
    with torch.no_grad():
        for mine, theirs in zip(reference.parameters(), network.parameters(), strict=True):
            mine.copy_(theirs.normal_())
    x = torch.randn(6, *OMNIGLOT, dtype=torch.float64)
    assert torch.allclose(network(x), reference(x), atol=1e-12)
    assert not torch.allclose(network(x), reference(x.flip(-1)), atol=1e-3)


def test_weights_start_as_in_the_published_code() -> None:
    convolutions = [layer for layer in embedding(OMNIGLOT).modules() if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 4
    for layer in convolutions:
        expected = math.sqrt(2 / (9 * 64))
        assert abs(layer.weight.std().item() / expected - 1) < 0.1
        assert abs(layer.weight.mean().item()) < 0.1 * expected
        assert not layer.bias.any()
    assert abs(nn.Conv2d(64, 64, 3).weight.std().item() / expected - 1) > 0.1  # torch's own is another


def test_a_head_makes_it_a_classifier() -> None:
    network = embedding(OMNIGLOT, n_outputs=5, channels=4)
    assert network(torch.rand(3, *OMNIGLOT)).shape == (3, 5)
    assert network.features(torch.rand(3, *OMNIGLOT)).shape == (3, 4, 5, 5)


def test_channels_innermost_are_the_same_values_in_another_order_even_for_one_channel_and_under_vmap() -> None:
    for channels in (1, 3):
        x = torch.rand(2, 5, channels, 4, 6)
        assert torch.equal(channels_last(x[0]), x[0])
        assert channels_last(x[0]).stride() == (24 * channels, 1, 6 * channels, channels)
        assert x[0].stride() != channels_last(x[0]).stride()
        assert torch.equal(torch.vmap(channels_last)(x), x)


def test_maps_are_the_same_under_vmap() -> None:
    network = embedding(OMNIGLOT, channels=4).double()
    x = torch.rand(3, 4, *OMNIGLOT, dtype=torch.float64)
    with normalise_with("batch"):
        loop = torch.stack([network(task) for task in x])
        assert torch.allclose(torch.vmap(network)(x), loop, atol=1e-12)
        assert not torch.allclose(torch.vmap(network)(x.flip(0)), loop, atol=1e-3)


def test_images_too_small_for_it_are_refused() -> None:
    embedding((1, 10, 10))
    with pytest.raises(ConfigError, match="at least 10x10 pixels, not 9x10"):
        embedding((1, 9, 10))
    with pytest.raises(ConfigError, match="RelationEmbedding takes images"):
        embedding((5,))
