"""Images that use a small part of their range are refused or warned of, for the dataset as a whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from small_image_folder import image_folder

from metaexp.core.errors import ConfigError, DataError
from metaexp.data.classification.preprocessing import checked_value_range
from metaexp.data.pixels.stored_values import LEAST_PART, SIXTEEN, ValueCheck, Values, likely_range

Pixels = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.generic]]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path


def write(data: Path, *kinds: Pixels, suffix: str = "tif") -> None:
    """Images of four classes, three each; the kinds take turns."""
    random = np.random.default_rng(0)
    for number in range(12):
        pixels = random.random((8, 8))
        pixels[0, :2] = 0, 1
        folder = data / "images" / "abcd"[number % 4]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(kinds[number % len(kinds)](pixels)).save(folder / f"{number}.{suffix}")


def bits(n_bits: int, kind: type[np.generic]) -> Pixels:
    return lambda x: (x * (2**n_bits - 1)).round().astype(kind)


def load(data: Path, **changes: object) -> list[str]:
    lines: list[str] = []
    image_folder(channels=1, **changes).load(data, lines.append)
    return lines


@pytest.mark.parametrize("n_bits", [8, 10, 12, 14])
@pytest.mark.parametrize("kind", [np.uint16, np.int32])
def test_few_bits_in_deep_files_are_refused_until_a_range_is_given(data: Path, n_bits: int, kind: type) -> None:
    write(data, bits(n_bits, kind))
    white = 2**n_bits - 1
    with pytest.raises(DataError, match=rf"the values of 12 images of .* lie between 0 and {white}\. .*=\[0,{white}\]"):
        load(data)
    assert f"  12 of 12 images were scaled from 0..{white} to 8 bits" in load(data, value_range=[0, white])
    assert "  12 of 12 images were scaled to 8 bits" in load(data, value_range=[0, 65535])  # they are that dark


def test_deep_files_that_use_their_range_are_read(data: Path) -> None:
    write(data, bits(16, np.uint16))
    assert not [line for line in load(data) if "Warning" in line]


@pytest.mark.parametrize("kind", [np.uint16, np.int32])
def test_15_bits_in_files_of_16_are_read_with_a_warning_until_a_range_is_given(data: Path, kind: type) -> None:
    write(data, bits(15, kind))

    def warnings(**changes: object) -> list[str]:
        return [line for line in load(data, **changes) if "Warning: the values" in line]

    (warning,) = warnings()
    assert " lie between 0 and 32767. With 0 as black and 65535 as white, they have at most 128 of 256" in warning
    assert warning.endswith("Set dataset.value_range=[0,32767], or dataset.value_range=[0,65535] to read them so.")
    assert warnings(value_range=[0, 32767]) == warnings(value_range=[0, 65535]) == []


def test_one_bright_image_is_enough_for_no_warning(data: Path) -> None:
    write(data, bits(15, np.uint16))
    Image.fromarray(np.full((8, 8), 33000, np.uint16)).save(data / "images" / "a" / "bright.tif")
    assert not [line for line in load(data) if "Warning: the values" in line]


def test_dim_floats_bring_a_warning_where_half_of_their_range_is_used(data: Path) -> None:
    write(data, lambda x: (x * 0.375).astype(np.float32))
    (warning,) = [line for line in load(data) if "Warning: the values" in line]
    assert warning.endswith("Set dataset.value_range=[0,0.375], or dataset.value_range=[0,1] to read them so.")


def test_images_of_8_bits_that_use_half_of_their_range_bring_no_warning(data: Path) -> None:
    write(data, bits(7, np.uint8), suffix="png")
    assert not [line for line in load(data) if "Warning: the values" in line]


def test_one_dark_image_among_others_is_read(data: Path) -> None:
    write(data, bits(16, np.uint16))
    Image.fromarray(np.full((8, 8), 5, np.uint16)).save(data / "images" / "a" / "dark.tif")
    assert not [line for line in load(data) if "Warning" in line]


def test_values_around_another_black_are_refused_until_a_range_is_given(data: Path) -> None:
    write(data, lambda x: (30000 + x * 4000).round().astype(np.uint16))
    with pytest.raises(DataError, match=r"at most 16 of 256 grey levels. Set dataset.value_range=\[30000,34000\], or"):
        load(data)
    load(data, value_range=[30000, 34000])


def test_dim_floats_are_refused(data: Path) -> None:
    write(data, lambda x: (x / 100).astype(np.float32))
    with pytest.raises(DataError, match="12 images of floats"):
        load(data)


def test_images_of_8_bits_that_are_all_dark_are_read_with_a_warning(data: Path) -> None:
    write(data, bits(4, np.uint8), suffix="png")
    (warning,) = [line for line in load(data) if "Warning: the values" in line]
    assert warning.endswith("Set dataset.value_range=[0,15], or dataset.value_range=[0,255] to read them so.")
    assert not [line for line in load(data, value_range=[0, 255]) if "Warning: the values" in line]
    assert not [line for line in load(data, value_range=[0, 15]) if "Warning: the values" in line]


def test_the_range_decides_the_digest_where_it_changes_pixels(data: Path) -> None:
    write(data, bits(4, np.uint8), suffix="png")

    def digests(value_range: list[float] | None) -> tuple[str, str]:
        loaded = image_folder(channels=1, value_range=value_range).load(data, print)
        return loaded.origin.digest, loaded.digest

    none, same, other = digests(None), digests([0, 255]), digests([0, 15])
    assert none[0] == same[0] != other[0]
    assert len({none[1], other[1]}) == 2


def test_a_range_is_not_applied_to_images_of_several_depths(data: Path) -> None:
    write(data, bits(12, np.uint16), bits(12, np.int32))
    with pytest.raises(DataError, match=r"several depths: 6 of 16 bits \(a/0.tif\), 6 of 32 bits \(b/1.tif\)"):
        load(data, value_range=[0, 4095])


def test_dark_deep_images_among_those_of_8_bits_are_found(data: Path) -> None:
    write(data, bits(8, np.uint8), bits(12, np.uint16))
    with pytest.raises(DataError, match="the values of 6 images of 16 bits"):
        load(data)


def test_an_old_cache_of_images_that_are_refused_now_is_not_used(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(data, bits(12, np.uint16))
    with monkeypatch.context() as patch:
        patch.setattr("metaexp.data.image_folder._READING", 2)
        patch.setattr("metaexp.data.pixels.stored_values.LEAST_PART", 0.0)
        load(data)
        load(data)
    with pytest.raises(DataError, match="12 images of 16 bits"):
        load(data)


def test_a_quarter_of_the_range_is_the_border() -> None:
    def warns(highest: float) -> bool:
        lines: list[str] = []
        check = ValueCheck("folder", None)
        check.add(Values(SIXTEEN, 0.0, highest), "a.png")
        check.warn(lines.append)
        return bool(lines)

    assert warns(65535 * LEAST_PART)
    assert not warns(65535 * LEAST_PART + 1)


@pytest.mark.parametrize(
    ("lowest", "highest", "likely"),
    [
        (0, 1, (0, 1)), (0, 16, (0, 16)), (2, 250, (0, 255)), (3, 4090, (0, 4095)), (0, 0, (0, 1)), (7, 7, (7, 8)),
        (-1024, 3000, (-1024, 3000)), (0.001, 0.01, (0, 0.01)), (-0.9, 0.8, (-1, 1)), (0, 1e6, (0, 1e6)),
        (0, 30000, (0, 32767)),
    ],
)  # fmt: skip
def test_the_advised_range_is_that_of_a_usual_depth(lowest: float, highest: float, likely: tuple[float, float]) -> None:
    assert likely_range(lowest, highest) == likely


@pytest.mark.parametrize("value_range", [[0], [1, 1], [255, 0], [0, float("inf")], [0, 1, 2], []])
def test_impossible_ranges_are_refused(value_range: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"dataset.value_range=.* must be null or \[black, white\]"):
        checked_value_range(value_range)
    assert checked_value_range([0, 4095]) == (0.0, 4095.0)
    assert checked_value_range(None) is None
