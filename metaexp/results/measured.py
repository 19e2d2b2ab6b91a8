"""What tests of weights gave, kept in the user's cache folder so that nothing is tested twice. Without torch.

An entry is a fact: these weights, with these settings and this code, gave these numbers on these episodes. It says
nothing about a record. Whoever reads a record compares it with the numbers, each time, so a record that was changed is
noticed as if the weights had been tested again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from metaexp.core.disk.files import encode_text, read_regular, write_atomically
from metaexp.core.disk.user_cache import user_cache
from metaexp.core.errors import MetaexpError
from metaexp.core.nested import sha256_of
from metaexp.results.reading import FaultError, build
from metaexp.results.record import DIGEST, Machine, Score

_MOST_BYTES: Final = 1 << 22


@dataclass(frozen=True)
class Measured:
    """The result of a test of weights.

    Attributes:
        test: The score.
        after_steps: The metric after 0, 1, ... adaptation steps.
        metrics: The metrics of ``eval.metrics``.
        domains: The result on each dataset of a mixture.
        test_classes_sha256: SHA-256 (hex) of the accuracy of each class; None without it.
        episodes_sha256: SHA-256 (hex) of the file of all episodes.
        device: The machine that computed it.
        versions: The versions of metaexp and of the packages.
        sources: SHA-256 (hex) of metaexp's source files.
        finished: When, UTC, ISO 8601.
        seconds: How long it took.
    """

    test: Score
    after_steps: list[Score]
    metrics: list[Score]
    domains: dict[str, Score]
    test_classes_sha256: str | None
    episodes_sha256: str
    device: Machine
    versions: dict[str, str]
    sources: str
    finished: str
    seconds: float


def recall(identity: Mapping[str, Any]) -> Measured | None:
    """Return what was measured before; None if nothing was, or the entry is damaged.

    Args:
        identity: All that decides the result, as JSON values.
    """
    try:
        content = json.loads(read_regular(_file(identity), _MOST_BYTES))
        digest = content.pop(DIGEST)
        if digest != sha256_of(content) or content["identity"] != json.loads(json.dumps(identity)):
            return None
        found: Measured = build(Measured, content["measured"])
    except (OSError, MetaexpError, FaultError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return found


def remember(identity: Mapping[str, Any], measured: Measured) -> None:
    """Keep what was measured. Where the cache folder cannot be written, it is measured again the next time.

    Args:
        identity: All that decides the result, as JSON values.
        measured: The result.
    """
    path = _file(identity)
    content = {"identity": dict(identity), "measured": asdict(measured)}
    text = json.dumps({**content, DIGEST: sha256_of(content)}, allow_nan=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, encode_text(text + "\n"))
    except (OSError, MetaexpError):
        pass


def folder() -> Path:
    """The folder of the entries. It may be removed at any time."""
    return user_cache() / "measured"


def _file(identity: Mapping[str, Any]) -> Path:
    return folder() / f"{sha256_of(identity)}.json"
