"""Each depth of an image is read by its own rule, or by the range that is given; what cannot be read is refused."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from metaexp.core.errors import DataError
from metaexp.data.files.images import Reading, read_image

RAMP = np.arange(16, dtype=np.float64).reshape(4, 4) / 15
"""An image (4, 4) from 0 to 1."""
BYTES = (RAMP * 255).round().astype(np.uint8)


def encoded(pixels: npt.NDArray[np.generic] | Image.Image, kind: str = "TIFF") -> bytes:
    file = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(file, kind)
    return file.getvalue()


def tiff(content: bytes, bits: int, sample_format: int = 1, photometric: int = 1, planes: int = 1) -> bytes:
    """A TIFF of 4 x 4 grey values. Pillow writes few kinds, and reads more."""
    tags = {
        256: 4, 257: 4, 258: bits, 259: 1, 262: photometric, 273: 8 + 2 + 12 * 11 + 4, 277: 1, 278: 4,
        279: len(content), 284: planes, 339: sample_format,
    }  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + content


def deep_tiff(pixels: npt.NDArray[np.float64], order: str = "<", planes: int = 1, compressed: bool = False) -> bytes:
    """A TIFF (H, W, 3 or 4) of 16 bits a channel, with transparency as the fourth."""
    height, width, n_channels = pixels.shape
    values = pixels.astype(f"{order}u2")
    parts = [values] if planes == 1 else [values[..., channel] for channel in range(n_channels)]
    data = [zlib.compress(part.tobytes()) if compressed else part.tobytes() for part in parts]
    sizes = [len(part) for part in data]
    places = [1000 + sum(sizes[:number]) for number in range(len(data))]
    tags = [
        (256, [width]), (257, [height]), (258, [16] * n_channels), (259, [8 if compressed else 1]), (262, [2]),
        (273, places), (277, [n_channels]), (278, [height]), (279, sizes), (284, [planes]),
        (338, [2] * (n_channels - 3)),
    ]  # fmt: skip
    found = [(tag, numbers) for tag, numbers in tags if numbers]
    entries, longer = b"", b""
    for tag, numbers in found:
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        value = packed if len(numbers) == 1 else struct.pack(f"{order}I", 8 + 6 + 12 * len(found) + len(longer))
        longer += b"" if len(numbers) == 1 else packed
        entries += struct.pack(f"{order}HHI", tag, 4, len(numbers)) + value
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(found))
    return (start + entries + bytes(4) + longer).ljust(1000, b"\0") + b"".join(data)


def chunk(kind: bytes, content: bytes) -> bytes:
    """A part of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def deep_colour(pixels: npt.NDArray[np.float64], orientation: int = 1) -> bytes:
    """A PNG (H, W, 3 or 4) of 16 bits a channel, which Pillow does not write."""
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, {3: 2, 4: 6}[pixels.shape[2]], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    exif = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 274, 3, 1, orientation, 0)
    chunks = {b"IHDR": header, b"eXIf": exif, b"IDAT": zlib.compress(rows), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, content) for kind, content in chunks.items())


def packed(values: npt.NDArray[np.uint16]) -> bytes:
    """Values of 12 bits, two of them in three bytes."""
    first, second = values.reshape(-1, 2).T
    return np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1).astype(np.uint8).tobytes()


def read(content: bytes, value_range: tuple[float, float] | None = None, **options: object) -> npt.NDArray[np.uint8]:
    """The image in ``content``, grey, 4 x 4, from 0 to 255."""
    reading = Reading(1, 4, value_range=value_range, has_range_key=True, **options)  # type: ignore[arg-type]
    return read_image(content, "folder", "a.tif", reading).pixels[0]


