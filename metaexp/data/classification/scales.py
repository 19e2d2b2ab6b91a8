"""Splits whose values are on different scales, such as 0 to 255 in one and 0 to 1 in another, and values too large."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from metaexp.core.shapes import Split
from metaexp.data.base import Progress
from metaexp.data.classification.suspect_images import COLOURS
from metaexp.data.mapped.receipts import compute_once
from metaexp.data.values.large_numbers import format_large

_FACTOR = 10.0
"""Splits of one kind of data differ by less, and bytes differ from fractions by 255."""


def warn_of_scales(
    examples: Tensor,
    classes: Mapping[str, int],
    splits: Mapping[Split, Sequence[str]],
    progress: Progress,
    version: str | None = None,
) -> None:
    """Say which splits have values of another size than the training split, if there is one.

    Args:
        examples: (B, ...), ordered by class. Bytes have one scale, so they are not checked.
        classes: Class -> its number of examples, in the order of the rows.
        splits: The classes of each split.
        progress: Receives a line for each split of another scale.
        version: The version of :class:`~metaexp.data.cache.prepared.Prepared`: the sizes of a mapped file are kept.
    """
    if not examples.is_floating_point() or not splits.get("train"):
        return
    sizes: dict[str, float] = json.loads(
        compute_once(version, "scales", lambda: json.dumps(_sizes(examples, classes)).encode())
    )
    of_split = {split: sum(sizes[name] for name in names) / len(names) for split, names in splits.items() if names}
    train = of_split["train"]
    for split in ("val", "test"):
        size = of_split.get(split, train)
        if max(size, train) > _FACTOR * min(size, train):
            progress(
                f"Warning: values of the {split} split are {size:.3g} in size on average, and those of the train split "
                f"{train:.3g}. If these are different scales, such as 0 to 255 and 0 to 1, give all splits the same."
            )


def warn_of_large_values(
    examples: Tensor,
    classes: Mapping[str, int],
    splits: Mapping[Split, Sequence[str]],
    where: str,
    progress: Progress,
    version: str | None = None,
) -> None:
    """Say that vectors, sequences, or images of other than 1 or 3 channels have values too large to learn from.

    Args:
        examples: (B,), (B, D), (B, L, D) or (B, C, H, W), ordered by class. Bytes become small numbers, and floats of
            usual images are looked at in :func:`~metaexp.data.classification.suspect_images.warn_of_suspect_images`.
        classes: Class -> its number of examples, in the order of the rows.
        splits: The classes of each split. Without a training split nothing is checked.
        where: What messages call the file or the class that they are from.
        progress: Receives a line if they are too large.
        version: As for :func:`warn_of_scales`.
    """
    is_image = examples.dim() == 4
    if not examples.is_floating_point() or (is_image and examples.shape[1] in COLOURS):
        return
    names = sorted(splits.get("train", ()))
    if not names:
        return
    name = f"large-{hashlib.sha256(json.dumps(names).encode()).hexdigest()[:16]}"
    columns = examples.movedim(1, -1) if is_image else examples.reshape(len(examples), *(examples.shape[1:] or (1,)))
    mean_square, most = json.loads(
        compute_once(version, name, lambda: json.dumps(_largest(columns, classes, frozenset(names))).encode())
    )
    advice = "Bring each to mean 0 and standard deviation 1 in your data."
    if large := format_large(f"values of the training split of {where}", mean_square, most, advice):
        progress(large)


def _largest(examples: Tensor, classes: Mapping[str, int], wanted: frozenset[str]) -> tuple[float, float]:
    """The largest mean square of a column of examples (B, ..., D) of some classes, and the largest size of a value."""
    sums, count, most, end = torch.zeros(examples.shape[-1], dtype=torch.float64), 0, 0.0, 0
    for name, n_examples in classes.items():
        if name in wanted:
            values = examples[end : end + n_examples].flatten(0, -2).double()
            sums += values.square().sum(0)
            count += len(values)
            most = max(most, float(values.abs().max()))
        end += n_examples
    return float(sums.max()) / max(count, 1), most


def _sizes(examples: Tensor, classes: Mapping[str, int]) -> dict[str, float]:
    """Class -> the mean size of its values."""
    sizes, end = {}, 0
    for name, n_examples in classes.items():
        sizes[name] = float(examples[end : end + n_examples].abs().double().mean())
        end += n_examples
    return sizes
