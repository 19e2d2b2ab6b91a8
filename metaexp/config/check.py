"""A composed configuration checked as a whole, and turned into :class:`Settings`. Torch is not imported.

All problems are found before any is reported: unknown keys, wrong types, impossible values, classes that may
not be named, and settings that contradict each other or the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metaexp.config.accelerators import why_missing
from metaexp.config.classes.make import object_base
from metaexp.config.classes.signatures import Argument, constructor
from metaexp.config.classes.source import find_class
from metaexp.config.classes.targets import find_target
from metaexp.config.classes.values import Anything, Kind, Number, nearest, show
from metaexp.config.contradictions import contradictions
from metaexp.config.schema import (
    DeviceSettings,
    EvalSettings,
    Node,
    PathSettings,
    Settings,
    TaskSettings,
    TrainSettings,
)
from metaexp.core.errors import ConfigError, MachineError


@dataclass(frozen=True)
class Slot:
    """A place for an object: the class it must derive from, and the arguments that the framework provides."""

    base: str
    injected: frozenset[str] = frozenset()


SLOTS = {
    "algorithm": Slot(
        "metaexp.core.algorithm.Algorithm", frozenset({"model", "input_shape", "n_outputs", "train_shape"})
    ),
    "model": Slot("metaexp.models.base.Network", frozenset({"input_shape", "n_outputs"})),
    "dataset": Slot("metaexp.data.base.Dataset"),
    "optimizer": Slot("torch.optim.Optimizer", frozenset({"params"})),
    "schedule": Slot("metaexp.core.optim.Schedule"),
    "clip": Slot("metaexp.core.optim.Clip"),
}
TRACKER = Slot("metaexp.tracking.base.Tracker")
SECTIONS = {
    "train": "metaexp.config.schema.TrainSettings",
    "eval": "metaexp.config.schema.EvalSettings",
    "task": "metaexp.config.schema.TaskSettings",
    "device": "metaexp.config.schema.DeviceSettings",
    "paths": "metaexp.config.schema.PathSettings",
}
REFERENCE = "metaexp.results.record.Reference"
TOP_LEVEL = ["seed", *SECTIONS, *SLOTS, "tracker", "reference"]


def check(
    config: Mapping[str, Any],
    choices: Mapping[str, str],
    *,
    on_this_machine: bool = True,
    earlier_problems: Iterable[str] = (),
    ignored: frozenset[str] = frozenset(),
    is_trained: bool = False,
) -> Settings:
    """The settings of a resolved configuration.

    config: nested plain dicts without Hydra's section. choices: group -> chosen file. on_this_machine: whether
    the run happens here, so that the accelerator must be here. earlier_problems: found while composing, to be
    reported with the others; ``ignored`` are the top-level keys that they already explain. is_trained: it is for
    another test of a finished run.
    Raises ConfigError with all problems; MachineError when the accelerator is the only one.
    """
    checker = _Checker(ignored)
    resolved = checker.whole(config)
    problems = [*earlier_problems, *_without_echoes(checker.problems)]
    problems += contradictions(resolved, choices, frozenset(resolved) - checker.broken, is_trained)
    missing = _missing_accelerator(resolved) if on_this_machine else None
    if problems:
        raise ConfigError(list(dict.fromkeys(problems + ([missing] if missing else []))))
    if missing:
        raise MachineError(missing)
    return _settings(resolved, choices)


class _Checker:
    """Collects problems. ``broken`` holds the top-level keys that have one."""

    def __init__(self, ignored: frozenset[str]) -> None:
        self.problems: list[str] = []
        self.broken: set[str] = set()
        self.ignored = ignored

    def report(self, key: str, problem: str) -> None:
        """Note a problem with the value at dotted ``key``."""
        self.broken.add(key.partition(".")[0])
        self.problems.append(problem)

    def whole(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Check everything; returns the configuration with values in canonical form."""
        resolved: dict[str, Any] = {}
        for key in config:
            if key not in TOP_LEVEL and key not in self.ignored:
                self.report(key, f"{key} is not a key of the configuration.{self._hint(key, key, TOP_LEVEL)}")
        for key, value in config.items():
            if key in TOP_LEVEL and key not in self.ignored:
                resolved[key] = self._part(key, value)
        for key in TOP_LEVEL:
            if key not in config and key not in self.ignored and key != "reference":
                self.report(key, f"{key} is missing; the configuration must have it.")
        return resolved

    def _part(self, key: str, value: Any) -> Any:
        if key == "seed":
            return self._value(key, value, Number(int, ">= 0"))
        if key in SLOTS:
            return self._node(key, value, SLOTS[key])
        if key == "reference":
            return None if value is None else self._section(key, value, REFERENCE)
        if key == "tracker":
            if not isinstance(value, Mapping):
                self.report(key, f"tracker={show(value)} must be a mapping from names to trackers, or {{}}.")
                return value
            return {name: self._node(f"tracker.{name}", node, TRACKER) for name, node in value.items()}
        return self._section(key, value, SECTIONS[key])

    def _section(self, key: str, value: Any, schema: str) -> Any:
        if not isinstance(value, Mapping):
            self.report(key, f"{key}={show(value)} must be a mapping.")
            return value
        source = find_class(schema)
        assert source is not None, schema
        accepted = constructor(source).arguments
        self._unknown(key, value, accepted, f"a key of {key}")
        return self._arguments(key, value, accepted)

    def _node(self, key: str, node: Any, slot: Slot) -> Any:
        if not isinstance(node, Mapping) or "_target_" not in node:
            self.report(key, f"{key}={show(node)} must be a mapping with a _target_ that names a class.")
            return node
        given = {name: value for name, value in node.items() if name != "_target_"}
        try:
            source = find_target(key, node["_target_"], slot.base)
        except ConfigError as error:
            self.report(key, str(error))
            return dict(node)
        for name in [name for name in given if name in slot.injected or name.startswith("_")]:
            why = "comes from the framework" if name in slot.injected else "is not a key; only _target_ is special"
            self.report(key, f"{key}.{name} {why}. Remove it.")
            del given[name]
        accepted = constructor(source)
        wanted = [argument for argument in accepted.arguments if argument.name not in slot.injected]
        more = {name: given.pop(name) for name in list(given) if name not in {a.name for a in wanted}}
        if accepted.takes_more:
            given |= {name: self._value(f"{key}.{name}", value, Anything()) for name, value in more.items()}
        else:
            self._unknown(key, more, wanted, f"an argument of {source.path}")
            self.broken |= {key.partition(".")[0]} if more else set()
        return {"_target_": node["_target_"], **self._arguments(key, given, wanted)}

    def _unknown(self, key: str, given: Mapping[str, Any], accepted: Iterable[Argument], what: str) -> None:
        """Report keys that are no arguments. The other values are as good as they were."""
        known = [argument.name for argument in accepted]
        for name in given:
            if name not in known:
                hint = self._hint(f"{key}.{name}", name, known, f"{key}.")
                self.problems.append(f"{key}.{name} is not {what}.{hint}")

    def _arguments(self, key: str, given: Mapping[str, Any], accepted: Iterable[Argument]) -> dict[str, Any]:
        """Check the values of known keys, and that none is missing."""
        known = {argument.name: argument for argument in accepted}
        for argument in known.values():
            if argument.required and argument.name not in given:
                self.report(
                    f"{key}.{argument.name}", f"{key}.{argument.name} is missing; it must be {argument.kind.words()}."
                )
        return {
            name: self._value(f"{key}.{name}", value, known[name].kind) if name in known else value
            for name, value in given.items()
        }

    def _value(self, key: str, value: Any, kind: Kind) -> Any:
        if isinstance(value, Mapping) and "_target_" in value:
            base = object_base(kind)
            if base is not None:
                return self._node(key, value, Slot(base))
        if "${" in show(value):
            self.broken.add(key.partition(".")[0])  # an interpolation that has no value: already reported
        elif value == "???":
            self.report(key, f"{key} has no value; give it one: it must be {kind.words()}.")
        elif not kind.accepts(value):
            self.report(key, f"{key}={show(value)} must be {kind.words()}.")
        else:
            return kind.convert(value)
        return value

    def _hint(self, path: str, name: str, known: list[str], prefix: str = "") -> str:
        """The nearest valid name, else the known ones."""
        near = nearest(name, known).replace("mean ", f"mean {prefix}") if known else ""
        elsewhere = nearest(path, _framework_keys()) if not near else ""
        return near or elsewhere or (f" Known: {', '.join(known)}." if known else " There are none.")


