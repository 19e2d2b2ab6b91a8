"""The interface of a meta-learning algorithm: it sees one task at a time."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from metaexp.core.errors import ConfigError
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

_RENAMED = {"begin_step": "set_progress", "trajectory": "adaptation_path"}
"""Earlier names of methods, under which users' algorithms may still define and call them."""


class Algorithm(nn.Module, ABC):
    """A meta-learner. Its parameters are the meta-parameters; its methods are pure functions of one task.

    Subclasses implement :meth:`adapt` and :meth:`predict`. These methods write no attribute, draw no global random
    number and move nothing between devices. They never loop over tasks, because the caller maps them over a batch.
    ``self.training`` tells meta-training from meta-testing, as everywhere in torch, for example to take a different
    number of inner steps. The caller sets it.
    """

    model_output: ClassVar[Literal["scores", "embedding"]] = "scores"
    """What the network is built to return: one score per class (or regression output), or its features."""

    training_tasks: ClassVar[Literal["episodes", "supervised"]] = "episodes"
    """What it is trained on. supervised: batches over all training classes under their fixed labels, each an episode
    whose support and query are both the batch; in regression, which has no classes, ordinary tasks."""

    is_faster_one_by_one: ClassVar[bool] = False
    """Whether a CPU computes tasks of images faster one at a time. It does if a task is a few large operations,
    without gradient steps: outside ``torch.vmap`` they have faster kernels."""

    faster_one_by_one_from: ClassVar[int | None] = None
    """The number of support examples from which the same holds for constant inner gradients (in tests, and of first
    order); None for never. With fewer, the operations of one task are too small."""

    fixed_way: ClassVar[bool] = True
    """Whether it can only be tested with the number of classes it was trained with."""

    classes_needed: ClassVar[bool | dict[str, tuple[str, str]]] = False
    """Whether it has no meaning in regression, where there are no classes: always, or for one value of an argument.
    ``{"head": ("cosine", "linear")}`` says that head=cosine needs classes, and that head=linear does not."""

    approximates_gradient: ClassVar[bool] = False
    """Whether the meta-gradient is on purpose not that of the meta-loss, besides second derivatives that are left out:
    an implicit gradient, a straight-through estimator, a part that is detached. It is then not compared with finite
    differences."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Keep the earlier names of methods working, with a warning where a class defines one."""
        super().__init_subclass__(**keywords)
        for old, new in _RENAMED.items():
            owner = next(parent for parent in cls.__mro__ if old in vars(parent) or new in vars(parent))
            if new in vars(owner):
                setattr(owner, old, vars(owner)[new])
            else:
                setattr(cls, new, vars(owner)[old])
                warnings.warn(
                    f"{cls.__name__} defines {old}(), which is called {new}() now. The old name still works; "
                    f"rename the method to {new}.",
                    FutureWarning,
                    stacklevel=3,  # the class statement, past ABCMeta
                )

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

    @property
    def can_be_mapped(self) -> bool:
        """Whether :func:`torch.vmap` can map it: it vectorises, and so do its layers.

        torch's recurrent layers do not, nor layers with an attribute ``maps_over_tasks`` that is false.
        """
        return self.vectorises and not any(
            isinstance(layer, nn.RNNBase) or getattr(layer, "maps_over_tasks", True) is False
            for layer in self.modules()
        )

    @property
    def takes_single_tasks(self) -> bool:
        """Whether tasks are computed one at a time.

        This is so if they cannot be mapped, see :attr:`can_be_mapped`, and if that is faster, see
        :attr:`is_faster_one_by_one`.
        """
        return not self.can_be_mapped or (self.is_faster_one_by_one and self._convolves_on_cpu())

    def tasks_at_once(self, n_support: int, most: int) -> int:
        """How many tasks to compute at once: ``most``, or one where they are taken one at a time.

        Args:
            n_support: support examples of a task.
            most: how many tasks there are memory and work for.
        """
        if self.takes_single_tasks:
            return 1
        has_constant_gradients = bool(self.first_order) or not self.training
        least = self.faster_one_by_one_from
        is_large = least is not None and n_support >= least
        return 1 if is_large and has_constant_gradients and self._convolves_on_cpu() else most

    def numbers_per_parameter(self, n_support: int, *, trains: bool) -> int:
        """How many numbers a task keeps for each parameter: its own copy, and the gradient.

        As many tasks are computed at once as there is memory for, so override it if it is many more.

        Args:
            n_support: support examples of a task.
            trains: whether all steps are kept for a meta-gradient.
        """
        return 2

    def passes_over_queries(self, *, trains: bool) -> int:
        """How many predictions of the queries a task keeps: one, after the last step.

        As many tasks are computed at once as there is memory for, so override it if the meta-loss has several.

        Args:
            trains: whether they are kept for a meta-gradient.
        """
        return 1

    def _convolves_on_cpu(self) -> bool:
        on_cpu = all(p.device.type == "cpu" for p in self.parameters())
        return on_cpu and any(isinstance(layer, nn.Conv2d) for layer in self.modules())

    @property
    def only_for_training(self) -> frozenset[str]:
        """Names of parameters and buffers that no test reads, such as a classifier of all training classes.

        They may be the larger part, and selected weights are saved without them.
        """
        return frozenset()

    def set_progress(self, step: int, total: int) -> None:
        """Set whatever is annealed over meta-training; by default nothing is.

        Training calls it before each step, outside the mapped functions. What it sets must be a function of the two
        numbers alone, so that a resumed run continues as an undisturbed one would. An algorithm on which it was never
        called behaves as at step 0.

        Args:
            step: the number of the step that comes next, from 0.
            total: how many steps the training has.
        """

    @abstractmethod
    def adapt(self, support: Examples) -> Adapted:
        """Learn a task from its support set.

        Args:
            support: The labelled examples: ``x`` (S, ...), and ``y`` (S,) labels, or (S, D_out) targets in regression.

        Returns:
            What :meth:`predict` needs of the task: any nest of tensors, of shapes that do not depend on the values.
        """

    @abstractmethod
    def predict(self, adapted: Adapted, x: Tensor) -> Tensor:
        """Predict queries of a task.

        Args:
            adapted: What :meth:`adapt` returned for the task.
            x: Query inputs (M, ...).

        Returns:
            Scores (M, N), the largest for the predicted class; or outputs (M, D_out) in regression.
        """

    def loss(self, scores: Tensor, y: Tensor) -> Tensor:
        """The loss () of ``scores`` (M, N) or (M, D_out) against ``y`` (M,) or (M, D_out).

        Args:
            scores: What :meth:`predict` returned, (M, N) or (M, D_out).
            y: Labels (M,) int64, or targets (M, D_out) float32.
        """
        return task_loss(scores, y)

    def meta_loss(self, episode: Episode) -> Tensor:
        """The loss () whose gradient trains the meta-parameters: by default, of the queries after adaptation.

        Args:
            episode: A training task, without a leading T.
        """
        return self.loss(self.predict(self.adapt(episode.support), episode.query.x), episode.query.y)

    def adaptation_path(self, support: Examples) -> Iterable[Adapted]:
        """The states after 0, 1, ... steps of adaptation, the last equal to ``adapt(support)``.

        Each state is used before the next is asked for, so a generator saves the memory of holding them all. An
        algorithm without steps has one state.

        Args:
            support: As for :meth:`adapt`.
        """
        return [self.adapt(support)]

    def forward(self, episode: Episode) -> Tensor:
        """:meth:`meta_loss`, so that the module can be called (and be called functionally).

        Args:
            episode: A training task, without a leading T.

        Raises:
            ConfigError: It is not one number.
        """
        loss = self.meta_loss(episode)
        if not isinstance(loss, Tensor) or loss.dim():
            what = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"type {type(loss).__name__}"
            raise ConfigError(
                f"the meta-loss of {type(self).__name__} has the {what}. Let meta_loss return a tensor () of one "
                "number, such as the mean over queries."
            )
        return loss
