"""The folder in which metaexp keeps what it can make again, for one user."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path:
    """Return the folder ``metaexp`` in the user's cache folder; it need not be there.

    That is XDG_CACHE_HOME where it is set, else what the system has for it, ~/.cache on Linux.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "metaexp"
    import platformdirs  # takes 10 ms

    return platformdirs.user_cache_path("metaexp", appauthor=False)
