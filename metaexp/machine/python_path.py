"""What another Python process needs so that it imports this metaexp."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import metaexp


def with_metaexp(variables: Mapping[str, str]) -> dict[str, str]:
    """Return environment variables whose PYTHONPATH has the folder of metaexp if metaexp is not installed.

    Args:
        variables: The environment variables.
    """
    root = str(Path(metaexp.__file__).resolve().parents[1])
    if root not in sys.path or Path(root).name in ("site-packages", "dist-packages"):
        return dict(variables)
    before = variables.get("PYTHONPATH")
    return {**variables, "PYTHONPATH": os.pathsep.join([root, before] if before else [root])}
