"""The name of a run, and the hash of the settings that decide its numbers."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from metaexp.config.classes.signatures import NO_DEFAULT, constructor
from metaexp.config.classes.source import find_class
from metaexp.config.classes.values import format_setting
from metaexp.config.schema import STAND_IN, Settings, own_data
from metaexp.core.counted import listed
from metaexp.core.fit.task_fit import is_stand_in
from metaexp.core.nested import values_by_key
from metaexp.data.classification.preprocessing import Augmentation
from metaexp.results.verdict import without_validation

NON_NUMERIC_KEYS: frozenset[str] = frozenset(
    {
        "paths",
        "tracker",
        "reference",
        "tags",
        "notes",
        "train.log_every",
        "train.checkpoint_every",
        "train.profile",
        "device.accelerator",
        "device.threads",
        "device.deterministic",
        "device.task_chunk",
        "device.cuda_graphs",
        "device.examples",
        "eval.test",
        "eval.metrics",
    }
)
"""Keys that do not change the numbers, or change them by rounding only.

The machine is not part of a run's identity: an experiment is the same experiment on a GPU or with two threads. The
record names device and threads beside the number. Precision is part of the identity. ``eval.test`` and ``eval.metrics``
do not change the weights; a record without ``test`` shows that they were not tested.
"""

OF_THE_TEST = ("eval.episodes", "eval.test", "eval.weights", "eval.metrics")
"""Keys that decide how often and with which weights a run is tested. Training and validation do not depend on them."""

_OF_ONE_MACHINE = ("paths", "tracker", "reference", "tags", "notes")
"""Parts of a configuration that may differ between the machines of a run."""
_ADDED_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "eval": {"weights": "best", "metrics": []},
    "train": {"patience": None, "n_tasks": None},
    "augment": dataclasses.asdict(Augmentation()),
}
"""Keys of the framework that were added later. Runs from before had these values, and keep their hashes."""
_WHERE_WEIGHTS_ARE = ("weights", "weights_partial")
"""Keys of a network that do not change numbers where the digest of its file of weights is there."""

_MOST_KEYS = 4


def config_hash(resolved: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of the part of a resolved configuration that decides numbers."""
    return _sha256(numeric_part(resolved))


def has_hash(resolved: Mapping[str, Any], digest: str) -> bool:
    """Whether ``digest`` is the hash of a resolved configuration, by today's rule or by the first one.

    The first rule kept arguments at their constructor's default. Records that were made under it stay valid.

    Args:
        resolved: A resolved configuration.
        digest: The hash in a record.
    """
    return digest in (config_hash(resolved), _sha256(_numeric_keys(resolved, dict)))


def has_own_classes(resolved: Mapping[str, Any]) -> bool:
    """Whether a configuration names a class that is neither metaexp's nor torch's.

    The defaults of such a class may have changed since, or its module may not be found here. Then the hash cannot be
    computed as it was at the time.
    """
    targets = [str(value.get("_target_", "torch.")) for value in resolved.values() if isinstance(value, Mapping)]
    return not all(target.startswith(("metaexp.", "torch.")) for target in targets)


def shared_digest(settings: Settings) -> str:
    """Return the SHA-256 (hex) of what all ranks of a run must share: configuration and own code."""
    shared = {key: value for key, value in settings.resolved.items() if key not in _OF_ONE_MACHINE}
    shared["own code"] = None if settings.own_code is None else settings.own_code.digest
    return hashlib.sha256(json.dumps(shared, sort_keys=True, default=str).encode()).hexdigest()