@pytest.mark.parametrize(
    ("content", "value_range"),
    [
        (encoded((RAMP * 65535).astype(np.uint16)), None),
        (encoded((RAMP * 65535).astype(np.uint16), "PNG"), None),
        (encoded((RAMP * 65535).astype(np.int32)), None),
        (encoded(RAMP.astype(np.float32)), None),
        (tiff((RAMP * 32767).astype("<i2").tobytes(), 16, 2), None),
        (encoded((RAMP * 4095).astype(np.uint16), "PNG"), (0, 4095)),
        (encoded((RAMP * 4095).astype(np.int32)), (0, 4095)),
        (encoded((RAMP * 255).round().astype(np.int32)), (0, 255)),
        (encoded((RAMP * 255).astype(np.float32)), (0, 255)),
        (encoded((RAMP * 2 - 1).astype(np.float32)), (-1, 1)),
        (tiff((RAMP * 4095 - 1024).round().astype("<i2").tobytes(), 16, 2), (-1024, 3071)),
        (encoded((30000 + RAMP * 4000).round().astype(np.uint16)), (30000, 34000)),
        (encoded((RAMP * 15).round().astype(np.uint8), "PNG"), (0, 15)),
        (encoded(Image.fromarray((RAMP * 15).round().astype(np.uint8)).convert("RGB"), "PNG"), (0, 15)),
    ],
)
def test_each_depth_becomes_the_same_grey_levels(content: bytes, value_range: tuple[float, float] | None) -> None:
    assert np.abs(read(content, value_range).astype(int) - BYTES).max() <= 1
    wider = None if value_range is None else (value_range[0], value_range[1] * 1.1)
    if wider is not None and wider[1] <= 255:
        assert np.abs(read(content, wider).astype(int) - BYTES).max() > 10


def test_a_tiff_of_12_bits_is_read_by_its_depth() -> None:
    content = tiff(packed((RAMP * 4095).astype(np.uint16)), 12)
    assert np.abs(read(content).astype(int) - BYTES).max() <= 1


