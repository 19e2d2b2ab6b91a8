"""A base class for hand-written gradients that ``torch.vmap`` can map over tasks."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.autograd import Function


class MappedFunction(Function):
    """A function of tensors with any number of leading axes: mapping it over tasks adds one to each tensor."""

    @classmethod
    def vmap(cls, info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Any, Any]:
        """Call the function once on all tasks (see torch's page on extending torch.func).

        Args:
            info: What torch says about the map, such as the number of tasks.
            in_dims: The axis of the tasks in each argument; None where an argument has none.
            arguments: Tensors, or anything else, which is passed on.
        """
        found = cls.apply(  # type: ignore[no-untyped-call]
            *(_in_front(a, dim, info.batch_size) for a, dim in zip(arguments, in_dims, strict=True))
        )
        return found, tuple(0 if isinstance(item, Tensor) else None for item in found)


def _in_front(argument: Any, dim: int | None, size: int) -> Any:
    """A tensor with the tasks' axis in front; anything else as it is."""
    if not isinstance(argument, Tensor):
        return argument
    return argument.expand(size, *argument.shape) if dim is None else argument.movedim(dim, 0)
