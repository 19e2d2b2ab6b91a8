"""One step of training: a batch of tasks, the mean of their meta-losses, one step of the optimiser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from metaexp.config.schema import Settings
from metaexp.core.algorithm import Algorithm
from metaexp.core.counted import agreeing, counted
from metaexp.core.errors import ConfigError, NotFiniteError
from metaexp.core.optim import Clip, Schedule, checked_factor, total_norm
from metaexp.core.over_tasks import over_tasks
from metaexp.core.shapes import trains_on_batches
from metaexp.core.types import Episode, n_tasks, select_tasks
from metaexp.data.base import TaskSource
from metaexp.machine.all_reduce import Exchange, Partial, no_reduce
from metaexp.machine.device import Compute
from metaexp.machine.graphs.recorded_gradient import Gradient, RecordedGradient, is_recordable
from metaexp.machine.single_rank import SINGLE, Ranks
from metaexp.models.base import not_persistent
from metaexp.run.evaluation.divergence import remedies
from metaexp.run.side_effects.buffers import mean_buffers, replaced, set_progress, sum_buffers
from metaexp.run.side_effects.detect import SideEffects, refuse_side_effects
from metaexp.run.side_effects.first_task import FirstTask, first_task
from metaexp.run.side_effects.idle_step import Update, apply_clip
from metaexp.run.side_effects.not_saved import note_not_saved
from metaexp.run.side_effects.schedule_ahead import check_schedule
from metaexp.run.side_effects.unsaved_state import UnsavedState

_GOLDEN = 0x9E3779B97F4A7C15  # odd, so that neighbouring seeds get distant streams


class StepResult(NamedTuple):
    """The result of a step, still on the device.

    Attributes:
        losses: (T,), the meta-loss of each task.
        gradient_norm: (), before clipping.
    """

    losses: Tensor
    gradient_norm: Tensor


class MetaStep:
    """Makes the steps of training.

    Step ``s`` (0-based) trains on tasks s * T ... s * T + T - 1 of the train split, so what it does depends on the
    weights, the optimiser's state and ``s`` alone. Nothing in it waits for the device. Tasks are computed
    ``compute.task_chunk`` at a time, each chunk with its own backward pass, which bounds memory; gradients add up.

    Args:
        algorithm: It is trained.
        source: The training tasks.
        optimizer: Over the parameters of the algorithm.
        schedule: The learning rate of every step.
        clip: What limits gradients.
        compute: The device.
        tasks: T, the tasks of one step.
        total_steps: How many steps the run has.
        seed: The seed of the noise drawn while training (dropout).
        ranks: The ranks that share the tasks of a step.
        n_tasks: Train on this many tasks only, the first ones, again and again; None for new ones in every step.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        source: TaskSource,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        clip: Clip,
        compute: Compute,
        tasks: int,
        total_steps: int,
        seed: int,
        ranks: Ranks = SINGLE,
        n_tasks: int | None = None,
    ) -> None:
        self.algorithm = algorithm
        self.source = source
        self.optimizer = optimizer
        self.schedule = schedule
        self.clip = clip
        self.compute = compute
        self.tasks = tasks
        self.total_steps = total_steps
        self.seed = seed
        self.n_tasks = n_tasks
        self.base_lrs = [float(group["lr"]) for group in optimizer.param_groups]
        self.parameters = [p for p in algorithm.parameters() if p.requires_grad]
        self.buffers = dict(algorithm.named_buffers())
        self._first_indices = torch.arange(tasks, device=compute.tasks_on)
        self.rank, self.share, self._is_alone = ranks.rank, ranks.share(tasks), ranks.size == 1
        self.gradient: Gradient = self.fresh_gradient
        if is_recordable(algorithm, compute, ranks, varies=source.varies):
            self.gradient = RecordedGradient(self.fresh_gradient, algorithm, compute.device)
        self._is_first = True
        note_not_saved(algorithm, check_schedule(schedule, total_steps))
        self.update = Update(optimizer, self.parameters, clip)
        self.reduce = no_reduce if self._is_alone else self._exchange(ranks).reduce

    def _exchange(self, ranks: Ranks) -> Exchange:
        """What makes the parts of all ranks one."""
        lasting = self.buffers.keys() - not_persistent(self.algorithm)
        return Exchange(ranks, self.parameters, self.buffers, self.tasks, lasting)

    def indices(self, step: int) -> Tensor:
        """The indices (T,) of the tasks of ``step``."""
        new = self._first_indices + step * self.tasks
        return new if self.n_tasks is None else new % self.n_tasks

    def run(self, step: int) -> StepResult:
        """Make step ``step`` (0-based)."""
        return self.apply(step, self.compute_mean(step))

    def compute_mean(self, step: int) -> Partial:
        """Compute the gradient of ``step`` into ``.grad``. Weights and buffers stay as they are."""
        self.optimizer.zero_grad()
        return self.reduce(partial(self._backward_on_share, step))

    def apply(self, step: int, mean: Partial) -> StepResult:
        """Update weights and buffers with the result of :meth:`compute_mean`.

        Args:
            step: The training step, from 0.
            mean: What :meth:`compute_mean` returned.
        """
        self._replace_buffers(mean.new_buffers)
        norm = self.gradient_norm()
        unsaved = UnsavedState(self.optimizer, clip=self.clip, schedule=self.schedule) if self._is_first else None
        apply_clip(self.clip, self.algorithm)
        self._set_lr(step)
        self.update.take(norm)
        if unsaved is not None:
            note_not_saved(self.algorithm, unsaved.check())
            self._is_first = False
        return StepResult(mean.losses, norm)

    def _backward_on_share(self, step: int) -> Partial:
        """Add the gradient over this rank's tasks of ``step`` to ``.grad``."""
        set_progress(self.algorithm, step, self.total_steps)
        seed = noise_seed(self.seed, step, self.rank)
        indices = self.indices(step) if self._is_alone else self.indices(step)[self.share.start : self.share.stop]
        first = FirstTask(self.algorithm, partial(self._first_loss, indices, seed)) if self._is_first else None
        self.compute.reseed(seed)
        found = self.gradient(indices)
        if first is not None:
            first.check(partial(first_task, self.source, indices))
        return found

    def _first_loss(self, indices: Tensor, seed: int) -> Tensor:
        """The meta-loss (1,) of the first of the tasks at ``indices`` (T_r,), from the same seed each time."""
        self.compute.reseed(seed)
        task = first_task(self.source, indices)
        with self.compute.autocast(), refuse_side_effects(self.algorithm, task, "training tasks"):
            loss: Tensor = over_tasks(self._task, task, 1)[0]
        return loss

    def fresh_gradient(self, indices: Tensor) -> Partial:
        """Add the gradient over the tasks at ``indices`` (T_r,) to ``.grad``, without a recorded graph."""
        if not self.source.varies:
            return self._backward(self.source.episodes("train", indices), self.tasks)
        groups = self.source.alike("train", indices)
        parts = [
            self._backward(self.source.episodes("train", indices[places.to(indices.device)]), self.tasks)
            for places in groups
        ]
        losses = torch.cat([part.losses for part in parts])
        losses = losses[torch.cat(groups).argsort().to(losses.device)]
        return Partial(losses, sum_buffers(self.algorithm, [part.new_buffers for part in parts]))

    def backward(self, episodes: Episode) -> Tensor:
        """Add the gradient of the mean meta-loss to ``.grad``, replace the buffers, and return the losses (T,)."""
        mean = self._backward(episodes, n_tasks(episodes))
        self._replace_buffers(mean.new_buffers)
        return mean.losses

    def _backward(self, episodes: Episode, tasks: int) -> Partial:
        """Add the gradient of the sum of the meta-losses, divided by the number of all ``tasks``, to ``.grad``."""
        effects = SideEffects(self.algorithm, episodes) if self._is_first else None
        here = n_tasks(episodes)
        size = self.algorithm.tasks_at_once(episodes.support.x.shape[1], min(self.compute.task_chunk or here, here))
        losses, replaced = [], []
        for start in range(0, here, size):
            chunk = episodes if size == here else select_tasks(episodes, start, start + size)
            with self.compute.autocast():
                values, buffers = over_tasks(self._task, chunk, min(size, n_tasks(chunk)))
            loss = values.sum() / tasks
            if not loss.requires_grad:
                raise ConfigError(
                    f"the meta-loss of {type(self.algorithm).__name__} does not depend on any of its parameters, "
                    "so there is nothing to train. Set train.steps=0 to test it as it is."
                )
            loss.backward()
            losses.append(values.detach())
            replaced.append(buffers)
        if effects is not None:
            effects.check("training tasks")
            effects.warn()
        return Partial(
            losses[0] if len(losses) == 1 else torch.cat(losses), mean_buffers(self.algorithm, replaced, tasks)
        )

    def gradient_norm(self) -> Tensor:
        """The norm () over all gradients."""
        return total_norm([grad for p in self.parameters if (grad := p.grad) is not None])

    def lr(self, step: int) -> float:
        """The learning rate of ``step``, of the first group of parameters."""
        return self.base_lrs[0] * checked_factor(self.schedule, step, self.total_steps)

    def _set_lr(self, step: int) -> None:
        factor = checked_factor(self.schedule, step, self.total_steps)
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = base * factor

    def _task(self, episode: Episode) -> tuple[Tensor, dict[str, Tensor]]:
        """The meta-loss () of one task, and the buffers that it replaced."""
        if not self.buffers:
            return self.algorithm(episode), {}
        state = dict(self.buffers)
        loss = functional_call(self.algorithm, state, (episode,))
        return loss, replaced(self.algorithm, state, self.buffers)

    def _replace_buffers(self, new: dict[str, Tensor]) -> None:
        if new:
            with torch.no_grad():
                torch._foreach_copy_([self.buffers[name] for name in new], list(new.values()))


