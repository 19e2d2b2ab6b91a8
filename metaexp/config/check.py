"""Checks a composed configuration as a whole and makes :class:`Settings`. Torch is not imported.

All problems are found before any is reported: unknown keys, wrong types, impossible values, classes that may
not be named, and settings that contradict each other or the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from metaexp.config.accelerators import why_missing
from metaexp.config.classes.checker import Checker, Slot
from metaexp.config.classes.domains import wrong_domains
from metaexp.config.classes.loaded_code import edited_since_import
from metaexp.config.classes.own_code import own_code
from metaexp.config.classes.signatures import constructor
from metaexp.config.classes.source import find_class
from metaexp.config.classes.values import AnyOf, Null, Number, Sequence, Text, format_setting
from metaexp.config.contradictions import contradictions
from metaexp.config.identity import config_hash, run_name
from metaexp.config.initial_weights import with_weights
from metaexp.config.purpose import Purpose
from metaexp.config.schema import (
    ClassSpec,
    DeviceSettings,
    EvalSettings,
    OwnCode,
    PathSettings,
    Settings,
    TaskSettings,
    TrainSettings,
)
from metaexp.core.counted import listed
from metaexp.core.errors import ConfigError, MachineError
from metaexp.data.classification.preprocessing import Augmentation

SLOTS = {
    "algorithm": Slot(
        "metaexp.core.algorithm.Algorithm", injected=frozenset({"model", "input_shape", "n_outputs", "train_shape"})
    ),
    "model": Slot(
        "metaexp.models.base.Network",
        library="torch.nn",
        injected=frozenset({"input_shape", "n_outputs"}),
        options="metaexp.config.schema.WeightsSettings",
    ),
    "dataset": Slot("metaexp.data.base.Dataset"),
    "optimizer": Slot("torch.optim.Optimizer", injected=frozenset({"params", "named_params"})),
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
    "augment": "metaexp.data.classification.preprocessing.Augmentation",
}
REFERENCE = "metaexp.results.record.Reference"
OPTIONAL = ("reference", "tags", "notes")
"""Keys that a configuration need not have."""
TOP_LEVEL = ["seed", *SECTIONS, *SLOTS, "tracker", *OPTIONAL]
_LONGEST_TAG = 64
"""Characters of a tag, as W&B allows."""
_GROUPS = frozenset({*SLOTS, "task", "device", "paths", "tracker"})
"""The parts of which files are chosen."""
_NO_DEFAULTS = (
    f"the configuration has none of the parts {listed(sorted(_GROUPS), len(_GROUPS))}. A root file of your own "
    "(--config-name) adds to metaexp's: begin it with the lines `defaults:`, `  - config` and `  - _self_`."
)
_ON_COMMAND_LINE = ["experiment", "debug", "sweep", "search", "resume", "from"]
"""What a command line may give beside them."""


def check(
    config: Mapping[str, Any],
    choices: Mapping[str, str],
    purpose: Purpose,
    earlier_problems: Iterable[str] = (),
    ignored: frozenset[str] = frozenset(),
) -> Settings:
    """Check a resolved configuration and return its settings.

    Args:
        config: Nested plain dicts without Hydra's section.
        choices: Group -> chosen file.
        purpose: What will be done with it.
        earlier_problems: Problems found while composing, to be reported with the others.
        ignored: Top-level keys that ``earlier_problems`` already explain.

    Raises:
        ConfigError: The configuration is wrong. The message lists all mistakes.
        MachineError: The accelerator is not here, and that is the only problem.
        DataError: The files of the dataset are wrong, and that is the only problem.
    """
    if not (_GROUPS & {*config, *ignored}):
        raise ConfigError([*earlier_problems, _NO_DEFAULTS])
    checker = Checker([*_framework_keys(), *_keys_of_nodes(config)])
    values = _check_all(checker, config, ignored)
    if isinstance(values.get("model"), ClassSpec):
        values["model"], wrong = with_weights(values["model"], purpose.is_new)
        checker.problems += wrong
    problems = [*earlier_problems, *_without_echoes(checker.problems)]
    found = contradictions(values, choices, frozenset(values) - checker.broken, purpose)
    problems += found.problems
    missing = _missing_accelerator(values) if purpose.is_here else None
    if problems:
        raise ConfigError(list(dict.fromkeys(problems + ([missing] if missing else []))))
    if missing:
        raise MachineError(missing)
    if purpose.is_new and found.wrong_data is not None:
        raise found.wrong_data
    return _settings(values, choices)


def _check_all(checker: Checker, config: Mapping[str, Any], ignored: frozenset[str]) -> dict[str, Any]:
    """Check everything; return the values in canonical form, a ClassSpec in place of each node."""
    for key in config:
        if key not in TOP_LEVEL and key not in ignored:
            checker.report(key, f"{key} is not a key of the configuration.{_hint_at_top(checker, str(key))}")
    values = {
        key: _check_part(checker, key, value)
        for key, value in config.items()
        if key in TOP_LEVEL and key not in ignored
    }
    for key in TOP_LEVEL:
        if key not in config and key not in ignored and key not in (*OPTIONAL, "augment"):
            checker.report(key, f"{key} is missing; the configuration must have it.")
    return values


def _hint_at_top(checker: Checker, key: str) -> str:
    """What may be meant by a key that is none, where the keys of sections belong."""
    section, dot, name = key.partition(".")
    if key in _ON_COMMAND_LINE:
        return f" It belongs on the command line, not in a file: {key}=..."
    if dot and section in TOP_LEVEL:
        return f" A file has no dots in keys. Write {section}: and below it, indented, {name}: ..."
    return checker.hint(key, key, [*TOP_LEVEL, *_ON_COMMAND_LINE])


def _check_part(checker: Checker, key: str, value: Any) -> Any:
    if isinstance(value, str) and key in _GROUPS:
        checker.report(
            key,
            f"{key}={format_setting(value)} must be a mapping. A file of the group {key} is chosen by "
            f"`- override /{key}: {value}` in the defaults at the top of your file, or by {key}={value} on the command "
            "line.",
        )
        return value
    if key == "seed":
        return checker.value(key, value, Number(int, ">= 0"))
    if key == "tags":
        return _check_tags(checker, value)
    if key == "notes":
        return checker.value(key, value, AnyOf((Text(), Null())))
    if key == "dataset":
        value = _without_wrong_domains(checker, value)
    if key in SLOTS:
        return checker.node(key, value, SLOTS[key])
    if key == "reference":
        return None if value is None else checker.section(key, value, REFERENCE)
    if key == "tracker":
        return _check_trackers(checker, value)
    return checker.section(key, value, SECTIONS[key])


def _without_wrong_domains(checker: Checker, dataset: Any) -> Any:
    """Report the domains of a mixture that are not classification datasets; the others are still to be checked."""
    wrong = wrong_domains(dataset)
    for problem in wrong.values():
        checker.report("dataset", problem)
    if not wrong:
        return dataset
    return {**dataset, "domains": {name: node for name, node in dataset["domains"].items() if name not in wrong}}


def _check_trackers(checker: Checker, value: Any) -> Any:
    """Check the trackers, each below a name."""
    if not isinstance(value, Mapping):
        checker.report("tracker", f"tracker={format_setting(value)} must be a mapping from names to trackers, or {{}}.")
        return value
    if "_target_" in value:
        checker.report(
            "tracker",
            f"tracker._target_={format_setting(value['_target_'])} stands at the top of its file, and several trackers "
            "may run at once. Put the lines of each one under a key of your choice: mine: {_target_: ...}.",
        )
        return value
    return checker.nodes("tracker", value, TRACKER)


def _check_tags(checker: Checker, tags: Any) -> Any:
    found = checker.value("tags", tags, Sequence(Text()))
    texts = [tag for tag in found if isinstance(tag, str)] if isinstance(found, list) else []
    wrong = [tag for tag in texts if not 0 < len(tag) <= _LONGEST_TAG]
    if wrong:
        checker.report("tags", f"tags={format_setting(wrong)}: a tag has 1 to {_LONGEST_TAG} characters.")
    return found


def _without_echoes(problems: list[str]) -> list[str]:
    """Leave out problems of ``train`` that come from ``task``, whose values it takes by default."""
    return [p for p in problems if not p.startswith("train.") or p.replace("train.", "task.", 1) not in problems]


def _framework_keys() -> list[str]:
    """Dotted keys of all framework sections, to suggest from."""
    keys = ["seed"]
    for section, schema in SECTIONS.items():
        source = find_class(schema)
        if source is not None:
            keys += [f"{section}.{argument.name}" for argument in constructor(source).arguments]
    return keys


def _keys_of_nodes(config: Mapping[str, Any]) -> list[str]:
    """Dotted keys of the chosen files, such as ``optimizer.lr``, to suggest from."""
    nodes = {name: config[name] for name in SLOTS if isinstance(config.get(name), Mapping)}
    return [f"{name}.{key}" for name, node in nodes.items() for key in node if not str(key).startswith("_")]


def _missing_accelerator(values: Mapping[str, Any]) -> str | None:
    device = values.get("device")
    accelerator = device.get("accelerator") if isinstance(device, Mapping) else None
    why = why_missing(accelerator) if isinstance(accelerator, str) else None
    if why is None:
        return None
    return (
        f"device.accelerator={accelerator} is not on this machine: {why}. "
        "Choose another with device=cpu, or device=auto for the best there is."
    )


def _settings(values: Mapping[str, Any], choices: Mapping[str, str]) -> Settings:
    paths = values["paths"]
    resolved: dict[str, Any] = _plain(values)
    task = TaskSettings(**values["task"])
    return Settings(
        name=run_name(resolved, choices),
        config_hash=config_hash(resolved),
        seed=values["seed"],
        train=TrainSettings(**values["train"]),
        eval=EvalSettings(**values["eval"]),
        task=task,
        device=DeviceSettings(**values["device"]),
        augment=Augmentation(**values.get("augment", {})),
        paths=PathSettings(data=Path(paths["data"]).expanduser(), outputs=Path(paths["outputs"]).expanduser()),
        **{slot: values[slot] for slot in SLOTS},
        tracker=values["tracker"],
        experiment=choices.get("experiment"),
        reference=values.get("reference"),
        resolved=resolved,
        own_code=_own_code(values),
        choices=dict(choices),
        tags=tuple(values.get("tags") or ()),
        notes=values.get("notes"),
    )


def _own_code(values: Mapping[str, Any]) -> OwnCode | None:
    """The user's own code, as it is imported here; an error where it was edited since."""
    code = own_code(values)
    if code is not None and (edited := edited_since_import(code.files)):
        raise ConfigError(
            f"{', '.join(edited)} was edited after this Python process had imported it, so the code from before the "
            "edit would run. Start Python (in a notebook: the kernel) again."
        )
    return code


def _plain(value: Any) -> Any:
    """Checked values as plain nested dicts."""
    if isinstance(value, ClassSpec):
        return _plain(value.node())
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value
