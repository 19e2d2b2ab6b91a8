"""Small datasets whose images contain the number of their example."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from metaexp.core.shapes import SPLITS, Split
from metaexp.data.base import Dataset, MetaDataset
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.classification.preprocessing import Origin, Pixels, RotationKind, RotationPlace, Rotations

SIDE = 6


def numbered_images(n: int) -> Tensor:
    """Images (n, 1, SIDE, SIDE): the first two pixels of the first row hold the example's number, base 200."""
    images = torch.zeros(n, 1, SIDE, SIDE, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(n) % 200
    images[:, 0, 0, 1] = torch.arange(n) // 200
    images[:, 0, 0, 2] = 255  # marks the top row, so that turns can be seen
    return images


def numbers(x: Tensor) -> Tensor:
    """The numbers (...) of the examples in images (..., 1, SIDE, SIDE), which may be rotated."""
    upright = torch.stack([_upright(image) for image in x.flatten(0, -4)])
    pixels = (upright * 255).round().long()
    return (pixels[:, 0, 0, 0] + 200 * pixels[:, 0, 0, 1]).view(x.shape[:-3])


def turns(x: Tensor) -> Tensor:
    """How many quarter turns (...) each image was rotated by."""
    return torch.tensor([_turn(image) for image in x.flatten(0, -4)]).view(x.shape[:-3])


def tiny_dataset(
    sizes: dict[Split, list[int]],
    kind: RotationKind = "none",
    where: RotationPlace = "all",
    pixels: Pixels = Pixels(),  # noqa: B008 - immutable
    name: str = "tiny",
) -> ClassDataset:
    """A dataset with classes of the given numbers of examples; class names are ``split/number``."""
    classes = {f"{split}/{i}": size for split, counts in sizes.items() for i, size in enumerate(counts)}
    splits = {split: [f"{split}/{i}" for i in range(len(counts))] for split, counts in sizes.items()}
    images = numbered_images(sum(classes.values()))
    return ClassDataset(Origin(name, "0" * 64), images, classes, splits, pixels, Rotations(kind, where))


def class_of(numbers_: Tensor, sizes: list[int], first: int = 0) -> Tensor:
    """The class (...) of examples by number, for classes of ``sizes`` that begin at example ``first``."""
    ends = torch.tensor(sizes).cumsum(0) + first
    return torch.searchsorted(ends, numbers_, right=True)


def _upright(image: Tensor) -> Tensor:
    return image.rot90(-_turn(image), (-2, -1))


def _turn(image: Tensor) -> int:
    return next(t for t in range(4) if image.rot90(-t, (-2, -1))[0, 0, 2] == 1.0)


def check_ids_by_name(description: Dataset, folder: Path, loaded: MetaDataset) -> None:
    """Fail unless ``description`` names the classes that were loaded, each by an identifier that is its own there."""
    known = description.class_ids_in(folder)
    assert known is not None
    for split in SPLITS:
        ids = loaded.class_ids(split)
        assert known[split].keys() == ids.keys()
        assert all(len(found) == 1 and found <= ids[name] for name, found in known[split].items())