def _without_echoes(problems: list[str]) -> list[str]:
    """Without those of ``train`` that are only passed on from ``task``, which it follows by default."""
    return [p for p in problems if not p.startswith("train.") or p.replace("train.", "task.", 1) not in problems]


def _framework_keys() -> list[str]:
    """Dotted keys of all framework sections, to suggest from."""
    keys = ["seed"]
    for section, schema in SECTIONS.items():
        source = find_class(schema)
        if source is not None:
            keys += [f"{section}.{argument.name}" for argument in constructor(source).arguments]
    return keys


def _missing_accelerator(resolved: Mapping[str, Any]) -> str | None:
    device = resolved.get("device")
    accelerator = device.get("accelerator") if isinstance(device, Mapping) else None
    why = why_missing(accelerator) if isinstance(accelerator, str) else None
    if why is None:
        return None
    return (
        f"device.accelerator={accelerator} is not on this machine: {why}. "
        "Choose another with device=cpu, or device=auto for the best there is."
    )


def _settings(resolved: dict[str, Any], choices: Mapping[str, str]) -> Settings:
    paths = resolved["paths"]
    reference: Node | None = resolved.get("reference")
    return Settings(
        seed=resolved["seed"],
        train=TrainSettings(**resolved["train"]),
        eval=EvalSettings(**resolved["eval"]),
        task=TaskSettings(**resolved["task"]),
        device=DeviceSettings(**resolved["device"]),
        paths=PathSettings(data=Path(paths["data"]).expanduser(), outputs=Path(paths["outputs"]).expanduser()),
        **{slot: resolved[slot] for slot in SLOTS},
        tracker=resolved["tracker"],
        experiment=choices.get("experiment"),
        reference=reference,
        resolved=resolved,
        choices=dict(choices),
    )
