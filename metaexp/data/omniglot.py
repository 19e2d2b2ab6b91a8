"""Omniglot: 1623 handwritten characters of 50 alphabets, 20 drawings of each, 105x105 pixels of 1 bit.

Lake, Salakhutdinov & Tenenbaum, "Human-level concept learning through probabilistic program induction", Science 2015;
github.com/brendenlake/omniglot.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from metaexp.core.errors import DataError
from metaexp.core.fields import PositiveInt
from metaexp.core.shapes import Capacity, Split
from metaexp.data.base import Dataset, Progress
from metaexp.data.classification.class_ids import ids_of_names
from metaexp.data.classification.preprocessing import (
    ImagePreparation,
    Normalisation,
    Origin,
    RotationKind,
    RotationPlace,
    Rotations,
    normalised_pixels,
)
from metaexp.data.files.archives import first_existing, open_source
from metaexp.data.files.class_lists import class_lists
from metaexp.data.files.download import Remote, download
from metaexp.data.files.drawings import DRAWINGS, SIDE, packed_drawing, pixel_digest, resized
from metaexp.data.inventory.card import Card
from metaexp.data.inventory.sources import SourceFile, Sources, computed, places_of, to_fetch
from metaexp.data.stand_in.benchmark import UNTIL_THEN
from metaexp.data.stand_in.benchmark import stand_in as make_stand_in

if TYPE_CHECKING:
    from metaexp.data.cache.prepared import Prepared
    from metaexp.data.classification.class_dataset import ClassDataset
    from metaexp.data.files.images import Bytes

_NEAREST_28: Final = "795cbc57a795d4f33163eb153accb274e2e460bc00bc58190b32eaeb6777a9ce"
"""SHA-256 over all drawings at 28 pixels by nearest neighbour, the usual ones. A cache with other drawings is not
used."""
_MOST_BYTES: Final = 65_536
_FILE = re.compile(r"(?:.*/)?(images_background|images_evaluation)/([^/]+/character\d\d)/(\d{4}_\d\d\.png)")


class Part(NamedTuple):
    """One of the two official archives. digest: SHA-256 over its decoded drawings, see :func:`pixel_digest`."""

    name: str
    splits: tuple[Split, ...]
    digest: str
    remote: Remote

    def characters(self) -> list[str]:
        """Return ``alphabet/character`` of every character in it, sorted."""
        lists = class_lists("omniglot_official")
        return sorted(character for split in self.splits for character in lists[split])


_SITE: Final = "https://github.com/brendenlake/omniglot/raw/master/python"
_MIRROR: Final = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python"


def _remote(name: str, md5: str) -> Remote:
    return Remote(f"{_SITE}/{name}.zip", md5, 64_000_000, mirrors=(f"{_MIRROR}/{name}.zip",))


PARTS: Final = (
    Part(
        "images_background",
        ("train", "val"),
        "8df1b3bba0ae09c450d408d3b81ae11fa77e8a275bd46399061f19676a95bb74",
        _remote("images_background", "68d2efa1b9178cc56df9314c21c6e718"),
    ),
    Part(
        "images_evaluation",
        ("test",),
        "a5db5f620a12b5874abb8160235fc6b143652f07d31884ad0445d8e9dafa31e1",
        _remote("images_evaluation", "6b91aef0f799c5bb55b94e3f2daec811"),
    ),
)


class Omniglot(Dataset):
    """The real Omniglot, from the official archives or their extracted folders.

    They are looked for in ``paths.data``, in ``omniglot`` inside it, and in the user's cache folder; then
    fetched. What is accepted is decided by the decoded pixels, so re-packed archives will do.
    """

    kind = "classification"
    card = Card("Lake, Salakhutdinov & Tenenbaum, 2015: github.com/brendenlake/omniglot", "MIT")
    equal_classes = True
    reads_cache = True

    def __init__(
        self,
        split: Literal["maml", "vinyals", "vinyals_trainval", "official"],
        rotations: RotationKind,
        rotations_in: RotationPlace,
        image_size: PositiveInt,
        resize: Literal["nearest", "lanczos"],
        invert: bool,
        normalise: Normalisation | None,
        stand_in: bool = False,
        stand_in_images: PositiveInt | None = None,
    ) -> None:
        """Describe the drawings.

        Args:
            split: The list of characters: that of MAML's code, that of Vinyals et al., the same with validation
                characters in training, or the official one.
            rotations: Whether, and how, drawings are turned by multiples of 90 degrees.
            rotations_in: The splits in which they are turned.
            image_size: Height and width in pixels.
            resize: The filter; see :func:`resized`.
            invert: Whether ink becomes 1.0 and paper 0.0.
            normalise: [mean, std], subtracted and divided; None for neither.
            stand_in: Whether made-up characters take the place of the real ones; records say so.
            stand_in_images: How many drawings of each; None for 20.
        """
        self.split = split
        self.val_in_train = split == "vinyals_trainval"
        self.rotations = Rotations(rotations, rotations_in)
        self.image_size = image_size
        self.resize = resize
        self.pixels = normalised_pixels(invert, normalise)
        self.stand_in = make_stand_in("omniglot", stand_in, stand_in_images, image_size, channels=1, usual=DRAWINGS)

    def capacity(self) -> Mapping[Split, Capacity]:
        """Return the packaged lists' classes of 20 drawings, four times as many where turns count as classes."""
        if self.stand_in is not None:
            return self.stand_in.capacity(class_lists(f"omniglot_{self.split}"), self.rotations)
        lists, per_class = class_lists(f"omniglot_{self.split}"), self.rotations.classes_per_class
        return {split: Capacity(len(names) * per_class(split), DRAWINGS) for split, names in lists.items()}

    def class_ids_in(self, folder: Path) -> Mapping[Split, Mapping[str, frozenset[str]]]:
        """Return the identifiers of the packaged list's names."""
        return ids_of_names(self.stand_in.name if self.stand_in else "omniglot", class_lists(f"omniglot_{self.split}"))

    def image_preparation(self) -> ImagePreparation:
        """Return how drawings become examples."""
        return ImagePreparation(self.pixels, 1, self.image_size, self.resize)

    def sources(self, folder: Path) -> Sources:
        """Return where the two archives are."""
        if self.stand_in is not None:
            return computed(f"stand_in_{self.stand_in.benchmark}")
        found = [(part, _part_here(part, folder)) for part in PARTS]
        here = [SourceFile(path, part.remote, partial(_check, part, path)) for part, path in found if path]
        if len(here) < len(PARTS):
            return to_fetch("14 MB", "omniglot", here, name="omniglot")
        return Sources("fetched", tuple(here), cache="omniglot")

    def load(self, folder: Path, progress: Progress) -> ClassDataset:
        """Find or fetch the drawings, check them, bring them to size; from the cache the second time."""
        from metaexp.data.classification.class_dataset import ClassDataset

        origin, prepared = self.prepared(folder, progress)
        lists = class_lists(f"omniglot_{self.split}")
        how = self.pixels, self.rotations, self.val_in_train
        return ClassDataset(origin, prepared.examples, prepared.classes, lists, *how)

    def prepared(self, folder: Path, progress: Progress) -> tuple[Origin, Prepared]:
        """Return where the drawings of all characters come from, and the drawings.

        Args:
            folder: ``paths.data``.
            progress: Receives a line now and then.
        """
        from metaexp.data.cache.prepared import cached

        if self.stand_in is not None:
            return self.stand_in.prepared(class_lists(f"omniglot_{self.split}"), folder, progress)
        preparation = {"image_size": self.image_size, "resize": self.resize}
        known = _NEAREST_28 if (self.image_size, self.resize) == (28, "nearest") else None
        shape = (1, self.image_size, self.image_size)
        prepared = cached(
            "omniglot", preparation, folder, lambda: self._prepare(folder, progress), progress, known, shape=shape
        )
        return Origin("omniglot", prepared.digest, preparation), prepared

    def _prepare(self, folder: Path, progress: Progress) -> Prepared:
        import numpy as np
        import torch

        from metaexp.data.cache.prepared import Prepared

        sized, digests = [], []
        for part in PARTS:
            drawings = read_part(part, find_part(part, folder, progress), progress)
            digests.append(part.digest)
            sized.append(resized(drawings, self.image_size, self.resize))
        names = [name for part in PARTS for name in part.characters()]
        digest = hashlib.sha256("".join(digests).encode()).hexdigest()
        return Prepared(torch.from_numpy(np.concatenate(sized)), dict.fromkeys(names, DRAWINGS), digest)


