"""Checks values and nodes of a configuration against the constructors that they are for. Nothing is imported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from metaexp.config.classes.refusal import format_refusal
from metaexp.config.classes.signatures import Argument, constructor
from metaexp.config.classes.source import find_class
from metaexp.config.classes.targets import find_named, find_target
from metaexp.config.classes.values import (
    AnyOf,
    Anything,
    Kind,
    NamedClass,
    Object,
    Table,
    format_nearest,
    format_setting,
)
from metaexp.config.schema import ClassSpec
from metaexp.core.errors import ConfigError


@dataclass(frozen=True)
class Slot:
    """A place for an object."""

    base: str
    """The dotted path of the class that the object's class must derive from."""
    library: str = ""
    """The dotted path of a package, such as ``torch.nn``, whose classes may stand in for ``base``."""
    injected: frozenset[str] = frozenset()
    """Arguments that the framework provides."""
    options: str = ""
    """The dotted path of a dataclass whose fields are keys of the node that the constructor does not see; '' for none.
    A constructor with an argument of the same name keeps it."""


class Checker:
    """Checks values and collects the problems.

    Attributes:
        problems: A sentence for each problem.
        broken: The top-level keys that have one.
    """

    def __init__(self, known_keys: Iterable[str] = ()) -> None:
        """Make a checker that has found nothing yet.

        Args:
            known_keys: Dotted keys, to suggest from where a key is unknown.
        """
        self.problems: list[str] = []
        self.broken: set[str] = set()
        self._known_keys = list(known_keys)

    def report(self, key: str, problem: str) -> None:
        """Note a problem with the value at dotted ``key``.

        Args:
            key: The dotted key.
            problem: A sentence for the user.
        """
        self.broken.add(key.partition(".")[0])
        self.problems.append(problem)

    def section(self, key: str, value: Any, schema: str) -> Any:
        """Check a section of the framework.

        Args:
            key: Its name.
            value: Its keys and values.
            schema: The dotted path of the dataclass whose fields are its keys.

        Returns:
            The section with values in canonical form.
        """
        if not isinstance(value, Mapping):
            self.report(key, f"{key}={format_setting(value)} must be a mapping.")
            return value
        source = find_class(schema)
        assert source is not None, schema
        accepted = constructor(source).arguments
        self._unknown(key, value, accepted, f"a key of {key}")
        return self._arguments(key, value, accepted)

    def nodes(self, key: str, nodes: Mapping[str, Any], slot: Slot) -> dict[str, ClassSpec | Any]:
        """Check nodes that have names of the user's choice. One without a class may be a mistyped name.

        Args:
            key: The dotted key of the nodes.
            nodes: Name -> node.
            slot: What they are for.

        Returns:
            Name -> what :meth:`node` returns.
        """
        named = [name for name, node in nodes.items() if _names_class(node)]
        checked: dict[str, ClassSpec | Any] = {}
        for name, node in nodes.items():
            if named and isinstance(node, Mapping) and name not in named:
                hint = self.hint(f"{key}.{name}", name, named, f"{key}.")
                self.report(key, f"{key}.{name} has no _target_ that names its class.{hint}")
                checked[name] = node
            else:
                checked[name] = self.node(f"{key}.{name}", node, slot)
        return checked

    def node(self, key: str, node: Any, slot: Slot) -> ClassSpec | Any:
        """Check a node that names a class.

        Args:
            key: The dotted key of the node.
            node: Its ``_target_`` and arguments.
            slot: What it is for.

        Returns:
            The class with checked arguments; the node itself where no class was found.
        """
        if not _names_class(node):
            nested = isinstance(node, Mapping) and isinstance(node.get(key), Mapping)
            advice = (
                f" Remove the line `{key}:` from its file, and the blanks before the lines below it." if nested else ""
            )
            self.report(
                key, f"{key}={format_setting(node)} must be a mapping with a _target_ that names a class.{advice}"
            )
            return node
        try:
            source = find_target(key, node["_target_"], slot.base, slot.library)
        except ConfigError as error:
            self.report(key, str(error))
            return node
        given = self._open_keys(key, node, slot)
        accepted = constructor(source)
        wanted = [argument for argument in accepted.arguments if argument.name not in slot.injected]
        optional = _options(slot, {argument.name for argument in accepted.arguments})
        options = {argument.name: given.pop(argument.name) for argument in optional if argument.name in given}
        more = {name: given.pop(name) for name in list(given) if name not in {a.name for a in wanted}}
        if accepted.takes_more:
            given |= {name: self.value(f"{key}.{name}", value, Anything()) for name, value in more.items()}
        else:
            self._unknown(key, more, [*wanted, *optional], f"an argument of {source.path}")
            self.broken |= {key.partition(".")[0]} if more else set()
        return ClassSpec(
            target=node["_target_"],
            path=source.path,
            arguments=self._arguments(key, given, wanted),
            parameters=frozenset(argument.name for argument in accepted.arguments),
            options=self._arguments(key, options, optional),
            named=tuple(
                path for a in wanted for path in self._named_class(f"{key}.{a.name}", given.get(a.name), a.kind)
            ),
        )

    def value(self, key: str, value: Any, kind: Kind) -> Any:
        """Check one value.

        Args:
            key: Its dotted key.
            value: The value as YAML gives it.
            kind: The values that the key may have.

        Returns:
            The value in canonical form, a ClassSpec for an object.
        """
        if isinstance(value, Mapping) and "_target_" in value:
            base = _object_base(kind)
            if base is not None:
                return self.node(key, value, Slot(base))
        elif isinstance(kind, Table) and isinstance(kind.item, Object) and isinstance(value, Mapping):
            return self.nodes(key, value, Slot(kind.item.base))
        if "${" in format_setting(value):
            self.broken.add(key.partition(".")[0])  # an interpolation that has no value: already reported
        elif value == "???":
            self.report(key, f"{key} has no value; give it one: it must be {kind.format_allowed()}.")
        elif refusal := format_refusal(key, value, kind):
            self.report(key, refusal)
        elif _holds_node(value):
            self.report(key, f"{key}={format_setting(value)} does not take an object; remove its _target_.")
        else:
            return kind.convert(value)
        return value

    def _named_class(self, key: str, value: Any, kind: Kind) -> list[str]:
        """Where the class is defined that a value names; empty if it names none, or none that may be used."""
        kinds = kind.kinds if isinstance(kind, AnyOf) else (kind,)
        named = next((member for member in kinds if isinstance(member, NamedClass)), None)
        if named is None or not named.accepts(value):
            return []
        try:
            return [find_named(f"{key}={value}", value).path]
        except ConfigError as error:
            self.report(key, str(error))
            return []

    def hint(self, path: str, name: str, known: list[str], prefix: str = "") -> str:
        """Suggest the key of this name elsewhere, or the nearest valid one; where none is near, list the valid ones.

        Args:
            path: The dotted key that was given.
            name: Its last part.
            known: The names that are valid in its place.
            prefix: What stands before them in the dotted key.
        """
        near = format_nearest(name, known).replace("mean ", f"mean {prefix}") if known else ""
        others = [key for key in self._known_keys if not f"{path}.".startswith(f"{key}.")]  # nor what it lies in
        same = [key for key in others if key.rpartition(".")[2] == name]
        if same and name not in near:
            return format_nearest(path, same) or f" Did you mean {same[0]}?"
        beside = path.rpartition(".")[0]  # of a whole key, the part that is the same would make any name there near
        elsewhere = [key for key in others if not beside or key.rpartition(".")[0] != beside]
        all_known = f" Known: {', '.join(known)}." if known else " There are none."
        return near or format_nearest(path, elsewhere) or all_known

    def _open_keys(self, key: str, node: Mapping[str, Any], slot: Slot) -> dict[str, Any]:
        """The keys of a node that a configuration may give."""
        given = {name: value for name, value in node.items() if name != "_target_"}
        for name in [name for name in given if name in slot.injected or str(name).startswith("_")]:
            why = "comes from the framework" if name in slot.injected else "is not a key; only _target_ is special"
            self.report(key, f"{key}.{name} {why}. Remove it.")
            del given[name]
        return given

    def _unknown(self, key: str, given: Mapping[str, Any], accepted: Iterable[Argument], what: str) -> None:
        """Report keys that are not arguments. The other values stay valid."""
        known = [argument.name for argument in accepted]
        for name in given:
            if name not in known:
                hint = self.hint(f"{key}.{name}", str(name), known, f"{key}.")
                self.problems.append(f"{key}.{name} is not {what}.{hint}")

    def _arguments(self, key: str, given: Mapping[str, Any], accepted: Iterable[Argument]) -> dict[str, Any]:
        """Check the values of known keys, and that none is missing."""
        known = {argument.name: argument for argument in accepted}
        for argument in known.values():
            if argument.required and argument.name not in given:
                self.report(
                    f"{key}.{argument.name}",
                    f"{key}.{argument.name} is missing; it must be {argument.kind.format_allowed()}.",
                )
        return {
            name: self.value(f"{key}.{name}", value, known[name].kind) if name in known else value
            for name, value in given.items()
        }


