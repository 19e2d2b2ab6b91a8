"""A network in torch's own words: an nn.Module with torch's layers."""

from __future__ import annotations

from torch import Tensor, nn


class Plain(nn.Module):
    """Two convolutions with torch's batch norm, then a linear layer, which is left out where features are asked for."""

    def __init__(self, input_shape: tuple[int, ...], n_outputs: int | None, width: int = 32) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(input_shape[0], width, 3, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.head = nn.Identity() if n_outputs is None else nn.Linear(width, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, n_outputs), or features (B, width), of images (B, C, H, W)."""
        out: Tensor = self.head(self.body(x).mean((-2, -1)))
        return out