def find_part(part: Part, folder: Path, progress: Progress) -> Path:
    """Return the archive or extracted folder of ``part``, fetched where there is none.

    Args:
        part: One of the two archives.
        folder: ``paths.data``; nothing is fetched into it where it is missing or cannot be written.
        progress: Receives a line now and then.

    Raises:
        DataError: The file is missing and cannot be downloaded.
    """
    from metaexp.core.disk.user_cache import user_cache
    from metaexp.data.cache.place import can_write

    if (found := _part_here(part, folder)) is not None:
        return found
    fetched = user_cache() / "omniglot"
    target = (folder / "omniglot" if can_write(folder) else fetched) / f"{part.name}.zip"
    if not folder.exists():
        progress(f"paths.data={folder} is not there, so Omniglot's {part.name} is downloaded into {fetched}.")
    try:
        download(part.remote, target, progress)
    except DataError as error:
        raise DataError(
            f"Omniglot's {part.name} is not in {folder.absolute()}, and {error} "
            f"Put {' and '.join(f'{p.name}.zip' for p in PARTS)} of {_SITE}, or the folders extracted from them, into "
            f"{folder.absolute() / 'omniglot'}, or point paths.data (METAEXP_DATA) to where it is. "
            f"{UNTIL_THEN}"
        ) from error
    return target


