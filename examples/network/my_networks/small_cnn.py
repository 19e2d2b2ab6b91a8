"""A small convolutional network."""

from torch import Tensor, nn

from metaexp.core.fields import PositiveInt
from metaexp.models.base import Network
from metaexp.models.batch_norm import BatchNorm


class SmallCNN(Network):
    """Two blocks of [3x3 convolution, stride 2, batch norm, ReLU], then the mean over the map and a linear head."""

    def __init__(self, input_shape: tuple[int, ...], n_outputs: int | None, channels: PositiveInt) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(input_shape[0], channels, 3, stride=2, padding=1),
            BatchNorm(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, stride=2, padding=1),
            BatchNorm(channels),
            nn.ReLU(),
        )
        self.head = nn.Identity() if n_outputs is None else nn.Linear(channels, n_outputs)

    def features(self, x: Tensor) -> Tensor:
        """Features (B, channels) of images (B, C, H, W)."""
        out: Tensor = self.body(x).mean((-2, -1))
        return out
