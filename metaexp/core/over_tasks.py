"""Map a function of one task over a batch of tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from metaexp.core.errors import ConfigError
from metaexp.core.types import Episode, n_tasks, one_task, select_tasks

_SIGNS_OF_VMAP = ("vmap", "atching rule", "Tensor that doesn't have storage")
"""Words of torch's messages about operations that it cannot map."""


def over_tasks(function: Callable[[Episode], Any], episodes: Episode, chunk_size: int | None = None) -> Any:
    """Call ``function`` on every task of ``episodes`` and stack the results along a leading T.

    Args:
        function: returns a tensor, or any nest of tuples, lists and dicts of tensors.
        episodes: T tasks, with a leading T on every tensor.
        chunk_size: how many tasks ``torch.vmap`` computes at once; None takes all. 1 is a plain Python loop without
            vmap. The loop is the reference that the vectorised form is tested against, and the way to run a
            function that does not vectorise.

    Returns:
        What ``function`` returns, with a leading T on every tensor.

    Raises:
        ConfigError: ``torch.vmap`` cannot map an operation of ``function``.
    """
    total = n_tasks(episodes)
    size = total if chunk_size is None else min(chunk_size, total)
    if size == 1:
        return _stack([function(one_task(episodes, i)) for i in range(total)])
    if size == total:
        return _vectorised(function, episodes)
    chunks = [_vectorised(function, select_tasks(episodes, i, i + size)) for i in range(0, total, size)]
    return _concatenate(chunks)


def _vectorised(function: Callable[[Episode], Any], episodes: Episode) -> Any:
    # A chunk's numbers must not depend on which other tasks share it: noise is addressed, not drawn.
    try:
        return torch.vmap(function, in_dims=(_axes(episodes),), randomness="different")(episodes)
    except RuntimeError as error:
        if not any(sign in str(error) for sign in _SIGNS_OF_VMAP):
            raise
        why = str(error).splitlines()[0].partition(". ")[0][:200].rstrip(".")
        raise ConfigError(
            f"the algorithm or its network does something that torch cannot do for several tasks at once: {why}. "
            "Set device.task_chunk=1 to take one task at a time."
        ) from error


def _axes(tree: Any) -> Any:
    """The ``in_dims`` of vmap: 0 for tensors, None for static leaves such as ``n_way``."""
    if isinstance(tree, Tensor):
        return 0
    if isinstance(tree, tuple):
        return type(tree)(*(_axes(item) for item in tree)) if hasattr(tree, "_fields") else tuple(map(_axes, tree))
    return None


def _stack(results: list[Any]) -> Any:
    return _combine(results, torch.stack)


def _concatenate(results: list[Any]) -> Any:
    return _combine(results, torch.cat)


def _combine(results: list[Any], join: Callable[[list[Tensor]], Tensor]) -> Any:
    first = results[0]
    if isinstance(first, Tensor):
        return join(results)
    if isinstance(first, dict):
        return {key: _combine([r[key] for r in results], join) for key in first}
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(_combine(list(items), join) for items in zip(*results, strict=True)))
    return type(first)(_combine(list(items), join) for items in zip(*results, strict=True))
