"""Removes what belongs to one machine or account from texts and configurations that are published."""

from __future__ import annotations

import re

_PATH = re.compile(
    r"""(?<![\w.:/\\}>~-])                  # not inside a word, a relative path or an address
        (?:/(?=[^\s/])|~\w*/|[A-Za-z]:[\\/])  # /x, ~/x, ~user/x, C:\\x
        [^\s'",;\]})]*""",
    re.VERBOSE,
)

BLANK = "<path>"
"""Stands for an absolute path in a published copy."""

_PLACES = {"data": "./data", "outputs": "./outputs"}


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
