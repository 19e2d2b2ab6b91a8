"""The gradients of several runs at once, by ``torch.vmap`` over their weights.

Each run draws its own episodes and has its own optimiser. Only the gradient is shared work: small networks leave the
processor waiting for Python and for the start of each operation, and this cost is then paid once for all runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from metaexp.core.errors import ConfigError, first_line
from metaexp.core.over_tasks import over_tasks
from metaexp.core.types import Episode, combine_tensors, mapped_axes, select_tasks
from metaexp.doctor.differences import largest_difference
from metaexp.machine.all_reduce import Partial
from metaexp.machine.failures import explained
from metaexp.run.side_effects.buffers import mean_buffers, replaced, set_progress
from metaexp.run.state import gradients_of
from metaexp.run.step import MetaStep, noise_seed

MOST_DIFFERENCE = {"float32": 1e-2, "tf32": 5e-2, "bf16": 0.3}
"""The largest difference of a parameter's gradient from the one that the run computes alone, relative to its norm.
Rounding gives some 1e-6 in float32; a wrong computation gives some 1."""
LEAST_GRADIENT = 1e-2
"""The least norm that a difference is divided by, relative to the whole gradient. The gradient of a bias in front of
batch norm is nothing but rounding: up to 1e-5 of the whole in float32, and 2e-4 in bf16."""


_INSTEAD = (
    "To train them one after another, leave out train.seeds and sweep.together, and list the seeds: -m seed=0,1,2."
)


class StackedGradient:
    """Computes the gradients of one step for several runs.

    The weights of each run become slices of the stacked ones, and keep this place: a step of the run's own optimiser,
    or new weights that are copied into it, change the stack.

    Args:
        steps: What makes the steps of each run. The runs have the same algorithm, network and tasks; their seeds may
            differ, and what comes after the gradient (clipping, learning rate, optimiser).
        at_once: How many tasks of all runs together are computed at once; None for all.
    """

    def __init__(self, steps: Sequence[MetaStep], at_once: int | None = None) -> None:
        self.steps = list(steps)
        self.at_once = max(1, (at_once or len(steps) * steps[0].tasks) // len(steps))  # of each run
        self.first = self.steps[0]
        algorithms = [step.algorithm for step in self.steps]
        self.weights = _stack_in_place([dict(algorithm.named_parameters()) for algorithm in algorithms])
        self.buffers = _stack_in_place([dict(algorithm.named_buffers()) for algorithm in algorithms])
        for name, parameter in self.first.algorithm.named_parameters():
            self.weights[name].requires_grad_(parameter.requires_grad)
        self._parameters = {
            name: [dict(algorithm.named_parameters())[name] for algorithm in algorithms]
            for name, stacked in self.weights.items()
            if stacked.requires_grad
        }

    def compute(self, step: int) -> list[Partial]:
        """Compute the gradients of ``step`` into ``.grad`` of every run. Weights and buffers stay as they are.

        Args:
            step: The training step, from 0.

        Returns:
            What :meth:`MetaStep.compute_mean` returns, for each run.
        """
        first, tasks = self.first, self.first.tasks
        for member in self.steps:
            set_progress(member.algorithm, step, member.total_steps)
        episodes = [member.source.episodes("train", member.indices(step)) for member in self.steps]
        for name in self._parameters:
            self.weights[name].grad = None
        losses, buffers = [], []
        for start in range(0, tasks, self.at_once):
            chunk = combine_tensors(torch.stack, [select_tasks(own, start, start + self.at_once) for own in episodes])
            with first.compute.autocast():
                values, replaced = self._map(chunk)  # (N, T_c), (N, T_c, ...)
            torch.autograd.backward(values.sum() / tasks)
            losses.append(values.detach())
            buffers.append(replaced)
        self._hand_out()
        every = torch.cat(losses, dim=1)  # (N, T)
        own = [[{name: t[i] for name, t in chunk.items()} for chunk in buffers] for i in range(len(self.steps))]
        return [Partial(every[i], mean_buffers(first.algorithm, chunks, tasks)) for i, chunks in enumerate(own)]

    def _map(self, episodes: Episode) -> tuple[Tensor, dict[str, Tensor]]:
        """The meta-losses (N, T) of N runs on T tasks each, and the buffers that they replaced (N, T, ...)."""

        def run(weights: dict[str, Tensor], buffers: dict[str, Tensor], episodes: Episode) -> Any:
            def task(episode: Episode) -> tuple[Tensor, dict[str, Tensor]]:
                state = {**weights, **buffers}
                loss = functional_call(self.first.algorithm, state, (episode,))
                return loss, replaced(self.first.algorithm, state, buffers)

            return over_tasks(task, episodes)

        axes = (0, 0, mapped_axes(episodes))
        values: tuple[Tensor, dict[str, Tensor]] = torch.vmap(run, in_dims=axes, randomness="error")(
            self.weights, self.buffers, episodes
        )
        return values

    def _hand_out(self) -> None:
        for name, parameters in self._parameters.items():
            gradient = self.weights[name].grad
            slices = [None] * len(parameters) if gradient is None else gradient.unbind(0)
            for parameter, own in zip(parameters, slices, strict=True):
                parameter.grad = own

    def check(self, step: int) -> None:
        """Compare the gradients of ``step`` with those that each run computes alone. No run is changed.

        So everything that cannot be mapped over runs is found before the first step: operations that torch refuses,
        noise such as dropout's, and tensors of own code that are neither parameters nor buffers, which each run has its
        own of.

        Args:
            step: The training step, from 0.

        Raises:
            ConfigError: torch cannot map the algorithm or its network over runs, or the gradients differ.
        """
        name = type(self.first.algorithm).__name__
        if any(member.algorithm.takes_single_tasks for member in self.steps):
            raise ConfigError(
                f"{name} with this network computes one task at a time, so several runs of it cannot be trained "
                f"together. {_INSTEAD}"
            )
        if any(member.source.varies for member in self.steps):
            raise ConfigError(
                "the episodes of this dataset differ in ways or shots, so several runs cannot be trained together. "
                f"{_INSTEAD}"
            )
        with self._keep_buffers():
            alone = [_alone(member, step) for member in self.steps]
        try:
            with self._keep_buffers():
                self.compute(step)
        except (RuntimeError, ConfigError) as error:
            if isinstance(error, RuntimeError) and explained(error) is not None:  # out of memory, say
                raise
            why = first_line(error).partition(". ")[0][:200].rstrip(".")
            raise ConfigError(f"several runs of {name} cannot be trained together: {why}. {_INSTEAD}") from error
        for member, expected in zip(self.steps, alone, strict=True):
            parameter, difference = largest_difference(gradients_of(member.algorithm), expected, LEAST_GRADIENT)
            if not difference <= MOST_DIFFERENCE[member.compute.precision]:
                raise ConfigError(
                    f"several runs of {name} cannot be trained together: the gradient of seed {member.seed} then "
                    f"differs from that alone (that of {parameter}, by {difference:.2g} of its norm). The algorithm or "
                    "its network draws random numbers, keeps something from one task to the next, or has tensors that "
                    f"are neither parameters nor buffers. {_INSTEAD}"
                )

    @contextmanager
    def _keep_buffers(self) -> Iterator[None]:
        """Put the buffers of all runs back after this block, which may write to them in place."""
        before = {name: stacked.clone() for name, stacked in self.buffers.items()}
        try:
            yield
        finally:
            with torch.no_grad():
                for name, stacked in self.buffers.items():
                    stacked.copy_(before[name])


def _alone(member: MetaStep, step: int) -> dict[str, Tensor]:
    """The gradients of ``step`` as the run computes them alone."""
    set_progress(member.algorithm, step, member.total_steps)
    member.optimizer.zero_grad()
    member.compute.reseed(noise_seed(member.seed, step))
    member.fresh_gradient(member.indices(step))
    return gradients_of(member.algorithm)


def _stack_in_place(runs: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Stack the tensors of each name, and make each run's tensor a view of its slice."""
    stacked = {}
    for name in runs[0]:
        tensors = [run[name] for run in runs]
        stacked[name] = torch.stack([tensor.detach() for tensor in tensors])
        for tensor, own in zip(tensors, stacked[name].unbind(0), strict=True):
            tensor.data = own
    return stacked
