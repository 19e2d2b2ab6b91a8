"""Published benchmarks of images, for which made-up images can stand in. Importing this module takes no torch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from metaexp.core.fields import PositiveInt
from metaexp.core.shapes import Capacity, Split
from metaexp.data.base import Dataset, Progress
from metaexp.data.classification.class_ids import ids_of_names
from metaexp.data.classification.preprocessing import ImagePreparation, Normalisation, Origin, normalised_pixels
from metaexp.data.files.class_lists import class_lists
from metaexp.data.inventory.sources import Sources, computed
from metaexp.data.stand_in.benchmark import stand_in as make_stand_in

if TYPE_CHECKING:
    from metaexp.data.cache.prepared import Prepared
    from metaexp.data.classification.class_dataset import ClassDataset


class PublishedImages(Dataset):
    """Colour images whose classes and splits are published, or made-up images of the same shapes in their place.

    A subclass says where the real images are and how they are read; what it says of them is asked only where they are
    wanted.
    """

    kind = "classification"
    reads_cache = True
    benchmark: ClassVar[str]
    """The name of the dataset, of its packaged split and of its files in the cache."""

    def __init__(
        self,
        image_size: PositiveInt,
        normalise: Normalisation | None,
        stand_in: bool = False,
        stand_in_images: PositiveInt | None = None,
    ) -> None:
        """Describe the images.

        Args:
            image_size: Height and width in pixels; proportions are not kept.
            normalise: [mean, std], subtracted and divided in all channels, or [means, stds] with one for each
                channel; None for neither.
            stand_in: Whether made-up images take the place of the real ones; records say so.
            stand_in_images: How many of each class; None for 40.
        """
        self.image_size = image_size
        self.pixels = normalised_pixels(False, normalise)
        self.equal_classes = type(self).equal_classes or stand_in
        self.stand_in = make_stand_in(self.benchmark, stand_in, stand_in_images, image_size)

    def splits(self) -> Mapping[Split, Sequence[str]]:
        """Return the classes of each split, as the packaged list has them."""
        return class_lists(self.benchmark)

    def capacity(self) -> Mapping[Split, Capacity] | None:
        """Return the classes and images of each split; None where only the files tell."""
        return self.real_capacity() if self.stand_in is None else self.stand_in.capacity(self.splits())

    def capacity_in(self, folder: Path) -> Mapping[Split, Capacity] | None:
        """Return the classes and images of each split, as far as files tell them quickly."""
        return self.real_capacity_in(folder) if self.stand_in is None else self.capacity()

    def class_ids_in(self, folder: Path) -> Mapping[Split, Mapping[str, frozenset[str]]]:
        """Return the identifiers of the packaged list's names."""
        return ids_of_names(self.benchmark if self.stand_in is None else self.stand_in.name, self.splits())

    def image_preparation(self) -> ImagePreparation:
        """Return how images become examples."""
        return ImagePreparation(self.pixels, 3, self.image_size)

    def sources(self, folder: Path) -> Sources:
        """Return where the images are."""
        return self.real_sources(folder) if self.stand_in is None else computed(f"stand_in_{self.benchmark}")

    def load(self, folder: Path, progress: Progress) -> ClassDataset:
        """Read the images and check them, or draw those that stand in; from the cache the second time."""
        if self.stand_in is None:
            return self.load_real(folder, progress)
        return self.stand_in.load(self.splits(), folder, progress, self.pixels)

    def real_capacity(self) -> Mapping[Split, Capacity] | None:
        """Return :meth:`capacity` of the real images."""
        return None

    def real_capacity_in(self, folder: Path) -> Mapping[Split, Capacity] | None:
        """Return :meth:`capacity_in` of the real images, which are in ``folder`` (``paths.data``)."""
        return self.real_capacity()

    @abstractmethod
    def real_sources(self, folder: Path) -> Sources:
        """Return :meth:`sources` of the real images, which are in ``folder`` (``paths.data``)."""

    @abstractmethod
    def load_real(self, folder: Path, progress: Progress) -> ClassDataset:
        """Return :meth:`load` of the real images.

        Args:
            folder: ``paths.data``.
            progress: Receives a line now and then.
        """

    def load_prepared(
        self, files: Sequence[Path], prepare: Callable[[], Prepared], folder: Path, progress: Progress, **how: object
    ) -> ClassDataset:
        """Return the images of some files, brought to size; from the cache if the files are the same as then.

        Args:
            files: What the images are read from.
            prepare: Reads them.
            folder: ``paths.data``, for the cache.
            progress: Receives a line now and then.
            **how: What else decides the images, by name.
        """
        from metaexp.data.cache.prepared import cached
        from metaexp.data.classification.class_dataset import ClassDataset
        from metaexp.data.files.image_tensors import fingerprint

        preparation: dict[str, Any] = {"image_size": self.image_size, "resize": "lanczos", **how}
        key = {**preparation, "files": fingerprint(files)}
        shape = (3, self.image_size, self.image_size)
        prepared = cached(self.benchmark, key, folder, prepare, progress, shape=shape)
        origin = Origin(self.benchmark, prepared.digest, preparation)
        return ClassDataset(origin, prepared.examples, prepared.classes, self.splits(), self.pixels)
