"""Images in arrays whose values or axes are probably not what they are read as bring a warning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from small_image_folder import SPLIT_AND_PIXELS

from metaexp.data.arrays import Arrays
from metaexp.data.classification.suspect_images import warn_of_suspect_images

RANDOM = np.random.default_rng(0).random((30, 8, 8, 1))
BYTES = (RANDOM * 256).astype(np.uint8)


def said(examples: npt.NDArray[np.generic]) -> list[str]:
    lines: list[str] = []
    warn_of_suspect_images(torch.from_numpy(np.ascontiguousarray(examples)), "mine.npz", lines.append)
    return lines


def test_images_of_8_bits_that_are_all_dark_are_found() -> None:
    (black,) = said(np.zeros((5, 1, 8, 8), np.uint8))
    assert black.endswith("is above 0 of 255: all are dark.")
    (mask,) = said((RANDOM > 0.5).astype(np.uint8).transpose(0, 3, 1, 2))
    assert mask.endswith("is above 1 of 255: all are dark. Multiply them by 255 for the whole range.")
    (digits,) = said((RANDOM * 17).astype(np.uint8).transpose(0, 3, 1, 2))
    assert "above 16 of 255: all are dark. Multiply them by 15.94" in digits
    assert said(BYTES.transpose(0, 3, 1, 2)) == []
    one_is_bright = (RANDOM > 0.5).astype(np.uint8)
    one_is_bright[3] = 200
    assert said(one_is_bright.transpose(0, 3, 1, 2)) == []


def test_floats_with_the_values_of_bytes_are_found() -> None:
    (warning,) = said(BYTES.transpose(0, 3, 1, 2).astype(np.float32))
    assert "images of mine.npz are floats from 0 to 255, and delivered as they are" in warning
    assert said(RANDOM.transpose(0, 3, 1, 2).astype(np.float32)) == []
    assert said(((RANDOM - 0.5) / 0.2).transpose(0, 3, 1, 2).astype(np.float32)) == []
    assert said((RANDOM * 1000).reshape(30, 64).astype(np.float32)) == []  # vectors may have any values


@pytest.mark.parametrize(("shape", "is_suspect"), [((8, 8, 4), True), ((4, 8, 8), False), ((8, 8, 8), False)])
def test_channels_that_are_probably_last_are_found(shape: tuple[int, ...], is_suspect: bool) -> None:
    lines = said(np.random.default_rng(0).random((5, *shape)).astype(np.float32))
    assert [("8 channels of 8x4. If they are 8x8 with 4 channels" in line) for line in lines] == [True] * is_suspect


def test_arrays_say_so(tmp_path: Path) -> None:
    def load(x: npt.NDArray[np.generic]) -> list[str]:
        lines: list[str] = []
        np.savez(tmp_path / "mine.npz", x=x, y=np.arange(30) % 6)
        Arrays(str(tmp_path / "mine.npz"), **SPLIT_AND_PIXELS).load(tmp_path, lines.append)
        return [line for line in lines if line.startswith("Warning")]

    (warning,) = load((RANDOM[..., 0] * 16).astype(np.uint8))
    assert f"images of {tmp_path / 'mine.npz'} is above 15 of 255" in warning
    assert load(BYTES[..., 0]) == []
