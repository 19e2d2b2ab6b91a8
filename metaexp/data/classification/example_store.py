"""Where the examples of a dataset are, and how those of an episode are taken from there."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from metaexp.data.mapped.example_file import read_ahead
from metaexp.data.mapped.placement import stays_off_device, stays_on_disk


class ExampleStore(ABC):
    """Examples by row. Row r + turn * B is example r of B, turned by turn * 90 degrees.

    Attributes:
        rows_on: The device on which rows are drawn and given.
        n_bytes: The memory that the examples take, turned copies counted, if they are in memory.
        in_memory: Whether they are all in the memory of the device that episodes are on.
    """

    rows_on: torch.device
    n_bytes: int
    in_memory: bool

    @abstractmethod
    def take(self, rows: Tensor) -> Tensor:
        """Return the examples (n, ...) at ``rows`` (n,), as stored, on the device that episodes are on."""

    @abstractmethod
    def raw(self, first: int, stop: int) -> Tensor:
        """Return examples (stop - first, ...) on the CPU as they were given, neither inverted nor turned.

        Args:
            first: The first one.
            stop: The one after the last.
        """

    @abstractmethod
    def to(self, device: torch.device) -> ExampleStore:
        """Return the store whose examples arrive on ``device``."""


def example_store(examples: Tensor, invert: bool, turned: bool) -> ExampleStore:
    """Return the store of examples: in memory, or where they are larger than it, taken one by one.

    Args:
        examples: (B, ...) on the CPU.
        invert: Whether bytes are stored as 255 - byte.
        turned: Whether there are rows for turned examples.
    """
    n_bytes = examples.nbytes * (4 if turned else 1)
    if stays_on_disk(n_bytes):
        return LargeStore(examples, invert, turned, n_bytes)
    stored = 255 - examples if invert else examples
    return MemoryStore((_all_turns(stored) if turned else stored).contiguous(), invert)


class MemoryStore(ExampleStore):
    """All examples in the memory of the device, inverted and turned once."""

    in_memory = True

    def __init__(self, stored: Tensor, inverted: bool) -> None:
        """Take the examples (B, ...), or (4 * B, ...) with all turns.

        Args:
            stored: The examples as they are stored.
            inverted: Whether they were inverted.
        """
        self._stored = stored
        self._inverted = inverted
        self.rows_on = stored.device
        self.n_bytes = stored.nbytes

    def take(self, rows: Tensor) -> Tensor:
        """Return the examples at ``rows`` (n,)."""
        return self._stored.index_select(0, rows)

    def raw(self, first: int, stop: int) -> Tensor:
        """Return examples (stop - first, ...) as they were given."""
        part = self._stored[first:stop].cpu()
        return 255 - part if self._inverted else part

    def to(self, device: torch.device) -> ExampleStore:
        """Return the examples on ``device``; they stay on the host where they would fill a GPU."""
        if device.type == "cuda" and self._stored.device.type == "cpu":
            free, _ = torch.cuda.mem_get_info(device)
            if stays_off_device(self.n_bytes, free):
                return HostStore(self, device)
        return MemoryStore(self._stored.to(device), self._inverted)


class LargeStore(ExampleStore):
    """Examples on the CPU that may be mapped from a file. Those of an episode are inverted and turned when taken."""

    in_memory = False

    def __init__(self, examples: Tensor, invert: bool, turned: bool, n_bytes: int) -> None:
        """Take the examples.

        Args:
            examples: (B, ...) as they were given.
            invert: Whether to invert those that are taken.
            turned: Whether there are rows for turned examples.
            n_bytes: What they would take in memory.
        """
        self._examples = examples
        self._invert = invert
        self._turned = turned
        self.rows_on = examples.device
        self.n_bytes = n_bytes

    def take(self, rows: Tensor) -> Tensor:
        """Return the examples at ``rows`` (n,)."""
        base = rows % len(self._examples) if self._turned else rows
        read_ahead(self._examples, base.tolist())
        x = self._examples.index_select(0, base)
        if self._turned:
            _turn(x.numpy(), rows.numpy() // len(self._examples))
        return x.bitwise_not_() if self._invert else x  # 255 - byte

    def raw(self, first: int, stop: int) -> Tensor:
        """Return examples (stop - first, ...) as they were given."""
        return self._examples[first:stop].clone()

    def to(self, device: torch.device) -> ExampleStore:
        """Return a store that moves what is taken to ``device``."""
        return self if device.type == "cpu" else HostStore(self, device)


class HostStore(ExampleStore):
    """Examples in a store on the CPU. Those of an episode are moved to a device."""

    in_memory = False

    def __init__(self, host: ExampleStore, device: torch.device) -> None:
        """Take the store and the device."""
        self._host = host
        self._device = device
        self.rows_on = host.rows_on
        self.n_bytes = host.n_bytes

    def take(self, rows: Tensor) -> Tensor:
        """Return the examples at ``rows`` (n,). On a GPU they go through pinned memory, and nothing waits for them."""
        x = self._host.take(rows)
        if self._device.type == "cuda":
            return x.pin_memory().to(self._device, non_blocking=True)
        return x.to(self._device)

    def raw(self, first: int, stop: int) -> Tensor:
        """Return examples (stop - first, ...) as they were given."""
        return self._host.raw(first, stop)

    def to(self, device: torch.device) -> ExampleStore:
        """Return the store for another device."""
        return self._host.to(device)


def _turn(images: npt.NDArray[np.generic], turns: npt.NDArray[np.int64]) -> None:
    """Turn images (n, C, H, H), each by its number (n,) of quarter turns, where they are."""
    for turn in range(1, 4):
        those = np.flatnonzero(turns == turn)
        images[those] = np.rot90(images[those], turn, (-2, -1))


def _all_turns(images: Tensor) -> Tensor:
    """``images`` (B, C, H, H) on the CPU, then all turned by 90, by 180 and by 270 degrees: (4 * B, C, H, H)."""
    source = images.numpy()
    turned = np.empty((4, *source.shape), source.dtype)
    for turn in range(4):
        turned[turn] = np.rot90(source, turn, (-2, -1))  # several times faster than torch's rot90
    return torch.from_numpy(turned).flatten(0, 1)
