"""Finds what an optimiser keeps in two places at once, which a resumed run has twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_PARAMETER: Final = "the parameter"


class _Elements(NamedTuple):
    """Where the elements of a tensor are: the bytes of one, how many there are and the bytes between, by axis."""

    size: int
    axes: tuple[tuple[int, int], ...] = ()

    @property
    def are_dense(self) -> bool:
        """Whether no byte is left free between them."""
        end = self.size
        for step, count in sorted((step, count) for count, step in self.axes):
            if step > end:
                return False
            end += (count - 1) * step
        return True

    def offsets(self) -> npt.NDArray[np.int64]:
        """The first byte of each element from that of the tensor, (n,), sorted."""
        found = np.zeros(1, dtype=np.int64)
        for count, step in self.axes:
            found = (found[:, None] + np.arange(count) * step).ravel()
        return np.unique(found)


class _Place(NamedTuple):
    """A tensor, list or dict: on which device, its first and last byte there, its order among all, and its name."""

    device: str
    first: int
    last: int
    order: int
    name: str
    elements: _Elements = _Elements(1)


def shared_memory(optimizer: torch.optim.Optimizer) -> list[str]:
    """Return pairs of names of one tensor, list or dict: ``view and the parameter``, each pair once.

    Tensors that are views of one memory count where an element of one is in that of another; columns of one matrix do
    not. The lists, tuples and dicts of the state and of the groups are looked into.

    Args:
        optimizer: Its state can be written; see :func:`metaexp.run.optimizer.refuse_unwritable`.
    """
    pairs = [pair for places in _near(sorted(_Held(optimizer).places)) for pair in _overlaps(places)]
    found = [
        f"{place.name} and {other.name}{' of another parameter' * (place.name == other.name)}"
        for place, other in pairs
        if (place.name, other.name) != (_PARAMETER, _PARAMETER)
    ]
    return list(dict.fromkeys(found))


def _near(places: Sequence[_Place]) -> Iterator[list[_Place]]:
    """Groups of sorted places, each of which begins before another one of its group ends."""
    group: list[_Place] = []
    end = 0
    for place in places:
        if group and place.device == group[0].device and place.first <= end:
            group.append(place)
            end = max(end, place.last)
            continue
        yield group
        group, end = [place], place.last
    yield group


def _overlaps(places: Sequence[_Place]) -> Iterator[tuple[_Place, _Place]]:
    """Pairs of places with a byte in common: each element with the one before it that ends last.

    Elements are looked at one by one only if some place leaves bytes free between them.
    """
    if len(places) < 2:
        return
    if all(place.elements.are_dense for place in places):
        parts = [(np.array([place.first]), np.array([place.last + 1])) for place in places]
    else:
        starts = [place.first + place.elements.offsets() for place in places]
        parts = [(start, start + place.elements.size) for start, place in zip(starts, places, strict=True)]
    owners = np.concatenate([np.full(len(start), number) for number, (start, _) in enumerate(parts)])
    first, end = (np.concatenate(of_all) for of_all in zip(*parts, strict=True))
    order = np.argsort(first, kind="stable")
    owners, first, end = owners[order], first[order], end[order]
    furthest = np.maximum.accumulate(end)
    holder = owners[np.maximum.accumulate(np.where(end == furthest, np.arange(len(end)), 0))]
    later = np.flatnonzero((first[1:] < furthest[:-1]) & (owners[1:] != holder[:-1])) + 1
    for number, other in np.unique(np.stack([owners[later], holder[later - 1]], axis=1), axis=0).tolist():
        yield places[max(number, other)], places[min(number, other)]


class _Held:
    """The places of all that an optimiser keeps, and of its parameters."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.places: list[_Place] = []
        self._containers: set[int] = set()
        for parameter in [p for group in optimizer.param_groups for p in group["params"]]:
            self._add(parameter, _PARAMETER)
        for slots in optimizer.state.values():
            for key, value in slots.items():
                self._add(value, str(key))
        for number, group in enumerate(optimizer.param_groups):
            for key, value in group.items():
                if key != "params":
                    self._add(value, f"{key} of group {number}")

    def _add(self, value: Any, name: str) -> None:
        """Add a tensor, or a nest and all that is in it. A tuple cannot be changed, only what is in it."""
        if isinstance(value, Tensor):
            if value.layout == torch.strided and value.numel():
                self.places.append(_place_of(value, len(self.places), name))
            return
        if isinstance(value, (list, dict)):
            self.places.append(_Place("", id(value), id(value), len(self.places), name))
            if id(value) in self._containers:
                return
            self._containers.add(id(value))
        for key, item in _items(value):
            self._add(item, f"{name}[{key!r}]")


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, (list, tuple)):
        yield from enumerate(value)
    elif isinstance(value, dict):
        yield from value.items()


def _place_of(tensor: Tensor, order: int, name: str) -> _Place:
    """The place of a tensor with elements: the addresses of its first and last byte, and where its elements are."""
    start, size = tensor.data_ptr(), tensor.element_size()
    axes = tuple((n, step * size) for n, step in zip(tensor.shape, tensor.stride(), strict=True) if n > 1 and step)
    last = start + sum((n - 1) * step for n, step in axes) + size - 1
    return _Place(str(tensor.device), start, last, order, name, _Elements(size, axes))
