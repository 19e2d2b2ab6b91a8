"""Refuses trainable weights of half precision."""

from __future__ import annotations

from torch import nn

from metaexp.core.counted import agreeing, listed
from metaexp.core.errors import ConfigError

_LEAST_BYTES = 4


def refuse_half_precision(module: nn.Module, section: str) -> None:
    """Refuse trainable parameters of less than 32 bits, such as those of ``self.half()``.

    A step of the optimiser that is below a thousandth of a weight is lost there, and in float16 a sum above 65,504 is
    infinite. Frozen weights may have any precision.

    Args:
        module: A network or an algorithm.
        section: Its section of the configuration, for messages.

    Raises:
        ConfigError: It has such parameters.
    """
    found = {
        name: str(p.dtype).removeprefix("torch.")
        for name, p in module.named_parameters()
        if p.requires_grad and p.dtype.itemsize < _LEAST_BYTES
    }
    if found:
        raise ConfigError(
            f"{section}: {agreeing(len(found), 'parameter')} {listed(list(found), 3)} of {type(module).__name__} "
            f"{agreeing(len(found), 'is')} {listed(sorted(set(found.values())), 2)}. Small steps of an "
            "optimiser are lost in such numbers. Keep trainable weights in float32: leave out .half(), .bfloat16() and "
            "dtype=. With device.precision=bf16 layers are computed in half precision, and weights stay in float32."
        )
