"""tieredImageNet: 608 classes of ImageNet, 779,165 images, 84x84 (Ren et al., 2018).

They are split by super-category, so that test classes are far from training classes. Importing this module does not
import torch.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from metaexp.core.errors import DataError, MissingDataError
from metaexp.core.shapes import SPLITS, Capacity, Split
from metaexp.data.base import Progress
from metaexp.data.files.archives import open_source
from metaexp.data.files.class_lists import class_lists
from metaexp.data.files.folders import check_classes, images_by_split, is_example
from metaexp.data.inventory.card import IMAGENET, Card
from metaexp.data.inventory.sources import Sources, looked_for
from metaexp.data.stand_in.benchmark import UNTIL_THEN
from metaexp.data.stand_in.published_images import PublishedImages

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from metaexp.data.cache.prepared import Prepared
    from metaexp.data.classification.class_dataset import ClassDataset

_FOLDERS: Final = ("tiered_imagenet", "tiered-imagenet", "tieredImageNet", ".")


class TieredImageNet(PublishedImages):
    """The real images, in one of the two forms that they are passed around in; they cannot be downloaded freely.

    Under ``paths.data`` / tiered_imagenet: the published pickles ``{train,val,test}_images_png.pkl`` and
    ``{train,val,test}_labels.pkl``; or folders ``train``, ``val`` and ``test`` with one folder of images per
    class. At 84 pixels all splits take 16.5 GB of memory, as bytes.
    """

    benchmark = "tiered_imagenet"
    card = Card("Ren et al., 2018: github.com/renmengye/few-shot-ssl-public", IMAGENET)

    def real_capacity_in(self, folder: Path) -> Mapping[Split, Capacity]:
        """Return the 351 / 97 / 160 classes and their images, from the published labels or the names of the files."""
        _, files = _find(folder)
        if not files[0].is_file():
            return {split: _count(split, place) for split, place in zip(SPLITS, files, strict=True)}
        sizes = {}
        for split, file in zip(SPLITS, files[1::2], strict=True):
            names, label = _labels(file)
            counts = Counter(label.tolist())
            sizes[split] = Capacity(len(names), min(counts[place] for place in range(len(names))))
        return sizes

    def real_sources(self, folder: Path) -> Sources:
        """Return where the images are."""
        return looked_for(lambda: _find(folder)[1], "by hand", self.benchmark)

    def load_real(self, folder: Path, progress: Progress) -> ClassDataset:
        """Read the images and check their classes; from the cache the second time."""
        return self.load_copy(*_find(folder), folder, progress)

    def load_copy(self, root: Path, files: list[Path], folder: Path, progress: Progress) -> ClassDataset:
        """Read the images of a copy that was found.

        Args:
            root: Where it is.
            files: The files or folders that it consists of.
            folder: ``paths.data``, for the cache.
            progress: Receives a line now and then.
        """
        return self.load_prepared(files, lambda: self._prepare(root, files, progress), folder, progress)

    def _prepare(self, root: Path, files: list[Path], progress: Progress) -> Prepared:
        from metaexp.data.files.image_tensors import from_encoded, from_files
        from metaexp.data.files.images import Reading

        progress(f"Reading tieredImageNet from {root}.")
        reading = Reading(3, self.image_size)
        if files[0].is_file():
            encoded: dict[str, list[bytes]] = {}
            for split, images, labels in zip(SPLITS, files[::2], files[1::2], strict=True):
                encoded |= _from_pickles(split, images, labels)
            return from_encoded(encoded, str(root), reading, progress)
        with open_source(root) as source:
            by_split = images_by_split(source.names())
            for split, classes in by_split.items():
                _check(root / split, split, {name: len(images) for name, images in classes.items()})
            by_class = {name: images for classes in by_split.values() for name, images in classes.items()}
            return from_files(source, by_class, reading, progress)


def _find(folder: Path) -> tuple[Path, list[Path]]:
    """Where the data is, and the files or folders it consists of."""
    for place in (folder / name for name in _FOLDERS):
        pickles = [place / f"{split}_{part}.pkl" for split in SPLITS for part in ("images_png", "labels")]
        if all(file.is_file() for file in pickles):
            return place, pickles
        folders = [place / split for split in SPLITS]
        if place != folder and all(f.is_dir() for f in folders):
            return place, folders
    raise MissingDataError(
        f"tieredImageNet is not in {folder.absolute()}. Its images belong to ImageNet and cannot be fetched freely. "
        f"Put into {folder.absolute() / 'tiered_imagenet'} either train_images_png.pkl, train_labels.pkl and the same "
        "for val and test, of github.com/renmengye/few-shot-ssl-public; or folders train, val and test with one folder "
        f"of images per class (synset). {UNTIL_THEN}"
    )


def _count(split: Split, folder: Path) -> Capacity:
    """The published classes of a split and the images in the smallest, from names alone: they are 800,000."""
    listed = class_lists("tiered_imagenet")[split]
    sizes = []
    for name in listed:
        try:
            with os.scandir(folder / name) as entries:
                sizes.append(sum(is_example(entry.name) for entry in entries))
        except OSError:
            sizes.append(0)  # loading says what is missing
    return Capacity(len(listed), min(sizes))


def _from_pickles(split: Split, images: Path, labels: Path) -> dict[str, list[bytes]]:
    """Class -> image files, from the published pickles.

    One holds a list of PNGs as arrays of bytes; the other ``label_specific`` (n,), places in the class names
    ``label_specific_str``.
    """
    import numpy as np

    from metaexp.data.files.unpickle import load_pickle

    names, label = _labels(labels)
    pngs = load_pickle(images)
    if not isinstance(pngs, list) or not all(isinstance(png, (bytes, np.ndarray)) for png in pngs):
        raise DataError(f"{images} does not hold a list of PNG files, as the published one.")
    if len(pngs) != len(label):
        raise DataError(f"{images} holds {len(pngs)} images; {labels} labels {len(label)} of {len(names)} classes.")
    found: dict[str, list[bytes]] = {name: [] for name in sorted(names)}
    for png, place in zip(pngs, label.tolist(), strict=True):
        found[names[place]].append(png.tobytes() if isinstance(png, np.ndarray) else png)
    _check(labels, split, {name: len(items) for name, items in found.items()})
    return found


def _labels(file: Path) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The names of the classes, and the place among them of each image's class (n,)."""
    import numpy as np

    from metaexp.data.files.published_numbers import whole_numbers
    from metaexp.data.files.unpickle import as_text, load_mapping

    content = load_mapping(file)
    if "label_specific" not in content or "label_specific_str" not in content:
        raise DataError(f"{file} does not hold label_specific and label_specific_str, as the published one.")
    listed = content["label_specific_str"]
    names = [as_text(name) for name in listed] if isinstance(listed, (list, tuple, np.ndarray)) else []
    if not names:
        raise DataError(f"{file} names no class in label_specific_str, as the published one does.")
    return names, whole_numbers(content["label_specific"], f"{file}: label_specific", len(names) - 1)


def _check(place: Path, split: Split, sizes: dict[str, int]) -> None:
    check_classes(f"tieredImageNet ({split})", place, sizes, class_lists("tiered_imagenet")[split])
