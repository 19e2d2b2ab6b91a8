"""Configurations that stay what they were when the search began, whatever becomes of the files. Without torch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

from metaexp.config.compose import Composed, Composer


class SteadyComposer(Composer):
    """Reads the files of each combination of choices once, and remembers what they said."""

    def __init__(self, config_dir: Path | None = None, config_name: str = "config") -> None:
        super().__init__(config_dir, config_name)
        self._known: dict[tuple[str, ...], Composed] = {}

    def compose(self, overrides: Sequence[str]) -> Composed:
        """As :meth:`Composer.compose`, from memory where the same was asked for before."""
        key = tuple(overrides)
        if key not in self._known:
            self._known[key] = super().compose(overrides)
        return copy.deepcopy(self._known[key])
