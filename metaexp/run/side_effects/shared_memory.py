"""Finds what an optimiser keeps in two places at once, which a resumed run has twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

_PARAMETER: Final = "the parameter"


class _Place(NamedTuple):
    """A tensor, list or dict: on which device, its first and last byte there, its order among all, and its name."""

    device: str
    first: int
    last: int
    order: int
    name: str


def shared_memory(optimizer: torch.optim.Optimizer) -> list[str]:
    """Return pairs of names of one tensor, list or dict: ``view and the parameter``, each pair once.

    Tensors that are views of one memory count where they overlap. The lists, tuples and dicts of the state and of the
    groups are looked into.

    Args:
        optimizer: Its state can be written; see :func:`metaexp.run.optimizer.refuse_unwritable`.
    """
    found: list[str] = []
    reach: _Place | None = None
    for place in sorted(_Held(optimizer).places):
        overlaps = reach is not None and reach.device == place.device and place.first <= reach.last
        if reach is not None and overlaps and (place.name, reach.name) != (_PARAMETER, _PARAMETER):
            found.append(f"{place.name} and {reach.name}{' of another parameter' * (place.name == reach.name)}")
        if reach is None or not overlaps or place.last > reach.last:
            reach = place
    return list(dict.fromkeys(found))


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
                self.places.append(_Place(str(value.device), *_extent(value), len(self.places), name))
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


def _extent(tensor: Tensor) -> tuple[int, int]:
    """The addresses of the first and the last byte that a tensor uses."""
    start = tensor.data_ptr()
    steps = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return start, start + (steps + 1) * tensor.element_size() - 1
