"""Relation Networks: a learned module, not a fixed distance, says how much a query is like a class.

With embedding f, relation module g, and side-by-side concatenation [ , ]:

    r(n, q) = sigmoid(g([sum of f(x) over the support of class n, f(q)])),
    loss = mean over queries and classes of (r(n, q) - 1 if q is of class n else 0)^2.

Classification follows Sung, Yang, Zhang, Xiang, Torr & Hospedales, "Learning to Compare: Relation Network for
Few-Shot Learning", CVPR 2018, equations 1 and 2, and, where the paper is silent, the authors' code
(floodsung/LearningToCompare_FSL): one episode per training step, the gradient norm of embedding and relation module
clipped separately (clip=norm_per_module), learning rates halved every 100,000 episodes (schedule=step), batch norm
always by statistics of the current batch: support, queries, and all their pairs, each by itself, at test too. So
published numbers are transductive, and a test batch has the same number of queries of every class.

Departures: the loss is a mean where the paper writes a sum (as the code; only clipping can tell). Two Adam
optimisers with the same settings are one. The code tests mini-ImageNet with 15 queries per class in batches of 3 or 5
per class; here all queries of an episode are one batch, so its experiments test 3 or 5 per class in as many more
episodes.

Regression is not in the paper. Here the query is related to every support example, and its output is the mean of the
support's targets, weighted by the relations:

    w(s, q) = r(s, q) / sum over s of r(s, q)   or   softmax over s of g([f(s), f(q)]),   output = sum of w(s, q) * y_s,

trained by squared error. Any network that embeds vectors or sequences will do; with feature vectors instead of maps
the relation module is a perceptron without batch norm.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from metaexp.core.algorithm import Algorithm
from metaexp.core.fields import Fraction, NonNegativeInt, PositiveInt
from metaexp.core.types import Examples
from metaexp.models.base import Network, has_batch_norm
from metaexp.models.batch_norm import Statistics, normalise_with
from metaexp.models.relation_module import relation_for


class ClassMaps(NamedTuple):
    """What classification remembers: one embedding (N, ...) per class."""

    maps: Tensor


class Neighbours(NamedTuple):
    """What regression remembers: embeddings (S, ...) of the support, and their targets (S, D_out)."""

    maps: Tensor
    targets: Tensor


class RelationNet(Algorithm):
    """Relation Network, for classification and regression.

    Args:
        model: the network that embeds examples.
        input_shape: the shape of one example, without the batch.
        relation_channels: channels of the relation module's convolutions. For embeddings that are vectors, the width
            of its first hidden layer.
        relation_hidden: width of the relation module's last hidden layer.
        relation_padding: padding of the relation module's convolutions. Published are 1 for Omniglot and 0 for
            mini-ImageNet.
        norm_momentum: weight of the newest batch in the relation module's stored statistics.
        class_map: the ``sum`` of a class's support, as published, or its ``mean``. Only the mean lets the shots at test
            differ from those in training.
        target_weights: how relations become weights in regression: by ``softmax``, or divided by their sum
            (``sigmoid``).
        batch_norm: what normalises queries at test: the current batch (``transductive``, as published), or averages
            stored in training (``running``). Training is the same for both.
    """

    model_output = "embedding"
    fixed_way = False
    is_faster_one_by_one = True

    def __init__(
        self,
        model: Network,
        input_shape: tuple[int, ...],
        relation_channels: PositiveInt,
        relation_hidden: PositiveInt,
        relation_padding: NonNegativeInt,
        norm_momentum: Fraction,
        class_map: Literal["sum", "mean"],
        target_weights: Literal["softmax", "sigmoid"],
        batch_norm: Literal["transductive", "running"],
    ) -> None:
        super().__init__()
        self.model = model
        self.relation = relation_for(
            model.feature_shape(input_shape), relation_channels, relation_hidden, relation_padding, norm_momentum
        )
        self.takes_mean = class_map == "mean"
        self.uses_softmax = target_weights == "softmax"
        self.tests_with_stored = batch_norm == "running"

    @property
    def batch_norm(self) -> Literal["transductive", "running", "none"]:
        if not has_batch_norm(self):
            return "none"
        return "running" if self.tests_with_stored else "transductive"

    def adapt(self, support: Examples) -> ClassMaps | Neighbours:
        """Embed the support, and pool it by class where there are classes."""
        maps = self._embed(support.x)
        if not support.n_way:
            return Neighbours(maps, support.y)
        members = F.one_hot(support.y, support.n_way).to(maps.dtype)  # (S, N)
        if self.takes_mean:
            members = members / members.sum(0)
        return ClassMaps(torch.tensordot(members, maps, dims=([0], [0])))  # (N, ...)

    def predict(self, adapted: ClassMaps | Neighbours, x: Tensor) -> Tensor:
        """Relation scores (M, N) in [0, 1], or outputs (M, D_out), for ``x`` (M, ...)."""
        query = self._embed(x)
        with normalise_with(self._statistics()):
            relations: Tensor = self.relation(adapted.maps, query)  # (M, N) or (M, S)
        if isinstance(adapted, ClassMaps):
            return relations.sigmoid()
        evidence = relations if self.uses_softmax else F.logsigmoid(relations)  # softmax of a logarithm: r / sum of r
        return evidence.softmax(1) @ adapted.targets

    def loss(self, scores: Tensor, y: Tensor) -> Tensor:
        """Mean squared error () of ``scores`` (M, N) against one-hot ``y`` (M,), or (M, D_out) against (M, D_out)."""
        target = y if y.is_floating_point() else F.one_hot(y, scores.shape[-1]).to(scores.dtype)
        return F.mse_loss(scores, target)

    def _embed(self, x: Tensor) -> Tensor:
        """Embeddings (B, ...) of ``x`` (B, ...), one batch of its own."""
        with normalise_with(self._statistics()):
            out: Tensor = self.model(x)
        return out

    def _statistics(self) -> Statistics:
        """In training the batch's, which are stored too, for ``batch_norm=running`` to test with."""
        if self.training:
            return "collect"
        return "stored" if self.tests_with_stored else "batch"
