"""Meta-LSTM: an LSTM whose cell state is the learner's parameters, and whose gates are learned step sizes.

Gradient descent has the form of an LSTM's cell update. With c the parameters of the learner (conv weights,
batch-norm gamma and beta, head: everything, flattened), L_t its loss on the support set and g_t the gradient,

    c_t = f_t * c_{t-1} - i_t * g_t                                            (elementwise; the published equation 2)

and Meta-LSTM learns the gates, and the start c_0. Per coordinate, with one set of weights for all coordinates:

    h_t = LSTM(p(L_t), p(g_t); h_{t-1})                                        hidden 20, input 4
    f_t = sigmoid(w_f . [h_t, c_{t-1}, r_{t-1}] + b_f)                         r: the previous gate, see below
    i_t = sigmoid(w_i . [h_t, c_{t-1}, s_{t-1}] + b_i)
    p(x) = (log|x| / p, sign x) where |x| > exp(-p), else (-1, exp(p) x)       p = 10

The meta-loss is the query loss under c_T. Losses and gradients of the learner are constants of the meta-gradient,
which flows through c, h and the gates over all T steps, and into c_0 (so it is first order).

Batch norm: the learner's statistics are erased at the start of every episode and collected by its passes over the
support set. Queries are normalised by their own batch in meta-training, and by the collected statistics in meta-test.
So a prediction at test does not depend on the other queries.

Source: Ravi & Larochelle, "Optimization as a Model for Few-Shot Learning", ICLR 2017, and the authors' Lua code
(twitter/meta-learning-lstm). Where they differ, a key chooses: ``recurrent_gate``, ``inner_epochs``, and
``divide_gradient_by_batch``, with which g_t is divided by the number of examples once more.
Departures: several tasks may share a training step (``train.meta_batch_size``, 1 as published).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import grad_and_value

from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.core.fields import NonNegativeFloat, PositiveFloat, PositiveInt
from metaexp.core.inner import in_transform, last
from metaexp.core.types import Examples
from metaexp.models.base import Buffers, Params, call, has_batch_norm, parameters_of
from metaexp.models.batch_norm import BatchNorm, Statistics
from metaexp.models.coordinate_lstm import CoordinateLSTM, State, per_tile, tile, untile


class Learner(NamedTuple):
    """The network's parameters, and the batch-norm statistics collected on this episode's support set."""

    params: Params
    buffers: Buffers


class Cell(NamedTuple):
    """The state of the meta-learner. The coordinates stand in tiles (n_tiles, width).

    Attributes:
        parameters: c_t (n_tiles, width).
        gates: forget and input gate, or their values before the sigmoid (n_tiles, 2, width).
        lstm: the state of the first layer.
    """

    parameters: Tensor
    gates: Tensor
    lstm: State


class MetaLSTM(Algorithm):
    """The two-layer meta-learner of Ravi & Larochelle.

    The learner takes ``inner_epochs * ceil(S / inner_batch_size)`` inner steps. Published are 12 epochs of 5 images for
    1-shot. For 5-shot they are 8 epochs of 25 images (code) or 5 (paper).

    Memory: training keeps T * 173 numbers per learner parameter and task, with T inner steps and 20 hidden units.
    That is 0.27 GB for the paper's 12 steps of 32,901 parameters, and 0.53 GB with the query pass (measured).
    Evaluation keeps nothing of past steps. ``device.task_chunk`` bounds both where many tasks are computed at once.

    Args:
        model: the learner. Its parameters at the start are c_0.
        inner_epochs: passes over the support set in meta-training.
        inner_epochs_test: passes over the support set in evaluation.
        inner_batch_size: examples per inner step. None, or more than there are, takes the whole support set.
        hidden: units per coordinate.
        preprocess_p: the p above.
        recurrent_gate: what a gate sees of its own past: its value before the sigmoid (``pre_sigmoid``, the code) or
            after (``gate``, the paper). It is 0 at the start.
        divide_gradient_by_batch: whether to divide the gradient of the mean loss by the batch size once more, as the
            code does.
        init_range: the meta-learner's weights start in U(-init_range, init_range).
        forget_bias: [low, high] of the uniform distribution that b_f starts in.
        input_bias: [low, high] of the uniform distribution that b_i starts in.

    Raises:
        ConfigError: One of the two biases is not [low, high] with low <= high.
    """

    def __init__(
        self,
        model: nn.Module,
        inner_epochs: PositiveInt,
        inner_epochs_test: PositiveInt,
        inner_batch_size: PositiveInt | None,
        hidden: PositiveInt,
        preprocess_p: PositiveFloat,
        recurrent_gate: Literal["pre_sigmoid", "gate"],
        divide_gradient_by_batch: bool,
        init_range: NonNegativeFloat,
        forget_bias: list[float],
        input_bias: list[float],
    ) -> None:
        super().__init__()
        self.model = model
        self.inner_epochs = inner_epochs
        self.inner_epochs_test = inner_epochs_test
        self.inner_batch_size = inner_batch_size
        self.preprocess_p = preprocess_p
        self.gates_recur_before_sigmoid = recurrent_gate == "pre_sigmoid"
        self.divide_gradient_by_batch = divide_gradient_by_batch
        self.sizes = [p.numel() for p in parameters_of(model).values()]
        self.lstm = CoordinateLSTM(4, hidden)
        self.gate_weight = nn.Parameter(torch.empty(2, hidden + 2))  # rows f, i; columns h, c, previous gate
        self.gate_bias = nn.Parameter(torch.empty(2))
        for parameter in (self.lstm.weight, self.lstm.bias, self.gate_weight):
            nn.init.uniform_(parameter, -init_range, init_range)
        for row, (name, bounds) in enumerate([("forget_bias", forget_bias), ("input_bias", input_bias)]):
            if len(bounds) != 2 or bounds[0] > bounds[1]:
                raise ConfigError(f"algorithm.{name}={bounds} must be [low, high] with low <= high, such as [4, 5].")
            nn.init.uniform_(self.gate_bias[row : row + 1], bounds[0], bounds[1])

    @property
    def batch_norm(self) -> Literal["episode", "none"]:
        return "episode" if has_batch_norm(self.model) else "none"

    @property
    def first_order(self) -> bool:
        return True

    @property
    def depends_on_support_order(self) -> bool:
        return self.inner_batch_size is not None

    def numbers_per_parameter(self, n_support: int, *, trains: bool) -> int:
        """How many numbers a task keeps for each parameter: activations of the LSTM, of all steps in training.

        Args:
            n_support: support examples of a task.
            trains: whether all steps are kept for a meta-gradient.
        """
        of_a_step = 8 * self.lstm.hidden + 13
        if not trains:
            return of_a_step
        return of_a_step * self.inner_epochs * math.ceil(n_support / (self.inner_batch_size or n_support))

    def adapt(self, support: Examples) -> Learner:
        """Run the meta-learner over ``support`` and return the learner it ends with."""
        return last(self.adaptation_path(support))

    def predict(self, adapted: Learner, x: Tensor) -> Tensor:
        """Scores (M, N) or outputs (M, D_out) of ``x`` (M, ...)."""
        statistics: Statistics = "batch" if self.training else "stored"
        return call(self.model, adapted.params, adapted.buffers, x, statistics).values

    def adaptation_path(self, support: Examples) -> Iterator[Learner]:
        """The learner after 0, 1, ..., T inner steps.

        Statistics are those of the passes made so far; the first learner, which has made none, is shown with
        those of the pass it is about to make.
        """
        cell = self._start()
        buffers = fresh_statistics(self.model)
        batches = self._batches(support)
        epochs = self.inner_epochs if self.training else self.inner_epochs_test
        for t, batch in enumerate(batches * epochs):
            gradient, loss, buffers = self._learn(cell.parameters, buffers, batch)
            if t == 0:
                yield Learner(self._unflatten(cell.parameters), buffers)
            cell = self._update(cell, gradient, loss)
            yield Learner(self._unflatten(cell.parameters), buffers)

    def _batches(self, support: Examples) -> list[Examples]:
        """The support set in minibatches; it comes shuffled."""
        size = self.inner_batch_size or support.x.shape[0]
        pairs = zip(torch.split(support.x, size), torch.split(support.y, size), strict=True)
        return [Examples(x, y, support.n_way) for x, y in pairs]

    def _learn(self, parameters: Tensor, buffers: Buffers, batch: Examples) -> tuple[Tensor, Tensor, Buffers]:
        """Gradient (n_tiles, width) and loss () of the learner, both constants, and its statistics after the pass."""

        def loss(params: Params) -> tuple[Tensor, Buffers]:
            scores, collected = call(self.model, params, buffers, batch.x, "collect")
            return self.loss(scores, batch.y), collected

        params = self._unflatten(parameters.detach())
        gradients, (value, collected) = gradient_and_value(loss, params)
        gradient = tile(torch.cat([g.reshape(-1) for g in gradients])).detach()
        if self.divide_gradient_by_batch:
            gradient = gradient / batch.x.shape[0]
        return gradient, value.detach(), collected

    def _start(self) -> Cell:
        """c_0, the network's own parameters, and empty states."""
        parameters = tile(torch.cat([p.reshape(-1) for p in parameters_of(self.model).values()]))
        gates = parameters.new_zeros(parameters.shape[0], 2, parameters.shape[1])
        return Cell(parameters, gates, self.lstm.start(parameters))

    def _update(self, cell: Cell, gradient: Tensor, loss: Tensor) -> Cell:
        """One step of the meta-learner for ``gradient`` (n_tiles, width) and ``loss`` ()."""
        loss_rows = (row.expand_as(gradient) for row in preprocess(loss, self.preprocess_p))
        inputs = torch.stack([*loss_rows, *preprocess(gradient, self.preprocess_p)], 1)  # (n_tiles, 4, width)
        state = self.lstm(inputs, cell.lstm)
        n = self.lstm.hidden
        before = (
            torch.bmm(per_tile(self.gate_weight[:, :n], state.hidden), state.hidden)
            + self.gate_weight[:, n, None] * cell.parameters[:, None]
            + self.gate_weight[:, n + 1, None] * cell.gates
            + self.gate_bias[:, None]
        )  # (n_tiles, 2, width)
        gates = before.sigmoid()
        forget_gate, input_gate = gates.unbind(1)
        parameters = forget_gate * cell.parameters - input_gate * gradient
        return Cell(parameters, before if self.gates_recur_before_sigmoid else gates, state)

    def _unflatten(self, parameters: Tensor) -> Params:
        """The network's parameters by name, as views of tiles (n_tiles, width)."""
        pieces = torch.split(untile(parameters, sum(self.sizes)), self.sizes)
        own = parameters_of(self.model)
        return {name: piece.view(own[name].shape) for name, piece in zip(own, pieces, strict=True)}


