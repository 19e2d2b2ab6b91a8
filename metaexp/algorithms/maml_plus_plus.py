"""MAML++: five changes to MAML, each with a switch of its own.

1. multi-step loss (``multi_step_loss_epochs``): the meta-loss is a weighted sum of the query losses after *every*
   inner step. The weights are equal at first and move to the last step, linearly over that many epochs; from then on
   only the last step counts.
2. per-layer, per-step rates (``learn_inner_lr``): one learned inner rate for each parameter tensor and inner step.
3. per-step batch norm (``per_step_batch_norm``): each inner step has its own gamma and beta, and running statistics.
   Step j normalises the support at step j and the queries after it with set j.
4. derivative-order annealing (``first_order_epochs``): first-order meta-gradients at first, second-order ones later.
5. a cosine schedule of the outer learning rate: schedule=cosine.

Source: Antoniou, Edwards & Storkey, "How to Train Your MAML", ICLR 2019, section 4, and the authors' code
(AntreasAntoniou/HowToTrainYourMAMLPytorch), whose published settings have no derivative-order annealing. That code
always normalises with the statistics of the current batch, whatever it stores, so it is ``transductive``;
``running`` uses the stored ones at test, which is what the paper describes. gamma and beta are not adapted.
Departures: test accuracies in the paper are those of an ensemble of the five best checkpoints; ours are of one.
Where evaluation takes more inner steps than training, the last set and the last rates are used on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import grad

from metaexp.core.algorithm import Algorithm
from metaexp.core.fields import NonNegativeInt, PositiveFloat, PositiveInt
from metaexp.core.inner import Params, last
from metaexp.core.types import Episode, Examples
from metaexp.models.base import (
    Buffers,
    Output,
    batch_norm_parameters,
    buffers_of,
    call,
    has_batch_norm,
    parameters_of,
)
from metaexp.models.batch_norm import BatchNorm

_LEAST_SHARE = 0.03
"""While annealing, no step's weight falls below this share of 1 / inner_steps (authors' code)."""


class Learner(NamedTuple):
    """A network's parameters and batch-norm statistics, with the gammas, betas and statistics of one inner step."""

    params: Params
    buffers: Buffers


