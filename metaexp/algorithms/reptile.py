"""Reptile: move the initialisation towards the weights that training on a task arrives at.

With phi the result of k steps of Adam on mini-batches of a task, starting from theta,

    theta <- theta + epsilon * (mean over tasks of phi - theta).

No derivative of the inner loop is taken, and training tasks have no queries: all their examples are support. The
meta-loss here is |theta - phi|^2 / 2 with phi held constant, whose gradient is theta - phi. So a step of plain SGD
with learning rate epsilon does this: optimizer=sgd optimizer.lr=1 schedule=linear.

Source: Nichol, Achiam & Schulman, "On First-Order Meta-Learning Algorithms", 2018, algorithm 2, and the authors' code
(openai/supervised-reptile): Adam with beta1 = 0, mini-batches by cycling through the task's examples, batch
statistics in every forward pass. At test the paper has two modes: all queries in one batch ("transduction"), or each
query alone with the support set.
Departures: tasks of a meta-batch start from the same second moments of Adam, which are then averaged, where the code
trains tasks one after another and carries the moments along (``adam_state=reset`` starts each task from none);
mini-batches cycle in one fixed order, where the code shuffles before each round.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from metaexp.core.algorithm import Algorithm
from metaexp.core.fields import PositiveFloat, PositiveInt
from metaexp.core.inner import Params, constant_gradient, last
from metaexp.core.types import Episode, Examples
from metaexp.models.base import buffers_of, call, has_batch_norm, parameters_of

_BETA2 = 0.999
_EPSILON = 1e-8
_QUERIES_AT_ONCE = 16  # each brings the whole support set along


class Learner(NamedTuple):
    """A network's parameters, and the support inputs (S, ...) that share a batch with each query."""

    params: Params
    support: Tensor


class Moments(NamedTuple):
    """Adam's state: averages of squared gradients, and the number of steps () that made them."""

    squares: Params
    updates: Tensor


