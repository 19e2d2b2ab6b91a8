"""Further metrics of test episodes: metaexp's, and functions of the user's, which are tried before a run starts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from metaexp.config.classes.methods import call_problem
from metaexp.core.errors import ConfigError, first_line
from metaexp.core.metric import extra_metric, is_own
from metaexp.core.own_imports import import_own
from metaexp.core.shapes import TaskShape


def further_metric(name: str, scores: Tensor, y: Tensor) -> Tensor:
    """Return a further metric () of one task: one of metaexp's, or what a function of the user's returns.

    Args:
        name: A name of ``eval.metrics``.
        scores: (M, N) scores, or (M, D_out) outputs.
        y: (M,) classes, or (M, D_out) targets.

    Raises:
        ConfigError: The module of the user's function fails, or the function returned something else.
    """
    if not is_own(name):
        return extra_metric(name, scores, y)
    module, _, function = name.rpartition(".")
    copies = scores.to(torch.float32, copy=True), y.clone()  # a function that writes into them changes nothing else
    value = getattr(import_own(module), function)(*copies)
    if not isinstance(value, Tensor) or value.shape != ():
        shape = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ConfigError(f"eval.metrics={name} must return a tensor of shape () for each task; it returned {shape}.")
    return value.float()


def try_own_metrics(names: Sequence[str], task: TaskShape) -> None:
    """Call the user's metrics on two made-up tasks at once, so that a mistake is seen before training.

    Args:
        names: Those of ``eval.metrics``.
        task: Ways and queries.

    Raises:
        ConfigError: A function cannot be imported, takes other arguments, fails, or returns something other than a
            tensor of shape ().
    """
    n = task.n_queries
    if task.n_way:
        scores = torch.linspace(0.0, 1.0, 2 * n * task.n_way).reshape(2, n, task.n_way)
        y = torch.arange(2 * n).reshape(2, n) % task.n_way
    else:
        scores, y = torch.linspace(0.0, 1.0, 2 * n).reshape(2, n, 1), torch.zeros(2, n, 1)
    for name in filter(is_own, names):
        module, _, function = name.rpartition(".")
        if problem := call_problem(getattr(import_own(module), function), ("scores", "y")):
            raise ConfigError(f"eval.metrics={name}: {problem}, as metaexp calls it. Give it these arguments.")
        try:
            torch.func.vmap(lambda s, t, name=name: further_metric(name, s, t))(scores, y)
        except ConfigError:
            raise
        except Exception as error:  # whatever the user's code raises
            why = first_line(error)
            raise ConfigError(
                f"eval.metrics={name} failed on two made-up tasks ({type(error).__name__}: {why}). It is called for "
                "several tasks at once (torch.func.vmap), so use torch's operations, without .item() and without an if "
                "on values."
            ) from error
