"""Resolved configurations as YAML files, in the form that Hydra writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf


def to_yaml(values: Mapping[str, Any]) -> str:
    """Return ``values`` as YAML text, keys in their order."""
    return OmegaConf.to_yaml(OmegaConf.create(dict(values)))


def read_yaml(path: Path) -> object:
    """Return the content of a YAML file as plain dicts, lists and scalars.

    Raises:
        Exception: whatever the YAML reader raises; its errors have no common base.
    """
    return OmegaConf.to_container(OmegaConf.load(path))


def plain(config: object) -> object:
    """Return a configuration as plain dicts, lists and scalars, its interpolations as they are written."""
    return OmegaConf.to_container(config, resolve=False) if OmegaConf.is_config(config) else config