def noise_seed(seed: int, step: int, rank: int = 0) -> int:
    """Return the seed for global random numbers, such as those of dropout.

    Args:
        seed: The seed of the run.
        step: The step, from 0.
        rank: The rank.
    """
    return (seed * _GOLDEN + step + (rank << 40)) % (1 << 63)


def check_shares(settings: Settings, cls: type[Algorithm], n_ranks: int) -> None:
    """Raise ConfigError when a step has too few tasks for every rank to have one.

    Args:
        settings: The checked settings.
        cls: The algorithm's class.
        n_ranks: Processes of the launch.
    """
    tasks = settings.train.meta_batch_size
    if n_ranks == 1 or settings.train.steps == 0:
        return
    if trains_on_batches(cls.training_tasks, settings.train.shape.n_way):
        raise ConfigError(
            f"{cls.__name__} trains on one batch of train.meta_batch_size={tasks} "
            f"examples per step, and {counted(n_ranks, 'rank')} share tasks, not examples. Start it with one process."
        )
    if tasks < n_ranks:
        most = f"at most {tasks} processes" if tasks > 1 else "one process"
        raise ConfigError(
            f"train.meta_batch_size={tasks} gives {counted(tasks, 'task')} per step, which "
            f"{counted(n_ranks, 'rank')} cannot share. Start {most} (torchrun --nproc-per-node), or set "
            f"train.meta_batch_size={n_ranks} or more, which changes the numbers."
        )


def not_finite(
    settings: Settings, total: int, step: int, per_task: Sequence[float], saved: Sequence[int]
) -> NotFiniteError:
    """Return the error of a step that gave a loss or a gradient that is not finite.

    Args:
        settings: The settings of the run.
        total: How many steps it has.
        step: The step, from 0.
        per_task: The loss of each task of the step.
        saved: The steps after which there are checkpoints.
    """
    size = len(per_task)
    numbers = [(step * size + i) % (settings.train.n_tasks or total * size) for i in range(size)]
    if bad := [str(number) for number, loss in zip(numbers, per_task, strict=True) if not math.isfinite(loss)]:
        what = f"the loss of training {agreeing(len(bad), 'task')} {', '.join(bad)}"
    else:
        ends = map(str, sorted({min(numbers), max(numbers)}))
        what = f"the gradient over training {agreeing(size, 'task')} {' to '.join(ends)}"
    kept = f"The checkpoint after {counted(saved[-1], 'step')} is kept" if saved else "There is no checkpoint yet"
    return NotFiniteError(
        f"{what} is not finite in step {step + 1:,} of {total:,} (seed {settings.seed}). {kept}. "
        f"{remedies(settings, 'bound gradients with clip=norm')}"
    )
