"""Examples that are in two splits, in two classes, or twice in a class."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

from torch import Tensor

from metaexp.core.shapes import SPLITS, Split
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
    """Say how many examples are byte for byte in an earlier split, in another class of their split, or twice in one.

    Training examples that are twice in their class are not reported: they do little harm.

    Args:
        examples: (B, ...), ordered by class.
        classes: Class -> its number of examples, in the order of the rows.
        splits: The classes of each split.
        progress: Receives a line for each kind of such examples in a split.
        version: The version of :class:`~metaexp.data.cache.prepared.Prepared`: the digests of a mapped file are kept.
    """
    digests = compute_once(version, "rows", lambda: _digests(examples))
    rows = [digests[start : start + _SIZE] for start in range(0, len(digests), _SIZE)]
    if len(set(rows)) == len(rows):  # as in most data
        return
    left = iter(rows)
    of_class = {name: list(islice(left, size)) for name, size in classes.items()}
    of_split = {split: {name: of_class[name] for name in splits.get(split, ())} for split in SPLITS}
    for i, split in enumerate(SPLITS):
        total = sum(map(len, of_split[split].values()))
        for earlier in SPLITS[:i]:
            if n_shared := _n_shared(of_split[split], of_split[earlier]):
                progress(
                    f"Warning: the {split} split has {n_shared} of its {total} examples in the {earlier} split, "
                    "too, byte for byte. Numbers on them say little about new classes; remove them from one of the "
                    "splits."
                )
        _warn_within(split, of_split[split], total, progress)


def _n_shared(classes: Mapping[str, list[bytes]], others: Mapping[str, list[bytes]]) -> int:
    """How many examples of classes are examples of other classes. A class that is in both is none of another."""
    known = {digest for name, digests in others.items() if name not in classes for digest in digests}
    return sum(digest in known for name, digests in classes.items() if name not in others for digest in digests)


def _warn_within(split: Split, classes: Mapping[str, list[bytes]], total: int, progress: Progress) -> None:
    """Say how many examples of a split are in two of its classes, and how many are twice in a class."""
    owners: dict[bytes, list[str]] = {}
    for name, digests in classes.items():
        for digest in set(digests):
            owners.setdefault(digest, []).append(name)
    ambiguous = {digest for digest, names in owners.items() if len(names) > 1}
    if ambiguous:
        n_examples = sum(digest in ambiguous for digests in classes.values() for digest in digests)
        first, second, *_ = next(names for digest, names in owners.items() if digest in ambiguous)
        progress(
            f"Warning: the {split} split has {n_examples} of its {total} examples in two of its classes, byte for "
            f"byte, such as in {first} and in {second}. No answer for them is right; remove them from one of the "
            "classes."
        )
    counts = (Counter(digests) for digests in classes.values())
    n_again = sum(times - 1 for count in counts for times in count.values())
    if n_again and split != "train":
        progress(
            f"Warning: the {split} split repeats {n_again} of its {total} examples in their class, byte for byte. "
            "A query can then be an example of the support; keep one of each."
        )


def _digests(examples: Tensor) -> bytes:
    """The digest of each example, one after the other."""
    return b"".join(hashlib.blake2b(row.tobytes(), digest_size=_SIZE).digest() for row in examples.numpy())
