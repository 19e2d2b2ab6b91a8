"""ANIL, "almost no inner loop": MAML whose inner loop changes the last layer only.

With a body f (all layers but the last) and a head w, and support loss L_s,

    w_0 = w,   w_{j+1} = w_j - alpha * gradient of L_s(w_j; f(support)),   meta-loss = L_q(w_n; f(query)).

The body learns in the outer loop alone. Its features of the support are the same in every inner step, so they are
computed once: an inner step costs one small matrix product.

Source: Raghu, Raghu, Bengio & Vinyals, "Rapid Learning or Feature Reuse? Towards Understanding the Effectiveness of
MAML", ICLR 2020, section 4. Loss scale and batch norm follow MAML's code (cbfinn/maml), as the paper compares with it.
Departures: the meta-loss is the mean over queries and tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from torch import Tensor
from torch.func import functional_call

from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.core.fields import NonNegativeInt, PositiveFloat
from metaexp.core.inner import Params, last
from metaexp.core.types import Examples
from metaexp.engines.engines import Engine, descent
from metaexp.models.base import Buffers, Network, buffers_of, call_features, has_batch_norm, parameters_of


class Learner(NamedTuple):
    """The head's parameters, and the batch-norm statistics to use with them."""

    head: Params
    buffers: Buffers


class ANIL(Algorithm):
    """ANIL, second or first order.

    Args:
        model: the network. The inner loop changes its parameters whose names start with ``head.``.
        inner_lr: alpha, on the scale that ``inner_loss_reduction`` sets.
        inner_steps: gradient steps in meta-training.
        inner_steps_test: gradient steps in evaluation.
        first_order: whether the inner gradients are constants of the outer one.
        inner_loss_reduction: ``sum_over_k`` divides the summed support loss by the shots K, as MAML's code does, so the
            gradient is N times that of the ``mean``. In regression both are the mean.
        batch_norm: ``transductive`` normalises support and query each by itself. ``episode`` normalises queries with
            the support's statistics.
        engine: which implementation takes the inner steps, see :mod:`metaexp.engines.engines`.

    Raises:
        ConfigError: The network has no head, or the engine is not installed.
    """

    is_faster_one_by_one = True  # inner steps are small: they see features

    def __init__(
        self,
        model: Network,
        inner_lr: PositiveFloat,
        inner_steps: NonNegativeInt,
        inner_steps_test: NonNegativeInt,
        first_order: bool,
        inner_loss_reduction: Literal["sum_over_k", "mean"],
        batch_norm: Literal["transductive", "episode"],
        engine: Engine = "metaexp",
    ) -> None:
        super().__init__()
        self.engine = engine
        self._descend = descent(engine)
        if not any(name.startswith("head.") for name in parameters_of(model)):
            raise ConfigError(
                f"algorithm=anil adapts the last layer alone, but {type(model).__name__} has no parameters whose names "
                "start with 'head.'. Choose a model with a head, such as model=conv4."
            )
        self.model = model
        self.inner_lr = inner_lr
        self.inner_steps = inner_steps
        self.inner_steps_test = inner_steps_test
        self.sum_over_k = inner_loss_reduction == "sum_over_k"
        self.uses_support_statistics = batch_norm == "episode"
        self._first_order = first_order

    @property
    def batch_norm(self) -> Literal["transductive", "episode", "none"]:
        if not has_batch_norm(self.model):
            return "none"
        return "episode" if self.uses_support_statistics else "transductive"

    @property
    def first_order(self) -> bool:
        return self._first_order

    @property
    def vectorises(self) -> bool:
        """Whether ``torch.vmap`` can map it over tasks: not with learn2learn's inner loop."""
        return self.engine == "metaexp"

    def adapt(self, support: Examples) -> Learner:
        """Take the inner steps on ``support`` and return the adapted head."""
        return last(self.adaptation_path(support))

    def predict(self, adapted: Learner, x: Tensor) -> Tensor:
        """Scores (M, N) or outputs (M, D_out) of ``x`` (M, ...)."""
        statistics: Literal["stored", "batch"] = "stored" if self.uses_support_statistics else "batch"
        body = parameters_of(self.model)
        return self._head(adapted.head, call_features(self.model, body, adapted.buffers, x, statistics).values)

    def adaptation_path(self, support: Examples) -> Iterator[Learner]:
        """The learner after 0, 1, ..., n inner steps."""
        statistics: Literal["replace", "batch"] = "replace" if self.uses_support_statistics else "batch"
        body = parameters_of(self.model)
        features, buffers = call_features(self.model, body, buffers_of(self.model), support.x, statistics)
        return (Learner(head, buffers) for head in self._path(features, support))

    def _path(self, features: Tensor, support: Examples) -> Iterator[Params]:
        """The head after each inner step on support ``features`` (S, ...)."""
        scale = float(support.n_way) if self.sum_over_k and support.n_way else 1.0

        def support_loss(head: Params) -> Tensor:
            return self.loss(self._head(head, features), support.y) * scale

        head = parameters_of(self.model.head)
        steps = self.inner_steps if self.training else self.inner_steps_test
        return self._descend(support_loss, head, self.inner_lr, steps, self._first_order)

    def _head(self, head: Params, features: Tensor) -> Tensor:
        out: Tensor = functional_call(self.model.head, head, (features,))
        return out