def _part_here(part: Part, folder: Path) -> Path | None:
    return first_existing(places_of(folder, (".", "omniglot"), "omniglot"), [f"{part.name}.zip", part.name])


def _check(part: Part, path: Path, progress: Progress) -> str:
    read_part(part, path, progress)
    return "every pixel is as published"


def read_part(part: Part, path: Path, progress: Progress) -> Bytes:
    """Read the drawings of an archive or folder.

    Args:
        part: Which of the two it is.
        path: Where it is.
        progress: Receives a line now and then.

    Returns:
        (characters * 20, 105, 14), packed as :func:`pixel_digest` says, ordered by character and file name.

    Raises:
        DataError: A drawing is missing, or the pixels are not Omniglot's.
    """
    import numpy as np

    progress(f"Reading {path}.")
    with open_source(path) as source:
        prefix = "" if path.suffix == ".zip" else f"{part.name}/"
        files = _files_by_character(part, [(prefix + name, name) for name in source.names()], path)
        order = {name: row for row, name in enumerate(name for names in files for name in names)}
        packed = np.empty((len(order), SIDE, (SIDE + 7) // 8), np.uint8)
        for done, (name, content) in enumerate(source.items(order, _MOST_BYTES), 1):
            packed[order[name]] = packed_drawing(content, f"{path}: {name}")
            if done % 5000 == 0:
                progress(f"  {done} of {len(order)} drawings")
    digest = pixel_digest(part.characters(), packed)
    if digest != part.digest:
        raise DataError(
            f"{path} holds {len(order)} drawings, but not Omniglot's: the digest of their pixels is {digest}, not "
            f"{part.digest}. Remove it to have the official archive fetched, or replace it."
        )
    return packed


def _files_by_character(part: Part, names: list[tuple[str, str]], path: Path) -> list[list[str]]:
    """The 20 file names of each character of ``part``, in order. names: (path from the archive's root, name)."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for full, name in names:
        match = _FILE.fullmatch(full)
        if match and match[1] == part.name:
            found[match[2]].append((match[3], name))
    characters = part.characters()
    wrong = [c for c in characters if len(found[c]) != DRAWINGS]
    if wrong:
        raise DataError(
            f"{path} is not the whole {part.name}: {wrong[0]} has {len(found[wrong[0]])} of {DRAWINGS} drawings, and "
            f"{len(wrong)} of {len(characters)} characters are incomplete. Remove it to have it fetched, or replace it."
        )
    return [[name for _, name in sorted(found[c])] for c in characters]
