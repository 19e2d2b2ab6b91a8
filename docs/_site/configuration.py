"""The reference of every configuration key, made from conf/ and from the constructors that its files name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from metaexp.config.check import REFERENCE, SECTIONS, SLOTS
from metaexp.config.classes.signatures import NO_DEFAULT, constructor
from metaexp.config.classes.source import find_class
from metaexp.config.classes.values import format_setting

_HEAD = """# Configuration keys

Every key that a run, a sweep or a search takes, with what it may be. This page is made from the YAML files of `conf/`
and from the constructors that they name. `metaexp train --cfg job` prints the keys of one run with their values.
"""
_FRAMEWORK = "## Keys of the framework\n\nThese are the same for every algorithm and dataset."
_VERBS = {
    "sweep": ("metaexp.sweep.options.SweepOptions", "Keys of `metaexp train -m`."),
    "search": ("metaexp.search.options.SearchOptions", "Keys of `metaexp search`."),
}
_WEIGHTS = "Keys of every network; see [Starting from weights](../starting-from-weights.md)."
_SKIPPED = {"experiment", "sweep", "search", "task", "device", "paths"}


def page(conf: Path) -> str:
    """Return the page in Markdown.

    Args:
        conf: The folder of the configuration files.
    """
    comments = _comments(conf / "config.yaml")
    parts = [_HEAD, _FRAMEWORK]
    for section, schema in SECTIONS.items():
        files = sorted((conf / section).glob("*.yaml")) if (conf / section).is_dir() else []
        own = dict(comments)
        for file in files:
            own |= {f"{section}.{key}": text for key, text in _comments(file).items()}
        parts.append(f"### {section}\n\n{_table(section, schema, own)}")
    parts.append(
        f"### reference\n\nThe published number of a saved experiment.\n\n{_table('reference', REFERENCE, {})}"
    )
    for section, (schema, text) in _VERBS.items():
        own = {
            f"{section}.{k}": v for file in sorted((conf / section).glob("*.yaml")) for k, v in _comments(file).items()
        }
        parts.append(f"### {section}\n\n{text}\n\n{_table(section, schema, own)}")
    parts.append("## Groups\n\nEach group has files; `GROUP=FILE` on the command line chooses one.")
    parts.append(f"### model: initial weights\n\n{_WEIGHTS}\n\n{_table('model', SLOTS['model'].options, {})}")
    for group in sorted(path for path in conf.iterdir() if path.is_dir() and path.name not in _SKIPPED):
        files = sorted(group.glob("*.yaml"))
        if files:
            parts.append(f"### {group.name}\n\n" + "\n\n".join(_file(group.name, file) for file in files))
    return "\n\n".join(parts) + "\n"


def _table(section: str, schema: str, comments: dict[str, str]) -> str:
    source = find_class(schema)
    assert source is not None, schema
    lines = ["| key | may be | default | meaning |", "|---|---|---|---|"]
    for argument in constructor(source).arguments:
        default = "" if argument.default is NO_DEFAULT else f"`{format_setting(argument.default)}`"
        key = f"{section}.{argument.name}"
        lines.append(
            f"| `{key}` | {_cell(argument.kind.format_allowed())} | {default} | {_cell(comments.get(key, ''))} |"
        )
    return "\n".join(lines)


def _file(group: str, file: Path) -> str:
    """One file of a group: its head comment, and its keys with values and meanings."""
    text = file.read_text("utf-8")
    head = " ".join(
        line.lstrip("# ") for line in text.splitlines()[:8] if line.startswith("#") and "@package" not in line
    )
    content: dict[str, Any] = yaml.safe_load(text) or {}
    source = find_class(str(content.get("_target_", "")))
    kinds = {} if source is None else {a.name: a.kind.format_allowed() for a in constructor(source).arguments}
    comments = _comments(file)
    title = f"#### {group}={file.stem}\n\n{_cell(head)}"
    keys = [key for key in content if key not in ("_target_", "defaults")]
    if not keys:
        return title
    lines = ["", "", "| key | value here | may be | meaning |", "|---|---|---|---|"]
    for key in keys:
        value = content[key]
        shown = "" if isinstance(value, (dict, list)) and not value else _cell(f"`{_plain(value)}`")
        lines.append(f"| `{group}.{key}` | {shown} | {_cell(kinds.get(key, ''))} | {_cell(comments.get(key, ''))} |")
    return title + "\n".join(lines)


def _plain(value: Any) -> str:
    return "null" if value is None else format_setting(value)


def _comments(file: Path) -> dict[str, str]:
    """Key -> the comment behind it, for the top level and one level below."""
    found: dict[str, str] = {}
    section = ""
    for line in file.read_text("utf-8").splitlines():
        match = re.match(r"( *)([\w]+):([^#]*)(?:#\s*(.*))?$", line)
        if not match:
            more = re.match(r"\s+#\s*(.*)$", line)
            if more and found:
                last = next(reversed(found))
                found[last] = f"{found[last]} {more[1]}"
            continue
        key = match[2] if not match[1] else f"{section}.{match[2]}"
        section = match[2] if not match[1] else section
        if match[4]:
            found[key] = match[4]
    return found


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