def class_spec(node: Mapping[str, Any], slot: Slot, key: str = "node") -> ClassSpec:
    """Check a single node.

    Args:
        node: A ``_target_`` and its arguments.
        slot: What it is for.
        key: Its dotted key, for messages.

    Raises:
        ConfigError: The class or an argument is wrong. The message lists all mistakes. Nothing was imported.
    """
    checker = Checker()
    spec = checker.node(key, node, slot)
    if checker.problems or not isinstance(spec, ClassSpec):
        raise ConfigError(checker.problems)
    return spec


def _options(slot: Slot, taken: set[str]) -> list[Argument]:
    """The framework's own keys of a slot, but for those whose names are ``taken`` by the constructor."""
    source = find_class(slot.options) if slot.options else None
    return [] if source is None else [a for a in constructor(source).arguments if a.name not in taken]


def _object_base(kind: Kind) -> str | None:
    """The class that a kind asks for, if it asks for an object at all."""
    for member in kind.kinds if isinstance(kind, AnyOf) else [kind]:
        if isinstance(member, Object):
            return member.base
    return None


def _names_class(node: Any) -> bool:
    """Whether a value is a node: a mapping that names its class."""
    return isinstance(node, Mapping) and "_target_" in node


def _holds_node(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "_target_" in value or any(map(_holds_node, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_holds_node, value))
