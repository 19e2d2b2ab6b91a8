"""The four-block convolutional network with max-pooling that most few-shot papers share."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from metaexp.core.errors import ConfigError
from metaexp.core.fields import Fraction, PositiveFloat, PositiveInt
from metaexp.core.inner import in_transform
from metaexp.models.base import Network
from metaexp.models.batch_norm import BatchNorm
from metaexp.models.conv_block import convolve_normalise_activate
from metaexp.models.init import zero_bias
from metaexp.models.layout import channels_last
from metaexp.models.nodes.mapped_conv import Conv2d


class Conv4(Network):
    """Four times [3x3 convolution, pad 1 -> batch norm -> ReLU -> 2x2 max-pool], flattened, then a linear head.

    Vinyals et al. (2016). MAML and Meta-LSTM have 32 channels on mini-ImageNet, Prototypical Networks have 64.
    28x28 images end as 1x1 maps, 84x84 images as 5x5 maps.

    Args:
        input_shape: (C, H, W) of one image.
        n_outputs: outputs of the head; None for no head.
        channels: channels of every convolution.
        norm_scale: whether batch norm has a gamma (MAML's code has none).
        norm_init: where gamma starts: at one (``ones``), or ``uniform`` in [0, 1] (torch7, Meta-LSTM's code).
        norm_eps: eps of batch norm.
        norm_momentum: weight of the newest batch in the stored statistics.
        weight_init: torch's ``default``, or ``xavier``: Xavier-uniform with zero biases (MAML's code), for the head
            too.

    Raises:
        ConfigError: Inputs are not images, or are smaller than 16x16.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        n_outputs: int | None,
        channels: PositiveInt,
        norm_scale: bool,
        norm_init: Literal["ones", "uniform"],
        norm_eps: PositiveFloat,
        norm_momentum: Fraction,
        weight_init: Literal["default", "xavier"],
    ) -> None:
        super().__init__()
        n_maps, height, width = image_shape(input_shape, "Conv4")
        side = (height // 16, width // 16)
        if 0 in side:
            raise ConfigError(f"Conv4 halves images four times and needs at least 16x16, not {height}x{width}.")
        widths = [n_maps] + [channels] * 4
        self.blocks = nn.ModuleList(
            ConvBlock(a, b, norm_scale, norm_init, norm_eps, norm_momentum) for a, b in pairwise(widths)
        )
        self.n_features = channels * math.prod(side)
        self.head = nn.Identity() if n_outputs is None else nn.Linear(self.n_features, n_outputs)
        if weight_init == "xavier":
            xavier_(self)

    def features(self, x: Tensor) -> Tensor:
        """Features (B, F) of images ``x`` (B, C, H, W)."""
        if x.is_cpu and not in_transform():  # inner loops are faster without
            x = channels_last(x)
        for block in self.blocks:
            x = block(x)
        return x.flatten(1)  # (B, F)


class ConvBlock(nn.Module):
    """3x3 convolution, batch norm, ReLU, 2x2 max-pool."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        norm_scale: bool,
        norm_init: Literal["ones", "uniform"],
        norm_eps: float,
        norm_momentum: float,
    ) -> None:
        super().__init__()
        self.conv = Conv2d(n_in, n_out, 3, padding=1)
        self.norm = BatchNorm(n_out, scale=norm_scale, eps=norm_eps, momentum=norm_momentum)
        if norm_init == "uniform" and self.norm.weight is not None:
            nn.init.uniform_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H // 2, W // 2)."""
        return convolve_normalise_activate(x, self.conv, self.norm, pool=True)


def image_shape(input_shape: tuple[int, ...], name: str) -> tuple[int, int, int]:
    """(C, H, W), or a ConfigError when the data are not images.

    Args:
        input_shape: The shape of one example.
        name: The network's class, for the message.
    """
    if len(input_shape) != 3:
        raise ConfigError(
            f"{name} takes images (channels, height, width), but the dataset gives examples of shape "
            f"{tuple(input_shape)}. Choose another model, such as model=mlp or model=lstm."
        )
    channels, height, width = input_shape
    return channels, height, width


def xavier_(network: nn.Module) -> None:
    """Xavier-uniform weights and zero biases for every convolution and linear layer, in place."""
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(layer.weight)
            zero_bias(layer)