class MAMLPlusPlus(Algorithm):
    """MAML++.

    Args:
        model: the network. Its parameters are the initialisation.
        inner_lr: the inner learning rate of all parameters and steps, on the scale of the mean support loss. Learned
            rates start from it.
        inner_steps: gradient steps in meta-training.
        inner_steps_test: gradient steps in evaluation.
        multi_step_loss_epochs: how many epochs the multi-step loss lasts; 0 switches it off.
        learn_inner_lr: whether to learn one inner rate for each parameter tensor and inner step.
        per_step_batch_norm: whether each inner step has its own gamma, beta and running statistics.
        first_order_epochs: for how many epochs meta-gradients are first order; 0 switches this off.
        epoch: training steps that make an epoch.
        batch_norm: which statistics are used at test: those of the current batch (``transductive``, the code), or the
            stored ones (``running``, the paper).
    """

    def __init__(
        self,
        model: nn.Module,
        inner_lr: PositiveFloat,
        inner_steps: PositiveInt,
        inner_steps_test: PositiveInt,
        multi_step_loss_epochs: NonNegativeInt,
        learn_inner_lr: bool,
        per_step_batch_norm: bool,
        first_order_epochs: NonNegativeInt,
        epoch: PositiveInt,
        batch_norm: Literal["transductive", "running"],
    ) -> None:
        super().__init__()
        self.model = model
        self.inner_steps = inner_steps
        self.inner_steps_test = inner_steps_test
        self.multi_step_loss_epochs = multi_step_loss_epochs
        self.first_order_epochs = first_order_epochs
        self.epoch = epoch
        self.uses_running_statistics = batch_norm == "running"
        self.norm_names = batch_norm_parameters(model)
        self.adapted_names = [name for name in parameters_of(model) if name not in self.norm_names]
        self.per_step_names = give_each_step_its_norm(model, inner_steps) if per_step_batch_norm else frozenset()
        rates = torch.full((inner_steps, len(self.adapted_names)), inner_lr)
        self.inner_lr = nn.Parameter(rates) if learn_inner_lr else inner_lr
        self.set_progress(0, 0)

    @property
    def batch_norm(self) -> Literal["transductive", "running", "none"]:
        if not has_batch_norm(self.model):
            return "none"
        return "running" if self.uses_running_statistics else "transductive"

    @property
    def first_order(self) -> bool:
        """The order in force now: annealing changes it."""
        return self._first_order

    def passes_over_queries(self, *, trains: bool) -> int:
        """One for each step where the meta-loss is that of all steps, else one."""
        return self.inner_steps if trains and self.multi_step_loss_epochs > 0 else 1

    def set_progress(self, step: int, total: int) -> None:
        """Set the order of the gradient and the weights of the multi-step loss."""
        epoch = step // self.epoch
        self._first_order = epoch < self.first_order_epochs
        self.loss_weights = multi_step_weights(self.inner_steps, epoch, self.multi_step_loss_epochs)

    def adapt(self, support: Examples) -> Learner:
        """Take the inner steps on ``support`` and return the adapted learner."""
        return last(self.adaptation_path(support))

    def predict(self, adapted: Learner, x: Tensor) -> Tensor:
        """Scores (M, N) or outputs (M, D_out) of ``x`` (M, ...)."""
        return self._call(adapted, x).values

    def adaptation_path(self, support: Examples) -> Iterator[Learner]:
        """The learner after 0, 1, ..., n inner steps."""
        adapted, moved = self._start(), Buffers()
        yield self._learner(adapted, {}, 0)
        for step in range(self.inner_steps if self.training else self.inner_steps_test):
            adapted, moved = self._inner_step(adapted, moved, support, step)
            yield self._learner(adapted, {}, step)

    def meta_loss(self, episode: Episode) -> Tensor:
        """The weighted query losses () of the inner steps in meta-training, that of the last one otherwise.

        In meta-training with running statistics, moves these: by the support, and by queries whose loss counts.
        """
        if not self.training:
            return super().meta_loss(episode)
        adapted, moved = self._start(), Buffers()
        losses, sets = [], []
        for step, weight in enumerate(self.loss_weights):
            adapted, moved = self._inner_step(adapted, moved, episode.support, step)
            if weight > 0:
                out = self._call(self._learner(adapted, moved, step), episode.query.x)
                losses.append(weight * self.loss(out.values, episode.query.y))
                moved = out.buffers
            sets.append(moved)
        if self.uses_running_statistics:
            self._store(sets)
        return torch.stack(losses).sum()

    def _start(self) -> Params:
        """The parameters that the inner steps adapt."""
        own = parameters_of(self.model)
        return {name: own[name] for name in self.adapted_names}

    def _inner_step(self, adapted: Params, moved: Buffers, support: Examples, step: int) -> tuple[Params, Buffers]:
        """One inner step from ``adapted``, and the buffers after its pass over the support.

        These differ from ``moved``, those of the passes before, only in meta-training with running statistics.
        """
        if self.per_step_names:
            moved = {}  # the next set starts from its own stored statistics

        def support_loss(adapted: Params) -> tuple[Tensor, Buffers]:
            out = self._call(self._learner(adapted, moved, step), support.x)
            return self.loss(out.values, support.y), out.buffers

        gradients, after = grad(support_loss, has_aux=True)(adapted)
        if self._first_order:
            gradients = {name: g.detach() for name, g in gradients.items()}
        rates = self._rates(step)
        return {name: p - rates[name] * gradients[name] for name, p in adapted.items()}, after

    def _learner(self, adapted: Params, moved: Buffers, step: int) -> Learner:
        """``adapted`` with the batch-norm set of ``step``; ``moved`` buffers take the place of stored ones."""
        norms: Params = {name: p for name, p in self.model.named_parameters() if name in self.norm_names}
        return Learner({**adapted, **self._set(norms, step)}, {**self._set(buffers_of(self.model), step), **moved})

    def _set(self, tensors: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """``tensors``, with those of the set of ``step`` where each inner step has its own (inner_steps, F)."""
        place = min(step, self.inner_steps - 1)
        return {name: t[place] if name in self.per_step_names else t for name, t in tensors.items()}

    def _rates(self, step: int) -> dict[str, Tensor | float]:
        """The inner rate of every adapted tensor at ``step``."""
        if not isinstance(self.inner_lr, Tensor):
            return dict.fromkeys(self.adapted_names, self.inner_lr)
        row = self.inner_lr[min(step, self.inner_steps - 1)]
        return {name: row[index] for index, name in enumerate(self.adapted_names)}

    def _call(self, learner: Learner, x: Tensor) -> Output:
        statistics: Literal["batch", "collect", "stored"] = "batch"
        if self.uses_running_statistics:
            statistics = "collect" if self.training else "stored"
        return call(self.model, learner.params, learner.buffers, x, statistics)

    def _store(self, sets: list[Buffers]) -> None:
        """Replace the network's stored statistics by those after each inner step."""
        for name, module in self.model.named_modules():
            if isinstance(module, BatchNorm):
                for part in ("running_mean", "running_var"):
                    after = [buffers[f"{name}.{part}" if name else part] for buffers in sets]  # steps x (F,)
                    setattr(module, part, torch.stack(after) if self.per_step_names else after[-1])


def give_each_step_its_norm(model: nn.Module, steps: int) -> frozenset[str]:
    """Give gammas, betas and statistics of ``model`` a leading axis of ``steps`` sets, equal at first.

    The network can then only be called with one set in their place. What is frozen stays so.

    Args:
        model: The network; changed in place.
        steps: Inner steps.

    Returns:
        The names of these tensors.
    """
    names = set()
    for prefix, module in model.named_modules():
        if isinstance(module, BatchNorm):
            for name, p in list(module.named_parameters()):
                repeated = nn.Parameter(p.detach().repeat(steps, 1), requires_grad=p.requires_grad)  # (steps, F)
                setattr(module, name, repeated)
                names.add(f"{prefix}.{name}".lstrip("."))
            for name, buffer in list(module.named_buffers()):
                setattr(module, name, buffer.repeat(steps, 1))  # (steps, F)
                names.add(f"{prefix}.{name}".lstrip("."))
    return frozenset(names)


def multi_step_weights(steps: int, epoch: int, annealing_epochs: int) -> list[float]:
    """Return the weights of the query losses after 1, 2, ..., ``steps`` inner steps. They sum to one.

    Args:
        steps: Inner steps.
        epoch: The epoch of training, from 0.
        annealing_epochs: From this epoch on, only the loss after the last step counts.
    """
    if epoch >= annealing_epochs:
        return [0.0] * (steps - 1) + [1.0]
    early = max(1 - epoch / annealing_epochs, _LEAST_SHARE) / steps
    return [early] * (steps - 1) + [1 - early * (steps - 1)]
