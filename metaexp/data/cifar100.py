"""Few-shot splits of CIFAR-100: 100 classes in 20 superclasses, 600 images of 32x32 of each (Krizhevsky, 2009).

CIFAR-FS (Bertinetto et al., 2019) splits the classes 64 / 16 / 20 at random; FC100 (Oreshkin et al., 2018)
splits the superclasses 12 / 4 / 4. Importing this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from metaexp.core.errors import DataError
from metaexp.core.fields import PositiveInt
from metaexp.core.shapes import Capacity, Split
from metaexp.data.base import Progress
from metaexp.data.classification.preprocessing import Normalisation, Origin
from metaexp.data.files.archives import first_existing, open_source
from metaexp.data.files.class_lists import class_lists
from metaexp.data.files.download import Remote, download
from metaexp.data.files.folders import check_classes
from metaexp.data.inventory.card import Card
from metaexp.data.inventory.sources import Sources, fetched_files, places_of
from metaexp.data.stand_in.benchmark import UNTIL_THEN
from metaexp.data.stand_in.published_images import PublishedImages

if TYPE_CHECKING:
    from metaexp.data.cache.prepared import Prepared
    from metaexp.data.classification.class_dataset import ClassDataset

IMAGES: Final = 600
SIDE: Final = 32
_ARCHIVE: Final = "cifar-100-python.tar.gz"
_REMOTE: Final = Remote(
    f"https://www.cs.toronto.edu/~kriz/{_ARCHIVE}",
    "eb9058c3a382ffc7106e4002c42a8d85",
    400_000_000,
    sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
)
_MOST_BYTES: Final = 400_000_000
_FOLDERS: Final = ("cifar100", ".", "cifar-100", "CIFAR100")


class Cifar100(PublishedImages):
    """CIFAR-100 under a packaged split.

    The published archive cifar-100-python.tar.gz, or the folder extracted from it, is looked for in
    ``paths.data``, in cifar100 inside it and in the user's cache folder; then fetched (169 MB).
    """

    card = Card("Krizhevsky, 2009: www.cs.toronto.edu/~kriz/cifar.html")
    equal_classes = True

    def __init__(
        self, normalise: Normalisation | None, stand_in: bool = False, stand_in_images: PositiveInt | None = None
    ) -> None:
        """Describe the dataset.

        Args:
            normalise: [mean, std], subtracted and divided in all channels, or [means, stds] with one for each
                channel; None for neither.
            stand_in: Whether made-up images take the place of the real ones; records say so.
            stand_in_images: How many of each class; None for 40.
        """
        super().__init__(SIDE, normalise, stand_in, stand_in_images)

    def splits(self) -> Mapping[Split, Sequence[str]]:
        """Return the classes of each split. The packaged list names classes, or superclasses for all of theirs."""
        return self._splits(_classes())

    def real_capacity(self) -> Mapping[Split, Capacity]:
        """Return 600 images for each class."""
        return {split: Capacity(len(names), IMAGES) for split, names in self.splits().items()}

    def real_sources(self, folder: Path) -> Sources:
        """Return where the archive is."""
        parts = [((_ARCHIVE, "cifar-100-python"), _REMOTE)]
        return fetched_files(places_of(folder, _FOLDERS, "cifar100"), parts, "169 MB", "cifar100")

    def load_real(self, folder: Path, progress: Progress) -> ClassDataset:
        """Find or fetch the archive and check it; from the cache the second time."""
        from metaexp.data.cache.prepared import cached
        from metaexp.data.classification.class_dataset import ClassDataset
        from metaexp.data.files.image_tensors import images_digest

        prepared = cached(
            "cifar100",
            {},
            folder,
            lambda: _prepare(folder, progress),
            progress,
            digest_of=lambda images, classes: images_digest(images.numpy(), classes),
            shape=(3, SIDE, SIDE),
        )
        splits = self._splits(prepared.classes)
        return ClassDataset(
            Origin(self.benchmark, prepared.digest), prepared.examples, prepared.classes, splits, self.pixels
        )

    def _splits(self, classes: Iterable[str]) -> dict[Split, list[str]]:
        """The classes of each split, those of a superclass in the order of ``classes``."""
        known = list(classes)
        return {
            split: [c for name in names for c in known if c == name or c.startswith(f"{name}/")]
            for split, names in class_lists(self.benchmark).items()
        }


class CifarFS(Cifar100):
    """CIFAR-FS: 64 / 16 / 20 classes drawn at random, so that a test class may have close relatives in training."""

    benchmark = "cifar_fs"


class FC100(Cifar100):
    """FC100: 12 / 4 / 4 superclasses, so 60 / 20 / 20 classes, far apart."""

    benchmark = "fc100"


def _classes() -> list[str]:
    """``superclass/class`` of all 100 classes, sorted."""
    return sorted(name for names in class_lists("cifar_fs").values() for name in names)


def _prepare(folder: Path, progress: Progress) -> Prepared:
    from metaexp.data.files.image_tensors import from_arrays

    path = _find(folder, progress)
    progress(f"Reading {path}.")
    prepared = from_arrays(_images_by_class(path), SIDE)
    check_classes("CIFAR-100", path, prepared.classes, _classes(), IMAGES)
    return prepared


def _images_by_class(path: Path) -> dict[str, Any]:
    """``superclass/class`` -> images (n, 3, 32, 32) uint8, training images first, classes sorted."""
    import numpy as np

    from metaexp.data.files.unpickle import loads_pickle

    parts: dict[str, Any] = {}
    with open_source(path) as source:
        wanted = {name: name.rsplit("/", 1)[-1] for name in source.names()}
        wanted = {name: part for name, part in wanted.items() if part in ("train", "test", "meta")}
        for name, content in source.items(wanted, _MOST_BYTES):
            parts[wanted[name]] = loads_pickle(content, f"{path}: {name}")
    try:
        fine, coarse = (list(parts["meta"][f"{kind}_label_names"]) for kind in ("fine", "coarse"))
        read = [_labelled(parts[part], f"{path}: {part}", len(fine), len(coarse)) for part in ("train", "test")]
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{path} does not hold CIFAR-100 as published (python version): meta with fine_label_names and "
            "coarse_label_names, and train and test with data, fine_labels and coarse_labels. Replace it."
        ) from error
    x, y, above = (np.concatenate([arrays[i] for arrays in read]) for i in range(3))
    found: dict[str, Any] = {}
    for label, name in enumerate(fine):
        groups = np.unique(above[y == label])
        if len(groups) != 1:
            raise DataError(f"{path} is not CIFAR-100 as published: class {name} is in {len(groups)} superclasses.")
        found[f"{coarse[groups[0]]}/{name}"] = x[y == label]
    return {name: found[name] for name in sorted(found)}


def _labelled(part: Any, name: str, n_fine: int, n_coarse: int) -> tuple[Any, Any, Any]:
    """The images (n, 3, 32, 32) of one part, their classes (n,) and superclasses (n,)."""
    from metaexp.data.files.published_numbers import pixels, whole_numbers

    x = pixels(part["data"], f"{name}: data")
    y = whole_numbers(part["fine_labels"], f"{name}: fine_labels", n_fine - 1)
    above = whole_numbers(part["coarse_labels"], f"{name}: coarse_labels", n_coarse - 1)
    if x.shape != (len(y), 3 * SIDE * SIDE) or len(above) != len(y):
        raise DataError(
            f"{name}: data is of shape {x.shape}, fine_labels has {len(y)} labels and coarse_labels {len(above)}; each "
            f"image must have {3 * SIDE * SIDE} values and one label of each kind."
        )
    return x.reshape(-1, 3, SIDE, SIDE), y, above


def _find(folder: Path, progress: Progress) -> Path:
    from metaexp.core.disk.user_cache import user_cache
    from metaexp.data.cache.place import can_write

    fetched = user_cache() / "cifar100"
    found = first_existing(places_of(folder, _FOLDERS, "cifar100"), [_ARCHIVE, "cifar-100-python"])
    if found is not None:
        return found
    target = (folder / "cifar100" if can_write(folder) else fetched) / _ARCHIVE
    if not folder.exists():
        progress(f"paths.data={folder} is not there, so CIFAR-100 is downloaded into {fetched}.")
    try:
        download(_REMOTE, target, progress)
    except DataError as error:
        raise DataError(
            f"CIFAR-100 is not in {folder.absolute()}, and {error} Put {_ARCHIVE} of {_REMOTE.url}, or the folder "
            f"cifar-100-python extracted from it, into {folder.absolute() / 'cifar100'}, or point paths.data "
            f"(METAEXP_DATA) to where it is. {UNTIL_THEN}"
        ) from error
    return target
