"""Caches composed configurations, so that editing YAML during a search changes nothing. Without torch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

from metaexp.config.compose import Composed, Composer


class FrozenComposer(Composer):
    """Composes each combination of overrides once and keeps the result.

    Args:
        config_dir: The user's own configuration folder; None if there is none.
        config_name: Name of the root file.
    """

    def __init__(self, config_dir: Path | None = None, config_name: str = "config") -> None:
        super().__init__(config_dir, config_name)
        self._known: dict[tuple[str, ...], Composed] = {}

    def compose(self, overrides: Sequence[str]) -> Composed:
        """Compose like :meth:`Composer.compose`, from the cache if the same overrides were composed before."""
        key = tuple(overrides)
        if key not in self._known:
            self._known[key] = super().compose(overrides)
        return copy.deepcopy(self._known[key])
