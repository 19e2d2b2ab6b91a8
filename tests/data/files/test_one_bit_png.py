import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from metaexp.data.files.one_bit_png import packed_rows


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(paper: np.ndarray, row_filter: int = 0, parts: int = 1) -> bytes:
    """A PNG of 1 bit without interlacing, its contents in ``parts`` chunks."""
    height, width = paper.shape
    packed = np.packbits(paper, axis=-1)
    rows = zlib.compress(np.concatenate([np.full((height, 1), row_filter, np.uint8), packed], axis=1).tobytes())
    contents = [rows[i * len(rows) // parts : (i + 1) * len(rows) // parts] for i in range(parts)]
    header = chunk(b"IHDR", struct.pack(">II5B", width, height, 1, 0, 0, 0, 0)) + chunk(b"tEXt", b"a\0b")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunk(b"IDAT", c) for c in contents) + chunk(b"IEND", b"")


def by_pillow(paper: np.ndarray, mode: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(paper).convert(mode).save(file, "PNG")
    return file.getvalue()


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).random((height, width)) < 0.5


@pytest.mark.parametrize(("height", "width"), [(105, 105), (3, 8), (1, 1), (7, 16)])
@pytest.mark.parametrize("parts", [1, 3])
def test_rows_are_those_of_pillow(height, width, parts):
    content = png(noise(height, width), parts=parts)
    rows = packed_rows(content, width, height)
    assert rows is not None
    assert rows.tobytes() == Image.open(io.BytesIO(content)).tobytes()


def test_any_other_file_is_left_to_a_general_decoder():
    paper = np.zeros((8, 9), bool)
    assert packed_rows(png(paper), 9, 8) is not None
    assert packed_rows(png(paper), 8, 9) is None
    assert packed_rows(by_pillow(paper, "L"), 9, 8) is None
    assert packed_rows(by_pillow(paper, "P"), 9, 8) is None
    assert packed_rows(b"GIF89a" + b"\0" * 40, 9, 8) is None
    assert packed_rows(b"", 9, 8) is None


def test_row_filters_and_bits_beyond_the_width_are_not_guessed():
    assert packed_rows(png(noise(8, 9), row_filter=2), 9, 8) is None
    content = png(np.ones((2, 16), bool))
    assert packed_rows(content, 16, 2) is not None
    narrower = content.replace(struct.pack(">II", 16, 2), struct.pack(">II", 9, 2))
    assert packed_rows(narrower, 9, 2) is None


def test_damaged_files_are_left_to_a_general_decoder():
    content = png(noise(105, 105))
    for cut in (20, 60, len(content) // 2):
        assert packed_rows(content[:cut], 105, 105) is None
