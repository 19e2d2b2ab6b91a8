import math

import pytest
import torch
from torch import nn

from metaexp.core.errors import ConfigError
from metaexp.models.base import Network, has_batch_norm
from metaexp.models.batch_norm import BatchNorm, normalise_with
from metaexp.models.conv4 import Conv4
from metaexp.models.mlp import MLP
from metaexp.models.omniglot_conv import OmniglotConv


def omniglot_conv(n_way: int | None = 5, padding: str = "tf_same") -> OmniglotConv:
    return OmniglotConv((1, 28, 28), n_way, 64, False, 1e-3, padding, "normal", "mean")


def maml_conv4(shape: tuple[int, int, int], n_way: int | None, channels: int = 32) -> Conv4:
    return Conv4(shape, n_way, channels, False, "ones", 1e-3, 0.1, "xavier")


def omniglot_mlp() -> MLP:
    return MLP((1, 28, 28), 5, [256, 128, 64, 64], True, False, 1e-3, "truncated_normal", 0.01)


def sinusoid_mlp() -> MLP:
    return MLP((1,), 1, [40, 40], False, False, 1e-3, "truncated_normal", 0.01)


def counts(network: nn.Module) -> tuple[int, int]:
    """(weights and biases, batch-norm parameters)."""
    norms = [p for m in network.modules() if isinstance(m, BatchNorm) for p in m.parameters()]
    total = sum(p.numel() for p in network.parameters())
    return total - sum(p.numel() for p in norms), sum(p.numel() for p in norms)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (omniglot_conv(5), (111_749, 256)),
        (omniglot_conv(20), (112_724, 256)),
        (maml_conv4((3, 84, 84), 5), (32_645, 128)),
        (sinusoid_mlp(), (1_761, 0)),
        (omniglot_mlp(), (246_597, 512)),
    ],
)
def test_parameter_counts_are_those_of_the_authors_code(network: nn.Module, expected: tuple[int, int]) -> None:
    assert counts(network) == expected


def test_the_omniglot_head_starts_from_a_standard_normal_and_convolutions_from_xavier() -> None:
    torch.manual_seed(0)
    network = omniglot_conv(20)
    assert 0.9 < network.head.weight.std().item() < 1.1
    assert torch.count_nonzero(network.head.bias) == 0
    bound = math.sqrt(6 / (64 * 9 + 64 * 9))
    weights = network.blocks[2].conv.weight
    assert weights.abs().max().item() <= bound
    assert weights.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_truncated_normal_weights_stay_within_two_standard_deviations() -> None:
    weights = torch.cat([p.flatten() for p in omniglot_mlp().parameters() if p.dim() == 2])
    assert weights.abs().max().item() <= 0.02
    assert weights.std().item() == pytest.approx(0.0088, rel=0.05)  # 0.88 sigma remains after the cut


def test_strided_maps_shrink_as_published_with_both_paddings() -> None:
    for padding in ("tf_same", "symmetric"):
        x, sizes = torch.zeros(2, 1, 28, 28), []
        with normalise_with("batch"):
            for block in omniglot_conv(padding=padding).blocks:
                x = block(x)
                sizes.append(x.shape[-1])
        assert sizes == [14, 7, 4, 2]


@pytest.mark.parametrize("side", [28, 27, 14, 9])
def test_turned_kernels_with_symmetric_padding_are_tensorflows_same_padding(side: int) -> None:
    """TensorFlow pads an even side by (0, 1) and an odd side by (1, 1) for a 3-wide kernel with stride 2."""
    torch.manual_seed(0)
    network = omniglot_conv().double()  # batch norm over the two values of the last map enlarges rounding
    x = out = torch.rand(2, 1, side, side, dtype=torch.float64)
    with normalise_with("batch"):
        for block in network.blocks:
            before = 1 if out.shape[-1] % 2 else 0
            padded = nn.functional.pad(out, (before, 1, before, 1))
            kernels, bias = block.conv.weight.flip((2, 3)), block.conv.bias
            out = block.norm(nn.functional.conv2d(padded, kernels, bias, stride=2)).relu()
        expected = out.mean((2, 3))
        assert torch.allclose(network.features(x), expected, atol=1e-8)
        symmetric = omniglot_conv(padding="symmetric").double()
        symmetric.load_state_dict(network.state_dict())
        assert not torch.allclose(symmetric.features(x), expected, atol=1e-2)


def test_without_outputs_a_network_returns_its_features() -> None:
    with normalise_with("batch"):
        assert omniglot_conv(None)(torch.rand(2, 1, 28, 28)).shape == (2, 64)
        assert maml_conv4((3, 84, 84), None)(torch.rand(2, 3, 84, 84)).shape == (2, 800)
    assert omniglot_conv(None).feature_shape((1, 28, 28)) == (64,)


@pytest.mark.parametrize("network", [omniglot_conv(), maml_conv4((1, 28, 28), 5), omniglot_mlp()])
def test_the_head_is_found_by_its_name(network: Network) -> None:
    names = [name for name, _ in network.named_parameters() if name.startswith("head.")]
    assert sorted(names) == ["head.bias", "head.weight"]
    assert has_batch_norm(network)
    assert not has_batch_norm(sinusoid_mlp())


def test_networks_for_images_refuse_vectors_and_small_images() -> None:
    with pytest.raises(ConfigError, match=r"Conv4 takes images .* shape \(1,\)"):
        maml_conv4((1,), 5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="needs at least 16x16, not 8x8"):
        maml_conv4((1, 8, 8), 5)
    with pytest.raises(ConfigError, match=r"model.hidden=\[\] needs at least one width"):
        MLP((1,), 1, [], False, False, 1e-3, "default", 0.01)


@pytest.mark.parametrize("size", [28, 33])
def test_a_flattened_map_holds_the_positions_that_are_averaged_otherwise(size: int) -> None:
    torch.manual_seed(0)
    mean, flat = (
        OmniglotConv((1, size, size), None, 8, False, 1e-3, "tf_same", "xavier", pool) for pool in ("mean", "flatten")
    )
    flat.load_state_dict(mean.state_dict())
    images = torch.rand(3, 1, size, size)
    assert flat(images).shape == (3, flat.n_features)
    assert torch.allclose(flat(images).unflatten(1, (8, -1)).mean(2), mean(images), atol=1e-6)
    assert flat.n_features == 8 * math.ceil(size / 16) ** 2
    assert mean.n_features == 8
