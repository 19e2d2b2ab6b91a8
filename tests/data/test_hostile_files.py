"""Damaged and hostile data files, made by seed: each is read, or refused in a sentence without a traceback."""

from __future__ import annotations

import io
import pickle
import random
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save

from metaexp.core.errors import ConfigError, DataError
from metaexp.data.arrays import Arrays
from metaexp.data.cache.prepared import Prepared, cached
from metaexp.data.files.unpickle import load_pickle
from metaexp.data.image_folder import ImageFolder

ROUNDS = 25
NAMES = (
    "../x.png",
    "/etc/x.png",
    "a/../../x.png",
    "a/0.png",
    "./a/9.png",
    "a\\b.png",
    "C:/x.png",
    "",
    "a//b.png",
    "\u202e.png",
)


def image(seed: int, kind: str) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 9, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


IMAGES = [image(seed, kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM") for seed in range(2)]


def damaged(content: bytes, chance: random.Random) -> bytes:
    """``content`` cut, with bytes changed, repeated, left out or set to extremes."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(changed) + 1)
        length = chance.choice((1, 1, 2, 4, 8, 64))
        edit = chance.randrange(6)
        if edit == 0:
            del changed[at:]
        elif edit == 1:
            changed[at : at + length] = bytes(chance.randrange(256) for _ in range(length))
        elif edit == 2:
            changed[at : at + length] = chance.choice((b"\xff", b"\0", b"\x7f")) * length
        elif edit == 3:
            del changed[at : at + length]
        elif edit == 4:
            changed[at:at] = changed[at : at + length] * chance.randint(1, 50)
        else:
            changed[at:at] = bytes(changed[: chance.randrange(len(changed) + 1)])[:1000]
    return bytes(changed)


def archive(chance: random.Random) -> bytes:
    """A zip or tar of images in classes; half of them with a hostile name, or a file twice."""
    file = io.BytesIO()
    files = [(f"{c}/{i}.png", chance.choice(IMAGES)) for c in "abcd" for i in range(2)]
    if chance.random() < 0.5:
        files.append((chance.choice(NAMES), chance.choice(IMAGES)))
    with warnings.catch_warnings(action="ignore"):
        if chance.random() < 0.5:
            with zipfile.ZipFile(file, "w") as made:
                for name, content in files:
                    made.writestr(name, content)
        else:
            with tarfile.open(fileobj=file, mode=chance.choice(("w", "w:gz"))) as made_tar:
                for name, content in files:
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    made_tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def arrays(chance: random.Random) -> bytes:
    """An .npz file, often with arrays that do not fit together."""
    file = io.BytesIO()
    shapes = ((8, 5, 5), (8, 5, 5, 3), (7, 5, 5), (0, 5, 5), (8,), (8, 3), ())
    kinds = ("u1", "f4", "f8", ">f2", "i8", "c8", "?", "U3", "S2", "M8[s]", "O")
    made = {}
    for name in ("x", "y", "x_train", "y_train", "train_classes", "x_val", "y_val", "x_test", "y_test"):
        if chance.random() < 0.6:
            shape, kind = (chance.choice(shapes), chance.choice(kinds)) if chance.random() < 0.3 else ((8, 5), "f4")
            made[name] = (
                np.zeros(shape, kind) if not name.startswith("y") or chance.random() < 0.3 else np.arange(8) // 2
            )
    np.savez(file, **made)
    return file.getvalue()


def a_pickle(chance: random.Random) -> bytes:
    tree: object = {"image_data": np.zeros((2, 3), "u1"), "class_dict": {"a": [0, 1]}, b"k": ("t", (1, 2.5, None))}
    for _ in range(chance.choice((0, 3, 60))):
        tree = chance.choice(([tree, tree], (tree, tree), {"k": tree}))
    return pickle.dumps(tree, chance.randrange(6))


def a_cache(chance: random.Random) -> bytes:
    classes = chance.choice(('{"a": 2}', "[" * 9999, '{"a": 1e999}', '{"a": NaN}', "", '{"a": {"b": 2}}', '"x"'))
    return save({"examples": np.zeros((2, 1, 3, 3), "u1")}, {"identity": "x", "classes": classes, "digest": "d"})


def read_folder(path: Path) -> None:
    ImageFolder(path.name, 5, 1, [0.5, 0.25, 0.25], 0, False, None, "none", "all").load(path.parent, lambda _: None)


def read_arrays(path: Path) -> None:
    dataset = Arrays(path.name, [0.5, 0.25, 0.25], 0, False, None, "none", "all")
    try:
        dataset.capacity_in(path.parent)
    finally:
        dataset.load(path.parent, lambda _: None)


def read_image_in_folder(path: Path) -> None:
    for c in "abc":
        (path.parent / "images" / c).mkdir(parents=True, exist_ok=True)
        (path.parent / "images" / c / "0.png").write_bytes(IMAGES[0])
    path.replace(path.parent / "images" / "a" / "1.png")
    read_folder(path.parent / "images")


def read_cache(path: Path) -> None:
    build = Prepared(__import__("torch").zeros(2, 1, 3, 3), {"a": 2}, "d")
    cached("x", {}, path.parent, lambda: build, lambda _: None)
    (file,) = (path.parent / "cache").glob("x-*")
    path.replace(file)
    assert cached("x", {}, path.parent, lambda: build, lambda _: None).classes == {"a": 2}


KINDS: dict[str, tuple[Callable[[random.Random], bytes], Callable[[Path], object]]] = {
    "image": (lambda chance: chance.choice(IMAGES), read_image_in_folder),
    "archive": (archive, read_folder),
    "arrays": (arrays, read_arrays),
    "pickle": (a_pickle, load_pickle),
    "cache": (a_cache, read_cache),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_hostile_file_is_read_or_refused_in_a_sentence(tmp_path, monkeypatch, kind, round_):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    data = tmp_path / "data"
    data.mkdir()
    make, read = KINDS[kind]
    chance = random.Random(f"{kind} {round_}")
    content = make(chance)
    path = data / "file.bin"
    path.write_bytes(damaged(content, chance) if round_ % 3 else content)
    try:
        read(path)
    except (DataError, ConfigError) as error:
        text = str(error)
        assert text.strip()
        for word in ("object at 0x", "<_io.", "Traceback", "allow_pickle", "numpy.core"):
            assert word not in text
    assert {p.name for p in tmp_path.iterdir()} <= {"data", "home"}
