"""The image benchmarks of learn2learn, read from the files that it keeps. Importing this module takes no torch.

learn2learn itself is not needed, and nothing of it is called: its files are read as they are. Pickles are read by
metaexp's own reader, which runs no code in them. Tasks are metaexp's: addressed by number, the same for all algorithms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from metaexp.core.errors import DataError, MissingDataError
from metaexp.core.fields import PositiveInt
from metaexp.core.shapes import SPLITS, Capacity, Split
from metaexp.data.base import Dataset, Progress
from metaexp.data.classification.class_ids import ids_of_names
from metaexp.data.classification.preprocessing import (
    ImagePreparation,
    Normalisation,
    Origin,
    RotationKind,
    Rotations,
    normalised_pixels,
)
from metaexp.data.files.archives import first_existing, open_source
from metaexp.data.files.class_lists import class_lists
from metaexp.data.files.folders import check_classes, images_by_folder
from metaexp.data.files.locate import named_path
from metaexp.data.inventory.card import Card
from metaexp.data.inventory.sources import Sources, looked_for
from metaexp.data.mini_imagenet import Copy, MiniImageNet
from metaexp.data.omniglot import PARTS, Omniglot
from metaexp.data.tiered_imagenet import TieredImageNet

if TYPE_CHECKING:
    from metaexp.data.cache.prepared import Prepared
    from metaexp.data.classification.class_dataset import ClassDataset

Name = Literal["mini-imagenet", "tiered-imagenet", "fc100", "cifarfs", "omniglot"]
IMAGES: Final = 600
_SIZES: Final[Mapping[Name, int]] = {
    "mini-imagenet": 84, "tiered-imagenet": 84, "fc100": 32, "cifarfs": 32, "omniglot": 28,
}  # fmt: skip
_FC100: Final[Mapping[Split, int]] = {"train": 60, "val": 20, "test": 20}
_MODES: Final[Mapping[Split, str]] = {"train": "train", "val": "validation", "test": "test"}
"""What learn2learn calls the splits."""
_FILES: Final[Mapping[Name, str]] = {
    "mini-imagenet": "mini-imagenet-cache-{train,validation,test}.pkl",
    "tiered-imagenet": "tiered-imagenet/{train,val,test}_images_png.pkl and _labels.pkl",
    "fc100": "FC100_{train,val,test}.pickle",
    "cifarfs": "cifarfs/processed/{train,val,test}/CLASS/, or cifarfs/cifar100 with data/CLASS/ and splits/bertinetto/",
    "omniglot": "omniglot-py/images_background and images_evaluation, as folders or zip files",
}
_MOST_TEXT: Final = 1_000_000


class Learn2Learn(Dataset):
    """A benchmark in the files that learn2learn downloads, in the folder that its ``root`` names.

    mini-ImageNet, tieredImageNet, CIFAR-FS and Omniglot have the classes of metaexp's own datasets, so that a test on
    classes of the training is found out between the two, and the same checks for missing classes and images.
    """

    kind = "classification"
    card = Card("Files of github.com/learnables/learn2learn, as its vision datasets keep them.")

    def __init__(
        self,
        name: Name,
        root: str | None,
        image_size: PositiveInt | None,
        normalise: Normalisation | None,
        omniglot_split: Literal["maml", "vinyals", "official"],
        rotations: RotationKind,
    ) -> None:
        """Describe the benchmark.

        Args:
            name: Its name in learn2learn's ``get_tasksets``.
            root: learn2learn's ``root``: absolute, inside ``paths.data``, or from ``~``; None for ``learn2learn`` or
                ``l2l`` in ``paths.data``, ``paths.data`` itself, or ``~/data``, which is learn2learn's default.
            image_size: Height and width in pixels; None for the benchmark's own.
            normalise: [mean, std], subtracted and divided in all channels, or [means, stds] with one for each
                channel; None for neither.
            omniglot_split: The list of characters of each split of Omniglot. learn2learn divides them by Python's
                random numbers at each start, which no file tells.
            rotations: How characters of Omniglot are turned; learn2learn does as ``per_class``.
        """
        self.name: Name = name
        self.root = root
        self.image_size = image_size or _SIZES[name]
        self.normalise = normalise
        self.pixels = normalised_pixels(name == "omniglot", normalise)
        self.omniglot_split = omniglot_split
        self.rotations = rotations
        self.equal_classes = name != "tiered-imagenet"

    def capacity(self) -> Mapping[Split, Capacity] | None:
        """Return the published numbers; None for tieredImageNet, whose classes differ in size."""
        if self.name == "omniglot":
            return self._omniglot(Path()).capacity()
        if self.name == "tiered-imagenet":
            return None
        if self.name == "fc100":
            return {split: Capacity(n, IMAGES) for split, n in _FC100.items()}
        lists = class_lists("cifar_fs" if self.name == "cifarfs" else "mini_imagenet")
        return {split: Capacity(len(names), IMAGES) for split, names in lists.items()}

    def class_ids_in(self, folder: Path) -> Mapping[Split, Mapping[str, frozenset[str]]] | None:
        """Return the identifiers of the packaged lists' names; None for FC100, whose classes only the files number."""
        if self.name == "omniglot":
            return self._omniglot(Path()).class_ids_in(folder)
        listed = {"mini-imagenet": "mini_imagenet", "tiered-imagenet": "tiered_imagenet", "cifarfs": "cifar_fs"}
        name = listed.get(self.name)
        return None if name is None else ids_of_names(name, class_lists(name))

    def image_preparation(self) -> ImagePreparation:
        """Return how images become examples."""
        return ImagePreparation(self.pixels, 1 if self.name == "omniglot" else 3, self.image_size)

    def sources(self, folder: Path) -> Sources:
        """Return where learn2learn's files are."""
        return looked_for(lambda: self._find(folder), "by hand", f"learn2learn_{self.name}")

    def load(self, folder: Path, progress: Progress) -> ClassDataset:
        """Find the files and read them; from the cache the second time.

        Raises:
            DataError: The files are missing, damaged, or not the published ones.
        """
        files = self._find(folder)
        if self.name == "mini-imagenet":
            mini = MiniImageNet(self.image_size, self.normalise)
            return mini.load_copy(Copy("pickles", files[0].parent, tuple(files)), folder, progress)
        if self.name == "tiered-imagenet":
            tiered = TieredImageNet(self.image_size, self.normalise)
            return tiered.load_copy(files[0].parent, files, folder, progress)
        if self.name == "omniglot":
            return self._omniglot(files[0].parent).load(folder, progress)
        if self.name == "fc100":
            return self._load("fc100", files, folder, progress, lambda: _fc100(files, self.image_size, progress))
        return self._load("cifar_fs", files, folder, progress, lambda: _cifarfs(files[0], self.image_size, progress))

    def _load(
        self, name: str, files: list[Path], folder: Path, progress: Progress, build: Callable[[], Prepared]
    ) -> ClassDataset:
        """Load images that come class by class: ``split/class``, or the classes of the packaged list."""
        from metaexp.data.cache.prepared import cached
        from metaexp.data.classification.class_dataset import ClassDataset
        from metaexp.data.files.image_tensors import fingerprint

        preparation: dict[str, Any] = {"image_size": self.image_size, "resize": "lanczos"}
        key = {**preparation, "files": fingerprint(files)}
        shape = (3, self.image_size, self.image_size)
        prepared = cached(f"learn2learn_{self.name}", key, folder, build, progress, shape=shape)
        splits: Mapping[Split, Any] = (
            class_lists(name)
            if name == "cifar_fs"
            else {split: [c for c in prepared.classes if c.startswith(f"{split}/")] for split in SPLITS}
        )
        return ClassDataset(
            Origin(name, prepared.digest, preparation),
            prepared.examples,
            prepared.classes,
            splits,
            self.pixels,
            Rotations(),
        )

    def _omniglot(self, where: Path) -> _OmniglotFiles:
        return _OmniglotFiles(where, self.omniglot_split, self.rotations, self.image_size, self.normalise)

    def _find(self, folder: Path) -> list[Path]:
        """The files. Raises MissingDataError where they are not there."""
        if self.root is not None:
            places = [named_path(folder, "dataset.root", self.root)]
        else:
            places = [folder / "learn2learn", folder / "l2l", folder, named_path(folder, "dataset.root", "~/data")]
        for place in places:
            if found := _files_in(place, self.name):
                return found
        looked = ", ".join(str(place.absolute()) for place in places)
        raise MissingDataError(
            f"learn2learn's files of {self.name} are not in {looked}. It keeps them "
            f"as {_FILES[self.name]}. Let learn2learn fetch them, and give its root: dataset.root=FOLDER."
        )


