"""Changes caches, and makes their checksum fit again."""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from metaexp.data.cache.prepared import checksum_of


def change(file: Path, more: int = 1, shape: tuple[int, ...] | None = None, **metadata: str) -> None:
    """Write a cache again: add ``more`` to its examples, or give it another shape or other texts."""
    with safe_open(file, framework="pt") as opened:
        before, examples = opened.metadata(), opened.get_tensor("examples") + more
    examples = examples if shape is None else examples.view(shape)
    save_file({"examples": examples}, file, {**before, "sha256": checksum_of(examples), **metadata})


def change_only(folder: Path) -> None:
    """Change the one cache in ``folder``."""
    [file] = folder.glob("*.safetensors")
    change(file)
