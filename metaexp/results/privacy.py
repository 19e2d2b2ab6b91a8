"""Removes what belongs to one machine or account from texts and configurations that are published."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_PATH = re.compile(
    r"""(?<![\w.:/\\}>~-])                  # not inside a word, a relative path or an address
        (?:/(?=[^\s/])|~\w*/|[A-Za-z]:[\\/])  # /x, ~/x, ~user/x, C:\\x
        [^\s'",;\]})]*""",
    re.VERBOSE,
)

BLANK = "<path>"
"""Stands for an absolute path in a published copy."""

_PLACES = {"data": "./data", "outputs": "./outputs"}
_PRIVATE = ("paths.", "tracker", "hydra")
"""Prefixes of overrides that say where files are and which trackers get the run."""


def clean_text(text: str) -> str:
    """Replace absolute paths, of any system, by ``<path>``. Web addresses stay."""
    return _PATH.sub(BLANK, text)


def clean_yaml(text: str) -> str:
    """Return the text of a resolved configuration without what belongs to the machine or the account."""
    lines, section = [], ""
    for line in text.splitlines():
        key, _, value = line.strip().partition(":")
        if line and not line[0].isspace():
            section = key
        if section == "paths" and key in _PLACES and value:
            line = f"{line[: len(line) - len(line.lstrip())]}{key}: {_PLACES[key]}"
        elif section == "tracker" and key == "entity":
            line = f"{line[: len(line) - len(line.lstrip())]}entity: null"
        lines.append(clean_text(line))
    return "\n".join(lines) + "\n"


def clean_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resolved configuration without what belongs to the machine or the account."""
    cleaned: dict[str, Any] = _clean(config)
    if isinstance(cleaned.get("paths"), dict):
        cleaned["paths"] = {key: _PLACES.get(key, BLANK) for key in cleaned["paths"]}
    for node in (cleaned.get("tracker") or {}).values():
        if isinstance(node, dict) and "entity" in node:
            node["entity"] = None
    return cleaned


def clean_overrides(overrides: Sequence[str]) -> list[str]:
    """Return overrides without paths, and without those that say where files are or which trackers get the run."""
    return [clean_text(item) for item in overrides if not item.lstrip("+~").startswith(_PRIVATE)]


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, Mapping):
        return {key: _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value
