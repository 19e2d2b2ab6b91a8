"""Refuses what a configuration file may not contain, because it could run code.

People share experiments and config folders, so files are treated as data. Only the shipped root may have a ``hydra:``
section. A user's own folder may add launchers and sweepers, which name plugins of Hydra only. What a user types on the
command line is trusted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.default_element import GroupDefault, ResultDefault
from omegaconf import DictConfig, OmegaConf

from metaexp.config.hydra_internals import IConfigRepository
from metaexp.config.yaml_files import yaml_problems

_HYDRA_TARGETS = ("hydra._internal.core_plugins.", "hydra_plugins.", "metaexp.")
_OWN_GROUPS = ("hydra/launcher/", "hydra/sweeper/")


def file_problems(files: Sequence[ResultDefault], contents: IConfigRepository) -> list[str]:
    """Find what the files of a configuration may not contain.

    Args:
        files: The files that were chosen.
        contents: Reads them. Nothing is made of them.

    Returns:
        A sentence for each problem.
    """
    found: list[str] = []
    for file in files:
        path = file.config_path
        loaded = contents.load_config(path) if path else None
        if path is None or loaded is None or loaded.provider in ("hydra", "schema"):
            continue
        shipped = loaded.provider == "main"
        if shipped and (path == "config" or path.startswith("hydra/")):
            continue
        if path.startswith(_OWN_GROUPS) and (file.package or "").startswith(("hydra.launcher", "hydra.sweeper")):
            continue
        package = (loaded.header or {}).get("package") or ""
        if path.startswith("experiment/") and package != "_global_" and not package.startswith("hydra"):
            found.append(
                f"{path}.yaml is not applied to the whole configuration: its first line must be "
                "`# @package _global_`, with nothing before it, not even a byte-order mark. Save it as plain UTF-8."
            )
        content = loaded.config
        if (file.package or "").startswith("hydra") or (isinstance(content, DictConfig) and "hydra" in content):
            found.append(
                f"{path}.yaml has a hydra section, which could run code. Remove it, and give what is needed on the "
                "command line (hydra/launcher=..., hydra.launcher.n_jobs=...)."
            )
        for default in loaded.defaults_list or []:
            if isinstance(default, GroupDefault) and (default.group or "").lstrip("/").startswith("hydra"):
                found.append(
                    f"{path}.yaml chooses {(default.group or '').lstrip('/')}, which only the command line can: "
                    f"{(default.group or '').lstrip('/')}={default.value}."
                )
    return list(dict.fromkeys(found))


def section_problems(hydra: DictConfig) -> list[str]:
    """Find what Hydra's own section may not contain, once it is composed. Returns a sentence for each problem."""
    found: list[str] = []
    if hydra.callbacks:
        found.append("hydra.callbacks would run code of its own; remove it.")
    for name in ("job_logging", "hydra_logging"):
        node = OmegaConf.to_container(hydra[name], resolve=False)
        if any(key == "()" for key, _ in _items(node)):
            found.append(f"hydra.{name} holds a factory ('()'), which could run any code; remove it.")
    for name in ("launcher", "sweeper"):
        target = OmegaConf.to_container(hydra[name], resolve=False)
        for key, value in _items(target):
            if key == "_target_" and not str(value).startswith(_HYDRA_TARGETS):
                found.append(f"hydra.{name}._target_={value} is refused; it must be a plugin of Hydra.")
    return found


def folder_problems(folder: Path, shipped: IConfigRepository) -> list[str]:
    """Find files of a user's config folder that cannot be used: too large, or of a shipped file's name.

    Args:
        folder: The user's folder.
        shipped: The shipped files.

    Returns:
        A sentence for each.
    """
    found: list[str] = []
    for path in sorted(folder.rglob("*.yaml")):
        found += yaml_problems(path)
        name = path.relative_to(folder).as_posix()
        if shipped.config_exists(name.removesuffix(".yaml")):
            found.append(f"{path} has the name of a shipped file, which would be used in its place. Rename it.")
    return found


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """Every (key, leaf) in a nest of mappings and lists."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(item, (Mapping, list)):
                if key == "()":
                    yield key, item
                yield from _items(item)
            else:
                yield str(key), item
    elif isinstance(value, list):
        for item in value:
            yield from _items(item) if isinstance(item, (Mapping, list)) else [("", item)]