def test_images_of_8_bits_are_kept_to_the_bit_and_their_digest_says_nothing() -> None:
    content = encoded(BYTES, "PNG")
    for value_range in (None, (0.0, 255.0)):
        found = read_image(content, "folder", "a.png", Reading(1, 4, value_range=value_range))
        assert np.array_equal(found.pixels[0], BYTES)
        assert found.treatment == ""
    found = read_image(encoded(BYTES // 17, "PNG"), "folder", "a.png", Reading(1, 4, value_range=(0, 15)))
    assert found.treatment == "scaled from 0..15 to 8 bits"


def test_what_was_scaled_as_ever_has_the_digest_it_always_had() -> None:
    def treatment(content: bytes, value_range: tuple[float, float] | None) -> str:
        return read_image(content, "folder", "a.tif", Reading(1, 4, value_range=value_range)).treatment

    deep, floats = encoded((RAMP * 65535).astype(np.uint16)), encoded(RAMP.astype(np.float32))
    assert {treatment(deep, None), treatment(deep, (0, 65535)), treatment(floats, (0, 1))} == {"scaled to 8 bits"}
    assert treatment(floats, (0, 65535)) == "scaled from 0..65535 to 8 bits"
    assert treatment(deep, (-1, 65535)) == "scaled from -1..65535 to 8 bits"


def test_transparency_stays_where_values_of_8_bits_are_stretched() -> None:
    image = Image.fromarray((RAMP * 15).round().astype(np.uint8)).convert("LA")
    image.putalpha(Image.fromarray(np.where(RAMP > 0.5, 255, 0).astype(np.uint8)))
    found = read(encoded(image, "PNG"), (0, 15))
    assert np.array_equal(found[RAMP > 0.5], BYTES[RAMP > 0.5])
    assert (found[RAMP < 0.5] == 255).all()
    assert (read(encoded(image, "PNG"), (0, 15), background="black")[RAMP < 0.5] == 0).all()


@pytest.mark.parametrize(
    ("content", "value_range", "message"),
    [
        (
            encoded((RAMP * 255).astype(np.float32)),
            None,
            "of floats and holds values from 0 to 255; .*such as \\[0,255\\]",
        ),
        (encoded((RAMP * -1).astype(np.float32)), None, "holds values from -1 to 0; .* such as \\[-1,1\\]"),
        (encoded((RAMP * np.nan).astype(np.float32)), None, " has values that are not finite"),
        (encoded((RAMP * 1e6).astype(np.int32)), None, "of 32 bits and holds values from 0 to 1000000; they must lie"),
        (encoded((RAMP * 5000).astype(np.uint16)), (0, 4095), "from 0 to 5000; they must lie within 0, .* and 4095"),
        (encoded(BYTES, "PNG"), (10, 255), "from 0 to 255; they must lie within 10"),
        (encoded(BYTES, "PNG"), (0, 4095), "of 8 bits: values up to 255. dataset.value_range=\\[0,4095\\] does not"),
        (
            deep_tiff(np.full((4, 4, 3), 4000.0), planes=2, compressed=True),
            (0, 4095),
            "of 16 bits a channel: only the upper 8 bits are read",
        ),
        (deep_colour(np.full((4, 4, 3), 5000.0)), (0, 4095), "from 5000 to 5000; they must lie within 0, .* and 4095"),
        (deep_tiff(np.zeros((4, 4, 3)), planes=2), None, "stores each channel apart, without compression"),
        (deep_tiff(np.zeros((4, 4, 3)), ">", planes=2), (0, 4095), "stores each channel apart, without compression"),
        (tiff(BYTES.tobytes(), 8, photometric=0, planes=2), None, "stores each channel apart, without compression"),
        (
            tiff((RAMP * 65535).astype("<u2").tobytes(), 16, photometric=0),
            None,
            "stores white as 0 in more than 8 bits",
        ),
        (tiff((RAMP * 255 - 128).astype("i1").tobytes(), 8, 2), None, "stores 8 bits with sign"),
        (b"", None, " is not an image that can be read: the file is empty"),
    ],
)
def test_what_would_be_read_wrongly_is_refused(
    content: bytes, value_range: tuple[float, float] | None, message: str
) -> None:
    with pytest.raises(DataError, match=f"folder: a.tif.*{message}"):
        read(content, value_range)


def test_no_key_is_advised_that_the_dataset_does_not_have() -> None:
    content = encoded((RAMP * 255).astype(np.float32))
    with pytest.raises(DataError, match=r"white\. Scale its values\.$"):
        read_image(content, "folder", "a.tif", Reading(1, 4))


def test_colour_of_16_bits_in_a_range_of_its_own_is_read() -> None:
    ramp = np.stack([RAMP * 65535] * 3, -1)
    assert np.abs(read(deep_colour(ramp)).astype(int) - BYTES).max() <= 1
    assert np.array_equal(read(deep_colour(ramp), (0, 65535)), read(deep_colour(ramp)))


COLOURS = np.random.default_rng(0).integers(0, 4096, (4, 4, 4)).astype(np.float64)
"""Values of 12 bits (4, 4, 4) of three colours and of how opaque a pixel is."""
COLOURS[0, 0, :3] = 0, 1, 4095


@pytest.mark.parametrize("n_channels", [3, 4])
@pytest.mark.parametrize(
    "encode",
    [
        deep_colour,
        deep_tiff,
        lambda pixels: deep_tiff(pixels, ">"),
        lambda pixels: deep_tiff(pixels, compressed=True),
        lambda pixels: deep_tiff(pixels, ">", compressed=True),
    ],
)
def test_colour_of_few_bits_in_16_is_read_to_the_last_bit(
    encode: Callable[[npt.NDArray[np.float64]], bytes], n_channels: int
) -> None:
    pixels = COLOURS[..., :n_channels].copy()
    pixels[..., 3:] = 65535
    found = read_image(encode(pixels), "folder", "a.png", Reading(3, 4, value_range=(0, 4095)))
    assert found.values[1:] == (0, 4095)
    right = (COLOURS[..., :3] * 255 / 4095).round().transpose(2, 0, 1)
    assert np.array_equal(found.pixels, right)
    assert not np.array_equal((COLOURS[..., :3] // 256 * 17).transpose(2, 0, 1), right)  # the upper bits alone
    own = read_image(encode(pixels), "folder", "a.png", Reading(3, 4))
    assert np.array_equal(own.pixels, (COLOURS[..., :3] // 256).transpose(2, 0, 1))
    assert (own.treatment, found.treatment) == ("", "scaled from 0..4095 to 8 bits")


def test_transparency_stays_where_colour_of_16_bits_is_scaled() -> None:
    pixels = np.full((4, 4, 4), 4095.0)
    pixels[..., 3] = np.where(RAMP > 0.5, 65535, 0)
    found = read(deep_colour(pixels), (0, 4095), background="black")
    assert np.array_equal(found, np.where(RAMP > 0.5, 255, 0))


@pytest.mark.parametrize("value_range", [None, (0, 4095)])
@pytest.mark.parametrize(("colour", "is_clear"), [((4095, 0, 1), True), ((4095, 0, 2), False), ((15, 0, 0), False)])
def test_a_colour_of_16_bits_that_is_transparent_is_found_by_all_its_bits(
    value_range: tuple[float, float] | None, colour: tuple[int, int, int], is_clear: bool
) -> None:
    pixels = np.full((4, 4, 3), 4095.0)
    pixels[:2] = (4095, 0, 1)  # its upper bits are 15, 0, 0
    content = deep_colour(pixels)
    start = content.index(b"IDAT") - 4
    content = content[:start] + chunk(b"tRNS", struct.pack(">HHH", *colour)) + content[start:]
    found = read_image(content, "folder", "a.png", Reading(3, 4, "white", value_range=value_range)).pixels
    assert (found[1, :2] == 255).all() == is_clear
    assert (found[:, 2:] == (15 if value_range is None else 255)).all()


def test_photographs_of_16_bits_a_channel_are_turned_with_all_their_bits() -> None:
    reading = Reading(3, 4, upright=True, value_range=(0, 4095))
    plain, found = (
        read_image(deep_colour(COLOURS[..., :3], orientation), "folder", "a.png", reading) for orientation in (1, 6)
    )
    assert np.array_equal(found.pixels, np.rot90(plain.pixels, -1, (1, 2)))
    assert found.treatment == "turned upright, scaled from 0..4095 to 8 bits"


def test_channels_that_are_stored_apart_are_read_where_pillow_reads_them() -> None:
    assert np.array_equal(read(tiff(BYTES.tobytes(), 8, planes=2)), BYTES)
    floats = RAMP.astype("<f4").tobytes()
    assert np.array_equal(read(tiff(floats, 32, sample_format=3, planes=2)), read(tiff(floats, 32, sample_format=3)))
    with pytest.raises(DataError, match="stores each channel apart"):
        read(tiff((RAMP * 65535).astype("<u2").tobytes(), 16, planes=2))
    colours = np.stack([RAMP * 65535] * 3, -1)
    assert np.array_equal(read(deep_tiff(colours, planes=2, compressed=True)), read(deep_tiff(colours)))


def test_a_bmp_of_16_bits_a_pixel_is_not_taken_for_a_deep_image() -> None:
    """Its name in Pillow, ``BGR;16``, is like those of 16 bits a channel."""
    header = struct.pack("<IiiHHIIiiII", 40, 4, 4, 1, 16, 0, 32, 0, 0, 0, 0)
    content = b"BM" + struct.pack("<IHHI", 14 + 40 + 32, 0, 0, 54) + header + np.full(16, 0x7FFF, "<u2").tobytes()
    found = read_image(content, "folder", "a.bmp", Reading(3, 4))
    assert found.values.depth.name == "of 8 bits"
    assert read_image(deep_colour(np.zeros((4, 4, 3))), "", "", Reading(3, 4)).values.depth.name != "of 8 bits"