class Reptile(Algorithm):
    """Reptile.

    Args:
        model: the network. Its parameters are the initialisation theta.
        inner_lr: learning rate of Adam.
        inner_steps: Adam's steps in meta-training.
        inner_steps_test: Adam's steps in evaluation.
        inner_batch_size: support examples per step in meta-training; all of them where there are fewer.
        inner_batch_size_test: support examples per step in evaluation; all of them where there are fewer.
        adam_state: whether a task starts from the second moments of earlier training (``carried``), or from none
            (``reset``).
        batch_norm: what shares a batch with a query at test: all queries (``transductive``), or the support set
            (``support_and_query``).
    """

    faster_one_by_one_from = 10

    def __init__(
        self,
        model: nn.Module,
        inner_lr: PositiveFloat,
        inner_steps: PositiveInt,
        inner_steps_test: PositiveInt,
        inner_batch_size: PositiveInt,
        inner_batch_size_test: PositiveInt,
        adam_state: Literal["carried", "reset"],
        batch_norm: Literal["transductive", "support_and_query"],
    ) -> None:
        super().__init__()
        self.model = model
        self.inner_lr = inner_lr
        self.inner_steps = inner_steps
        self.inner_steps_test = inner_steps_test
        self.inner_batch_size = inner_batch_size
        self.inner_batch_size_test = inner_batch_size_test
        self.carries_moments = adam_state == "carried"
        self.is_transductive = batch_norm == "transductive"
        if self.carries_moments:
            for name, p in parameters_of(model).items():
                self.register_buffer(_key(name), torch.zeros_like(p))
            self.register_buffer("adam_updates", torch.zeros(()))

    @property
    def batch_norm(self) -> Literal["transductive", "support_and_query", "none"]:
        if not has_batch_norm(self.model):
            return "none"
        return "transductive" if self.is_transductive else "support_and_query"

    @property
    def first_order(self) -> bool:
        return True

    @property
    def depends_on_support_order(self) -> bool:
        """Mini-batches are made in order; where one holds the whole support set, only the rounding changes."""
        return True

    def adapt(self, support: Examples) -> Learner:
        """Train on mini-batches of ``support``."""
        return last(self.adaptation_path(support))

    def predict(self, adapted: Learner, x: Tensor) -> Tensor:
        """Scores (M, N) or outputs (M, D_out) of ``x`` (M, ...)."""
        params, support = adapted
        if self.is_transductive:
            return self._network(params, x)

        def predict_one(query: Tensor) -> Tensor:
            return self._network(params, torch.cat([support, query.unsqueeze(0)]))[-1]

        scores: Tensor = torch.vmap(predict_one, chunk_size=_QUERIES_AT_ONCE)(x)
        return scores

    def adaptation_path(self, support: Examples) -> Iterator[Learner]:
        """The learner after 0, 1, ... of Adam's steps."""
        return (Learner(params, support.x) for params, _ in self._path(support))

    def meta_loss(self, episode: Episode) -> Tensor:
        """Half the squared distance () that training on the support goes; its gradient is theta - phi.

        In meta-training, replaces the stored moments by those after the task (where they are carried).
        """
        phi, moments = last(self._path(episode.support))
        if self.carries_moments and self.training:
            for name, square in moments.squares.items():
                setattr(self, _key(name), square)
            self.adam_updates = moments.updates
        theta = parameters_of(self.model)
        return 0.5 * torch.stack([((theta[name] - phi[name]) ** 2).sum() for name in theta]).sum()

    def _path(self, support: Examples) -> Iterator[tuple[Params, Moments]]:
        """Parameters and Adam's state after 0, 1, ... steps, constants to the outer loop."""

        def batch_loss(params: Params, batch: Examples) -> Tensor:
            return self.loss(self._network(params, batch.x), batch.y)

        steps = self.inner_steps if self.training else self.inner_steps_test
        size = self.inner_batch_size if self.training else self.inner_batch_size_test
        params, moments = {name: p.detach() for name, p in parameters_of(self.model).items()}, self._first_moments()
        yield params, moments
        for step in range(steps):
            batch = mini_batch(support, step, size)
            gradients = constant_gradient(partial(batch_loss, batch=batch), params)
            params, moments = adam_step(params, moments, gradients, self.inner_lr)
            yield params, moments

    def _first_moments(self) -> Moments:
        params = parameters_of(self.model)
        if self.carries_moments:
            return Moments({name: self.get_buffer(_key(name)) for name in params}, self.get_buffer("adam_updates"))
        some = next(iter(params.values()))
        return Moments({name: torch.zeros_like(p) for name, p in params.items()}, some.new_zeros(()))

    def _network(self, params: Params, x: Tensor) -> Tensor:
        return call(self.model, params, buffers_of(self.model), x, "batch").values


def adam_step(params: Params, moments: Moments, gradients: Params, lr: float) -> tuple[Params, Moments]:
    """One step of Adam with beta1 = 0, corrected for the moments' start from zero (Kingma & Ba, 2015, algorithm 1).

    Args:
        params: The weights.
        moments: The second moments so far.
        gradients: The gradient of each weight.
        lr: The learning rate.
    """
    updates = moments.updates + 1
    squares = {name: _BETA2 * v + (1 - _BETA2) * gradients[name] ** 2 for name, v in moments.squares.items()}
    correction = 1 - _BETA2**updates
    stepped = {
        name: p - lr * gradients[name] / ((squares[name] / correction).sqrt() + _EPSILON) for name, p in params.items()
    }
    return stepped, Moments(squares, updates)


def mini_batch(support: Examples, step: int, size: int) -> Examples:
    """Return the examples of one mini-batch. Mini-batches go round and round through the support set.

    Args:
        support: The support set (S, ...).
        step: Which mini-batch, from 0.
        size: How many examples it has, at most S.
    """
    total = support.x.shape[0]
    size = min(size, total)
    start = step * size % total
    left = max(start + size - total, 0)  # examples taken from the beginning again
    if left == 0:
        return Examples(support.x[start : start + size], support.y[start : start + size], support.n_way)
    x = torch.cat([support.x[start:], support.x[:left]])  # (size, ...)
    y = torch.cat([support.y[start:], support.y[:left]])  # (size,) or (size, D_out)
    return Examples(x, y, support.n_way)


def _key(name: str) -> str:
    """The buffer that holds a parameter's second moment; names of buffers have no dots."""
    return "second_moment/" + name.replace(".", "/")
