"""Which emoji a drawing shows, from its name and its set. Importing this module does not import torch.

The class is the sequence of code points without variation selectors and skin tones. Some sets say it; the names of the
others are looked up among the names of these, and among Unicode's own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

_TONES: Final = frozenset(f"1f3f{digit}" for digit in "bcdef")
_SELECTOR: Final = "fe0f"
_NUMBERED: Final = re.compile(r"-\d$")
_FLAG: Final = re.compile(r"flag-(?:for-flag-)?(.+)")


def without_tones(code: str) -> str:
    """Return a code such as ``1f44b-1f3fb`` without its skin tones and variation selectors."""
    return "-".join(part for part in code.split("-") if part not in _TONES and part != _SELECTOR)


def has_tone(code: str) -> bool:
    """Return whether a code has a skin tone."""
    return not _TONES.isdisjoint(code.split("-"))


class EmojiNames:
    """The codes of emoji by their names.

    Args:
        sets: The JSON of sets, by their names.
    """

    def __init__(self, sets: Mapping[str, Mapping[str, Any]]) -> None:
        self._codes: dict[str, str] = {}
        self.names: dict[str, str] = {}
        for icon_set in sets.values():
            self._learn(icon_set)
        for code in sorted(without_tones(code) for icon_set in sets.values() for code in icon_set.get("chars") or ()):
            if code and "-" not in code:
                self._codes.setdefault(_squeeze(unicodedata.name(chr(int(code, 16)), "")), code)

    def code(self, name: str, own: Mapping[str, str]) -> str | None:
        """Return the code points of a drawing, hexadecimal, between hyphens; None if unknown.

        Args:
            name: Its name in its set.
            own: What :func:`own_codes` returns for the set.
        """
        if name in own:
            return own[name]
        known = (self._codes.get(_squeeze(n)) for n in (name, _NUMBERED.sub("", name)))
        return next((code for code in known if code is not None), None)

    def concept(self, code: str) -> str:
        """Return the name of the class of an emoji: its code without skin tones, and its name where there is one."""
        code = without_tones(code)
        return f"{code}_{self.names[code]}" if code in self.names else code

    def _learn(self, icon_set: Mapping[str, Any]) -> None:
        other_names: dict[str, list[str]] = {}
        for alias, value in (icon_set.get("aliases") or {}).items():
            other_names.setdefault(str(value.get("parent")), []).append(alias)
        for code, name in _shortest_first(icon_set):
            for known in (name, *other_names.get(name, ())):
                self._codes.setdefault(_squeeze(known), code)
            if flag := _FLAG.match(name):
                for known in (f"flag-for-{flag[1]}", f"flag-{flag[1]}"):
                    self._codes.setdefault(_squeeze(known), code)
            if not has_tone(code):
                self.names.setdefault(without_tones(code), name)


def own_codes(icon_set: Mapping[str, Any]) -> dict[str, str]:
    """Return the codes that a set gives its drawings itself, by their names; the shortest where there are several."""
    return {name: code for code, name in reversed(_shortest_first(icon_set))}


def _shortest_first(icon_set: Mapping[str, Any]) -> list[tuple[str, str]]:
    return sorted((icon_set.get("chars") or {}).items(), key=lambda item: (len(item[0]), item))


def _squeeze(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())
