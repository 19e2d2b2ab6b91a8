"""The pictures that a run leaves in its folder."""

from __future__ import annotations

from pathlib import Path

from metaexp.results.record import RunRecord
from metaexp.runner.build import Parts
from metaexp.runner.device import Compute
from metaexp.runner.folder import RunFolder
from metaexp.runner.schema import Settings


def draw(folder: RunFolder, settings: Settings, parts: Parts, compute: Compute, record: RunRecord) -> dict[str, Path]:
    """Draw what can be drawn. Returns name -> PNG file."""
    return {}
