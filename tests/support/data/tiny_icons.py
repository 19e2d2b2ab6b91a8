"""A tiny archive of icon sets: a dozen designers, a dozen concepts, and the traps that the published one has."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

DESIGNERS: Final = [f"designer-{i}" for i in range(12)]
CONCEPTS: Final = [
    *(f"{noun}-{verb}" for noun in ("user", "file", "star") for verb in ("plus", "minus", "off")),
    *"abc",
]
EMOJI: Final = {f"1f4{i:02x}": f"emoji-{i}" for i in range(12)}
EMOJI_SETS: Final = {
    "twemoji": "CC-BY-4.0", "noto": "Apache-2.0", "noto-v1": "Apache-2.0", "fluent-emoji-flat": "MIT",
    "fluent-emoji": "MIT", "emojione": "CC-BY-4.0", "emojione-v1": "CC-BY-SA-4.0", "fxemoji": "Apache-2.0",
    "streamline-emojis": "CC-BY-4.0", "openmoji": "CC-BY-SA-4.0",
}  # fmt: skip


def box(x: int, y: int, side: int, colour: str = "currentColor") -> dict[str, Any]:
    """An icon: a square on a grid of 24."""
    return {"body": f'<path fill="{colour}" d="M{x} {y}h{side}v{side}h-{side}z"/>'}


def icon_set(icons: Mapping[str, Any], spdx: str = "MIT", **more: Any) -> dict[str, Any]:
    return {"info": {"license": {"spdx": spdx}}, "icons": icons, "width": 24, "height": 24, **more}


def icon_sets() -> dict[str, dict[str, Any]]:
    """Twelve designers' sets of twelve concepts, each a square of its own place and size."""
    sets = {}
    for i, name in enumerate(DESIGNERS):
        sets[name] = icon_set({c: box(i % 4, i // 4 + j % 4, 4 + j // 4 * 4 + i % 3) for j, c in enumerate(CONCEPTS)})
    first = sets["designer-0"]["icons"]
    sets["designer-0-v2"] = icon_set({"user-plus": box(12, 12, 9), "a-outline": box(12, 12, 8)})  # the same hand
    sets["designer-1"]["icons"]["user-plus"] = first["user-plus"]  # a copy
    sets["designer-2"]["icons"]["b"] = {"body": ""}  # shows nothing
    sets["designer-3"]["icons"]["c"]["hidden"] = True  # withdrawn
    sets["designer-4"]["icons"]["star-off-fill"] = box(0, 0, 20)  # another style
    sets["designer-5"]["suffixes"] = {"": "Line", "sharp": "Sharp"}
    sets["designer-11"]["info"]["license"]["spdx"] = "GPL-3.0"
    return sets


def emoji_sets() -> dict[str, dict[str, Any]]:
    """The sets of the packaged list with twelve emoji, in colours and places of their own."""
    sets: dict[str, dict[str, Any]] = {}
    for i, (name, spdx) in enumerate(EMOJI_SETS.items()):
        colours = (f"#{40 + 20 * i:02x}{20 * j:02x}88" for j in range(len(EMOJI)))
        icons = {
            e: box(i, j, 8 + i % 3, colour) for j, (e, colour) in enumerate(zip(EMOJI.values(), colours, strict=True))
        }
        codes = dict(EMOJI) if name in ("twemoji", "noto", "fluent-emoji-flat") else {}
        if name == "twemoji":
            icons["emoji-0-dark-skin-tone"] = box(1, 1, 20, "#654321")
            codes["1f400-1f3ff"] = "emoji-0-dark-skin-tone"
        if name == "fxemoji":  # runs words together, and knows one emoji by Unicode's name
            icons = {e.replace("-", ""): value for e, value in icons.items()}
            icons["mouse"] = icons.pop("emoji1")
        half = len(EMOJI) // 2
        categories = {"Animals": list(icons)[:half], "Objects": list(icons)[half:]}
        sets[name] = icon_set(icons, spdx, categories=categories) | ({"chars": codes} if codes else {})
    return sets


def pack(folder: Path, sets: Mapping[str, Any], file: str = "iconify.tgz") -> Path:
    """Write an archive as npm has it, into ``icons`` in ``folder``."""
    path = folder / "icons" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in sets.items():
            text = json.dumps(content).encode()
            member = tarfile.TarInfo(f"package/json/{name}.json")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    return path


def sha512(path: Path) -> str:
    return hashlib.sha512(path.read_bytes()).hexdigest()
