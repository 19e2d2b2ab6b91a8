"""What a dataset tells while it is loaded. Without torch."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str], None]
"""Receives one line of text about long work (a download, a build)."""
