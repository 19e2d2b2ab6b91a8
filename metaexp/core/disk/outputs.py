"""The folder below which runs, sweeps and searches are, where no command names another one."""

from __future__ import annotations

import os
from pathlib import Path


def usual_outputs() -> Path:
    """Return the folder that METAEXP_OUTPUTS names, else ``outputs`` in the current folder; it need not be there."""
    return Path(os.environ.get("METAEXP_OUTPUTS") or "outputs").expanduser()
