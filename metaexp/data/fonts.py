"""Letters of fonts: each image of a letter is by a different family. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from metaexp.core.errors import ConfigError, DataError, MissingDataError
from metaexp.core.fields import NonNegativeInt, PositiveInt
from metaexp.core.shapes import SPLITS, Capacity, Split
from metaexp.data.base import Dataset, Progress
from metaexp.data.classification.class_ids import ids_of_names
from metaexp.data.classification.preprocessing import (
    ImagePreparation,
    Origin,
    RotationKind,
    RotationPlace,
    Rotations,
    normalised_pixels,
)
from metaexp.data.classification.random_split import checked_fractions, split_by_fractions
from metaexp.data.files.locate import existing_path
from metaexp.data.font.font_files import (
    FontFile,
    find_fonts,
    fonts_digest,
    fonts_of_list,
    has_fonts,
    machine_folders,
    write_list,
)
from metaexp.data.inventory.card import Card
from metaexp.data.inventory.sources import SourceFile, Sources, computed
from metaexp.data.stand_in.benchmark import UNTIL_THEN
from metaexp.data.stand_in.benchmark import stand_in as make_stand_in

if TYPE_CHECKING:
    from metaexp.data.classification.class_dataset import ClassDataset

_PREPARING: Final = 1
"""The version of the code that chooses and draws letters. Raise it whenever one changes, or old caches are used."""
_USUAL_IMAGES: Final = 20
_STAND_IN_SCRIPTS: Final = {
    "Arabic": (0x627, 36), "Armenian": (0x531, 76), "Cyrillic": (0x410, 64), "Devanagari": (0x905, 53),
    "Greek": (0x391, 56), "Hebrew": (0x5D0, 27), "Latin": (0x41, 57), "Thai": (0xE01, 46),
}  # fmt: skip
"""Script -> the first code point and the number of the made-up letters that stand in for its own."""


class Fonts(Dataset):
    """Letters of the fonts of this machine, or of a folder.

    Letters that are made of others, such as those with accents, are not classes. Of each family one font draws: the one
    nearest to upright, regular and of normal width. A letter that a font lacks is not drawn. Drawings that copy those
    of another family are left out, and so are letters that fonts draw like another: a Greek Alpha like a Latin A.
    """

    kind = "classification"
    card = Card("The fonts of this machine, or of a folder.", "Each font has its own.")
    reads_cache = True

    def __init__(
        self,
        folder: str | None,
        font_list: str | None,
        split: Literal["script", "random"],
        train_scripts: list[str],
        val_scripts: list[str],
        test_scripts: list[str] | None,
        fractions: list[float],
        split_seed: NonNegativeInt,
        min_families: PositiveInt,
        most_per_script: PositiveInt,
        image_size: Literal[28, 32, 84],
        invert: bool,
        normalise: list[float] | None,
        rotations: RotationKind,
        rotations_in: RotationPlace,
        stand_in: bool = False,
        stand_in_images: PositiveInt | None = None,
    ) -> None:
        """Describe the letters.

        Args:
            folder: Where the fonts are: absolute, inside ``paths.data``, or from ``~``; None for those of this machine.
            font_list: A file that pins them by their hashes; None for all that are there.
            split: By ``script``, or ``random`` over all letters.
            train_scripts: Scripts of the training split, such as ``Latin``.
            val_scripts: Scripts of the validation split.
            test_scripts: Scripts of the test split; None for all others.
            fractions: Parts of the letters for train, val and test, in a random split.
            split_seed: Decides which letters go where then.
            min_families: How many families must draw a letter.
            most_per_script: How many letters of a script are taken: those that most families have.
            image_size: Height and width in pixels.
            invert: Whether ink becomes 1.0 and paper 0.0.
            normalise: [mean, std], subtracted and divided; None for neither.
            rotations: Whether, and how, letters are turned by multiples of 90 degrees.
            rotations_in: The splits in which they are turned.
            stand_in: Whether made-up characters take the place of fonts; records say so.
            stand_in_images: How many drawings of each; None for 20.

        Raises:
            ConfigError: A script is in two splits, or ``fractions`` or ``normalise`` are impossible.
        """
        self.folder = folder
        self.font_list = font_list
        self.split = split
        self.scripts: dict[Split, Sequence[str] | None] = {
            "train": train_scripts, "val": val_scripts, "test": test_scripts,
        }  # fmt: skip
        _check_scripts(self.scripts)
        self.fractions = checked_fractions(fractions)
        self.split_seed = split_seed
        self.min_families = min_families
        self.most_per_script = most_per_script
        self.image_size = image_size
        self.pixels = normalised_pixels(invert, normalise)
        self.rotations = Rotations(rotations, rotations_in)
        self.stand_in = make_stand_in("fonts", stand_in, stand_in_images, image_size, channels=1, usual=_USUAL_IMAGES)

    def capacity(self) -> Mapping[Split, Capacity] | None:
        """Return None: only the fonts tell. Of a stand-in, the classes that it has."""
        return None if self.stand_in is None else self.stand_in.capacity(self._splits(_made_up()), self.rotations)

    def class_ids_in(self, folder: Path) -> Mapping[Split, Mapping[str, frozenset[str]]] | None:
        """Return None: only the fonts tell. Of a stand-in, the identifiers of the names that it has."""
        return None if self.stand_in is None else ids_of_names(self.stand_in.name, self._splits(_made_up()))

    def image_preparation(self) -> ImagePreparation:
        """Return how drawings become examples."""
        return ImagePreparation(self.pixels, 1, self.image_size)

    def sources(self, folder: Path) -> Sources:
        """Return in which folders the fonts are."""
        if self.stand_in is not None:
            return computed(f"stand_in_{self.stand_in.benchmark}")
        places = [place for place in self._folders(folder) if has_fonts(place)]
        advice = "" if places else "There are no fonts (.ttf, .otf, .ttc); install some, or give dataset.folder=FOLDER."
        return Sources("fonts", tuple(map(SourceFile, places)), advice, "fonts")

    def load(self, folder: Path, progress: Progress) -> ClassDataset:
        """Find the fonts and draw their letters; from the cache while the fonts are the same."""
        from metaexp.data.cache.prepared import cached
        from metaexp.data.classification.class_dataset import ClassDataset

        if self.stand_in is not None:
            return self.stand_in.load(self._splits(_made_up()), folder, progress, self.pixels, self.rotations)
        fonts = self._fonts(folder, progress)
        preparation: dict[str, Any] = {"image_size": self.image_size}
        key = {
            **preparation,
            "fonts": fonts_digest(fonts),
            "min_families": self.min_families,
            "most_per_script": self.most_per_script,
            "preparing": _PREPARING,
            "drawn by": _renderer(),
        }
        shape = (1, self.image_size, self.image_size)

        def build() -> Any:
            from metaexp.data.font.prepare import prepare

            return prepare(fonts, self.image_size, self.min_families, self.most_per_script, progress)

        prepared = cached("fonts", key, folder, build, progress, shape=shape)
        origin = Origin("fonts", prepared.digest, preparation)
        splits = self._splits([*prepared.classes])
        return ClassDataset(origin, prepared.examples, prepared.classes, splits, self.pixels, self.rotations)

    def _fonts(self, folder: Path, progress: Progress) -> list[FontFile]:
        """The font files, all of them or those of the list; the list of all is written."""
        from metaexp.data.cache.place import cache_folder

        places = self._folders(folder)
        if self.font_list is not None:
            give = (
                "Give a list of fonts, absolute or inside paths.data; or null, and the list of all that are here "
                "is written."
            )
            file = existing_path(folder, "dataset.font_list", self.font_list, give=give)
            return fonts_of_list(file, places)
        fonts = find_fonts(places)
        if not fonts:
            where = ", ".join(map(str, places)) or "the usual folders of this machine"
            raise MissingDataError(
                f"dataset=fonts: there are no fonts (.ttf, .otf, .ttc) in {where}. Install some, or name a folder that "
                f"has some: dataset.folder=FOLDER. {UNTIL_THEN}"
            )
        if (place := cache_folder(folder)) is not None:
            file = place / f"fonts-{fonts_digest(fonts)[:12]}.txt"
            if not file.exists():
                write_list(file, fonts)
            progress(f"The {len(fonts)} fonts are listed in {file}; dataset.font_list=FILE takes these alone.")
        return fonts

    def _folders(self, folder: Path) -> list[Path]:
        if self.folder is None:
            return machine_folders()
        give = "Give a folder of fonts, absolute or inside paths.data; or null for the fonts of this machine."
        path = existing_path(folder, "dataset.folder", self.folder, kind="folder", give=give)
        return [path]

    def _splits(self, classes: Sequence[str]) -> dict[Split, list[str]]:
        """The classes of each split."""
        if self.split == "random":
            return split_by_fractions(classes, self.fractions, self.split_seed)
        present = sorted({_script_of(name) for name in classes})
        found: dict[Split, list[str]] = {}
        named = {script for scripts in self.scripts.values() for script in scripts or ()}
        for split in SPLITS:
            given = self.scripts[split]
            wanted = [s for s in present if s not in named] if given is None else given
            missing = [script for script in wanted if script not in present]
            if missing or not wanted:
                reason = f"no letters of {missing[0]}" if missing else "no letters of other scripts"
                raise DataError(
                    f"dataset.{split}_scripts={_format_scripts(given)}: these fonts have {reason}. There are "
                    f"{_format_counts(classes)}. Choose among these, install more fonts, lower "
                    f"dataset.min_families={self.min_families}, or set "
                    "dataset.split=random."
                )
            found[split] = [name for name in classes if _script_of(name) in wanted]
        return found


def _check_scripts(scripts: Mapping[Split, Sequence[str] | None]) -> None:
    """Raise ConfigError for a script in two splits, and for a split without any."""
    owner: dict[str, str] = {}
    for split, names in scripts.items():
        key = f"dataset.{split}_scripts"
        if names is not None and not names:
            raise ConfigError(f"{key}=[] names no script. Name some, such as [Latin].")
        for name in names or ():
            if owner.setdefault(name, key) != key:
                raise ConfigError(f"{key} and {owner[name]} both have {name}. A script is in one split.")


def _made_up() -> list[str]:
    """Names of the classes of a stand-in."""
    return [f"{s}/U+{first + i:04X}" for s, (first, n) in _STAND_IN_SCRIPTS.items() for i in range(n)]


def _script_of(name: str) -> str:
    return name.partition("/")[0]


def _format_counts(classes: Sequence[str]) -> str:
    scripts = [_script_of(name) for name in classes]
    return ", ".join(f"{script} ({scripts.count(script)})" for script in sorted(set(scripts)))


def _format_scripts(scripts: Sequence[str] | None) -> str:
    return "null" if scripts is None else f"[{','.join(scripts)}]"


def _renderer() -> str:
    """Pillow's FreeType, another version of which may draw other pixels."""
    from PIL import features

    return f"FreeType {features.version('freetype2')}"
