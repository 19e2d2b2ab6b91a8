"""mini-ImageNet: 100 classes of ImageNet, 600 images of each, 84x84 (Vinyals et al., 2016).

The split is that of Ravi & Larochelle (2017). Importing this module does not import torch.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from metaexp.core.errors import DataError, MissingDataError
from metaexp.core.shapes import SPLITS, Capacity, Split
from metaexp.data.base import Progress
from metaexp.data.files.archives import open_source
from metaexp.data.files.class_lists import class_lists
from metaexp.data.files.folders import check_classes, images_by_split
from metaexp.data.inventory.card import IMAGENET, Card
from metaexp.data.inventory.sources import Sources, looked_for
from metaexp.data.stand_in.benchmark import UNTIL_THEN
from metaexp.data.stand_in.published_images import PublishedImages

if TYPE_CHECKING:
    import numpy.typing as npt

    from metaexp.data.cache.prepared import Prepared
    from metaexp.data.classification.class_dataset import ClassDataset

IMAGES: Final = 600
_FOLDERS: Final = ("mini_imagenet", "mini-imagenet", "miniImageNet", "miniimagenet", ".")
_CACHES: Final[dict[Split, tuple[str, ...]]] = {
    "train": ("mini-imagenet-cache-train.pkl",),
    "val": ("mini-imagenet-cache-val.pkl", "mini-imagenet-cache-validation.pkl"),
    "test": ("mini-imagenet-cache-test.pkl",),
}


class Copy(NamedTuple):
    """A copy of the data.

    Attributes:
        kind: ``pickles``, ``csv`` or ``folders``.
        root: Where it is.
        files: The files it consists of; of pickles, one for each split.
    """

    kind: str
    root: Path
    files: tuple[Path, ...]


class MiniImageNet(PublishedImages):
    """The real images, in any of the three forms that they are passed around in; they cannot be downloaded freely.

    Under ``paths.data`` / mini_imagenet: the three pickles ``mini-imagenet-cache-{train,val,test}.pkl``; or the
    folder ``images`` with ``train.csv``, ``val.csv`` and ``test.csv`` (filename,label) of Ravi & Larochelle; or
    folders ``train``, ``val`` and ``test`` with one folder of images per class.
    """

    benchmark = "mini_imagenet"
    card = Card(
        "Vinyals et al., 2016; the classes of Ravi & Larochelle, 2017: github.com/twitter/meta-learning-lstm", IMAGENET
    )
    equal_classes = True

    def real_capacity(self) -> Mapping[Split, Capacity]:
        """Return 64 / 16 / 20 classes of 600 images."""
        return {split: Capacity(len(names), IMAGES) for split, names in self.splits().items()}

    def real_sources(self, folder: Path) -> Sources:
        """Return where the images are."""
        return looked_for(lambda: _find(folder).files, "by hand", self.benchmark)

    def load_real(self, folder: Path, progress: Progress) -> ClassDataset:
        """Read the images, check classes and counts; from the cache the second time."""
        return self.load_copy(_find(folder), folder, progress)

    def load_copy(self, found: Copy, folder: Path, progress: Progress) -> ClassDataset:
        """Read the images of a copy that was found.

        Args:
            found: The copy.
            folder: ``paths.data``, for the cache.
            progress: Receives a line now and then.
        """
        return self.load_prepared(found.files, lambda: self._prepare(found, progress), folder, progress)

    def _prepare(self, found: Copy, progress: Progress) -> Prepared:
        from metaexp.data.files.image_tensors import from_arrays, from_files
        from metaexp.data.files.images import Reading

        progress(f"Reading mini-ImageNet from {found.root}.")
        if found.kind == "pickles":
            arrays: dict[str, Any] = {}
            for split, file in zip(SPLITS, found.files, strict=True):
                arrays |= _from_pickle(split, file)
            return from_arrays(arrays, self.image_size)
        with open_source(found.root / "images" if found.kind == "csv" else found.root) as source:
            by_split = _by_csv(found.root) if found.kind == "csv" else images_by_split(source.names())
            for split, classes in by_split.items():
                _check(found.root, split, {name: len(files) for name, files in classes.items()})
            files = {name: images for classes in by_split.values() for name, images in classes.items()}
            return from_files(source, files, Reading(3, self.image_size), progress)


def _find(folder: Path) -> Copy:
    for place in (folder / name for name in _FOLDERS):
        pickles = [next((place / n for n in _CACHES[s] if (place / n).is_file()), None) for s in SPLITS]
        if all(pickles):
            return Copy("pickles", place, tuple(p for p in pickles if p is not None))
        lists = [place / f"{split}.csv" for split in SPLITS]
        if all(file.is_file() for file in lists) and (place / "images").is_dir():
            return Copy("csv", place, (*lists, place / "images"))
        folders = [place / split for split in SPLITS]
        if place != folder and all(f.is_dir() for f in folders):
            return Copy("folders", place, tuple(folders))
    raise MissingDataError(
        f"mini-ImageNet is not in {folder.absolute()}. Its images belong to ImageNet and cannot be fetched freely. "
        f"Put into {folder.absolute() / 'mini_imagenet'} one of: mini-imagenet-cache-train.pkl, -val.pkl and "
        "-test.pkl; the folder images with train.csv, val.csv and test.csv of github.com/twitter/meta-learning-lstm; "
        f"or folders train, val and test with one folder of images per class (synset). {UNTIL_THEN}"
    )


def _from_pickle(split: Split, file: Path) -> dict[str, Any]:
    """The images of each class, (600, 3, H, W), in one of the published pickles.

    It holds ``image_data`` (n, H, W, 3) and ``class_dict``, class -> places in it.
    """
    import numpy as np

    from metaexp.data.files.published_numbers import pixels, whole_numbers
    from metaexp.data.files.unpickle import as_text, load_mapping

    content = load_mapping(file)
    images, classes = content.get("image_data"), content.get("class_dict")
    if not isinstance(images, np.ndarray) or not isinstance(classes, dict) or not _are_images(images):
        raise DataError(f"{file} does not hold image_data (n, height, width, 3) and class_dict, as the published one.")
    images = pixels(images, f"{file}: image_data")
    rows = {
        as_text(name): whole_numbers(places, f"{file}: class_dict[{as_text(name)}]", len(images) - 1)
        for name, places in classes.items()
    }
    _check(file, split, {name: len(r) for name, r in rows.items()})
    found, times = np.unique(np.concatenate(list(rows.values())), return_counts=True)
    if times.max() > 1:
        raise DataError(f"{file}: class_dict names image {found[times.argmax()]} twice. Each must be named once.")
    return {name: images[rows[name]].transpose(0, 3, 1, 2) for name in sorted(rows)}


def _are_images(array: npt.NDArray[Any]) -> bool:
    """Whether ``array`` holds numbers of shape (n, height, width, 3)."""
    return array.dtype.kind in "uif" and array.ndim == 4 and array.shape[-1] == 3


def _by_csv(root: Path) -> dict[Split, dict[str, list[str]]]:
    """Split -> class -> the names in ``images`` that the three lists give it."""
    found: dict[Split, dict[str, list[str]]] = {split: defaultdict(list) for split in SPLITS}
    for split in SPLITS:
        file = root / f"{split}.csv"
        for line in _lines(file):
            if not line.get("filename") or not line.get("label"):
                raise DataError(f"{file} must have the columns filename and label.")
            found[split][line["label"]].append(line["filename"])
    return {split: {name: sorted(classes[name]) for name in sorted(classes)} for split, classes in found.items()}


def _lines(file: Path) -> list[dict[str, str]]:
    try:
        return list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8", errors="replace"))))
    except csv.Error as error:
        raise DataError(f"{file} is not a list of filename,label: {error}. Replace it by the published one.") from error


def _check(place: Path, split: Split, sizes: Mapping[str, int]) -> None:
    check_classes(f"mini-ImageNet ({split})", place, sizes, class_lists("mini_imagenet")[split], IMAGES)
