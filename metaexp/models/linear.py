"""No body: for features that another network has computed already."""

from __future__ import annotations

import math

from torch import Tensor, nn

from metaexp.models.base import Network


class Linear(Network):
    """The inputs as they are, and a linear head.

    With a head this is logistic or linear regression. Without one, metric learners compare the inputs themselves.

    Args:
        input_shape: the shape of one example.
        n_outputs: outputs of the head; None for no head.
    """

    def __init__(self, input_shape: tuple[int, ...], n_outputs: int | None) -> None:
        super().__init__()
        self.n_features = math.prod(input_shape)
        self.head = nn.Identity() if n_outputs is None else nn.Linear(self.n_features, n_outputs)

    def features(self, x: Tensor) -> Tensor:
        """The values (B, F) of ``x`` (B, ...)."""
        return x.flatten(1)

    def feature_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the features of one example; there is nothing to compute."""
        return (math.prod(input_shape),)
