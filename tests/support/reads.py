"""Finds what would wait for a GPU, on torch's ``meta`` device, which has shapes and no numbers.

Code takes the way there that it takes on a GPU. A read of numbers is listed and answered with zeros, so that the code
goes on and all its reads are counted. Where a shape depends on numbers there is no answer, and torch raises an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from metaexp.machine.device import Compute

META = Compute(torch.device("meta"), "test", "float32", 1, True, None)
"""The device without numbers, in place of a GPU."""
READ, TO_HOST, FROM_HOST = "_local_scalar_dense", "to the host", "from the host"
"""A read of one number (``.item()``, ``bool``, ``float``), and copies of tensors (``.tolist()``, ``.cpu()``)."""
READS = (
    *(READ, "equal", "allclose", "isin", "histc", "_linalg_check_errors"),
    *("nonzero", "masked_select", "_unique", "unique_", "bincount", "repeat_interleave", "_to_sparse"),
)
"""How the names of torch's operations begin that a GPU's host waits for."""
BY_INDEX = ("index", "index_put", "index_put_", "_index_put_impl_")


class Reads(TorchDispatchMode):
    """Lists the operations that wait for the device.

    Attributes:
        found: Their names, as often as they came.
        operations: How many operations came at all.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.operations = 0
        self._made = _Made(self.found)

    def __enter__(self) -> Reads:
        """Begin to list."""
        self._made.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """End it."""
        super().__exit__(*error)
        self._made.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """List the operation if it waits, and answer it if that can be done."""
        self.operations += 1
        kwargs = kwargs or {}
        waits = _waits(func.overloadpacket.__name__, args, kwargs)
        if waits is not None:
            self.found.append(waits)
        if waits == READ:
            return torch.zeros((), dtype=args[0].dtype).item()
        if waits == TO_HOST and len(args) == 1:
            return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        return func(*args, **kwargs)


class _Made(TorchFunctionMode):
    """Lists tensors that are made of Python's numbers and copied to the device."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self._found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """List the call if it copies."""
        device = (kwargs or {}).get("device")
        if func in (torch.tensor, torch.as_tensor) and device is not None and torch.device(device) == META.device:
            self._found.append(FROM_HOST)
        return func(*args, **(kwargs or {}))


def _waits(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> str | None:
    """What is listed for an operation; None where nothing waits."""
    if not args or not isinstance(args[0], Tensor):  # torch passes some numbers as they are
        return None
    if name == "_to_copy":
        return _moves(args[0].device, kwargs.get("device") or args[0].device)
    if name == "copy_":
        return _moves(args[1].device, args[0].device)
    if name in BY_INDEX and args[0].is_meta:
        indices = list(_tensors(args[1]))
        by_mask = any(index.dtype in (torch.bool, torch.uint8) for index in indices)
        return name if by_mask else next(filter(None, (_moves(index.device, META.device) for index in indices)), None)
    is_read = name.startswith(READS) and any(tensor.is_meta for tensor in _tensors(args))  # Adam counts on the host
    return name if is_read else None


def _moves(start: torch.device, end: torch.device) -> str | None:
    """What is listed for a copy."""
    if start.type == end.type:
        return None
    return TO_HOST if start.type == "meta" else FROM_HOST


def _tensors(values: Any) -> Iterator[Tensor]:
    """The tensors of arguments, and of lists among them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)
