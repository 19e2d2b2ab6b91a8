"""The interface of a meta-learning algorithm: it sees one task at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Literal

from torch import Tensor, nn

from metaexp.core.losses import task_loss
from metaexp.core.types import Adapted, Episode, Examples

BatchNormMode = Literal["transductive", "support_and_query", "episode", "running", "none"]
"""Where the statistics that normalise a *query* at test time come from.

transductive: the current batch, so the other queries (MAML, Relation Network as published).
support_and_query: the support set together with that one query (Reptile without transduction as published).
episode: the episode's own support set (Meta-LSTM as published).
running: averages kept during training (Prototypical Networks as published).
none: nothing is normalised by statistics.
"""


class Algorithm(nn.Module, ABC):
    """A meta-learner. Its parameters are the meta-parameters; its methods are pure functions of one task.

    Subclasses implement :meth:`adapt` and :meth:`predict`. They write no attribute, draw no global random
    number, move nothing between devices, and never loop over tasks: the runner maps them over a batch.
    ``self.training`` tells meta-training from meta-testing, as everywhere in torch (a different number of
    inner steps, say); the runner sets it.
    """

    model_output: ClassVar[Literal["scores", "embedding"]] = "scores"
    """What the network is built to return: one score per class (or regression output), or its features."""

    training_tasks: ClassVar[Literal["episodes", "supervised"]] = "episodes"
    """What it is trained on. supervised: batches over all training classes under their fixed labels, each an episode
    whose support and query are both the batch; in regression, which has no classes, ordinary tasks."""

    fixed_way: ClassVar[bool] = True
    """Whether it can only be tested with the number of classes it was trained with."""

    @property
    @abstractmethod
    def batch_norm(self) -> BatchNormMode:
        """The batch-norm mode at test, printed beside every number."""

    @property
    def first_order(self) -> bool | None:
        """Whether second derivatives are left out of the meta-gradient; None where there is no inner gradient."""
        return None

    @property
    def depends_on_support_order(self) -> bool:
        """Whether the order of the support examples changes predictions (an LSTM that reads them, mini-batches)."""
        return False

    @property
    def vectorises(self) -> bool:
        """Whether :func:`torch.vmap` can map its methods over tasks; where not, tasks are taken one at a time."""
        return True

    def begin_step(self, step: int, total_steps: int) -> None:
        """Set whatever is annealed over meta-training; by default nothing is.

        Called before meta-update ``step`` (0-based) of ``total_steps``, outside the mapped functions. What it sets must
        be a function of the two numbers alone, so that a resumed run continues as an undisturbed one would; an
        algorithm that was never told a step behaves as at step 0.
        """

    @abstractmethod
    def adapt(self, support: Examples) -> Adapted:
        """Learn from a support set. Returns any nest of tensors."""

    @abstractmethod
    def predict(self, adapted: Adapted, x: Tensor) -> Tensor:
        """Scores (M, N) of a classification task, or outputs (M, D_out) of a regression task, for ``x`` (M, ...)."""

    def loss(self, scores: Tensor, y: Tensor) -> Tensor:
        """The loss () of ``scores`` (M, N) or (M, D_out) against ``y`` (M,) or (M, D_out)."""
        return task_loss(scores, y)

    def meta_loss(self, episode: Episode) -> Tensor:
        """The loss () whose gradient trains the meta-parameters: by default, of the queries after adaptation."""
        return self.loss(self.predict(self.adapt(episode.support), episode.query.x), episode.query.y)

    def trajectory(self, support: Examples) -> Iterable[Adapted]:
        """What adaptation goes through: states after 0, 1, ... steps, the last equal to ``adapt(support)``.

        Each is used before the next is asked for, so a generator saves the memory of holding them all.
        """
        return [self.adapt(support)]

    def forward(self, episode: Episode) -> Tensor:
        """:meth:`meta_loss`, so that the module can be called (and be called functionally)."""
        return self.meta_loss(episode)
