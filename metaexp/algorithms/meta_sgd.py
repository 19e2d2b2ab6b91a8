"""Meta-SGD: MAML that also learns the inner learning rate of every single parameter.

    theta_{j+1} = theta_j - alpha * gradient of L_s(theta_j)   (elementwise product),   meta-loss = L_q(theta_n),

and the outer loop trains theta and alpha together. The rates have the size of the network, and may become negative:
they decide the direction of the inner step as well as its length.

Source: Li, Zhou, Chen & Li, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning", 2017, algorithm 1: one inner
step, all parameters adapted. The paper publishes no code; batch norm is transductive, as in MAML's code.
Departures: the meta-loss is the mean over queries and tasks. Each rate is drawn by itself at the start; in the
paper's sinusoid experiments all rates start at one random value (unchecked: we know it second-hand).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.core.fields import NonNegativeInt, PositiveFloat
from metaexp.core.inner import Params, last
from metaexp.core.types import Examples
from metaexp.engines.engines import Engine, descent
from metaexp.models.base import Buffers, buffers_of, call, has_batch_norm, parameters_of


class Learner(NamedTuple):
    """A network's parameters, and the batch-norm statistics to use with them."""

    params: Params
    buffers: Buffers


class MetaSGD(Algorithm):
    """Meta-SGD, second or first order.

    Args:
        model: the network. Its parameters are the initialisation theta.
        alpha_min: the least rate at the start, on the scale of the mean support loss. Rates start uniformly distributed
            between this and ``alpha_max``.
        alpha_max: the largest rate at the start.
        inner_steps: gradient steps in meta-training.
        inner_steps_test: gradient steps in evaluation.
        first_order: whether the inner gradients are constants of the outer one.
        batch_norm: ``transductive`` normalises support and query each by itself. ``episode`` normalises queries with
            the support's statistics.
        engine: which implementation takes the inner steps, see :mod:`metaexp.engines.engines`.

    Raises:
        ConfigError: ``alpha_min`` is above ``alpha_max``, or the engine is not installed.
    """

    faster_one_by_one_from = 10

    def __init__(
        self,
        model: nn.Module,
        alpha_min: PositiveFloat,
        alpha_max: PositiveFloat,
        inner_steps: NonNegativeInt,
        inner_steps_test: NonNegativeInt,
        first_order: bool,
        batch_norm: Literal["transductive", "episode"],
        engine: Engine = "metaexp",
    ) -> None:
        super().__init__()
        self.engine = engine
        self._descend = descent(engine)
        if alpha_min > alpha_max:
            raise ConfigError(
                f"algorithm.alpha_min={alpha_min} is above algorithm.alpha_max={alpha_max}. Rates start between the "
                "two: give alpha_min <= alpha_max."
            )
        self.model = model
        self.alphas = nn.ParameterDict(
            {
                _key(name): nn.Parameter(torch.empty_like(p).uniform_(alpha_min, alpha_max))
                for name, p in parameters_of(model).items()
            }
        )
        self.inner_steps = inner_steps
        self.inner_steps_test = inner_steps_test
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
        """Take the inner steps on ``support`` and return the adapted learner."""
        return self._learner(last(self._path(support)), support)

    def predict(self, adapted: Learner, x: Tensor) -> Tensor:
        """Scores (M, N) or outputs (M, D_out) of ``x`` (M, ...)."""
        statistics: Literal["stored", "batch"] = "stored" if self.uses_support_statistics else "batch"
        return call(self.model, adapted.params, adapted.buffers, x, statistics).values

    def adaptation_path(self, support: Examples) -> Iterator[Learner]:
        """The learner after 0, 1, ..., n inner steps."""
        return (self._learner(params, support) for params in self._path(support))

    def _path(self, support: Examples) -> Iterator[Params]:
        """The parameters after each inner step."""
        buffers = buffers_of(self.model)

        def support_loss(params: Params) -> Tensor:
            return self.loss(call(self.model, params, buffers, support.x, "batch").values, support.y)

        params = parameters_of(self.model)
        alphas = {name: self.alphas[_key(name)] for name in params}
        steps = self.inner_steps if self.training else self.inner_steps_test
        return self._descend(support_loss, params, alphas, steps, self._first_order)

    def _learner(self, params: Params, support: Examples) -> Learner:
        buffers = buffers_of(self.model)
        if self.uses_support_statistics:
            buffers = call(self.model, params, buffers, support.x, "replace").buffers
        return Learner(params, buffers)


def _key(name: str) -> str:
    """A parameter's name as a key of a ParameterDict, which allows no dots."""
    return name.replace(".", "/")
