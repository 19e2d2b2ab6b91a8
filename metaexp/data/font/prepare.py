"""Makes the images of a dataset out of fonts."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch

from metaexp.core.errors import DataError
from metaexp.data.base import Progress
from metaexp.data.cache.prepared import Prepared
from metaexp.data.files.images import Bytes, resize_array
from metaexp.data.font.characters import choose_characters, class_name
from metaexp.data.font.equal import copies, one_character_each
from metaexp.data.font.faces import Face, usual_faces
from metaexp.data.font.font_files import FontFile
from metaexp.data.font.render import VERSION, draw

_COMPARED_AT: Final = 42
_LINE_EVERY: Final = 100


class Letter(NamedTuple):
    """A character by a family: at the size that is wanted, at that of comparisons, and the hash of the large one."""

    family: str
    image: Bytes
    small: Bytes
    digest: bytes


def prepare(
    fonts: Sequence[FontFile], image_size: int, min_families: int, most_per_script: int, progress: Progress
) -> Prepared:
    """Draw the letters that enough families have, without copies.

    Args:
        fonts: The files.
        image_size: Height and width in pixels.
        min_families: How many different drawings a letter needs.
        most_per_script: How many letters of a script are taken.
        progress: Receives a line now and then.

    Returns:
        The images (B, 1, image_size, image_size), 0 for ink. The digest covers the large drawings and their families.

    Raises:
        DataError: No letter has enough drawings.
    """
    faces = usual_faces(fonts, progress)
    codes = choose_characters(faces, min_families, most_per_script)
    progress(f"Drawing {len(codes)} letters in {len(faces)} families of {len(fonts)} font files.")
    drawn, doubled = _draw_all(faces, codes, image_size, progress)
    classes: dict[str, list[Letter]] = {}
    n_copies = 0
    for code in codes:
        found = drawn.get(code, [])
        left_out = set(copies([drawing.small for drawing in found]))
        n_copies += len(left_out)
        kept = [drawing for i, drawing in enumerate(found) if i not in left_out]
        if len(kept) >= min_families and doubled[code] <= len(found):
            classes[class_name(code)] = kept
    progress(f"Left out {n_copies} copies of another family, and {sum(doubled.values())} drawn as another letter is.")
    progress(f"{len(classes)} letters have {min_families} different drawings or more.")
    if not classes:
        raise DataError(
            f"{len(fonts)} font files of {len(faces)} families: no letter has drawings by {min_families} of them. "
            "Install more fonts, name a folder that has more (dataset.folder), or lower dataset.min_families."
        )
    return _prepared(dict(sorted(classes.items())))


def _draw_all(
    faces: Sequence[Face], codes: Sequence[int], image_size: int, progress: Progress
) -> tuple[dict[int, list[Letter]], Counter[int]]:
    """Code point -> its drawings by family, and how many families draw it like an earlier character."""
    drawn: dict[int, list[Letter]] = {}
    doubled: Counter[int] = Counter()
    for number, face in enumerate(faces, 1):
        try:
            kept, alike = one_character_each(draw(face, codes))
        except OSError as error:
            progress(f"Ignored {face.file.name}: {error}.")
            continue
        doubled.update(alike)
        for code, large in kept.items():
            image, small = (resize_array(large[None], size, "lanczos") for size in (image_size, _COMPARED_AT))
            digest = hashlib.sha256(large.tobytes()).digest()
            drawn.setdefault(code, []).append(Letter(face.family, image, small[0], digest))
        if number % _LINE_EVERY == 0:
            progress(f"  {number} of {len(faces)} families")
    return drawn, doubled


def _prepared(classes: dict[str, list[Letter]]) -> Prepared:
    digest = hashlib.sha256(f"fonts {VERSION}".encode())
    for name, drawings in classes.items():
        digest.update(f"\0{name}\0{len(drawings)}\0".encode())
        for drawing in drawings:
            digest.update(drawing.family.encode("utf-8", "surrogateescape") + b"\0" + drawing.digest)
    images = np.stack([drawing.image for drawings in classes.values() for drawing in drawings])
    sizes = {name: len(drawings) for name, drawings in classes.items()}
    return Prepared(torch.from_numpy(images), sizes, digest.hexdigest())
