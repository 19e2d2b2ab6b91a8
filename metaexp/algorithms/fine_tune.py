"""Pre-train, then fine-tune: transfer learning, the baseline that every meta-learner has to beat.

A network is trained to classify all training classes (in regression: to fit all training tasks at once). At test
a new last layer, or the whole network, is fitted to the support set by gradient descent:

    w <- w - lr * (gradient of the mean support loss + weight_decay * w), k times.

``head=linear`` is the "Baseline" and ``head=cosine`` the "Baseline++" of Chen, Liu, Kira, Wang & Huang, "A Closer Look
at Few-shot Classification", ICLR 2019; ``tune=all`` the fine-tuning baseline of Ravi & Larochelle (2017), and, in
regression, the pre-trained baseline of Finn et al. (2017), section 5.1.

Departures: the new last layer starts from zero, not at random (predictions then treat all classes alike, and are a
function of the support set alone); fine-tuning takes the whole support set at every step and no momentum, where
Chen et al. take batches of 4, and momentum 0.9 with dampening 0.9, which averages gradients without making steps
longer. The cosine head has normalised features, and weights whose norm is free, as in the authors' code.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.core.fields import NonNegativeFloat, NonNegativeInt, PositiveFloat
from metaexp.core.fit.task_fit import needs_classes
from metaexp.core.inner import Params, descend, last
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.models.base import Network, buffers_of, call, has_batch_norm, parameters_of


class Tuned(NamedTuple):
    """Parameters of the body that were tuned (none when only the head was), and the head's weight and bias."""

    body: Params
    head: Params


class FineTune(Algorithm):
    """Pre-training and fine-tuning.

    Args:
        model: the network that is trained, without a last layer.
        input_shape: the shape of one example, without the batch.
        n_outputs: the number of training classes. In regression it is D_out, and the trained last layer is tuned on and
            not replaced.
        train_shape: the shape of training tasks, which says whether this is regression.
        head: the last layer, ``linear`` or ``cosine``.
        cosine_scale: factor on the scores of ``cosine``.
        tune: what changes at test, the last layer (``head``) or ``all``.
        tune_steps: steps of gradient descent at test.
        tune_lr: learning rate at test.
        tune_weight_decay: weight decay at test.
        cosine_scale_test: ``cosine_scale`` at test; None for the same. A task has fewer classes than training has, and
            the authors' factor depends on their number.

    Raises:
        ConfigError: ``head=cosine`` in regression, where there are no classes.
    """

    model_output = "embedding"
    training_tasks = "supervised"
    fixed_way = False
    classes_needed = {"head": ("cosine", "linear")}

    def __init__(
        self,
        model: Network,
        input_shape: tuple[int, ...],
        n_outputs: int,
        train_shape: TaskShape,
        head: Literal["linear", "cosine"],
        cosine_scale: PositiveFloat,
        tune: Literal["head", "all"],
        tune_steps: NonNegativeInt,
        tune_lr: PositiveFloat,
        tune_weight_decay: NonNegativeFloat,
        cosine_scale_test: PositiveFloat | None = None,
    ) -> None:
        super().__init__()
        if head == "cosine" and train_shape.n_way == 0:
            raise ConfigError(needs_classes("algorithm.head=cosine", "algorithm.head=linear"))
        self.classifies = train_shape.n_way > 0
        self.model = model
        self.n_features = math.prod(model.feature_shape(input_shape))
        self.head = nn.Linear(self.n_features, n_outputs, bias=head == "linear")
        self.is_cosine = head == "cosine"
        self.scale = cosine_scale
        self.scale_test = cosine_scale if cosine_scale_test is None else cosine_scale_test
        self.tunes_all = tune == "all"
        self.tune_steps = tune_steps
        self.tune_lr = tune_lr
        self.tune_weight_decay = tune_weight_decay

    @property
    def batch_norm(self) -> Literal["running", "none"]:
        return "running" if has_batch_norm(self.model) else "none"

    @property
    def only_for_training(self) -> frozenset[str]:
        """The last layer, where a new one is fitted to each task."""
        return frozenset(f"head.{name}" for name in parameters_of(self.head)) if self.classifies else frozenset()

    def adapt(self, support: Examples) -> Tuned:
        """Fit the support set."""
        return last(self._path(support))

    def predict(self, adapted: Tuned, x: Tensor) -> Tensor:
        """Scores (M, N) or outputs (M, D_out) of ``x`` (M, ...)."""
        return self._scores(adapted.head, self._features(adapted.body, x), self.scale_test)

    def adaptation_path(self, support: Examples) -> Iterable[Tuned]:
        """With ``tune=all``, after 0, 1, ... steps; otherwise the end alone, since all start from a head of zeros."""
        return self._path(support) if self.tunes_all else [self.adapt(support)]

    def meta_loss(self, episode: Episode) -> Tensor:
        """The loss () of the query batch under its fixed labels, without any adaptation."""
        x, y, _ = episode.query
        features = self.model(x).flatten(1)  # (B, F)
        return self.loss(self._scores(parameters_of(self.head), features, self.scale), y)

    def _path(self, support: Examples) -> Iterator[Tuned]:
        """Body and head after 0, 1, ... steps."""
        head = self._first_head(support)
        if self.tunes_all:
            body = parameters_of(self.model)
            for flat in self._descend({**_prefixed("body.", body), **_prefixed("head.", head)}, support, None):
                yield Tuned(_without("body.", flat), _without("head.", flat))
        else:
            features = self._features({}, support.x)
            for flat in self._descend(_prefixed("head.", head), support, features):
                yield Tuned({}, _without("head.", flat))

    def _descend(self, params: Params, support: Examples, features: Tensor | None) -> Iterator[Params]:
        """Steps on the support loss; ``features`` (S, F) are computed in every step where the body changes (None)."""

        def support_loss(params: Params) -> Tensor:
            inputs = self._features(_without("body.", params), support.x) if features is None else features
            decay = sum((p * p).sum() for p in params.values()) * (0.5 * self.tune_weight_decay)
            scores = self._scores(_without("head.", params), inputs, self.scale_test)
            return self.loss(scores, support.y) + decay

        return descend(support_loss, params, self.tune_lr, self.tune_steps, first_order=True)

    def _first_head(self, support: Examples) -> Params:
        """The head that tuning starts from: zeros (N, F) for new classes, the trained one in regression."""
        head = parameters_of(self.head)
        if support.n_way == 0:
            return head
        return {name: p.new_zeros(support.n_way, *p.shape[1:]) for name, p in head.items()}

    def _features(self, body: Params, x: Tensor) -> Tensor:
        """Features (B, F) of ``x`` (B, ...), batch norm by running averages; ``body`` replaces own parameters."""
        params = {**parameters_of(self.model), **body}
        return call(self.model, params, buffers_of(self.model), x, "stored").values.flatten(1)

    def _scores(self, head: Params, features: Tensor, scale: float) -> Tensor:
        """Scores (B, N) of features (B, F); ``scale`` is the factor on cosines."""
        if self.is_cosine:
            features = scale * F.normalize(features, dim=1)
        return F.linear(features, head["weight"], head.get("bias"))


def _prefixed(prefix: str, params: Params) -> Params:
    return {prefix + name: p for name, p in params.items()}


def _without(prefix: str, params: Params) -> Params:
    return {name.removeprefix(prefix): p for name, p in params.items() if name.startswith(prefix)}