def numeric_part(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resolved configuration without the keys that decide no number.

    Left out are the keys of :data:`NON_NUMERIC_KEYS` and arguments at their constructor's default. So an argument that
    is added later, with a default that changes nothing, does not change the hash of earlier runs.

    Args:
        resolved: Nested plain dicts without interpolations.
    """
    kept = _numeric_keys(resolved, _without_defaults)
    for section, defaults in _ADDED_DEFAULTS.items():
        if isinstance(kept.get(section), dict):
            kept[section] = {k: v for k, v in kept[section].items() if k not in defaults or defaults[k] != v}
    if not kept.get("augment"):  # a section that earlier runs do not have
        kept.pop("augment", None)
    return kept


def validated_part(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values, by dotted key, that decide what a run measures on validation tasks.

    Args:
        resolved: Nested plain dicts without interpolations.
    """
    return {key: value for key, value in values_by_key(numeric_part(resolved)).items() if key not in OF_THE_TEST}


def with_added_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration of an earlier version with the keys of the framework that were added since.

    Args:
        config: A whole configuration, which is left as it is.
    """
    added = {
        key: {**defaults, **config.get(key, {})}
        for key, defaults in _ADDED_DEFAULTS.items()
        if key in config or key == "augment"
    }
    return {**config, **added}


def without_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without the arguments of classes that are at their constructor's default.

    So an argument that was added later, at its default, makes no difference to a configuration of an earlier version.

    Args:
        config: A whole configuration, which is left as it is.
    """
    return {key: _without_defaults(value) if isinstance(value, Mapping) else value for key, value in config.items()}


def _numeric_keys(
    resolved: Mapping[str, Any], arguments: Callable[[Mapping[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """The sections without the keys that decide no number; ``arguments`` says which others a section keeps."""
    kept: dict[str, Any] = {}
    for section, value in resolved.items():
        if section in NON_NUMERIC_KEYS:
            continue
        if isinstance(value, Mapping):
            left_out = _WHERE_WEIGHTS_ARE if "weights_sha256" in value else ()
            kept[section] = {
                key: item
                for key, item in arguments(value).items()
                if f"{section}.{key}" not in NON_NUMERIC_KEYS and key not in left_out
            }
        else:
            kept[section] = value
    return kept


def _sha256(kept: Mapping[str, Any]) -> str:
    canonical = json.dumps(kept, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def run_name(resolved: Mapping[str, Any], choices: Mapping[str, str]) -> str:
    """Return a readable name, such as ``maml-omniglot-5way_1shot-seed0``, of letters, digits, ``-``, ``_`` and ``.``.

    Two different configurations can share a name; :func:`config_hash` tells them apart.

    Args:
        resolved: The resolved configuration.
        choices: Group -> chosen file.
    """
    task = resolved["task"]
    shape = f"{task['n_way']}way_{task['k_shot']}shot" if task["n_way"] else f"{task['k_shot']}shot"
    groups = ["experiment"] if choices.get("experiment") else ["algorithm", "dataset"]
    names = [choices.get(group) or str(resolved[group]["_target_"]).rpartition(".")[2] for group in groups]
    names += own_data(str(resolved["dataset"]["_target_"]), resolved["dataset"])
    if is_stand_in(resolved["dataset"]):
        names.append(STAND_IN)
    text = "-".join([*names, shape, f"seed{resolved['seed']}"])
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in text)


def folder_name(name: str, now: datetime) -> str:
    """Return the name of a new run folder: the run's name and the time, to the microsecond.

    Args:
        name: The name of the run.
        now: The time at which it starts.
    """
    return f"{name}-{now:%Y%m%d-%H%M%S-%f}"


def _without_defaults(node: Mapping[str, Any]) -> dict[str, Any]:
    source = find_class(str(node["_target_"])) if "_target_" in node else None
    if source is None:
        return dict(node)
    defaults = {a.name: a.default for a in constructor(source).arguments if a.default is not NO_DEFAULT}
    return {key: item for key, item in node.items() if key not in defaults or not _equal(item, defaults[key])}


def _equal(value: object, default: object) -> bool:
    """Whether a value from YAML equals a default written in Python: a tuple is a list, 0 is 0.0, but True is not 1."""
    if isinstance(value, list) and isinstance(default, (list, tuple)):
        return len(value) == len(default) and all(map(_equal, value, default))
    return isinstance(value, bool) == isinstance(default, bool) and value == default


def deviations(config: Mapping[str, Any], published: Mapping[str, Any]) -> list[str]:
    """List the settings that decide numbers and differ from the published ones, but for steps and seeds.

    When and on how many episodes a run is validated is left out where validation chooses nothing.

    Args:
        config: The resolved configuration of a run.
        published: That of the experiment's file.

    Returns:
        Each as ``key=value``.
    """
    ours, theirs = values_by_key(numeric_part(config)), values_by_key(numeric_part(published))
    keys = [key for key in {**theirs, **ours} if key not in ("train.steps", "seed", "eval.seed")]
    different = [key for key in keys if (key in ours, ours.get(key)) != (key in theirs, theirs.get(key))]
    found = [f"{key}={format_setting(ours[key])}" if key in ours else f"~{key}" for key in different]
    return without_validation(found, config)


def format_changed_keys(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return ``algorithm.inner_lr was 0.4 and is 0.1``: keys that decide numbers, or, if none of those changed, others.

    Args:
        then: A resolved configuration.
        now: What it is now.
    """
    pairs = [(values_by_key(then), values_by_key(now))]
    pairs.insert(0, (values_by_key(numeric_part(then)), values_by_key(numeric_part(now))))
    for before, after in pairs:
        keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        if keys:
            parts = [
                f"{key} was {format_setting(before.get(key))} and is {format_setting(after.get(key))}" for key in keys
            ]
            return listed(parts, _MOST_KEYS, more="more keys")
    return "a value"
