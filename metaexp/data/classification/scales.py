"""Splits whose values are on different scales, such as 0 to 255 in one and 0 to 1 in another."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from torch import Tensor

from metaexp.core.shapes import Split
from metaexp.data.base import Progress
from metaexp.data.mapped.receipts import compute_once

_FACTOR = 10.0
"""Splits of one kind of data differ by less, and bytes differ from fractions by 255."""


def warn_of_scales(
    examples: Tensor,
    classes: Mapping[str, int],
    splits: Mapping[Split, Sequence[str]],
    progress: Progress,
    version: str | None = None,
) -> None:
    """Say which splits have values of another size than the training split.

    Args:
        examples: (B, ...), ordered by class. Bytes have one scale, so they are not checked.
        classes: Class -> its number of examples, in the order of the rows.
        splits: The classes of each split.
        progress: Receives a line for each split of another scale.
        version: The version of :class:`~metaexp.data.cache.prepared.Prepared`: the sizes of a mapped file are kept.
    """
    if not examples.is_floating_point():
        return
    sizes: dict[str, float] = json.loads(
        compute_once(version, "scales", lambda: json.dumps(_sizes(examples, classes)).encode())
    )
    of_split = {split: sum(sizes[name] for name in names) / len(names) for split, names in splits.items() if names}
    train = of_split.get("train", 0.0)
    for split in ("val", "test"):
        size = of_split.get(split, train)
        if max(size, train) > _FACTOR * min(size, train):
            progress(
                f"Warning: values of the {split} split are {size:.3g} in size on average, and those of the train split "
                f"{train:.3g}. If these are different scales, such as 0 to 255 and 0 to 1, give all splits the same."
            )


def _sizes(examples: Tensor, classes: Mapping[str, int]) -> dict[str, float]:
    """Class -> the mean size of its values."""
    sizes, end = {}, 0
    for name, n_examples in classes.items():
        sizes[name] = float(examples[end : end + n_examples].abs().double().mean())
        end += n_examples
    return sizes
