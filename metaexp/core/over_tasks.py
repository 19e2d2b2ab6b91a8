"""Map a function of one task over a batch of tasks."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch

from metaexp.core.errors import ConfigError, first_line
from metaexp.core.types import Episode, combine_tensors, mapped_axes, n_tasks, one_task, select_tasks

_SIGNS_OF_VMAP = ("vmap", "atching rule", "Tensor that doesn't have storage")
"""Words of torch's messages about operations that it cannot map."""
_SIGNS_OF_WRITING = ("that has more elements than `self`", "will be updated in place, were not batched")
_SHAPES = r"output with shape \[([\d, ]*)\] doesn't match the broadcast shape \[([\d, ]*)\]"
"""Its messages about a tensor of all tasks that one task writes into."""
_SIGN_OF_ESCAPE = "escaped from inside"
"""Words of its message about a tensor that was kept from earlier tasks."""


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
        return combine_tensors(torch.stack, [function(one_task(episodes, i)) for i in range(total)])
    if size == total:
        return _vectorised(function, episodes)
    chunks = [_vectorised(function, select_tasks(episodes, i, i + size)) for i in range(0, total, size)]
    return combine_tensors(torch.cat, chunks)


def _vectorised(function: Callable[[Episode], Any], episodes: Episode) -> Any:
    # A chunk's numbers must not depend on which other tasks share it: noise is addressed, not drawn.
    try:
        return torch.vmap(function, in_dims=(mapped_axes(episodes),), randomness="different")(episodes)
    except RuntimeError as error:
        if _writes_into_unmapped(str(error), n_tasks(episodes)):
            raise ConfigError(
                "the algorithm or its network writes values of a task into a tensor that belongs to no task, such as a "
                "buffer or what torch.zeros makes, and torch cannot do that for several tasks at once "
                f"({first_line(error).partition(' because')[0].rstrip('.')}). Assign a new tensor to a buffer "
                "(self.mean = 0.9 * self.mean + 0.1 * new, whose mean over tasks is kept), and take x.new_zeros(...) "
                "in place of torch.zeros(...). Or set device.task_chunk=1 to take one task at a time."
            ) from error
        if _SIGN_OF_ESCAPE in str(error) or not any(sign in str(error) for sign in _SIGNS_OF_VMAP):
            raise
        why = first_line(error).partition(". ")[0][:200].rstrip(".")
        raise ConfigError(
            f"the algorithm or its network does something that torch cannot do for several tasks at once: {why}. "
            "Set device.task_chunk=1 to take one task at a time."
        ) from error


def _writes_into_unmapped(text: str, tasks: int) -> bool:
    """Whether a message of torch is about a tensor without tasks that the values of several tasks are written into."""
    if found := re.search(_SHAPES, text):
        shared, mapped = ([int(size) for size in re.findall(r"\d+", shape)] for shape in found.groups())
        return mapped == [tasks, *shared]
    return any(sign in text for sign in _SIGNS_OF_WRITING)
