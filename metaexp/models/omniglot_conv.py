"""MAML's convolutional network for Omniglot: strides instead of pooling."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from metaexp.core.fields import PositiveFloat, PositiveInt
from metaexp.models.base import Network
from metaexp.models.batch_norm import BatchNorm
from metaexp.models.conv4 import image_shape, xavier_
from metaexp.models.conv_block import convolve_normalise_activate
from metaexp.models.init import zero_bias
from metaexp.models.nodes.mapped_conv import Conv2d


class OmniglotConv(Network):
    """Four times [3x3 convolution with stride 2 -> batch norm -> ReLU], the map pooled, a linear head.

    Finn et al. (2017), appendix A.1 and the authors' code: 28 -> 14 -> 7 -> 4 -> 2, 64 channels, Xavier-uniform
    convolutions, batch norm without gamma and with eps 1e-3, head weights from N(0, 1), zero biases.
    111,749 weights at 5 ways, plus 256 betas.

    On an image turned by 180 degrees, symmetric padding leaves out what TensorFlow leaves out. So ``tf_same`` turns
    the input once and keeps its kernels turned, and no padded copy of any map is made.

    Args:
        input_shape: (C, H, W) of one image.
        n_outputs: outputs of the head; None for no head.
        channels: channels of every convolution.
        norm_scale: whether batch norm has a gamma.
        norm_eps: eps of batch norm.
        padding: ``tf_same`` pads even inputs only below and to the right, as TensorFlow does. ``symmetric`` pads one
            pixel everywhere, which gives the same sizes on a grid shifted by one pixel.
        head_init: ``normal`` is N(0, 1); ``xavier`` is Xavier-uniform.
        pool: the features are the ``mean`` over the map, or the map itself, ``flatten`` (Reptile's code).

    Raises:
        ConfigError: Inputs are not images.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        n_outputs: int | None,
        channels: PositiveInt,
        norm_scale: bool,
        norm_eps: PositiveFloat,
        padding: Literal["tf_same", "symmetric"],
        head_init: Literal["normal", "xavier"],
        pool: Literal["mean", "flatten"],
    ) -> None:
        super().__init__()
        n_maps, height, width = image_shape(input_shape, "OmniglotConv")
        self.turns_input = padding == "tf_same"
        widths = [n_maps] + [channels] * 4
        self.blocks = nn.ModuleList(StridedBlock(a, b, norm_scale, norm_eps) for a, b in pairwise(widths))
        self.takes_mean = pool == "mean"
        positions = 1 if self.takes_mean else math.ceil(height / 16) * math.ceil(width / 16)
        self.n_features = channels * positions
        self.head = nn.Identity() if n_outputs is None else nn.Linear(self.n_features, n_outputs)
        xavier_(self)
        if isinstance(self.head, nn.Linear) and head_init == "normal":
            nn.init.normal_(self.head.weight)
            zero_bias(self.head)

    def features(self, x: Tensor) -> Tensor:
        """Features (B, F) of images ``x`` (B, C, H, W)."""
        if self.turns_input:
            x = x.flip((2, 3))
        for block in self.blocks:
            x = block(x)
        return x.mean((2, 3)) if self.takes_mean else x.flatten(1)  # (B, F)


class StridedBlock(nn.Module):
    """3x3 convolution with stride 2, batch norm, ReLU: (B, C_in, H, W) -> (B, C_out, ceil(H / 2), ceil(W / 2))."""

    def __init__(self, n_in: int, n_out: int, norm_scale: bool, norm_eps: float) -> None:
        super().__init__()
        self.conv = Conv2d(n_in, n_out, 3, stride=2, padding=1)
        self.norm = BatchNorm(n_out, scale=norm_scale, eps=norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """ReLU of the normalised convolution of ``x`` (B, C_in, H, W)."""
        return convolve_normalise_activate(x, self.conv, self.norm, pool=False)
