"""The embedding of Relation Networks: four convolutions that keep a map."""

from __future__ import annotations

import math

from torch import Tensor, nn

from metaexp.core.errors import ConfigError
from metaexp.core.fields import Fraction, PositiveInt
from metaexp.models.base import Network
from metaexp.models.batch_norm import BatchNorm
from metaexp.models.conv4 import image_shape
from metaexp.models.conv_block import convolve_normalise_activate
from metaexp.models.init import zero_bias
from metaexp.models.layout import channels_last
from metaexp.models.nodes.mapped_conv import Conv2d


class RelationEmbedding(Network):
    """Four times [3x3 convolution -> batch norm -> ReLU], with 2x2 max-pooling after the first two.

    The first two convolutions are unpadded and the last two padded by one pixel, so 28x28 images become 5x5 maps and
    84x84 images 19x19 maps. Sung et al. (2018), section 4.1 and figure 2; padding, batch norm and initialisation as
    in the authors' code (floodsung/LearningToCompare_FSL). 111,936 parameters for one input channel, 113,088 for
    three.

    Args:
        input_shape: (C, H, W) of one image.
        n_outputs: outputs of a linear head on the flattened maps; None for no head.
        channels: channels of every convolution.
        norm_momentum: weight of the newest batch in the stored statistics. The authors' code has 1, which makes the
            stored statistics those of the last batch; it never uses them.

    Raises:
        ConfigError: Inputs are not images, or are smaller than 10x10.
    """

    def __init__(
        self, input_shape: tuple[int, ...], n_outputs: int | None, channels: PositiveInt, norm_momentum: Fraction
    ) -> None:
        super().__init__()
        n_maps, height, width = image_shape(input_shape, "RelationEmbedding")
        side = [((size - 2) // 2 - 2) // 2 for size in (height, width)]
        if min(side) < 1:
            raise ConfigError(
                f"RelationEmbedding shrinks images twice without padding and needs at least 10x10 pixels, "
                f"not {height}x{width}. Use larger images, or another model such as model=mlp."
            )
        self.blocks = nn.ModuleList(
            [
                EmbeddingBlock(n_maps, channels, norm_momentum, padding=0, pool=True),
                EmbeddingBlock(channels, channels, norm_momentum, padding=0, pool=True),
                EmbeddingBlock(channels, channels, norm_momentum, padding=1, pool=False),
                EmbeddingBlock(channels, channels, norm_momentum, padding=1, pool=False),
            ]
        )
        initialise_as_published(self)
        n_features = channels * math.prod(side)
        self.head: nn.Module = (
            nn.Identity() if n_outputs is None else nn.Sequential(nn.Flatten(), nn.Linear(n_features, n_outputs))
        )

    def features(self, x: Tensor) -> Tensor:
        """Feature maps (B, channels, h, w) of images ``x`` (B, C, H, W)."""
        if x.is_cpu:
            x = channels_last(x)
        for block in self.blocks:
            x = block(x)
        return x


class EmbeddingBlock(nn.Module):
    """3x3 convolution, batch norm, ReLU and, where ``pool``, 2x2 max-pooling: (B, C_in, H, W) -> (B, C_out, h, w)."""

    def __init__(self, n_in: int, n_out: int, norm_momentum: float, *, padding: int, pool: bool) -> None:
        super().__init__()
        self.conv = Conv2d(n_in, n_out, 3, padding=padding)
        self.norm = BatchNorm(n_out, momentum=norm_momentum)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """ReLU of the normalised convolution of ``x`` (B, C_in, H, W)."""
        return convolve_normalise_activate(x, self.conv, self.norm, pool=self.pool)


def initialise_as_published(network: nn.Module) -> None:
    """Initialise in place as the authors do.

    Convolutions get N(0, 2 / (k * k * C_out)) and zero biases, linear layers N(0, 0.01^2) and biases of one. (Batch
    norm starts as 1 and 0 by itself.)
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = math.prod(layer.kernel_size) * layer.out_channels
            nn.init.normal_(layer.weight, std=math.sqrt(2.0 / fan_out))
            zero_bias(layer)
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.ones_(layer.bias)
