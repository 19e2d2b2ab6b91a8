"""The one place where a configuration becomes objects."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, TypeVar

from metaexp.config.classes.signatures import constructor
from metaexp.config.classes.source import ClassSource
from metaexp.config.classes.targets import find_target
from metaexp.config.classes.values import AnyOf, Kind, Object, nearest
from metaexp.core.errors import ConfigError

T = TypeVar("T")


def make(node: Mapping[str, Any], expected_type: type[T], **injected: Any) -> T:
    """The object that a node describes: its ``_target_`` called with its other keys as arguments.

    node: as checked by :mod:`metaexp.config.check`. expected_type: what the class must derive from.
    injected: what the framework provides; each is passed only if the constructor has an argument of that name.
    A nested node with a ``_target_`` is made in the same way; its argument's annotation says what it must be.
    Raises ConfigError, before anything is imported, for a class outside the allowed packages.
    """
    made: T = _make(node, _dotted(expected_type), injected, "node")
    if not isinstance(made, expected_type):
        raise ConfigError(f"_target_={node['_target_']} made a {type(made).__name__}, not a {expected_type.__name__}.")
    return made


def resolve(node: Mapping[str, Any], expected_type: type[T]) -> type[T]:
    """The class that a node names, imported. Refusals are those of :func:`make`."""
    cls: type[T] = _import(find_target("node", node.get("_target_"), _dotted(expected_type)))
    return cls


def _make(node: Mapping[str, Any], base: str, injected: Mapping[str, Any], key: str) -> Any:
    target = node.get("_target_")
    source = find_target(key, target, base)
    given = {name: value for name, value in node.items() if name != "_target_"}
    accepted = constructor(source)
    kinds: dict[str, Kind] = {argument.name: argument.kind for argument in accepted.arguments}
    provided = {name: value for name, value in injected.items() if name in kinds}
    for name in given:
        if name.startswith("_") or name in provided or (name not in kinds and not accepted.takes_more):
            raise ConfigError(f"{target} takes no {name} from a configuration.{nearest(name, kinds)}")
    values = {name: _value(value, kinds.get(name), f"{key}.{name}") for name, value in given.items()}
    return _import(source)(**values, **provided)


def _import(source: ClassSource) -> Any:
    return getattr(importlib.import_module(source.module.name), source.node.name)


def _dotted(cls: type[Any]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _value(value: Any, kind: Kind | None, key: str) -> Any:
    """A value with the nodes inside it made, and containers copied, so that objects do not share the configuration."""
    if isinstance(value, Mapping) and "_target_" in value:
        base = object_base(kind)
        if base is None:
            raise ConfigError(f"{key} does not take an object; remove its _target_={value['_target_']}.")
        return _make(value, base, {}, key)
    if isinstance(value, Mapping):
        return {name: _value(item, None, f"{key}.{name}") for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_value(item, None, f"{key}[{index}]") for index, item in enumerate(value)]
    return value


def object_base(kind: Kind | None) -> str | None:
    """The class that a kind asks for, if it asks for an object at all."""
    for member in kind.kinds if isinstance(kind, AnyOf) else [kind]:
        if isinstance(member, Object):
            return member.base
    return None
