"""Where prepared data are kept. Importing this module does not import torch."""

from __future__ import annotations

import os
from pathlib import Path

from metaexp.core.disk.user_cache import user_cache


def cache_folder(folder: Path, make: bool = True) -> Path | None:
    """Return where prepared data is kept, or None where nothing can be written.

    That is ``cache`` in ``folder`` if that is there and can be written, else ``metaexp`` in the user's cache folder.

    Args:
        folder: ``paths.data``.
        make: Whether a missing folder is made. If it is not, the result is None.
    """
    place = folder / "cache" if can_write(folder) else user_cache()
    return _made(place) if make else place if place.is_dir() else None


def can_write(folder: Path) -> bool:
    """Return whether ``folder`` is there and may be written.

    A folder without any write permission counts as not writable, even for root.
    """
    try:
        return folder.is_dir() and bool(folder.stat().st_mode & 0o222) and os.access(folder, os.W_OK)
    except OSError:
        return False


def _made(folder: Path) -> Path | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if can_write(folder) else None
