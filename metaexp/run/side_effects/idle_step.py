"""Warns of training that changes no weight, and refuses a clip that changes no gradient in place."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from metaexp.core.errors import ConfigError
from metaexp.core.optim import Clip
from metaexp.run.optimizer import take_step

log = logging.getLogger(__name__)


def apply_clip(clip: Clip, algorithm: nn.Module) -> None:
    """Bound the gradients of an algorithm in place.

    Args:
        clip: A clip, perhaps of own code.
        algorithm: With the gradients of a step.

    Raises:
        ConfigError: The clip returned something other than a norm, which it would have to do in place.
    """
    returned: object = clip.apply(algorithm)  # code of users may return anything
    if not (returned is None or isinstance(returned, (Tensor, float, int))):
        raise ConfigError(
            f"clip: apply of {type(clip).__name__} returned a {type(returned).__name__}, which nobody uses. Let it "
            "change the .grad of each parameter in place (parameter.grad.clamp_(-1, 1)), and return nothing."
        )


class Update:
    """Takes the steps of an optimiser, and warns if the first one with a learning rate changes no weight.

    Warns before any step where every learning rate is 0, which no schedule changes.

    Args:
        optimizer: Its learning rates are set before each step.
        parameters: What it trains.
        clip: What was applied to the gradients, for the message.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], clip: Clip) -> None:
        self.optimizer = optimizer
        self.parameters = parameters
        self.clip = clip
        _warn_of_no_rate(optimizer)
        self._is_checked = any(parameter.is_meta for parameter in parameters)  # these have no numbers

    def take(self, norm: Tensor) -> None:
        """Take a step.

        Args:
            norm: (), of the gradient before clipping.
        """
        rates = [] if self._is_checked else [float(group["lr"]) for group in self.optimizer.param_groups]
        if not any(rates):  # a schedule may begin at 0
            take_step(self.optimizer)
            return
        self._is_checked = True
        before = [parameter.detach().clone() for parameter in self.parameters]
        take_step(self.optimizer)
        if all(torch.equal(old, new.detach()) for old, new in zip(before, self.parameters, strict=True)):
            log.warning(
                "a step of training changes no weight: optimizer %s with the learning rate %g, after clip %s; the norm "
                "of the gradient before it is %.3g. Either the step does nothing, or the gradients after the clip are "
                "0 or None, or the learning rate is too small for float32.",
                type(self.optimizer).__name__, max(rates), type(self.clip).__name__, float(norm),
            )  # fmt: skip


def _warn_of_no_rate(optimizer: torch.optim.Optimizer) -> None:
    """Warn of a learning rate of 0. An optimiser of own code may compute its rate by itself."""
    is_of_torch = type(optimizer).__module__.startswith("torch.optim.")
    if is_of_torch and not any(float(group["lr"]) for group in optimizer.param_groups):
        log.warning(
            "optimizer.lr=0: no step of training changes a weight, whatever the schedule, and the test measures the "
            "initial weights. If that is meant, train.steps=0 is quicker; else set optimizer.lr."
        )
