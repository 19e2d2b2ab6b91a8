"""One meta-update: a batch of tasks, the mean of their meta-losses, one step of the optimiser."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.core.optim import Clip, Schedule
from metaexp.core.over_tasks import over_tasks
from metaexp.core.types import Episode, n_tasks, select_tasks
from metaexp.data.base import TaskSource
from metaexp.runner.device import Compute

_GOLDEN = 0x9E3779B97F4A7C15  # odd, so that neighbouring seeds get distant streams


class StepResult(NamedTuple):
    """What a meta-update gave, still on the device: losses (T,) per task, gradient norm () before clipping."""

    losses: Tensor
    gradient_norm: Tensor


class MetaStep:
    """Makes meta-updates. Update ``s`` (0-based) trains on tasks s * T ... s * T + T - 1 of the train split, so
    what it does depends on the weights, the optimiser's state and ``s`` alone.

    Nothing in it waits for the device. Tasks are computed ``compute.task_chunk`` at a time, each chunk
    with its own backward pass, which bounds memory; gradients add up.
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
        self.base_lrs = [float(group["lr"]) for group in optimizer.param_groups]
        self.parameters = [p for p in algorithm.parameters() if p.requires_grad]
        self.buffers = dict(algorithm.named_buffers())

    def indices(self, step: int) -> Tensor:
        """The tasks (T,) of update ``step``."""
        return torch.arange(step * self.tasks, (step + 1) * self.tasks, device=self.compute.device)

    def update(self, step: int) -> StepResult:
        """Make update ``step`` (0-based)."""
        self.algorithm.begin_step(step, self.total_steps)
        self.compute.reseed(noise_seed(self.seed, step))
        episodes = self.source.episodes("train", self.indices(step))
        self.optimizer.zero_grad()
        losses = self.backward(episodes)
        norm = self.gradient_norm()
        self.clip.apply(self.algorithm)
        self._set_lr(step)
        self.optimizer.step()
        return StepResult(losses, norm)

    def backward(self, episodes: Episode) -> Tensor:
        """Add the gradient of the mean meta-loss to ``.grad``, move the buffers, and return the losses (T,)."""
        total = n_tasks(episodes)
        size = min(self.compute.task_chunk or total, total) if self.algorithm.vectorises else 1
        losses, moved = [], []
        for start in range(0, total, size):
            chunk = episodes if size == total else select_tasks(episodes, start, start + size)
            with self.compute.autocast():
                values, buffers = over_tasks(self._task, chunk, min(size, n_tasks(chunk)))
            loss = values.sum() / total
            if not loss.requires_grad:
                raise ConfigError(
                    f"the meta-loss of {type(self.algorithm).__name__} does not depend on any of its parameters, "
                    "so there is nothing to train. Set train.steps=0 to test it as it is."
                )
            loss.backward()
            losses.append(values.detach())
            moved.append(buffers)
        self._move_buffers(moved)
        return losses[0] if len(losses) == 1 else torch.cat(losses)

    def gradient_norm(self) -> Tensor:
        """The norm () over all gradients."""
        norms = [torch.linalg.vector_norm(p.grad) for p in self.parameters if p.grad is not None]
        norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
        return norm

    def lr(self, step: int) -> float:
        """The learning rate of update ``step``, of the first group of parameters."""
        return self.base_lrs[0] * self.schedule.factor(step, self.total_steps)

    def _set_lr(self, step: int) -> None:
        factor = self.schedule.factor(step, self.total_steps)
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = base * factor

    def _task(self, episode: Episode) -> tuple[Tensor, dict[str, Tensor]]:
        """The meta-loss () of one task, and the buffers that it replaced."""
        if not self.buffers:
            return self.algorithm.meta_loss(episode), {}
        state = dict(self.buffers)
        loss = functional_call(self.algorithm, state, (episode,))
        return loss, {name: t.detach() for name, t in state.items() if t is not self.buffers[name]}

    def _move_buffers(self, chunks: list[dict[str, Tensor]]) -> None:
        """Set each replaced buffer to its mean over tasks; whole numbers (counters) agree between tasks."""
        with torch.no_grad():
            for name in chunks[0]:
                values = torch.cat([chunk[name] for chunk in chunks])  # (T, ...)
                self.buffers[name].copy_(values.mean(0) if values.is_floating_point() else values[0])


def noise_seed(seed: int, step: int) -> int:
    """The seed of whatever draws global random numbers (dropout) during update ``step``."""
    return (seed * _GOLDEN + step) % (1 << 63)
