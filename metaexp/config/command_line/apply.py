"""Sets the values of overrides in a composed configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from metaexp.config.hydra_internals import ConfigLoaderImpl
from metaexp.core.errors import first_line

IN_NO_FILE = (
    "model.weights", "model.weights_partial", "model.weights_sha256", "tags", "notes", "train.n_tasks", "train.profile",
)  # fmt: skip
"""Keys that every configuration may have, and that no file needs to name."""


def apply(values: Sequence[Override], config: DictConfig) -> tuple[list[str], list[str]]:
    """Set values in a configuration, in place, whether or not their keys exist. The check knows which keys should.

    Args:
        values: The overrides.
        config: The configuration.

    Returns:
        The problems found, and sentences about keys that exist in no file. The latter matter only where the check
        finds nothing wrong with the keys.
    """
    problems: list[str] = []
    absent: list[str] = []
    are_there = all(_node(config, value.key_or_group) is not None for value in values)
    open_tables = frozenset() if are_there else _open_tables(config)
    for value in values:
        key, line = value.key_or_group, (value.input_line or "").lstrip("+")
        node = _node(config, key)
        exists = node is not None
        if not value.is_delete() and value.value() == {} and _is_full(node):
            problems.append(
                f"{line} changes nothing: a mapping is added to the one that is there. To take one of its keys out, "
                f"write ~{key}.NAME."
            )
        elif value.is_delete() and not exists:
            problems.append(f"{line}: there is no {key} to take out.")
        elif value.is_add() and exists:
            problems.append(f"+{line}: {key} is there already; write {line}, without the plus.")
        elif not (value.is_add() or value.is_force_add() or value.is_delete() or exists or _is_open(key, open_tables)):
            absent.append(f"{line}: the files have no {key}; write +{line} to add it.")
        if value.is_delete() and not exists:
            continue
        change = value if value.is_delete() else replace(value, type=OverrideType.FORCE_ADD)
        try:
            ConfigLoaderImpl._apply_overrides_to_config([change], config)
        except HydraException as error:
            problems.append(f"{value.input_line}: {first_line(error.__cause__ or error).rstrip('.')}.")
    return problems, absent


def _open_tables(config: DictConfig) -> frozenset[str]:
    """The keys of nodes that the files leave as an empty mapping, for names that no file knows, such as arguments."""
    raw = OmegaConf.to_container(config, resolve=False)
    nodes = raw.items() if isinstance(raw, dict) else ()
    return frozenset(
        f"{section!s}.{key!s}"
        for section, node in nodes
        if isinstance(node, dict) and "_target_" in node
        for key, value in node.items()
        if value == {}
    )


def _is_open(key: str, open_tables: frozenset[str]) -> bool:
    """Whether a key may be given that is in no file."""
    return key in IN_NO_FILE or any(key.startswith(f"{table}.") for table in open_tables)


def _node(config: DictConfig, key: str) -> Any:
    """What OmegaConf has for a key: a node even where the value is null or missing; None where there is no such key."""
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, DictConfig) or part not in node.keys():  # noqa: SIM118 - `in node` is false for ???
            return None
        node = node._get_node(part)
    return node


def _is_full(node: Any) -> bool:
    """Whether a node is a mapping with keys."""
    return isinstance(node, DictConfig) and not node._is_missing() and not node._is_interpolation() and len(node) > 0
