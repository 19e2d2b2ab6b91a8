"""Records what the GPU does in a function, and repeats it with one call.

A training step of a small network is hundreds of operations of a few microseconds each. Launching them one by one
takes the processor longer than the GPU needs for them. A CUDA graph launches all of them at once. The operations are
the same, and so are their results, to the bit.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch

from metaexp.core.errors import first_line

T = TypeVar("T")

_WARM_UPS = 3
"""Calls before the recording: libraries choose their algorithms and take their memory in these."""


class NotRecordableError(Exception):
    """A function does something that a CUDA graph cannot repeat. The message is torch's own, in one line."""


class RecordedWork(Generic[T]):
    """A function whose work on the GPU is recorded, and can be repeated on the same memory.

    It must do the same work in every call: read its inputs from tensors that stay where they are, read nothing back
    from the device, and draw random numbers from the device's generator only. What the function does in Python is not
    repeated.

    Args:
        function: Called a few times, and once more for the recording.
        device: A CUDA device.

    Attributes:
        result: What the function returned when it was recorded. :meth:`replay` writes its tensors again.

    Raises:
        NotRecordableError: The function does something that cannot be recorded.
    """

    result: T

    def __init__(self, function: Callable[[], T], device: torch.device) -> None:
        self._graph = torch.cuda.CUDAGraph()
        current, aside = torch.cuda.current_stream(device), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        aside.wait_stream(current)
        try:
            with torch.cuda.stream(aside):
                function()  # the first call may wait for the device, to move tables there or to compile
                with _forbid_waiting():
                    for _ in range(_WARM_UPS - 1):
                        function()
            current.wait_stream(aside)
            with torch.cuda.graph(self._graph, stream=aside):
                self.result = function()
        except RuntimeError as error:
            current.wait_stream(aside)
            raise NotRecordableError(first_line(error)[:200]) from error

    def replay(self) -> T:
        """Do the work again, in the order of the current stream, and return :attr:`result`."""
        self._graph.replay()
        return self.result


@contextmanager
def _forbid_waiting() -> Iterator[None]:
    """Within this block, raise an error where the program waits for the device."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that the mode is experimental
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)
