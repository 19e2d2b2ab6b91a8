"""Nearest neighbour: a query takes the label of the closest support example. The baseline that learns no task.

Distances are taken between the examples themselves (nothing is trained at all), or between embeddings by a network
that was trained to classify all training classes.

Source: the baselines of Vinyals et al. (2016), table 1 ("pixels"), and of Ravi & Larochelle (2017), table 1
("baseline-nearest-neighbor"): cross-entropy over all training classes, then nearest neighbour in the last layer but
one. Batch norm uses running averages. In regression the value of the closest support point is copied.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.core.fit.task_fit import needs_classes
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.models.base import Network, has_batch_norm, parameters_of


class Neighbours(NamedTuple):
    """points (S, F), and their labels one-hot (S, N), or their targets (S, D_out) in regression."""

    points: Tensor
    targets: Tensor


class NearestNeighbour(Algorithm):
    """One nearest neighbour, on the examples or on embeddings.

    Args:
        model: the network that embeds examples; ``space=inputs`` does not use it.
        input_shape: the shape of one example, without the batch.
        n_outputs: the number of training classes, which is the number of outputs of the classifier that is trained.
        train_shape: the shape of training tasks, which says whether this is regression.
        space: where distances are taken: ``inputs`` (pixels; nothing is trained), or the ``embedding``.
        distance: ``euclidean`` or ``cosine``.

    Raises:
        ConfigError: ``space=embedding`` in regression, where there are no classes.
    """

    model_output = "embedding"
    training_tasks = "supervised"
    fixed_way = False
    is_faster_one_by_one = True
    classes_needed = {"space": ("embedding", "inputs")}

    def __init__(
        self,
        model: Network,
        input_shape: tuple[int, ...],
        n_outputs: int,
        train_shape: TaskShape,
        space: Literal["inputs", "embedding"],
        distance: Literal["euclidean", "cosine"],
    ) -> None:
        super().__init__()
        self.classifies = train_shape.n_way > 0
        self.is_cosine = distance == "cosine"
        self.model: Network | None = None
        self.head: nn.Linear | None = None
        if space == "embedding":
            if not self.classifies:
                raise ConfigError(needs_classes("algorithm.space=embedding", "algorithm.space=inputs"))
            self.model = model
            self.head = nn.Linear(math.prod(model.feature_shape(input_shape)), n_outputs)

    @property
    def batch_norm(self) -> Literal["running", "none"]:
        return "running" if self.model is not None and has_batch_norm(self.model) else "none"

    @property
    def only_for_training(self) -> frozenset[str]:
        """The classifier."""
        return frozenset() if self.head is None else frozenset(f"head.{name}" for name in parameters_of(self.head))

    def adapt(self, support: Examples) -> Neighbours:
        """Store the support set."""
        targets = F.one_hot(support.y, support.n_way) if self.classifies else support.y
        return Neighbours(self._embed(support.x), targets)

    def predict(self, adapted: Neighbours, x: Tensor) -> Tensor:
        """Minus the distances to the nearest example of every class (M, N); in regression, its target (M, D_out)."""
        distances = self._distances(self._embed(x), adapted.points)  # (M, S)
        if not self.classifies:
            return adapted.targets[distances.argmin(1)]
        elsewhere = adapted.targets.T.unsqueeze(1) == 0  # (N, 1, S)
        return -distances.unsqueeze(0).masked_fill(elsewhere, torch.inf).amin(2).T  # (M, N)

    def meta_loss(self, episode: Episode) -> Tensor:
        """The classifier's loss () on a batch under its fixed labels; zero on inputs, where nothing is trained."""
        x, y, _ = episode.query
        if self.head is None:
            return x.new_zeros(())
        scores: Tensor = self.head(self._embed(x))
        return self.loss(scores, y)

    def _embed(self, x: Tensor) -> Tensor:
        """Points (B, F)."""
        return x.flatten(1) if self.model is None else self.model(x).flatten(1)

    def _distances(self, queries: Tensor, points: Tensor) -> Tensor:
        """One minus the cosine, or squared Euclidean distances (M, S), between (M, F) and (S, F)."""
        if self.is_cosine:
            return 1 - F.normalize(queries, dim=1) @ F.normalize(points, dim=1).T
        wide = torch.promote_types(queries.dtype, torch.float32)  # there is no kernel for bf16
        # From differences: |q|^2 + |p|^2 - 2 q.p would be rounding alone for points that are close but far from zero.
        distances = torch.cdist(queries.to(wide), points.to(wide), compute_mode="donot_use_mm_for_euclid_dist")
        return distances.square()