class _OmniglotFiles(Omniglot):
    """Omniglot as learn2learn prepares it: Lanczos in grey, ink 1; from the files in a folder, never fetched."""

    def __init__(
        self,
        where: Path,
        split: Literal["maml", "vinyals", "official"],
        rotations: RotationKind,
        image_size: int,
        normalise: Normalisation | None,
    ) -> None:
        super().__init__(split, rotations, "all", image_size, "lanczos", True, normalise)
        self.where = where

    def _prepare(self, folder: Path, progress: Progress) -> Prepared:
        return super()._prepare(self.where, progress)


def _files_in(place: Path, name: Name) -> list[Path]:
    """The files of a benchmark in learn2learn's ``root``; none where one is missing."""
    if name == "mini-imagenet":
        stems = [f"mini-imagenet-cache-{_MODES[split]}" for split in SPLITS]
        found = [first_existing([place], [f"{stem}.pkl", f"{stem}.pickle"]) for stem in stems]
    elif name == "tiered-imagenet":
        names = [f"{split}_{part}.pkl" for split in SPLITS for part in ("images_png", "labels")]
        found = [first_existing([place / "tiered-imagenet"], [file]) for file in names]
    elif name == "fc100":
        found = [first_existing([place, place / "FC100"], [f"FC100_{split}.pickle"]) for split in SPLITS]
    elif name == "omniglot":
        found = [first_existing([place / "omniglot-py"], [part.name, f"{part.name}.zip"]) for part in PARTS]
    else:
        raw = place / "cifarfs" / "cifar100"
        is_raw = (raw / "data").is_dir() and (raw / "splits" / "bertinetto").is_dir()
        processed = place / "cifarfs" / "processed"
        found = [processed if (processed / "test").is_dir() else raw if is_raw else None]
    return [path for path in found if path is not None] if all(found) else []


