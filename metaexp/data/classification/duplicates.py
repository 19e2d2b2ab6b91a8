"""Examples that are in training and in test at once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from torch import Tensor

from metaexp.core.shapes import Split
from metaexp.data.base import Progress
from metaexp.data.mapped.receipts import compute_once

_SIZE: Final = 16


def warn_of_duplicates(
    examples: Tensor,
    classes: Mapping[str, int],
    splits: Mapping[Split, Sequence[str]],
    progress: Progress,
    version: str | None = None,
) -> None:
    """Say how many examples of validation and test are byte for byte in the training split, too.

    Args:
        examples: (B, ...), ordered by class.
        classes: Class -> its number of examples, in the order of the rows.
        splits: The classes of each split.
        progress: Receives a line for each split that has such examples.
        version: The version of :class:`~metaexp.data.files.cache.Prepared`: the digests of a mapped file are kept.
    """
    digests, ends = compute_once(version, "rows", lambda: _digests(examples)), 0
    of_class: dict[str, list[bytes]] = {}
    for name, size in classes.items():
        of_class[name] = [digests[row * _SIZE : (row + 1) * _SIZE] for row in range(ends, ends + size)]
        ends += size
    known = {digest for name in splits.get("train", ()) for digest in of_class[name]}
    for split in ("val", "test"):
        found = [digest for name in splits.get(split, ()) for digest in of_class[name]]
        n_shared = sum(digest in known for digest in found)
        if n_shared:
            progress(
                f"Warning: {n_shared} of the {len(found)} examples of the {split} split are in the train split, too, "
                "byte for byte. Numbers on them say little about new classes; remove them from one of the splits."
            )


def _digests(examples: Tensor) -> bytes:
    """The digest of each example, one after the other."""
    return b"".join(hashlib.blake2b(row.tobytes(), digest_size=_SIZE).digest() for row in examples.numpy())
