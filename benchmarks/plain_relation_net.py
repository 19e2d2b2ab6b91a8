"""Relation Network, and the plain way to write it in torch.

The plain way is that of the published code: torch's batch norm, and every class map repeated for every query,
concatenated with it, and convolved.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaexp.algorithms.relation_net import RelationNet
from metaexp.core.types import Episode, Examples
from metaexp.models.relation_embedding import RelationEmbedding

IMAGE = (1, 28, 28)


def relation_net() -> RelationNet:
    """The published network for Omniglot under this package's algorithm."""
    model = RelationEmbedding(IMAGE, None, channels=64, norm_momentum=1.0)
    return RelationNet(
        model,
        IMAGE,
        relation_channels=64,
        relation_hidden=8,
        relation_padding=1,
        norm_momentum=1.0,
        class_map="sum",
        target_weights="softmax",
        batch_norm="transductive",
    )


class Plain(nn.Module):
    """The same in torch's own layers."""

    def __init__(self, algorithm: RelationNet) -> None:
        """Take the weights of ``algorithm``, whose layers come in the same order."""
        super().__init__()
        self.embedding = nn.Sequential(
            *(*block(1, 64, 0), nn.MaxPool2d(2), *block(64, 64, 0), nn.MaxPool2d(2)),
            *(*block(64, 64, 1), *block(64, 64, 1)),
        )
        self.relation = nn.Sequential(
            *(*block(128, 64, 1), nn.MaxPool2d(2), *block(64, 64, 1), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid()),
        )
        with torch.no_grad():
            for mine, theirs in zip(self.parameters(), algorithm.parameters(), strict=True):
                mine.copy_(theirs)

    def forward(self, support: Examples, x: Tensor) -> Tensor:
        """Scores (M, N) of ``x`` (M, C, H, W)."""
        members = F.one_hot(support.y, support.n_way).to(x.dtype)  # (S, N)
        classes = torch.einsum("sn,schw->nchw", members, self.embedding(support.x))
        queries = self.embedding(x)
        left = classes.unsqueeze(0).expand(len(x), -1, -1, -1, -1)
        right = queries.unsqueeze(1).expand(-1, support.n_way, -1, -1, -1)
        scores: Tensor = self.relation(torch.cat([left, right], 2).flatten(0, 1))  # (M * N, 1)
        return scores.view(len(x), support.n_way)

    def loss(self, episode: Episode) -> Tensor:
        """The published loss ()."""
        y = F.one_hot(episode.query.y, episode.support.n_way).to(episode.query.x.dtype)
        return F.mse_loss(self(episode.support, episode.query.x), y)


def block(n_in: int, n_out: int, padding: int) -> tuple[nn.Module, ...]:
    """Convolution, batch norm, ReLU."""
    return nn.Conv2d(n_in, n_out, 3, padding=padding), nn.BatchNorm2d(n_out, momentum=1.0), nn.ReLU()
