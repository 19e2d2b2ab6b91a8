"""Warns of parameters that no gradient reaches."""

from __future__ import annotations

import logging

from metaexp.core.algorithm import Algorithm
from metaexp.core.counted import listed
from metaexp.models.checks.made_again import is_foreign

log = logging.getLogger(__name__)


def warn_of_untrained(algorithm: Algorithm) -> None:
    """Warn of trainable parameters that the meta-loss of a step does not depend on, in own code.

    Args:
        algorithm: The algorithm, with the gradients of the step.
    """
    classes = [type(algorithm), *map(type, algorithm.children())]
    if not any(is_foreign(cls) for cls in classes if not cls.__module__.startswith("torch.")):
        return
    trainable = {name: parameter for name, parameter in algorithm.named_parameters() if parameter.requires_grad}
    left = [name for name, parameter in trainable.items() if parameter.grad is None]
    if left:
        log.warning(
            "the meta-loss of the first step does not depend on %s, so training leaves %s as it is. Something may be "
            "detached, computed in torch.no_grad(), or not used. Parameters that are not to be trained need "
            "requires_grad_(False).",
            listed(left, 3), "this" if len(left) == 1 else "each of these",
        )  # fmt: skip
