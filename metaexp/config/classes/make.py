"""Makes the objects that a checked configuration describes. No other module does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from metaexp.config.classes.loaded_code import import_module
from metaexp.config.classes.methods import refuse_wrong_methods
from metaexp.config.classes.targets import is_allowed
from metaexp.config.schema import ClassSpec
from metaexp.core.errors import ConfigError, MetaexpError

T = TypeVar("T")


def make(spec: ClassSpec, expected_type: type[T], **injected: Any) -> T:
    """Make the object that a configuration describes.

    Args:
        spec: The class and its checked arguments.
        expected_type: What the class derives from.
        injected: Arguments from the framework. One that the constructor does not take is left out.

    Raises:
        ConfigError: The class is not of the expected type, or of a package that is not trusted, or metaexp cannot call
            its methods.
    """
    made: T = _make(spec, injected)
    if not isinstance(made, expected_type):
        raise ConfigError(f"_target_={spec.target} made a {type(made).__name__}, not a {expected_type.__name__}.")
    return made


def import_class(spec: ClassSpec, expected_type: type[T]) -> type[T]:
    """Import the class that a configuration names.

    Args:
        spec: The class.
        expected_type: What the class derives from.

    Raises:
        ConfigError: The class is not of the expected type, or metaexp cannot call its methods.
    """
    cls: type[T] = _import(spec)
    if not issubclass(cls, expected_type):
        raise ConfigError(f"_target_={spec.target} is not a {expected_type.__name__}.")
    refuse_wrong_methods(cls, f"_target_={spec.target}")
    return cls


def _make(spec: ClassSpec, injected: Mapping[str, Any]) -> Any:
    provided = {name: value for name, value in injected.items() if name in spec.parameters}
    values = {name: _value(value) for name, value in spec.arguments.items()}
    cls = _import(spec)
    if missing := sorted(getattr(cls, "__abstractmethods__", ())):
        raise ConfigError(
            f"_target_={spec.target} cannot be made: the class does not define {' and '.join(missing)}, which its base "
            "class asks for. Write it there."
        )
    refuse_wrong_methods(cls, f"_target_={spec.target}")
    try:
        return cls(**values, **provided)
    except ValueError as error:
        if isinstance(error, MetaexpError) or not spec.path.startswith("torch.optim."):
            raise
        raise ConfigError(f"{spec.target} refuses its arguments: {error}. Change the optimizer section.") from error


def _import(spec: ClassSpec) -> Any:
    if not is_allowed(spec.path):  # the check has refused it before; nothing gets past this line
        raise ConfigError(f"_target_={spec.path} is refused: its package is not trusted.")
    module, _, name = spec.path.rpartition(".")
    return getattr(import_module(module), name)


def _value(value: Any) -> Any:
    """A value with the objects inside it made, and containers copied, so that objects do not share them."""
    if isinstance(value, ClassSpec):
        return _make(value, {})
    if isinstance(value, Mapping):
        return {name: _value(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_value(item) for item in value]
    return value