def gradient_and_value(
    loss: Callable[[Params], tuple[Tensor, Buffers]], params: Params
) -> tuple[list[Tensor], tuple[Tensor, Buffers]]:
    """Gradients of ``loss`` by ``params``, and what it returns.

    One task at a time, as published, torch.autograd does it with less bookkeeping than torch.func, which has to
    be ready for second derivatives; under ``torch.vmap`` only the latter works.

    Args:
        loss: Returns a loss () and the new buffers from parameters.
        params: Where the gradients are taken, by name.
    """
    if in_transform():
        by_name, values = grad_and_value(loss, has_aux=True)(params)
        return list(by_name.values()), values
    with torch.enable_grad():
        params = {name: p.requires_grad_() for name, p in params.items()}
        values = loss(params)
        gradients = torch.autograd.grad(values[0], list(params.values()), allow_unused=True, materialize_grads=True)
        return list(gradients), values


def preprocess(x: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """Magnitude and direction of ``x`` (any shape), each of that shape and of order one (appendix of the paper).

    Args:
        x: Gradients or losses, of any shape.
        p: Magnitudes below exp(-p) count as small.
    """
    magnitude = x.abs().log_().div_(p).clamp(min=-1.0)  # below -1 where |x| < exp(-p)
    direction = (math.exp(p) * x).clamp(-1.0, 1.0)  # beyond 1 where |x| > exp(-p)
    return magnitude, direction


def fresh_statistics(network: nn.Module) -> Buffers:
    """The network's buffers with every batch-norm statistic erased: mean 0, variance 1."""
    buffers = dict(network.named_buffers())
    for name, module in network.named_modules():
        if isinstance(module, BatchNorm):
            prefix = f"{name}." if name else ""
            buffers[f"{prefix}running_mean"] = torch.zeros_like(module.running_mean)
            buffers[f"{prefix}running_var"] = torch.ones_like(module.running_var)
    return buffers
