"""What to do where training or adaptation diverges, and why the result of a test is to be doubted."""

from __future__ import annotations

from typing import Final

from metaexp.config.classes.make import import_class
from metaexp.config.classes.values import format_setting
from metaexp.config.schema import Settings
from metaexp.core.counted import counted
from metaexp.core.types import EvalResult
from metaexp.data.base import Dataset
from metaexp.run.evaluation.scores import below_chance

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


def doubts(result: EvalResult, settings: Settings) -> list[str]:
    """Return a line about each reason to doubt that a test is what was meant: it is below chance, or diverged.

    Args:
        result: The result of a test.
        settings: The settings of the test.
    """
    return [line for line in (below_chance(result, settings.task.n_way), divergence(result, settings)) if line]


def divergence(result: EvalResult, settings: Settings) -> str:
    """Return a line about tasks of regression whose error after adaptation is far above the errors before it; or "".

    Args:
        result: The result of a test, with the errors after 0, 1, ... steps.
        settings: The settings of the test.
    """
    if settings.task.n_way or len(result.per_step) < 2:
        return ""
    before = float(result.per_step[0].mean())
    n_diverged = int((result.per_episode > _FAR * before).sum())
    if not n_diverged:
        return ""
    return (
        f"adaptation diverged in {n_diverged} of {counted(result.n_episodes, 'test task')}: their errors after it are "
        f"over {_FAR} times the mean error before it, {before:.3g}. They decide the mean over all tasks, "
        f"{result.mean:.3g}. {remedies(settings)}"
    )
