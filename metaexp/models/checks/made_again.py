"""Makes a network or an algorithm of one's own twice, and refuses initial values that do not follow from the seed."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from metaexp.core.counted import listed
from metaexp.core.errors import ConfigError, first_line
from metaexp.models.checks.hidden import items_in, plain_attributes

log = logging.getLogger(__name__)

M = TypeVar("M", bound=nn.Module)


def is_foreign(cls: type[object]) -> bool:
    """Whether a network, an algorithm or a dataset has code that is not metaexp's.

    Args:
        cls: Its class.
    """
    return not cls.__module__.startswith("metaexp.") or getattr(cls, "holds_foreign_code", False)


def make_twice(
    make: Callable[[], M],
    again: Callable[[], nn.Module],
    section: str,
    other_seed: Callable[[], nn.Module] | None = None,
) -> M:
    """Make a module, and once more from the same random numbers, and refuse it if the second is another one.

    The second one is freed at once. torch's generator is left as the first one leaves it.

    Args:
        make: Makes the module, on a CPU.
        again: Makes the second one.
        section: Its section of the configuration, for messages.
        other_seed: Makes one from other numbers of numpy and Python; None for ``again``. torch has another seed, too.
            It is called only if the module holds values that are not saved, to warn of those drawn at random.

    Raises:
        ConfigError: The second one cannot be made, has other initial values, or shares trainable parameters.
    """
    state = torch.get_rng_state()
    first = make()
    name = type(first).__name__
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(state)
        try:
            second = again()
        except Exception as error:
            raise ConfigError(
                f"{section}: {name} cannot be made twice in one process ({type(error).__name__}: {first_line(error)}). "
                f"Runs that follow each other may share a process. {_KEEP_NOTHING}"
            ) from error
    if shared := _shared(first, second):
        raise ConfigError(
            f"{section}: {name} shares {listed(shared, 3)} with the one that was made before, so that a second run in "
            "one process would begin with weights that are trained already. "
            f"{_KEEP_NOTHING} A part that is not trained may be shared, with requires_grad_(False)."
        )
    if changed := unlike(first, second):
        raise ConfigError(
            f"{section}: {name} has other initial values in {listed(changed, 3)} when it is made again from the same "
            f"seed, so that the run could not be repeated. {ADVICE}"
        )
    _warn_of_unsaved(first, other_seed or again, section)
    return first


def _warn_of_unsaved(first: nn.Module, other_seed: Callable[[], nn.Module], section: str) -> None:
    """Warn of random values that no checkpoint has: weights of the run would meet others in a run of another seed."""
    unsaved = _unsaved(first)
    if not unsaved:
        return
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(torch.initial_seed() + 1)
        try:
            other = other_seed()
        except Exception:  # code of users: with the seed of the run it could be made, twice
            return
    drawn = [name for name in unlike(first, other) if name in unsaved]
    if drawn:
        log.warning(
            "%s: %s draws %s at random, which is not saved with its weights. A run of another seed that begins with "
            "these weights (model.weights, from) has other values there, and gives other numbers. Let each be a buffer "
            "that is saved: self.register_buffer(name, values).",
            section,
            type(first).__name__,
            listed(drawn, 3),
        )


def _unsaved(module: nn.Module) -> set[str]:
    """Names of ``_values`` that are not saved, nor parts of what is saved, nor computed from it."""
    saved = module.state_dict(keep_vars=True)
    storages = {_storage(tensor) for tensor in saved.values() if isinstance(tensor, Tensor)} - {0}
    return {
        name
        for name, held in _values(module).items()
        if name not in saved and not all(isinstance(v, Tensor) and (v.grad_fn or _storage(v) in storages) for v in held)
    }


def _storage(tensor: Tensor) -> int:
    """Where the values of a tensor are in memory; 0 where they are not in one place, as of sparse ones."""
    try:
        return 0 if is_lazy(tensor) else tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):
        return 0


_KEEP_NOTHING = (
    "Keep nothing from one construction to the next: no counter, list or layer on the class or in the module."
)
ADVICE = (
    "Draw initial values from torch's own generator on the CPU (torch.randn, torch.nn.init), or from one that it "
    "seeds (numpy.random.default_rng(torch.randint(2**31, ()).item())). Fill what torch.empty makes. " + _KEEP_NOTHING
)
"""What to do about initial values that do not follow from the seed."""


def unlike(first: nn.Module, second: nn.Module) -> list[str]:
    """Return the names of parameters, buffers, and tensors in attributes that two modules do not have alike.

    Args:
        first: A network or an algorithm.
        second: The same, made again.
    """
    one, other = _values(first), _values(second)
    return [name for name in {**one, **other} if not _are_equal(one.get(name), other.get(name))]


def _shared(first: nn.Module, second: nn.Module) -> list[str]:
    """The names of trainable parameters that are parts of both."""
    parts = {id(parameter) for parameter in second.parameters()}
    return [name for name, p in first.named_parameters() if p.requires_grad and id(p) in parts]


def _values(module: nn.Module) -> dict[str, list[Tensor | np.ndarray]]:
    """Name -> the parameter or buffer, or the tensors and arrays that an attribute holds."""
    named = itertools.chain(module.named_parameters(), module.named_buffers())
    found: dict[str, list[Tensor | np.ndarray]] = {name: [tensor] for name, tensor in named}
    for path, layer in module.named_modules():
        for name, value in plain_attributes(layer):
            held = [item for item in items_in([value]) if isinstance(item, (Tensor, np.ndarray))]
            if held:
                found[f"{path}.{name}".lstrip(".")] = held
    return found


def _are_equal(first: list[Tensor | np.ndarray] | None, second: list[Tensor | np.ndarray] | None) -> bool:
    if first is None or second is None or len(first) != len(second):
        return False
    return all(_bytes_agree(*pair) for pair in zip(first, second, strict=True))


def _bytes_agree(first: Tensor | np.ndarray, second: Tensor | np.ndarray) -> bool:
    """Whether two tensors are equal to the last bit, NaN included."""
    lazy = [isinstance(values, Tensor) and is_lazy(values) for values in (first, second)]
    if any(lazy):
        return all(lazy)
    if type(first) is not type(second) or first.shape != second.shape or first.dtype != second.dtype:
        return False
    return bool(np.array_equal(_bytes(first), _bytes(second)))


def _bytes(values: Tensor | np.ndarray) -> np.ndarray:
    """The bytes of a tensor or an array; none where they cannot be read, as of objects and of nested tensors."""
    if isinstance(values, np.ndarray):
        return np.zeros(0) if values.dtype.hasobject else np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    try:
        dense = values.detach().cpu().to_dense().resolve_conj().resolve_neg()
        return dense.reshape(-1).contiguous().view(torch.uint8).numpy()
    except (RuntimeError, NotImplementedError, TypeError):
        return np.zeros(0)
