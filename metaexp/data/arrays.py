"""One's own arrays: images, sequences or vectors in an .npz file. Importing this module does not import torch."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from metaexp.core.errors import ConfigError, DataError
from metaexp.core.fields import NonNegativeInt
from metaexp.core.shapes import SPLITS, Split
from metaexp.data.base import Dataset, MetaDataset, Progress
from metaexp.data.classification.preprocessing import Origin, RotationKind, RotationPlace, Rotations, normalised_pixels
from metaexp.data.classification.random_split import checked_fractions, split_by_fractions

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.generic]


class Arrays(Dataset):
    """Labelled examples from a NumPy .npz file, read without pickle.

    Either ``x_train, y_train, x_val, y_val, x_test, y_test``, whose classes must differ between splits; or ``x, y``,
    whose classes are given to splits by the arrays ``train_classes, val_classes, test_classes`` where there are
    such, else divided by ``fractions`` and ``split_seed``. y: (B,) integers or text. x: uint8 images (B, H, W),
    (B, C, H, W) or (B, H, W, C) with 1 or 3 channels; or floats, delivered as float32 as they are:
    (B, D) vectors, (B, L, D) sequences, (B, C, H, W) images.
    """

    kind = "classification"

    def __init__(
        self,
        file: str,
        fractions: list[float],
        split_seed: NonNegativeInt,
        invert: bool,
        normalise: list[float] | None,
        rotations: RotationKind,
        rotations_in: RotationPlace,
    ) -> None:
        self.file = file
        self.fractions = checked_fractions(fractions)
        self.split_seed = split_seed
        self.pixels = normalised_pixels(invert, normalise)
        self.rotations = Rotations(rotations, rotations_in)

    def capacity(self) -> None:
        """Only the file tells."""
        return

    def load(self, folder: Path, progress: Progress) -> MetaDataset:
        """Read the file and order its examples by class."""
        import numpy as np
        import torch

        from metaexp.data.classification.class_dataset import ClassDataset

        path = folder / self.file
        progress(f"Reading {path}.")
        arrays = _read(path)
        if "x" in arrays:
            x, y = arrays["x"], _labels(arrays, "y", path)
            splits = self._splits(arrays, y, path)
        else:
            names = {split: _labels(arrays, f"y_{split}", path) for split in SPLITS}
            x = np.concatenate([_array(arrays, f"x_{split}", path) for split in SPLITS])
            y = np.concatenate(list(names.values()))
            splits = {split: sorted(set(names[split].tolist())) for split in SPLITS}
            _refuse_shared(splits, path)
        if len(x) != len(y):
            raise DataError(f"{path}: x has {len(x)} examples and y has {len(y)}.")
        x = self._examples(x, path)
        order = np.argsort(y, kind="stable")
        kinds, sizes = np.unique(y, return_counts=True)
        digest = hashlib.sha256(repr((x.shape, str(x.dtype))).encode() + y.astype(np.str_).tobytes() + x.tobytes())
        return ClassDataset(
            Origin(path.stem, digest.hexdigest()),
            torch.from_numpy(np.ascontiguousarray(x[order])),
            dict(zip(kinds.tolist(), sizes.tolist(), strict=True)),
            splits,
            self.pixels,
            self.rotations,
        )

    def _splits(self, arrays: Mapping[str, Array], y: Array, path: Path) -> dict[Split, list[str]]:
        given = [split for split in SPLITS if f"{split}_classes" in arrays]
        if not given:
            return split_by_fractions(y.tolist(), self.fractions, self.split_seed)
        return {split: _labels(arrays, f"{split}_classes", path).tolist() for split in SPLITS}

    def _examples(self, x: Array, path: Path) -> Array:
        """``x`` as (B, C, H, W) uint8 or (B, ...) float32, finite."""
        import numpy as np

        if x.dtype == np.uint8:
            return _images(x, path)
        if not np.issubdtype(x.dtype, np.floating) or x.ndim not in (2, 3, 4):
            raise DataError(
                f"{path}: x is {x.dtype} of shape {x.shape}; it must be uint8 images, or floats (examples, features), "
                "(examples, steps, features) or (examples, channels, height, width)."
            )
        if self.pixels.invert or self.pixels.mean is not None:
            raise ConfigError(
                f"dataset.invert and dataset.normalise are for uint8 images; x of {path} is {x.dtype}, and delivered "
                "as it is. Leave them false and null."
            )
        with np.errstate(over="ignore"):
            x = x.astype(np.float32)
        if not np.isfinite(x).all():
            raise DataError(f"{path}: x has values that are not finite as float32.")
        return x


def _read(path: Path) -> dict[str, Array]:
    import zipfile

    import numpy as np

    if not path.is_file():
        raise DataError(
            f"dataset.file: there is no {path.absolute()}. Give an .npz file, absolute or inside paths.data, with x "
            "and y, or with x_train, y_train, x_val, y_val, x_test and y_test."
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise DataError(f"{path} is not an .npz file of plain arrays: {error}.") from error


def _array(arrays: Mapping[str, Array], name: str, path: Path) -> Array:
    if name not in arrays:
        raise DataError(f"{path} has no array {name}; it has {', '.join(sorted(arrays)) or 'none'}.")
    return arrays[name]


def _labels(arrays: Mapping[str, Array], name: str, path: Path) -> Array:
    """Labels (B,) as text of equal width for integers, so that their order is that of the numbers."""
    import numpy as np

    labels = _array(arrays, name, path)
    if labels.ndim != 1 or not (np.issubdtype(labels.dtype, np.integer) or labels.dtype.kind == "U"):
        raise DataError(f"{path}: {name} is {labels.dtype} of shape {labels.shape}; it must be (n,) integers or text.")
    if labels.dtype.kind == "U":
        return labels
    return np.array([f"{n:06d}" for n in labels.tolist()])


def _refuse_shared(splits: Mapping[Split, list[str]], path: Path) -> None:
    for i, split in enumerate(SPLITS):
        for other in SPLITS[i + 1 :]:
            shared = sorted(set(splits[split]) & set(splits[other]))
            if shared:
                raise DataError(
                    f"{path}: label {shared[0]} is in y_{split} and in y_{other}. In meta-learning the classes of the "
                    "splits must differ. If they are numbered anew in each split, add a different offset to each."
                )


def _images(x: Array, path: Path) -> Array:
    """uint8 images in any of three layouts as (B, C, H, W)."""
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 4 and x.shape[1] in (1, 3):
        return x
    if x.ndim == 4 and x.shape[3] in (1, 3):
        return x.transpose(0, 3, 1, 2)
    raise DataError(
        f"{path}: x is uint8 of shape {x.shape}; images must be (B, H, W), (B, C, H, W) or (B, H, W, C) with 1 or 3 "
        "channels."
    )
