"""Checks interpolations (``${...}``) as they are written, before any is resolved.

An interpolation could read a secret from the environment, which would then be shown and logged. And a few lines could
expand to more than memory holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from omegaconf import grammar_parser
from omegaconf.errors import GrammarParseError

from metaexp.core.counted import shortened

VARIABLES = "METAEXP_"
"""The prefix of the environment variables that a configuration may read."""
_RESOLVERS = (
    "for_dataset", "for_regression", "oc.env", "oc.select", "oc.dict.keys", "oc.dict.values", "oc.deprecated", "now",
    "hydra",
)  # fmt: skip
_MOST_LEAVES = 100_000
_MOST_INTERPOLATIONS = 2_000


class Reference(NamedTuple):
    """``${task.n_way}``. ``parts`` are its keys; None stands for one that holds an interpolation itself."""

    dots: int
    parts: tuple[str | None, ...]


class Resolver(NamedTuple):
    """``${oc.env:NAME,default}``. ``name`` and ``arguments``: None stands for what holds an interpolation itself."""

    name: str | None
    arguments: tuple[str | None, ...]


def interpolations(text: str) -> list[Reference | Resolver]:
    """List the interpolations in a value, also those inside others.

    Args:
        text: The value as written.

    Returns:
        The interpolations; none where the value holds none, or cannot be read.
    """
    return list(_parsed(text)) if "${" in text else []


@lru_cache(maxsize=4096)
def _parsed(text: str) -> tuple[Reference | Resolver, ...]:
    try:
        return tuple(_walk(grammar_parser.parse(text)))
    except (GrammarParseError, RecursionError):
        return ()  # resolving it says what is wrong


def resolver_problems(config: Mapping[str, Any]) -> list[str]:
    """Find interpolations that may not be resolved.

    Args:
        config: Nested plain dicts with interpolations as written.

    Returns:
        A sentence for each.
    """
    found: list[str] = []
    for path, value in _leaves(config, ()):
        key = ".".join(path)
        for item in interpolations(value):
            if isinstance(item, Resolver) and (why := _refusal(item, path[0])):
                found.append(f"{key}={shortened(value)} {why}")
    return list(dict.fromkeys(found))


def is_refused(value: Any, section: str) -> bool:
    """Whether a value, as written in a top-level section, holds an interpolation that may not be resolved.

    Args:
        value: The value as written.
        section: The top-level section it stands in.
    """
    if not isinstance(value, str):
        return False
    return any(isinstance(item, Resolver) and bool(_refusal(item, section)) for item in interpolations(value))


def expansion_problem(config: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a configuration that would expand to more than memory holds; None for others.

    Args:
        config: Nested plain dicts with interpolations as written.
    """
    return _Sizes(config).problem()


class _Sizes:
    """The number of leaves that each value expands to."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.items = {
            path: found
            for path, value in _leaves(config, ())
            if (found := [item for item in interpolations(value) if isinstance(item, Reference)])
        }
        self.sizes: dict[tuple[str, ...], int] = {}
        self.entered: set[tuple[str, ...]] = set()

    def problem(self) -> str | None:
        if sum(map(len, self.items.values())) > _MOST_INTERPOLATIONS:
            return f"the configuration holds more than {_MOST_INTERPOLATIONS:,} interpolations (${{...}})."
        for path in self.items:
            if self.size(path) > _MOST_LEAVES:
                return (
                    f"{'.'.join(path)} expands to more than {_MOST_LEAVES:,} values, because interpolations (${{...}}) "
                    "in it refer to others again and again. Write the value itself."
                )
        return None

    def size(self, path: tuple[str, ...]) -> int:
        if path in self.sizes:
            return self.sizes[path]
        if path in self.entered:
            return 1  # a circle, which resolving reports
        self.entered.add(path)
        total = 1
        for item in self.items.get(path, []):
            total = min(total + self._below(_absolute(path, item)), 10 * _MOST_LEAVES)
        self.entered.discard(path)
        self.sizes[path] = total
        return total

    def _below(self, target: tuple[str | None, ...]) -> int:
        """The size of everything that a reference may take: all that lies under it, or around it."""
        known = tuple(part for part in target[: target.index(None)] if part) if None in target else target
        total = 1
        for path in self.items:
            if path[: len(known)] == known or known[: len(path)] == path:
                total = min(total + self.size(path), 10 * _MOST_LEAVES)
        return total


def _absolute(path: tuple[str, ...], item: Reference) -> tuple[str | None, ...]:
    return item.parts if not item.dots else (*path[: max(len(path) - item.dots, 0)], *item.parts)


def _refusal(item: Resolver, section: str) -> str:
    """Why an interpolation may not be resolved; '' where it may."""
    if item.name is None:
        return "takes the name of a resolver from another value, which could read the environment. Write it out."
    if item.name not in _RESOLVERS:
        return f"uses the resolver {item.name}, which is not allowed; the allowed ones are {', '.join(_RESOLVERS)}."
    if item.name != "oc.env":
        return ""
    if section != "paths":
        return f"in {section} reads the environment, which only paths.* may do."
    name = item.arguments[0] if item.arguments else None
    if name is None or not name.startswith(VARIABLES):
        return f"reads an environment variable other than {VARIABLES}*, which could be a secret. Write the path itself."
    return ""


def _walk(node: Any) -> Iterator[Reference | Resolver]:
    kind = type(node).__name__
    children = list(getattr(node, "children", None) or [])
    if kind == "InterpolationNodeContext":
        yield _reference(children)
    elif kind == "InterpolationResolverContext":
        yield _resolver(children)
    for child in children:
        yield from _walk(child)


def _reference(children: list[Any]) -> Reference:
    parts: list[str | None] = []
    dots = 0
    for child in children[1:-1]:
        if type(child).__name__ == "ConfigKeyContext":
            parts.append(_literal(child))
        elif not parts and child.getText() == ".":
            dots += 1
    return Reference(dots, tuple(parts))


def _resolver(children: list[Any]) -> Resolver:
    name = next(child for child in children if type(child).__name__ == "ResolverNameContext")
    given = [child for child in children if type(child).__name__ == "SequenceContext"]
    arguments = [child for child in (given[0].children if given else []) if type(child).__name__ == "ElementContext"]
    return Resolver(_literal(name), tuple(_literal(argument) for argument in arguments))


def _literal(node: Any) -> str | None:
    """The text of a node without quotes; None where it holds an interpolation or an escape."""
    text: str = node.getText()
    return None if "${" in text or "\\" in text else text.strip().strip("'\"").strip()


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Path and text of every string."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, (*path, str(key)))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, str(index)))
    elif isinstance(value, str):
        yield path, value
