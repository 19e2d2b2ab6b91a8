"""Refuses layers and parameters that an object holds where torch does not find them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from metaexp.core.errors import ConfigError

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_CONTAINERS = (list, tuple, dict, set, frozenset)


def refuse_hidden(module: nn.Module, section: str) -> None:
    """Refuse trainable weights and dropout in plain lists, tuples, sets and dicts, where torch does not find them.

    Args:
        module: A network or an algorithm.
        section: Its section of the configuration, for messages.

    Raises:
        ConfigError: A container has some.
    """
    known = {id(part) for part in itertools.chain(module.modules(), module.parameters())}
    for path, layer in module.named_modules():
        for name, held in plain_attributes(layer):
            if not isinstance(held, _CONTAINERS):
                continue
            lost = [item for item in items_in(held) if id(item) not in known and _is_lost(item)]
            if lost:
                kind = "Parameter" if isinstance(lost[0], nn.Parameter) else "Module"
                where = f", layer {path} of {type(module).__name__}," if path else ""
                raise ConfigError(
                    f"{section}: {name} of {type(layer).__name__}{where} is a plain {type(held).__name__} with layers "
                    "or parameters, which torch does not find there: they would not be trained, saved, or put into "
                    f"evaluation mode. Use torch.nn.{kind}{'Dict' if isinstance(held, dict) else 'List'}. What is not "
                    "meant to be trained may stay there, with requires_grad_(False)."
                )


def plain_attributes(layer: nn.Module) -> Iterator[tuple[str, object]]:
    """Return the attributes, name and value, that torch does not know as parameters, buffers or layers.

    Args:
        layer: A layer, without the layers inside it.
    """
    return ((name, value) for name, value in vars(layer).items() if name not in _OF_EVERY_MODULE)


def items_in(held: object, levels: int = 4) -> Iterator[object]:
    """Return what a container holds, also in containers in it.

    Args:
        held: A list, tuple, set or dict.
        levels: How deep containers in it are looked into.
    """
    for item in held.values() if isinstance(held, dict) else held:  # type: ignore[attr-defined]
        if isinstance(item, _CONTAINERS) and levels:
            yield from items_in(item, levels - 1)
        else:
            yield item


def _is_lost(item: object) -> bool:
    """Whether something does its work only where torch finds it. A frozen network may be hidden on purpose."""
    if isinstance(item, nn.Module):
        return any(map(_is_lost, item.parameters())) or any(isinstance(m, _DropoutNd) for m in item.modules())
    return isinstance(item, nn.Parameter) and item.requires_grad
