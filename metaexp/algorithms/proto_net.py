"""Prototypical Networks: a class is the mean of its embedded support, a query belongs to the nearest mean.

With embedding f, the prototype of class n is p_n = mean of f(x) over the support of class n, and

    score of class n = -|f(query) - p_n|^2,   loss = cross-entropy of the scores.

Nothing is adapted by gradient, so any number of classes can be tested; training with more classes (60) than are
tested (5 or 20) is what the paper recommends.

Source: Snell, Swersky & Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017, equations 1 to 2 and
algorithm 1. Batch norm as in the authors' code (jakesnell/prototypical-networks): in training one forward pass, and
so one batch, holds support and queries; at test running averages are used, which makes the published numbers
inductive. Departures: none known; ``batch_norm=transductive`` and ``distance=cosine`` are choices beside the
published defaults (the paper compares cosine too).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.core.fit.task_fit import needs_classes
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.models.base import has_batch_norm
from metaexp.models.batch_norm import normalise_with


class ProtoNet(Algorithm):
    """Prototypical Networks.

    Args:
        model: the network that embeds examples.
        train_shape: the shape of training tasks.
        distance: ``squared_euclidean`` (as published) or ``cosine``, whose score is the cosine itself.
        batch_norm: ``running`` (as published), or ``transductive``: support and queries are each normalised by
            themselves, in training and at test.

    Raises:
        ConfigError: Tasks are regression, which has no classes.
    """

    model_output = "embedding"
    fixed_way = False
    is_faster_one_by_one = True
    classes_needed = True

    def __init__(
        self,
        model: nn.Module,
        train_shape: TaskShape,
        distance: Literal["squared_euclidean", "cosine"],
        batch_norm: Literal["running", "transductive"],
    ) -> None:
        super().__init__()
        if train_shape.n_way == 0:
            raise ConfigError(needs_classes("algorithm=proto_net"))
        self.model = model
        self.is_cosine = distance == "cosine"
        self.normalises_with_batch = batch_norm == "transductive"

    @property
    def batch_norm(self) -> Literal["running", "transductive", "none"]:
        if not has_batch_norm(self.model):
            return "none"
        return "transductive" if self.normalises_with_batch else "running"

    def adapt(self, support: Examples) -> Tensor:
        """The prototypes (N, F) of ``support``."""
        return class_means(self._embed(support.x), support)

    def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
        """Scores (M, N) of ``x`` (M, ...) against prototypes ``adapted`` (N, F)."""
        return self._scores(self._embed(x), adapted)

    def meta_loss(self, episode: Episode) -> Tensor:
        """The loss () of the queries, which share a batch with the support set unless ``transductive``."""
        if self.normalises_with_batch:
            return super().meta_loss(episode)
        support, query = episode
        embedded = self._embed(torch.cat([support.x, query.x]))  # (S + M, F)
        prototypes = class_means(embedded[: len(support.x)], support)
        return self.loss(self._scores(embedded[len(support.x) :], prototypes), query.y)

    def _embed(self, x: Tensor) -> Tensor:
        """Embeddings (B, F); while training, running averages are collected by the network itself."""
        if self.normalises_with_batch:
            with normalise_with("batch"):
                out: Tensor = self.model(x)
        else:
            out = self.model(x)
        return out.flatten(1)  # (B, F)

    def _scores(self, embedded: Tensor, prototypes: Tensor) -> Tensor:
        """Scores (M, N) of embeddings (M, F) against prototypes (N, F)."""
        if self.is_cosine:
            return F.normalize(embedded, dim=1) @ F.normalize(prototypes, dim=1).T
        products = embedded @ prototypes.T  # (M, N)
        return 2 * products - (embedded**2).sum(1, keepdim=True) - (prototypes**2).sum(1)


def class_means(embedded: Tensor, support: Examples) -> Tensor:
    """The mean (N, F) of the embeddings (S, F) of every class of ``support``.

    Args:
        embedded: Support embeddings (S, F).
        support: The support set, for its labels (S,).
    """
    members = F.one_hot(support.y, support.n_way).to(embedded.dtype)  # (S, N)
    return (members.T @ embedded) / members.sum(0).unsqueeze(1)
