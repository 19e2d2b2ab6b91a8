"""What to do where training or adaptation diverges, and a warning where it did so in the test of a regression."""

from __future__ import annotations

import logging
from typing import Final

from metaexp.config.classes.make import import_class
from metaexp.config.classes.values import format_setting
from metaexp.config.schema import Settings
from metaexp.core.types import EvalResult
from metaexp.data.base import Dataset

log = logging.getLogger(__name__)

_FAR: Final = 10
"""How many times the mean error before adaptation an error after it is, if that is called diverged."""


def remedies(settings: Settings, more: str = "") -> str:
    """Return a sentence with what to change: learning rates, with their values, and the scale of own targets.

    Args:
        settings: The settings of the run.
        more: What helps beside these.
    """
    nodes = {"optimizer": settings.optimizer.arguments, "algorithm": settings.algorithm.arguments}
    rates = [
        f"{section}.{key}={format_setting(value)}"
        for section, node in nodes.items()
        for key, value in node.items()
        if f"_{key}".endswith("_lr")
    ]
    scale = _scale(settings)
    found = [f"lower {' or '.join(rates)}", f"set {scale}" if scale else "", more]
    sentence = ", or ".join(filter(None, found))
    return f"{sentence[0].upper()}{sentence[1:]}."


def _scale(settings: Settings) -> str:
    """The setting that standardises targets, for own tables and series whose targets are raw; "" for all others."""
    value = settings.dataset.arguments.get("standardise")
    if value is None:
        return ""
    wanted = getattr(import_class(settings.dataset, Dataset), "standardise_for", {}).get("targets", value)  # type: ignore[type-abstract]
    return "" if value == wanted else f"dataset.standardise={wanted}"


def warn_of_divergence(result: EvalResult, settings: Settings) -> None:
    """Warn of tasks of regression whose error after adaptation is far above the errors before it.

    Args:
        result: The result of a test, with the errors after 0, 1, ... steps.
        settings: The settings of the run.
    """
    if settings.task.n_way or len(result.per_step) < 2:
        return
    before = float(result.per_step[0].mean())
    n_diverged = int((result.per_episode > _FAR * before).sum())
    if n_diverged:
        log.warning(
            "adaptation diverged in %d of %d test tasks: their errors after it are over %d times the mean error before "
            "it, %.3g. They decide the mean over all tasks, %.3g. %s",
            n_diverged, result.n_episodes, _FAR, before, result.mean, remedies(settings),
        )  # fmt: skip
