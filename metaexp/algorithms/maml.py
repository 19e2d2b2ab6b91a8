"""Model-Agnostic Meta-Learning: an initialisation from which a few gradient steps solve a new task.

For a task with support loss L_s and query loss L_q, and meta-parameters theta:

    theta_0 = theta,   theta_{j+1} = theta_j - alpha * grad L_s(theta_j),   meta-loss = L_q(theta_n).

The meta-gradient goes through the inner gradients (second order) or takes them as constants (first order).

Source: Finn, Abbeel & Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", ICML 2017,
algorithms 1 and 2; loss scale, batch norm and adapted parameters as in the authors' code (cbfinn/maml).
Departures: the meta-loss is the mean over queries and tasks, where the paper writes sums; Adam does not see
the difference, and thresholds of gradient clipping in the experiments are converted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from torch import Tensor, nn

from metaexp.core.algorithm import Algorithm
from metaexp.core.fields import NonNegativeInt, PositiveFloat
from metaexp.core.inner import Params, last
from metaexp.core.types import Examples
from metaexp.engines.engines import Engine, descent
from metaexp.models.base import Buffers, batch_norm_parameters, buffers_of, call, has_batch_norm, parameters_of
from metaexp.models.batch_norm import Statistics


class Learner(NamedTuple):
    """A network's parameters, and the batch-norm statistics to use with them."""

    params: Params
    buffers: Buffers


class MAML(Algorithm):
    """MAML, second or first order.

    Args:
        model: the network. Its parameters are the initialisation theta.
        inner_lr: alpha, on the scale that ``inner_loss_reduction`` sets.
        inner_steps: gradient steps in meta-training.
        inner_steps_test: gradient steps in evaluation.
        first_order: whether the inner gradients are constants of the outer one.
        inner_loss_reduction: ``sum_over_k`` divides the summed support loss by the shots K, as the authors' code does,
            so the gradient is N times that of the ``mean``. In regression both are the mean.
        adapt: which parameters the inner loop changes: ``all``, ``no_batch_norm`` (as the authors' code), or the
            ``head`` alone.
        batch_norm: ``transductive`` normalises support and query each by itself. ``episode`` normalises queries with
            the statistics of the support set.
        engine: which implementation takes the inner steps, see :mod:`metaexp.engines.engines`.

    Raises:
        ConfigError: The engine is not installed.
    """

    faster_one_by_one_from = 10

    def __init__(
        self,
        model: nn.Module,
        inner_lr: PositiveFloat,
        inner_steps: NonNegativeInt,
        inner_steps_test: NonNegativeInt,
        first_order: bool,
        inner_loss_reduction: Literal["sum_over_k", "mean"],
        adapt: Literal["all", "no_batch_norm", "head"],
        batch_norm: Literal["transductive", "episode"],
        engine: Engine = "metaexp",
    ) -> None:
        super().__init__()
        self.engine = engine
        self._descend = descent(engine)
        self.model = model
        self.inner_lr = inner_lr
        self.inner_steps = inner_steps
        self.inner_steps_test = inner_steps_test
        self.sum_over_k = inner_loss_reduction == "sum_over_k"
        self.uses_support_statistics = batch_norm == "episode"
        self._first_order = first_order
        self.adapted_names = adapted_names(model, adapt)

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
        """Take the inner steps on ``support`` and return the adapted learner."""
        return self._learner(last(self._path(support)), support)

    def predict(self, adapted: Learner, x: Tensor) -> Tensor:
        """Scores (M, N) or outputs (M, D_out) of ``x`` (M, ...)."""
        statistics: Statistics = "stored" if self.uses_support_statistics else "batch"
        return call(self.model, adapted.params, adapted.buffers, x, statistics).values

    def adaptation_path(self, support: Examples) -> Iterator[Learner]:
        """The learner after 0, 1, ..., n inner steps."""
        return (self._learner(params, support) for params in self._path(support))

    def _path(self, support: Examples) -> Iterator[Params]:
        """All parameters, adapted and fixed, after each inner step."""
        params = parameters_of(self.model)
        fixed = {name: p for name, p in params.items() if name not in self.adapted_names}
        adapted = {name: p for name, p in params.items() if name in self.adapted_names}
        buffers = buffers_of(self.model)
        scale = float(support.n_way) if self.sum_over_k and support.n_way else 1.0

        def support_loss(changed: Params) -> Tensor:
            scores = call(self.model, {**fixed, **changed}, buffers, support.x, "batch").values
            return self.loss(scores, support.y) * scale

        steps = self.inner_steps if self.training else self.inner_steps_test
        for changed in self._descend(support_loss, adapted, self.inner_lr, steps, self._first_order):
            yield {**fixed, **changed}

    def _learner(self, params: Params, support: Examples) -> Learner:
        buffers = buffers_of(self.model)
        if self.uses_support_statistics:
            buffers = call(self.model, params, buffers, support.x, "replace").buffers
        return Learner(params, buffers)


def adapted_names(model: nn.Module, adapt: Literal["all", "no_batch_norm", "head"]) -> frozenset[str]:
    """Names of the parameters that the inner loop changes.

    Args:
        model: The network.
        adapt: Which parameters: all of them, all but those of batch norm, or those of ``head`` alone.
    """
    names = frozenset(parameters_of(model))
    if adapt == "head":
        return frozenset(name for name in names if name.startswith("head."))
    if adapt == "no_batch_norm":
        return names - batch_norm_parameters(model)
    return names
