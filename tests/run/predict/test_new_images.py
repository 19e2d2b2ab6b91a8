"""New images are read by the rules of the run's own, and what was changed or looks wrong is said."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from small_image_folder import image_folder

from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError, DataError
from metaexp.core.shapes import TaskShape
from metaexp.data.classification.preprocessing import ImagePreparation, Pixels
from metaexp.run.initial.network import Interface
from metaexp.run.predict.learner import Learner
from metaexp.run.predict.new_examples import Reader

SHAPE = (1, 8, 8)


def reader(preparation: ImagePreparation, lines: list[str] | None = None) -> Reader:
    return Reader(preparation, SHAPE, False, "image_folder", [].append if lines is None else lines.append)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images of 12 bits in files of 16, three of each of four classes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    random = np.random.default_rng(0)
    for number in range(12):
        save(random.integers(0, 4096, (8, 8)).astype(np.uint16), tmp_path / "images" / "abcd"[number // 3], number)
    return tmp_path


def save(pixels: npt.NDArray[np.generic], folder: Path, number: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / f"{number:02d}.png")


def test_new_images_of_12_bits_are_read_to_the_bit_as_those_of_the_run(data: Path) -> None:
    dataset = image_folder(channels=1, value_range=[0, 4095])
    loaded = dataset.load(data, print)
    lines: list[str] = []
    found = reader(dataset.image_preparation(), lines).support(data / "images")
    whole = loaded.examples(torch.arange(12))
    assert torch.equal(found.x, whole)
    assert lines == [f"{data / 'images'}:  12 of 12 images were scaled from 0..4095 to 8 bits"]
    other = dataset.image_preparation()._replace(value_range=(0, 65535))
    assert not torch.equal(reader(other).support(data / "images").x, whole)


def test_new_images_of_another_depth_than_the_run_expects_bring_a_warning(data: Path) -> None:
    lines: list[str] = []
    preparation = image_folder(channels=1).image_preparation()
    reader(preparation, lines).support(data / "images")
    (warning,) = [line for line in lines if line.startswith("Warning")]
    assert "the values of 12 images of 16 bits in" in warning
    lines.clear()
    save((np.arange(64).reshape(8, 8) * 4).astype(np.uint8), data / "bright", 0)
    reader(preparation, lines).query(data / "bright")
    assert lines == []


def test_new_images_of_8_bits_are_refused_by_a_run_on_12_bits(data: Path) -> None:
    save(np.full((8, 8), 200, np.uint8), data / "bytes", 0)
    with pytest.raises(DataError, match=r"of 8 bits: values up to 255. dataset.value_range=\[0,4095\] does not fit"):
        reader(image_folder(channels=1, value_range=[0, 4095]).image_preparation()).query(data / "bytes")


def test_photographs_are_turned_for_a_run_on_any_images(tmp_path: Path) -> None:
    pixels = (np.arange(64).reshape(8, 8) * 4).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, options in {"plain": {}, "turned": {"exif": exif}}.items():
        (tmp_path / name).mkdir()
        Image.fromarray(pixels).save(tmp_path / name / "0.png", **options)
    preparation = ImagePreparation(channels=1, size=8)  # as of icons
    plain, turned = (reader(preparation).query(tmp_path / name).x for name in ("plain", "turned"))
    assert torch.equal(turned, plain.rot90(-1, (-2, -1)))
    assert not torch.equal(turned, plain)


def test_animations_are_counted(tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 8), value) for value in (200, 100)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    lines: list[str] = []
    reader(ImagePreparation(channels=1, size=8), lines).query(tmp_path)
    assert lines == [f"{tmp_path}:  of 1 file with several images, such as animations, the first image is used"]


def learner(pixels: Pixels | None, lines: list[str]) -> Learner:
    """A learner of which only the examples are read."""
    return Learner(cast(Algorithm, None), Interface(SHAPE, 5), TaskShape(2, 1, 1), lines.append, pixels)


@pytest.mark.parametrize(
    ("pixels", "inside", "outside"),
    [
        (Pixels(), (0.0, 1.0), (0.0, 255.0)),
        (Pixels(invert=True), (0.0, 1.0), (0.0, 255.0)),
        (Pixels(mean=(0.5,), std=(0.25,)), (-2.0, 2.0), (-2.0, 3.0)),
        (Pixels(mean=(0.5, 0.4), std=(0.25, 0.2)), (-2.0, 3.0), (-4.0, 3.0)),
    ],
)
def test_arrays_that_were_not_prepared_as_images_of_the_run_bring_a_warning(
    pixels: Pixels, inside: tuple[float, float], outside: tuple[float, float]
) -> None:
    def said(span: tuple[float, float], pixels: Pixels | None) -> list[str]:
        lines: list[str] = []
        learner(pixels, lines).examples(torch.linspace(*span, 128).reshape(2, *SHAPE), "x")
        return lines

    assert said(inside, pixels) == []
    (line,) = said(outside, pixels)
    assert f"images of this run have values from {inside[0]:g} to {inside[1]:g} ({pixels.format()})" in line
    assert said(outside, None) == []  # not images


@pytest.mark.parametrize(
    ("number", "what_to_do"),
    [
        (np.nan, r"nan in example 1\. Leave out examples where a value is missing"),
        (-np.inf, r"-inf in example 1\. Leave out"),
        (1e39, r"1e\+39 in example 1\. Divide all by a constant"),
    ],
)
def test_numbers_that_are_not_finite_are_refused_with_their_place_and_what_to_do(
    number: float, what_to_do: str
) -> None:
    regression = Learner(cast(Algorithm, None), Interface((1,), 1), TaskShape(0, 2, 1))
    for kind in (list, np.array, partial(torch.tensor, dtype=torch.float64)):
        good, bad = kind([[0.0], [1.0]]), kind([[0.0], [number]])
        for name, (x, y) in {"x": (bad, good), "y": (good, bad)}.items():
            with pytest.raises(
                ConfigError, match=f"^{name} has values that are not finite as float32, such as {what_to_do}"
            ):
                regression.adapt(x, y)
