"""Which Pillow is installed: older ones cannot write some of the files that tests read."""

from __future__ import annotations

import PIL


def pillow_version() -> tuple[int, int]:
    """Its first two numbers."""
    major, minor = PIL.__version__.split(".")[:2]
    return int(major), int(minor)
