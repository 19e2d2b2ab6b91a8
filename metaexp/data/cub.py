"""Caltech-UCSD Birds 200-2011: 200 species, 11,788 photographs with bounding boxes (Wah et al., 2011).

They are split 100 / 50 / 50 by class number (Chen et al., 2019). Importing this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from metaexp.core.errors import DataError, MissingDataError
from metaexp.core.fields import PositiveInt
from metaexp.core.shapes import Capacity, Split
from metaexp.data.base import Progress
from metaexp.data.classification.preprocessing import Normalisation
from metaexp.data.files.archives import Source, first_existing, names_quickly, open_source
from metaexp.data.files.folders import check_classes, images_by_folder
from metaexp.data.inventory.card import Card
from metaexp.data.inventory.sources import Sources, looked_for
from metaexp.data.stand_in.benchmark import UNTIL_THEN
from metaexp.data.stand_in.published_images import PublishedImages

if TYPE_CHECKING:
    from PIL.Image import Image

    from metaexp.data.cache.prepared import Prepared
    from metaexp.data.classification.class_dataset import ClassDataset

_NAMES: Final = ("CUB_200_2011", "CUB_200_2011.tgz", "CUB_200_2011.tar.gz", "CUB_200_2011.tar", "CUB_200_2011.zip")
_MOST_TEXT: Final = 16_000_000

Box = tuple[float, float, float, float]
"""Left, top, width, height in pixels."""


class CUB(PublishedImages):
    """The real photographs.

    Read from the published CUB_200_2011.tgz, or the folder extracted from it, in ``paths.data`` or in cub inside it.
    """

    benchmark = "cub"
    card = Card(
        "Wah et al., 2011, Caltech-UCSD Birds 200-2011: doi.org/10.22002/D1.20098",
        "Photographs of many owners, for non-commercial research and education, as the authors' page says.",
    )

    def __init__(
        self,
        image_size: PositiveInt,
        crop: bool,
        normalise: Normalisation | None,
        stand_in: bool = False,
        stand_in_images: PositiveInt | None = None,
    ) -> None:
        """Describe the photographs.

        Args:
            image_size: Height and width in pixels; proportions are not kept.
            crop: Whether only the box around the bird is taken. New images to predict have none, and stay whole.
            normalise: [mean, std], subtracted and divided in all channels, or [means, stds] with one for each
                channel; None for neither.
            stand_in: Whether made-up images take the place of the real ones; records say so.
            stand_in_images: How many of each class; None for 40.
        """
        super().__init__(image_size, normalise, stand_in, stand_in_images)
        self.crop = crop

    def real_capacity_in(self, folder: Path) -> Mapping[Split, Capacity] | None:
        """Return the 100 / 50 / 50 classes and their photographs, from the names of the files.

        None for the published archive, whose names can be had only by reading all of it.
        """
        names = names_quickly(_find(folder))
        if names is None:
            return None
        sizes = {name: len(files) for name, files in _photographs(names).items()}
        return {
            split: Capacity(len(listed), min(sizes.get(name, 0) for name in listed))
            for split, listed in self.splits().items()
        }

    def real_sources(self, folder: Path) -> Sources:
        """Return where the photographs are."""
        return looked_for(lambda: [_find(folder)], "by hand", self.benchmark)

    def load_real(self, folder: Path, progress: Progress) -> ClassDataset:
        """Read the photographs, crop and resize them; from the cache the second time."""
        path = _find(folder)
        return self.load_prepared([path], lambda: self._prepare(path, progress), folder, progress, crop=self.crop)

    def _prepare(self, path: Path, progress: Progress) -> Prepared:
        from metaexp.data.files.image_tensors import from_files
        from metaexp.data.files.images import Reading

        progress(f"Reading CUB from {path}.")
        with open_source(path) as source:
            files = _photographs(source.names())
            expected = [name for names in self.splits().values() for name in names]
            check_classes("CUB-200-2011", path, {name: len(f) for name, f in files.items()}, expected)
            boxes = _bounding_boxes(source) if self.crop else None

            def cropped(name: str, image: Image) -> Image:
                left, top, width, height = boxes[_in_images(name)] if boxes else (0.0, 0.0, *image.size)
                x, y = int(min(max(left, 0), image.width - 1)), int(min(max(top, 0), image.height - 1))
                right, bottom = min(round(left + width), image.width), min(round(top + height), image.height)
                return image.crop((x, y, max(right, x + 1), max(bottom, y + 1)))

            return from_files(source, files, Reading(3, self.image_size, crop=cropped if boxes else None), progress)


def _find(folder: Path) -> Path:
    """Where the data is. Raises DataError where it is not."""
    path = first_existing([folder / "cub", folder, folder / "CUB"], _NAMES)
    if path is None:
        raise MissingDataError(
            f"CUB is not in {folder.absolute()}. Get CUB_200_2011.tgz from its authors (Caltech, "
            f"doi.org/10.22002/D1.20098) and put it, or the folder extracted from it, into "
            f"{folder.absolute() / 'cub'}. {UNTIL_THEN}"
        )
    return path


def _photographs(names: Iterable[str]) -> dict[str, list[str]]:
    """Class -> its photographs, among the names of all files."""
    folders = images_by_folder(names)
    return {f.rsplit("/", 1)[-1]: files for f, files in folders.items() if "images" in f.split("/")}


def _bounding_boxes(source: Source) -> dict[str, Box]:
    """``class/file`` -> the bird's box, from images.txt (number, file) and bounding_boxes.txt (number, box)."""
    tables: dict[str, dict[str, str]] = {}
    for name in source.names():
        part = name.rsplit("/", 1)[-1]
        if part in ("images.txt", "bounding_boxes.txt"):
            lines = source.read(name, _MOST_TEXT).decode("utf-8", "replace").splitlines()
            tables[part] = dict(line.split(maxsplit=1) for line in lines if len(line.split(maxsplit=1)) == 2)
    if len(tables) != 2:
        raise DataError(f"{source.path} lacks images.txt or bounding_boxes.txt, which dataset.crop=true needs.")
    boxes = {}
    for number, file in tables["images.txt"].items():
        try:
            left, top, width, height = map(float, tables["bounding_boxes.txt"][number].split())
        except (KeyError, ValueError) as error:
            raise DataError(f"{source.path}: bounding_boxes.txt has no box for image {number} ({file}).") from error
        boxes[file.strip()] = (left, top, width, height)
    return boxes


def _in_images(name: str) -> str:
    """``class/file`` of the path of a photograph."""
    return "/".join(name.split("/")[-2:])
