"""JPEG files whose data do not fill their image are refused, and those with more data are named."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile
from pillow_version import pillow_version
from small_image_folder import image_folder

from metaexp.core.errors import DataError
from metaexp.data.classification.preprocessing import ImagePreparation, Pixels
from metaexp.data.files.images import Reading, own_reading, read_image
from metaexp.data.pixels.jpeg_damage import compressed_parts, has_bytes_left_over, is_cut_short
from metaexp.run.predict.new_examples import Reader

KINDS: list[dict[str, Any]] = [
    {}, {"quality": 95, "subsampling": 0}, {"quality": 30}, {"optimize": True}, {"progressive": True},
    {"restart_marker_rows": 1}, {"restart_marker_blocks": 1}, {"progressive": True, "restart_marker_rows": 1},
    {"comment": b"\xff\xda\xff\xd9"}, {"exif": b"Exif\0\0" + b"\xff\xd9" * 20},
]  # fmt: skip
END = b"\xff\xd9"
OWN = own_reading(ImagePreparation(Pixels(), 3, 8))


def picture(seed: int = 0, mode: str = "RGB", side: int = 96) -> Image.Image:
    """An image with large and small forms, as photographs have."""
    random = np.random.default_rng(seed)
    pixels = sum(
        np.asarray(Image.fromarray(random.integers(0, 255, (n, n, 3), np.uint8)).resize((side, side)), np.float64)
        for n in (3, 8, 24)
    )
    return Image.fromarray((pixels / 3).astype(np.uint8)).convert(mode)


def jpeg(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def loaded(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def damage(content: bytes) -> tuple[bool, bool]:
    image = loaded(content)
    parts = compressed_parts(content, image)
    return is_cut_short(content, image, parts), has_bytes_left_over(content, image, parts)


def unusual() -> Iterator[bytes]:
    for mode in ("L", "CMYK"):
        yield jpeg(picture(mode=mode))
    for options in ({}, {"optimize": True}, {"progressive": True}, {"restart_marker_rows": 1}):
        yield jpeg(Image.new("RGB", (64, 64), (128, 128, 128)), **options)
        yield jpeg(Image.new("L", (9, 5)), **options)
    yield jpeg(picture(), "MPO", save_all=True, append_images=[picture(1)])
    yield jpeg(picture(), "PNG")
    yield jpeg(picture()) + bytes(100)


@pytest.mark.parametrize("options", KINDS)
def test_intact_files_of_every_kind_are_not_suspected(options: dict[str, Any]) -> None:
    for seed in range(3):
        assert damage(jpeg(picture(seed), **options)) == (False, False)


def test_unusual_intact_files_are_not_suspected() -> None:
    for content in unusual():
        assert damage(content) == (False, False)


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_a_file_that_ends_too_early_and_was_closed_is_found(options: dict[str, Any], part: float) -> None:
    content = jpeg(picture(), **options)
    start = content.rindex(b"\xff\xda") if not options.get("progressive") else content.index(b"\xff\xda", 700)
    cut = content[: start + int((len(content) - start) * part)].rstrip(b"\xff") + END
    with pytest.raises(DataError, match=r"a\.jpg is not an image that can be read"):
        read_image(cut, "folder", "a.jpg", OWN)
    read_image(content, "folder", "a.jpg", OWN)


def test_a_lost_block_in_the_middle_is_found() -> None:
    """Zeros take the place of some bytes, or the bytes are missing, or there twice."""
    for seed in range(5):
        content = jpeg(picture(seed, side=256))
        middle = len(content) // 2
        for damaged in (
            content[:middle] + bytes(512) + content[middle + 512 :],
            content[:middle] + content[middle + 512 :],
            content[:middle] + content[middle - 512 :],
        ):
            assert any(damage(damaged))


@pytest.mark.skipif(pillow_version() < (10, 2), reason="Pillow 10.1 writes no restart markers")
@pytest.mark.parametrize("progressive", [False, True])
def test_a_lost_part_between_numbered_marks_is_found(progressive: bool) -> None:
    content = jpeg(picture(side=256), restart_marker_rows=1, progressive=progressive)
    assert damage(content) == (False, False)
    first, second, third = (content.rindex(bytes([255, 0xD0 + number])) for number in (3, 4, 5))
    assert damage(content[:first] + content[second:])[0]
    assert damage(content[:second] + content[first:second] + content[second:])[0]
    assert damage(content[:second] + bytes(third - second) + content[third:])[0]


def write(folder: Path, damaged: bytes | None) -> None:
    for number in range(12):
        place = folder / "images" / "abcd"[number % 4]
        place.mkdir(parents=True, exist_ok=True)
        content = jpeg(picture(number))
        (place / f"{number}.jpg").write_bytes(damaged if damaged is not None and number == 5 else content)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path


def test_a_dataset_with_a_damaged_file_is_refused_by_its_name(data: Path) -> None:
    content = jpeg(picture(5))
    write(data, content[: len(content) // 2] + END)
    with pytest.raises(
        DataError, match=r"b/5.jpg is not an image that can be read: the file is damaged, and has no data"
    ):
        image_folder().load(data, print)
    write(data, None)
    image_folder().load(data, print)


def test_a_file_with_too_much_data_is_named_once(data: Path) -> None:
    content = jpeg(picture(5))
    write(data, content[:-2] + bytes(range(1, 100)) + END)
    lines: list[str] = []
    image_folder().load(data, lines.append)
    (warning,) = [line for line in lines if "more data than the image needs" in line]
    assert warning.startswith("  Warning: 1 JPEG file has more data")
    assert "The first is b/5.jpg: " in warning


def test_new_images_are_checked_too(tmp_path: Path) -> None:
    content = jpeg(picture())
    (tmp_path / "0.jpg").write_bytes(content[: len(content) // 2] + END)
    preparation = ImagePreparation(Pixels(), 3, 8)
    with pytest.raises(DataError, match="the file is damaged"):
        Reader(preparation, (3, 8, 8), False, "image_folder", print).query(tmp_path)


def test_truncated_files_are_refused_where_other_code_told_pillow_to_read_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for kind in ("JPEG", "PNG"):
        content = jpeg(picture(), kind)
        assert loaded(content[: len(content) // 2])  # Pillow would
        with pytest.raises(DataError, match="truncated"):
            read_image(content[: len(content) // 2], "folder", "a", Reading(3, 8))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


@pytest.mark.parametrize("is_on", [True, False])
def test_threads_that_read_images_leave_the_settings_of_the_process_as_they_are(
    monkeypatch: pytest.MonkeyPatch, is_on: bool
) -> None:
    """The second thread begins while the first one decodes, and ends after it."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", is_on)
    content, load, filters = jpeg(picture()), ImageFile.ImageFile.load, list(warnings.filters)
    second_is_in, first_is_done = threading.Event(), threading.Event()
    first_look: dict[threading.Thread, bool] = {}  # a loaded image is loaded again by every use of it

    def decode(image: ImageFile.ImageFile) -> object:
        first_look.setdefault(threading.current_thread(), ImageFile.LOAD_TRUNCATED_IMAGES)
        if threading.current_thread() is second:
            second_is_in.set()
            first_is_done.wait(10)
        elif not second.ident:
            second.start()
            second_is_in.wait(0.5)  # it does not come while it has to wait for this one
        return load(image)

    second = threading.Thread(target=read_image, args=(content, "folder", "b", Reading(3, 8)))
    monkeypatch.setattr(ImageFile.ImageFile, "load", decode)
    read_image(content, "folder", "a", Reading(3, 8))
    first_is_done.set()
    second.join()
    assert list(first_look.values()) == [False, False]
    assert ImageFile.LOAD_TRUNCATED_IMAGES is is_on
    assert warnings.filters == filters


def test_published_sets_are_not_checked_and_pixels_are_the_same() -> None:
    content = jpeg(picture())
    damaged = content[: len(content) // 2] + END
    read_image(damaged, "folder", "a.jpg", Reading(3, 8))
    own = read_image(content, "folder", "a.jpg", OWN)
    assert np.array_equal(own.pixels, read_image(content, "folder", "a.jpg", Reading(3, 8)).pixels)
