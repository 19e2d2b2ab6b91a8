"""Reads the settings and published numbers of experiments from their files, quicker than composing each of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from metaexp.report.algorithm_tables import Setting
from metaexp.results.record import Reference, Task

_SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one that is written in C is ten times as fast; PyYAML can be built without it."""


def published_settings(conf: Path) -> dict[str, list[Setting]]:
    """Return algorithm -> its saved experiments, for every algorithm in the folder ``conf``."""
    found: dict[str, list[Setting]] = {path.stem: [] for path in sorted((conf / "algorithm").glob("*.yaml"))}
    for path in sorted((conf / "experiment").glob("*.yaml")):
        content, chosen = _experiment(path)
        if chosen.get("algorithm") in found:
            found[chosen["algorithm"]].append(_setting(path.stem, content, chosen, conf))
    return found


def _setting(name: str, content: Mapping[str, Any], chosen: Mapping[str, str], conf: Path) -> Setting:
    task = {**_read(conf / "task" / f"{chosen['task']}.yaml"), **content.get("task", {})}
    reference = content.get("reference")
    return Setting(name, chosen["dataset"], Task(**task), None if reference is None else Reference(**reference))


def _experiment(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The values and choices of an experiment, with those of the experiment that it starts from."""
    own = dict(_read(path))
    values: dict[str, Any] = {}
    chosen: dict[str, str] = {}
    for line in own.pop("defaults", []):
        if isinstance(line, Mapping):
            chosen |= {str(k).removeprefix("override ").lstrip("/").partition("@")[0]: v for k, v in line.items()}
        elif line != "_self_":
            values, chosen = _experiment(path.with_name(f"{line}.yaml"))
    for key, value in own.items():
        values[key] = {**values.get(key, {}), **value} if isinstance(value, Mapping) else value
    return values, chosen


def _read(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=_SAFE_LOADER)
    return loaded
