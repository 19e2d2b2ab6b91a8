"""Errors of the machine, with messages that say what to do about them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from metaexp.core.disk.errors import explain_disk_error
from metaexp.core.errors import ConfigError, MachineError, MetaexpError


def explained(error: BaseException) -> MetaexpError | None:
    """Return an error that says what the user can do about ``error``; None if there is none."""
    if isinstance(error, MetaexpError):
        return error
    text = str(error)
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in text:
        return MachineError(
            f"out of memory: {_first_line(error)}. Compute fewer tasks at once with device.task_chunk "
            "(8, say; 1 is the least), or lower train.meta_batch_size, which changes the numbers."
        )
    if isinstance(error, OSError) and (of_disk := explain_disk_error(error)) is not None:
        return of_disk
    if "does not have a deterministic implementation" in text:
        return ConfigError(
            f"{_first_line(error)}. Set device.deterministic=false to allow it; "
            "equal runs may then differ in the last bits."
        )
    if "derivative for" in text and "is not implemented" in text:
        return ConfigError(
            f"torch cannot differentiate a layer of the network twice: {_first_line(error)}. Set "
            "algorithm.first_order=true if the algorithm has it. Attention (nn.MultiheadAttention, "
            "nn.TransformerEncoderLayer) has second derivatives inside "
            "`with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):` in the network's forward."
        )
    return None


@contextmanager
def explain_errors() -> Iterator[None]:
    """Raise errors of the machine from this block with a message that says what to do."""
    try:
        yield
    except Exception as error:
        better = explained(error)
        if better is None or better is error:
            raise
        raise better from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
