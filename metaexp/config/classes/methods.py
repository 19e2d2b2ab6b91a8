"""Checks that the methods of a user's class can be called as metaexp calls those of its base class."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from types import FunctionType, MethodType
from typing import Any

from metaexp.core.errors import ConfigError


def refuse_wrong_methods(cls: type, where: str) -> None:
    """Refuse a class with a method that does not take the arguments of the method of metaexp that it replaces.

    Otherwise the run would end with a TypeError where the method is first called. A method in place of a property or a
    value is refused, too: it would count as true.

    Args:
        cls: The class. One of metaexp or torch is not looked at.
        where: The key and its value, for messages.

    Raises:
        ConfigError: One sentence for each such method.
    """
    problems = [f"{where}: {problem}" for name, base in _replaced(cls) if (problem := _problem(cls, name, base))]
    if problems:
        raise ConfigError(problems)


def call_problem(function: Callable[..., Any], arguments: Sequence[str], keywords: Sequence[str] = ()) -> str:
    """Say which arguments a function takes, if it cannot be called with these; '' if it can, or nobody knows.

    Args:
        function: The function, or a bound method.
        arguments: The names of the positional arguments of the call.
        keywords: The names of its keyword arguments.
    """
    signature = called_signature(function)
    if signature is None:
        return ""
    try:
        signature.bind(*arguments, **dict.fromkeys(keywords))
    except TypeError:
        name = getattr(function, "__name__", type(function).__name__)
        called = ", ".join([*arguments, *(f"{keyword}=..." for keyword in keywords)])
        return f"{name}{_plain(signature)} cannot be called as {name}({called}){_place(function)}"
    return ""


def called_signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """Return the arguments that a call of a function must have; None if nobody knows, as of compiled code.

    A decorator of the user's counts as it is, not as what it wraps, to which it may give more arguments than it takes.

    Args:
        function: The function, or a bound method.
    """
    try:
        return inspect.signature(_without_torch(function), follow_wrapped=False)
    except (TypeError, ValueError):
        return None


def _without_torch(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, or bound method, in decorators of torch such as ``no_grad``, which take the same arguments."""
    if isinstance(function, MethodType):
        return MethodType(_without_torch(function.__func__), function.__self__)
    while hasattr(function, "__wrapped__") and getattr(function, "__globals__", {}).get("__name__", "")[:6] == "torch.":
        function = function.__wrapped__
    return function


def _replaced(cls: type) -> Iterator[tuple[str, type]]:
    """The public names that the user's classes define again, each with the class of metaexp that has it first."""
    bases = [base for base in cls.__mro__ if _is_ours(base)]
    for name in sorted({name for base in cls.__mro__ if not _is_ours(base) for name in vars(base)}):
        owners = [base for base in bases if name in vars(base)]
        first = next(base for base in cls.__mro__ if name in vars(base))
        if owners and not name.startswith("_") and not _is_ours(first):
            yield name, owners[-1]


def _is_ours(cls: type) -> bool:
    return cls.__module__.startswith("metaexp.")


def _problem(cls: type, name: str, base: type) -> str:
    """A sentence on what is wrong with a name that a class defines again; '' if nothing is."""
    given, asked = inspect.getattr_static(cls, name), vars(base)[name]
    home = f"{base.__module__}.{base.__qualname__}"
    if not isinstance(asked, (FunctionType, staticmethod, classmethod)):
        if isinstance(given, FunctionType):
            is_property = isinstance(asked, property)
            what, how = (
                ("a property", "Write @property above it") if is_property else ("a value", f"Write {name} = ...")
            )
            return f"{name} is a method, and {what} in {home}{_place(given)}. {how}."
        return ""
    if _is_no_method(given, asked):
        return f"{name} is not a method, but in {home} it is. Write `def {name}{_plain(_signature(asked))}`."
    if not isinstance(given, (FunctionType, staticmethod, classmethod)):
        return ""
    arguments = _arguments(_signature(asked), is_bound=not isinstance(asked, staticmethod))
    if arguments is None:
        return ""
    first = {FunctionType: ["self"], classmethod: ["cls"]}.get(type(given), [])
    function = given if isinstance(given, FunctionType) else given.__func__
    problem = call_problem(function, [*first, *arguments[0]], arguments[1])
    return problem and f"{problem}, as metaexp calls that of {home}. Give it these arguments."


def _is_no_method(given: Any, asked: Any) -> bool:
    """Whether what stands in place of a method cannot be called on an object of the class."""
    getter = {property: "fget", cached_property: "func"}.get(type(given))
    if getter is not None:  # it may return a function, except where it was meant to be the method itself
        asks_nothing = _arguments(_signature(asked), is_bound=not isinstance(asked, staticmethod)) == ([], [])
        return asks_nothing or bool(call_problem(getattr(given, getter), ["self"]))
    may_be_replaced = given is None  # __init__ can give each object its own function
    return not (may_be_replaced or callable(given) or hasattr(type(given), "__get__"))


def _signature(function: Any) -> inspect.Signature:
    return inspect.signature(getattr(function, "__func__", function))


def _arguments(signature: inspect.Signature, *, is_bound: bool) -> tuple[list[str], list[str]] | None:
    """The names of the positional and of the keyword arguments of a call; None if the method takes any."""
    named = list(signature.parameters.values())[is_bound:]
    if any(parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) for parameter in named):
        return None
    keywords = [parameter.name for parameter in named if parameter.kind is parameter.KEYWORD_ONLY]
    return [parameter.name for parameter in named if parameter.name not in keywords], keywords


def _plain(signature: inspect.Signature) -> str:
    """A signature without its annotations."""
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def _place(function: Any) -> str:
    """Where a function is written: a file and a line."""
    code = getattr(inspect.unwrap(getattr(function, "__func__", function)), "__code__", None)
    return f" ({code.co_filename}, line {code.co_firstlineno})" if code is not None else ""
