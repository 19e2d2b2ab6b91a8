"""Multi-layer perceptrons."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from metaexp.core.errors import ConfigError
from metaexp.core.fields import PositiveFloat
from metaexp.models.base import Network
from metaexp.models.batch_norm import BatchNorm
from metaexp.models.init import truncated_normal, zero_bias


class MLP(Network):
    """Hidden layers [linear -> batch norm where wanted -> ReLU], then a linear head; inputs are flattened.

    Finn et al. (2017): 256-128-64-64 with batch norm for Omniglot ("no conv"), 40-40 without for sinusoids. Both have
    zero biases, and weights from a normal distribution of standard deviation 0.01 cut at two of them.

    Args:
        input_shape: the shape of one example.
        n_outputs: outputs of the head; None for no head.
        hidden: widths of the hidden layers, at least one.
        use_batch_norm: whether hidden layers have batch norm.
        norm_scale: whether batch norm has a gamma.
        norm_eps: eps of batch norm.
        weight_init: ``truncated_normal`` with standard deviation ``init_std``, or torch's ``default``.
        init_std: standard deviation of ``truncated_normal``.

    Raises:
        ConfigError: ``hidden`` is empty or has a width below 1.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        n_outputs: int | None,
        hidden: list[int],
        use_batch_norm: bool,
        norm_scale: bool,
        norm_eps: PositiveFloat,
        weight_init: Literal["truncated_normal", "default"],
        init_std: PositiveFloat,
    ) -> None:
        super().__init__()
        if not hidden or min(hidden) < 1:
            raise ConfigError(f"model.hidden={hidden} needs at least one width, each at least 1, such as [40, 40].")
        widths = [math.prod(input_shape), *hidden]
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {"linear": nn.Linear(a, b)}
                | ({"norm": BatchNorm(b, scale=norm_scale, eps=norm_eps)} if use_batch_norm else {})
            )
            for a, b in pairwise(widths)
        )
        self.n_features = hidden[-1]
        self.head = nn.Identity() if n_outputs is None else nn.Linear(hidden[-1], n_outputs)
        if weight_init == "truncated_normal":
            for layer in self.modules():
                if isinstance(layer, nn.Linear):
                    truncated_normal(layer.weight, init_std)
                    zero_bias(layer)

    def features(self, x: Tensor) -> Tensor:
        """Features (B, hidden[-1]) of ``x`` (B, ...)."""
        x = x.flatten(1)  # (B, D)
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleDict)
            for part in layer.values():
                x = part(x)
            x = x.relu()
        return x
