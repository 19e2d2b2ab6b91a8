"""The relation module of Relation Networks: a learned score for every pair of a query and a memory.

The first layer sees a memory (an embedded class, or an embedded support example) and a query side by side, memory
first. It is linear, so its output for a pair is the sum of what each half gives alone: N + M halves are computed
instead of N * M whole pairs. The same holds for the statistics of the batch norm that follows. The result is that of
the concatenation, at a fraction of the arithmetic (a third of the whole episode at 5 ways, a quarter at 20).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch.nn.functional as F
from torch import Tensor, nn

from metaexp.core.errors import ConfigError
from metaexp.models.batch_norm import BatchNorm
from metaexp.models.conv_block import convolve_normalise_activate
from metaexp.models.nodes.mapped_conv import Conv2d
from metaexp.models.pair_norm import PairNorm
from metaexp.models.relation_embedding import initialise_as_published


class Relation(nn.Module, ABC):
    """Relation scores, before the sigmoid, between memories and queries of the same shape."""

    @abstractmethod
    def forward(self, memory: Tensor, query: Tensor) -> Tensor:
        """Scores (M, N) of queries ``query`` (M, ...) against memories ``memory`` (N, ...)."""


class MapRelation(Relation):
    """Two times [3x3 convolution -> batch norm -> ReLU -> 2x2 max-pool], then two linear layers, on pairs of maps.

    Sung et al. (2018), figure 2, with the initialisation of the authors' code. With 64 channels it has 111,505
    parameters for Omniglot and 115,601 for mini-ImageNet.

    Args:
        map_shape: (C, h, w) of one embedded image.
        channels: channels of both convolutions.
        hidden: width of the first linear layer.
        padding: padding of both convolutions. The authors' code has 1 for Omniglot (5x5 maps) and 0 for mini-ImageNet
            (19x19 maps).
        norm_momentum: weight of the newest batch in stored statistics.

    Raises:
        ConfigError: The maps are too small for the padding.
    """

    def __init__(
        self, map_shape: tuple[int, int, int], channels: int, hidden: int, padding: int, norm_momentum: float
    ) -> None:
        super().__init__()
        n_maps, height, width = map_shape
        shrink = 2 - 2 * padding
        sides = [((size - shrink) // 2 - shrink) // 2 for size in (height, width)]
        if min(sides) < 1:
            raise ConfigError(
                f"algorithm.relation_padding={padding} needs maps of at least {4 + 3 * shrink}x{4 + 3 * shrink}, but "
                f"the model embeds an image as {height}x{width}. Set a larger algorithm.relation_padding (1 is "
                "published for 28x28 images), or use larger images."
            )
        self.padding = padding
        self.conv1 = Conv2d(2 * n_maps, channels, 3, padding=padding)
        self.norm1 = PairNorm(channels, momentum=norm_momentum)
        self.conv2 = Conv2d(channels, channels, 3, padding=padding)
        self.norm2 = BatchNorm(channels, momentum=norm_momentum)
        self.linear1 = nn.Linear(channels * sides[0] * sides[1], hidden)
        self.linear2 = nn.Linear(hidden, 1)
        initialise_as_published(self)

    def forward(self, memory: Tensor, query: Tensor) -> Tensor:
        """Scores (M, N) of query maps (M, C, h, w) against memory maps (N, C, h, w)."""
        for_memory, for_query = self.conv1.weight.chunk(2, dim=1)
        memory = F.conv2d(memory, for_memory, padding=self.padding)
        query = F.conv2d(query, for_query, padding=self.padding)
        pairs = self.norm1.activate_pairs(memory, query, self.conv1.bias)  # (M * N, channels, h', w')
        pairs = convolve_normalise_activate(pairs, self.conv2, self.norm2, pool=True)
        scores: Tensor = self.linear2(self.linear1(pairs.flatten(1)).relu())  # (M * N, 1)
        return scores.view(len(query), len(memory))


class VectorRelation(Relation):
    """A perceptron with two hidden layers on pairs of vectors, without batch norm, so that pairs are independent.

    The paper does not have it, because its embeddings are maps. It is the relation module for networks that embed
    vectors, such as perceptrons and LSTMs. It is initialised as torch does.

    Args:
        n_features: F, the width of one vector.
        channels: width of the first hidden layer.
        hidden: width of the second hidden layer.
    """

    def __init__(self, n_features: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(2 * n_features, channels)
        self.linear2 = nn.Linear(channels, hidden)
        self.linear3 = nn.Linear(hidden, 1)

    def forward(self, memory: Tensor, query: Tensor) -> Tensor:
        """Scores (M, N) of query vectors (M, F) against memory vectors (N, F)."""
        for_memory, for_query = self.linear1.weight.chunk(2, dim=1)
        pairs = F.linear(query, for_query, self.linear1.bias).unsqueeze(1) + F.linear(memory, for_memory)
        scores: Tensor = self.linear3(self.linear2(pairs.relu()).relu())  # (M, N, 1)
        return scores.squeeze(2)


def relation_for(
    feature_shape: tuple[int, ...], channels: int, hidden: int, padding: int, norm_momentum: float
) -> Relation:
    """Make the relation module for embeddings of a shape.

    Args:
        feature_shape: Shape of an embedding: maps (C, h, w), or a vector (F,).
        channels: Channels of the convolutions.
        hidden: Width of the hidden layer.
        padding: Padding of the convolutions.
        norm_momentum: Momentum of the running statistics of batch norm.

    Raises:
        ConfigError: Embeddings are neither maps nor vectors.
    """
    if len(feature_shape) == 3:
        maps, height, width = feature_shape
        return MapRelation((maps, height, width), channels, hidden, padding, norm_momentum)
    if len(feature_shape) == 1:
        return VectorRelation(feature_shape[0], channels, hidden)
    raise ConfigError(
        f"the relation module takes feature maps (channels, height, width) or feature vectors, but the model gives "
        f"features of shape {feature_shape}. Choose another model, such as model=relation_embedding or model=mlp."
    )
