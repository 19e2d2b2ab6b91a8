"""From the archive to images in memory: read, choose, draw, and keep in the cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import torch
from torch import Tensor

from metaexp.core.errors import DataError
from metaexp.core.shapes import SPLITS
from metaexp.data.base import Progress
from metaexp.data.cache.prepared import Prepared, cached
from metaexp.data.files.class_lists import read_class_list
from metaexp.data.files.image_tensors import images_digest
from metaexp.data.icons.archive import VERSION, find_archive, read_sets
from metaexp.data.icons.lists import counts, left_out
from metaexp.data.icons.render import render_all, renderer
from metaexp.data.icons.select import Drawing, drawings, n_families
from metaexp.data.icons.sets import FOLDER, Kind, Licences, places

CHANNELS: Final[Mapping[Kind, int]] = {"icons": 1, "emoji": 3}
_SELECTION: Final = 1
"""Raise it whenever other drawings are chosen, or old caches are used."""


class Drawn(NamedTuple):
    """The drawings of all concepts in the packaged lists.

    Attributes:
        images: (B, C, size, size) uint8 on white, concept by concept, and in each designer by designer.
        rows: Concept -> designer family -> the rows of its drawings.
        digest: The SHA-256 (hex) over concepts, designers and pixels.
    """

    images: Tensor
    rows: dict[str, dict[str, range]]
    digest: str


def draw(kind: Kind, licences: Licences, size: int, folder: Path, progress: Progress) -> Drawn:
    """Return all drawings, from the cache the second time.

    Args:
        kind: ``icons`` or ``emoji``.
        licences: Whose drawings are used.
        size: Height and width in pixels.
        folder: ``paths.data``.
        progress: Receives a line now and then.

    Raises:
        DataError: The archive or the renderer is missing, or the archive is not what it should be.
    """
    prepared = cached(
        kind,
        {"archive": VERSION, "image_size": size, "licences": licences, "selection": _SELECTION},
        folder,
        lambda: _prepare(kind, licences, size, folder, progress),
        progress,
        digest_of=lambda images, classes: images_digest(images.numpy(), classes),
        shape=(CHANNELS[kind], size, size),
    )
    published = published_digests().get(f"{kind} {licences} {size}")
    if published not in (None, prepared.digest):
        progress(
            f"Warning: these drawings of {kind} differ from the published ones, as those of another version of the "
            "renderer may. Records on both have different data hashes, and are not compared."
        )
    return Drawn(prepared.examples, _rows(prepared.classes), prepared.digest)


def in_grey(images: Tensor) -> Tensor:
    """Return the luma of colour images, as Pillow computes it (ITU-R 601-2).

    Args:
        images: (B, 3, H, W) uint8.

    Returns:
        (B, 1, H, W) uint8.
    """
    weights = torch.tensor([19595, 38470, 7471], dtype=torch.int32).view(1, 3, 1, 1)
    parts = [
        ((chunk.to(torch.int32) * weights).sum(1, keepdim=True) + 0x8000) >> 16 for chunk in torch.split(images, 1024)
    ]
    return torch.cat(parts).to(torch.uint8)


def published_digests() -> dict[str, str]:
    """Return ``kind licences size`` -> the digest of the drawings, of the sizes that experiments use."""
    lines = (line.rpartition(" ") for line in read_class_list(FOLDER / "icons" / "digests.txt"))
    return {key: digest for key, _, digest in lines}


def _prepare(kind: Kind, licences: Licences, size: int, folder: Path, progress: Progress) -> Prepared:
    renderer()  # before 104 MB are fetched
    path = find_archive(folder, progress)
    progress(f"Reading {path}.")
    found = drawings(kind, read_sets(path, places(kind)), licences == "permissive", left_out(kind))
    numbers = {c: n.of(licences) for split in SPLITS for c, n in counts(kind, "random")[split].items()}
    wrong = [c for c, expected in sorted(numbers.items()) if _numbers(found.get(c, [])) != expected]
    if wrong:
        raise DataError(
            f"{path}: {wrong[0]} has {_numbers(found.get(wrong[0], []))} designers and drawings, and the packaged "
            f"lists say {numbers[wrong[0]]}. The archive, or a list in {FOLDER}, was changed; install metaexp again."
        )
    by_designer = {
        c: sorted(found[c], key=lambda drawing: (drawing.family, drawing.rank)) for c in sorted(numbers) if c in found
    }
    everything = [drawing for of_it in by_designer.values() for drawing in of_it]
    progress(f"Drawing {len(everything)} {kind} of {len(by_designer)} concepts by {n_families(everything)} designers.")
    images = torch.from_numpy(render_all(everything, size, CHANNELS[kind], progress))
    classes: dict[str, int] = {}
    for drawing in everything:
        key = f"{drawing.concept} {drawing.family}"
        classes[key] = classes.get(key, 0) + 1
    return Prepared(images, classes, images_digest(images.numpy(), classes))


def _numbers(of_it: list[Drawing]) -> tuple[int, int]:
    return n_families(of_it), len(of_it)


def _rows(classes: Mapping[str, int]) -> dict[str, dict[str, range]]:
    rows: dict[str, dict[str, range]] = {}
    first = 0
    for key, number in classes.items():
        concept, _, family = key.rpartition(" ")
        rows.setdefault(concept, {})[family] = range(first, first + number)
        first += number
    return rows