def _fc100(files: list[Path], size: int, progress: Progress) -> Prepared:
    """The images of FC100, ``split/label`` for each class: pickles of data (n, 32, 32, 3) and labels (n,)."""
    import numpy as np

    from metaexp.data.files.image_tensors import from_arrays
    from metaexp.data.files.published_numbers import pixels, whole_numbers
    from metaexp.data.files.unpickle import load_mapping

    arrays: dict[str, Any] = {}
    for split, file in zip(SPLITS, files, strict=True):
        progress(f"Reading {file}.")
        content = load_mapping(file)
        images = content.get("data")
        if not isinstance(images, np.ndarray) or images.ndim != 4 or images.shape[-1] != 3 or "labels" not in content:
            raise DataError(f"{file} does not hold data (n, 32, 32, 3) and labels, as learn2learn's.")
        images = pixels(images, f"{file}: data")
        labels = whole_numbers(content["labels"], f"{file}: labels", 999)
        if len(labels) != len(images):
            raise DataError(f"{file} holds {len(images)} images and {len(labels)} labels.")
        found = {f"{split}/{label:03d}": images[labels == label].transpose(0, 3, 1, 2) for label in np.unique(labels)}
        if len(found) != _FC100[split] or any(len(of_it) != IMAGES for of_it in found.values()):
            raise DataError(
                f"{file} is not FC100 ({split}) as published: it has {len(found)} classes, the smallest of "
                f"{min(map(len, found.values()), default=0)} images; there should be {_FC100[split]} of {IMAGES}."
            )
        arrays |= found
    return from_arrays(arrays, size)


def _cifarfs(place: Path, size: int, progress: Progress) -> Prepared:
    """The images of CIFAR-FS, under the names of the packaged classes."""
    from metaexp.data.files.image_tensors import from_files
    from metaexp.data.files.images import Reading

    known = {name.rpartition("/")[2]: name for names in class_lists("cifar_fs").values() for name in names}
    progress(f"Reading CIFAR-FS from {place}.")
    with open_source(place) as source:
        folders = images_by_folder(source.names())
        if place.name == "processed":
            found = {folder: images for folder, images in folders.items() if folder.count("/") == 1}
            listed = {
                split: sorted(f.rpartition("/")[2] for f in found if f.startswith(f"{split}/")) for split in SPLITS
            }
        else:
            found = {folder: images for folder, images in folders.items() if folder.startswith("data/")}
            listed = {s: source.read(f"splits/bertinetto/{s}.txt", _MOST_TEXT).decode().split() for s in SPLITS}
        by_name = {known.get(folder.rpartition("/")[2], folder): images for folder, images in found.items()}
        check_classes("CIFAR-FS", place, {n: len(images) for n, images in by_name.items()}, known.values(), IMAGES)
        for split, names in class_lists("cifar_fs").items():
            check_classes(
                f"CIFAR-FS ({split})", place, dict.fromkeys((known.get(n, n) for n in listed[split]), 0), names
            )
        return from_files(source, {name: by_name[name] for name in sorted(by_name)}, Reading(3, size), progress)
