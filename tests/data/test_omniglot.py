import io
import os
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sampling import only_exhaustive

from metaexp.core.errors import ConfigError, DataError
from metaexp.core.shapes import SPLITS, Capacity, TaskShape
from metaexp.data import omniglot
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.files.class_lists import class_lists
from metaexp.data.files.download import Remote
from metaexp.data.omniglot import PARTS, Omniglot, Part, find_part, pixel_digest, read_part, resized

DATA = Path(os.environ.get("METAEXP_DATA", "data"))
ARCHIVES = [
    next((d / f"{p.name}.zip" for d in (DATA, DATA / "omniglot") if (d / f"{p.name}.zip").is_file()), None)
    for p in PARTS
]
needs_omniglot = pytest.mark.skipif(
    None in ARCHIVES, reason=f"Omniglot's two zips are not in {DATA} (set METAEXP_DATA to the folder that has them)"
)


def dataset(**changes: object) -> Omniglot:
    arguments = {
        "split": "maml",
        "rotations": "per_class",
        "rotations_in": "all",
        "image_size": 28,
        "resize": "nearest",
        "invert": True,
        "normalise": None,
    }
    return Omniglot(**{**arguments, **changes})


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """A cache folder that the tests of this module share, so that the archives are read once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def loaded(cache, monkeypatch):
    def load(**changes: object) -> ClassDataset:
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
        monkeypatch.setattr("metaexp.data.cache.place.can_write", lambda folder: cache in (folder, *folder.parents))
        return dataset(**changes).load(DATA, lambda line: None)

    return load


# Splits: packaged lists, no data needed


@pytest.mark.parametrize(
    ("split", "sizes"), [("maml", (1100, 100, 423)), ("vinyals", (1028, 172, 423)), ("official", (883, 81, 659))]
)
def test_splits_have_their_published_sizes_share_no_character_and_cover_all(split, sizes):
    lists = class_lists(f"omniglot_{split}")
    assert tuple(len(lists[s]) for s in SPLITS) == sizes
    together = [name for s in SPLITS for name in lists[s]]
    assert len(set(together)) == len(together) == 1623
    assert set(together) == {name for part in PARTS for name in part.characters()}


def test_trainval_trains_on_validation_characters_too_and_has_the_same_test_characters():
    one, both = class_lists("omniglot_vinyals"), class_lists("omniglot_vinyals_trainval")
    assert len(both["train"]) == 1200
    assert set(both["train"]) == {*one["train"], *one["val"]}
    assert (both["val"], both["test"]) == (one["val"], one["test"])
    assert dataset(split="vinyals_trainval", rotations="classes").capacity() == {
        "train": Capacity(4800, 20),
        "val": Capacity(688, 20),
        "test": Capacity(1692, 20),
    }
    assert [dataset(split=split).val_in_train for split in ("maml", "vinyals", "vinyals_trainval")] == [0, 0, 1]


def test_the_maml_split_is_the_documented_shuffle_and_not_an_order_of_files():
    names = sorted(name for part in PARTS for name in part.characters())
    random.Random(1).shuffle(names)
    lists = class_lists("omniglot_maml")
    assert set(lists["train"]) == set(names[:1100])
    assert set(lists["val"]) == set(names[1100:1200])
    assert set(lists["test"]) == set(names[1200:])


def test_the_official_split_divides_alphabets_and_the_vinyals_split_cuts_only_gurmukhi():
    def divided(split: str) -> set[str]:
        alphabets = [{name.split("/")[0] for name in class_lists(f"omniglot_{split}")[s]} for s in SPLITS]
        return (alphabets[0] & alphabets[1]) | (alphabets[0] & alphabets[2]) | (alphabets[1] & alphabets[2])

    assert divided("official") == set()
    assert divided("vinyals") == {"Gurmukhi"}
    assert len(divided("maml")) > 40


def test_capacity_is_known_without_the_files():
    assert dataset().capacity()["test"] == Capacity(423, 20)
    assert dataset(rotations="classes").capacity() == {
        "train": Capacity(4400, 20),
        "val": Capacity(400, 20),
        "test": Capacity(1692, 20),
    }
    assert dataset(rotations="classes", rotations_in="train").capacity()["test"] == Capacity(423, 20)


def test_impossible_normalisations_are_refused_before_any_file_is_read():
    with pytest.raises(ConfigError, match=r"dataset.normalise=\[0.5\]"):
        dataset(normalise=[0.5])


# A small Omniglot of two characters, of the same format


def drawing(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((105, 105)) < 0.9  # True is paper


def png(paper: np.ndarray, mode: str = "1") -> bytes:
    file = io.BytesIO()
    Image.fromarray(paper).convert(mode).save(file, "PNG")
    return file.getvalue()


DRAWINGS = np.stack([drawing(seed) for seed in range(40)])
NAMES = ["Alpha/character01", "Beta/character01"]


@pytest.fixture
def small(monkeypatch) -> Part:
    part = Part(
        "images_background",
        ("train",),
        pixel_digest(NAMES, np.packbits(DRAWINGS, axis=-1)),
        Remote("http://127.0.0.1:1/python/images_background.zip", "0" * 32, 1000),
    )
    monkeypatch.setattr(Part, "characters", lambda self: NAMES)
    return part


def members(drawings: np.ndarray = DRAWINGS, mode: str = "1") -> dict[str, bytes]:
    return {
        f"images_background/{NAMES[i // 20]}/{i // 20:04d}_{i % 20 + 1:02d}.png": png(paper, mode)
        for i, paper in enumerate(drawings)
    }


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in random.Random(0).sample(sorted(files), len(files)):
            archive.writestr(name, files[name])
    return path


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root / "images_background"


def unpacked(packed: np.ndarray) -> np.ndarray:
    return np.unpackbits(packed, axis=-1, count=105).astype(bool)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
def test_a_zip_in_any_order_and_repacked_in_any_mode_is_read_by_its_pixels(tmp_path, small, mode):
    extra = {"__MACOSX/images_background/Alpha/character01/._0000_01.png": b"x", "images_background/readme.txt": b"y"}
    path = write_zip(tmp_path / "images_background.zip", {**members(mode=mode), **extra})
    assert np.array_equal(unpacked(read_part(small, path, print)), DRAWINGS)


def test_an_extracted_folder_is_read_like_the_zip(tmp_path, small):
    assert np.array_equal(unpacked(read_part(small, write_folder(tmp_path, members()), print)), DRAWINGS)


def test_one_changed_pixel_is_refused_with_both_digests(tmp_path, small):
    changed = DRAWINGS.copy()
    changed[7, 50, 50] ^= True
    path = write_zip(tmp_path / "images_background.zip", members(changed))
    with pytest.raises(DataError, match=f"not Omniglot's: the digest of their pixels is .* not {small.digest}"):
        read_part(small, path, print)


def test_two_exchanged_drawings_are_refused(tmp_path, small):
    path = write_zip(tmp_path / "images_background.zip", members(DRAWINGS[[1, 0, *range(2, 40)]]))
    with pytest.raises(DataError, match="not Omniglot's"):
        read_part(small, path, print)


def test_a_missing_drawing_is_named(tmp_path, small):
    files = members()
    del files["images_background/Beta/character01/0001_20.png"]
    message = "not the whole images_background: Beta/character01 has 19 of 20 drawings, and 1 of 2 characters"
    with pytest.raises(DataError, match=message):
        read_part(small, write_zip(tmp_path / "x.zip", files), print)


def test_a_drawing_of_another_size_or_no_image_is_named(tmp_path, small):
    name = "images_background/Alpha/character01/0000_03.png"
    for content, message in (
        (png(np.ones((28, 28), bool)), "is 28x28; Omniglot's drawings are 105x105"),
        (b"no", "is not an image"),
    ):
        path = write_zip(tmp_path / "x.zip", {**members(), name: content})
        with pytest.raises(DataError, match=f"0000_03.png {message}"):
            read_part(small, path, print)


def test_data_is_found_in_the_folder_in_its_subfolder_and_in_the_users_cache(tmp_path, small, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    data = tmp_path / "data"
    for place in (tmp_path / "home" / "metaexp" / "omniglot", data / "omniglot", data):
        place.mkdir(parents=True, exist_ok=True)
        path = write_zip(place / "images_background.zip", members())
        assert find_part(small, data, print) == path
    (data / "images_background.zip").unlink()
    write_folder(data, members())
    assert find_part(small, data, print) == data / "images_background"


def test_without_data_or_network_it_says_what_to_put_where(tmp_path, small, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    with pytest.raises(DataError) as error:
        find_part(small, tmp_path / "data", print)
    message = str(error.value)
    assert "could not be fetched" in message
    assert (
        "Put images_background.zip and images_evaluation.zip of https://github.com/brendenlake/omniglot/raw/master/python"
        in message
    )
    assert f"into {tmp_path / 'data' / 'omniglot'}" in message
    assert "METAEXP_DATA" in message


def test_a_folder_that_is_not_there_is_not_made_for_what_is_fetched(tmp_path, small, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    asked, lines = [], []
    monkeypatch.setattr(omniglot, "download", lambda remote, target, progress: asked.append(target))
    find_part(small, tmp_path / "typo", lines.append)
    assert asked == [tmp_path / "home" / "metaexp" / "omniglot" / "images_background.zip"]
    assert (
        f"paths.data={tmp_path / 'typo'} is not there, so Omniglot's images_background is downloaded into " in lines[0]
    )
    assert not (tmp_path / "typo").exists()


def test_what_is_fetched_goes_to_the_users_cache_where_data_cannot_be_written(tmp_path, small, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    asked: list[Path] = []
    monkeypatch.setattr(omniglot, "download", lambda remote, target, progress: asked.append(target))
    (tmp_path / "data").mkdir()
    find_part(small, tmp_path / "data", print)
    (tmp_path / "data").chmod(0o555)
    find_part(small, tmp_path / "data", print)
    assert asked == [
        tmp_path / "data" / "omniglot" / "images_background.zip",
        tmp_path / "home" / "metaexp" / "omniglot" / "images_background.zip",
    ]


@pytest.mark.parametrize("size", [28, 20, 32, 105])
def test_nearest_is_what_pillow_gives_when_asked_for_lanczos_on_one_bit(size):
    packed = np.packbits(DRAWINGS, axis=-1)
    asked = [Image.fromarray(d).resize((size, size), Image.Resampling.LANCZOS) for d in DRAWINGS]
    expected = np.stack([np.asarray(image) * np.uint8(255) for image in asked])
    assert np.array_equal(resized(packed, size, "nearest")[:, 0], expected)


def test_lanczos_is_that_of_grey_images_and_differs_from_nearest():
    packed = np.packbits(DRAWINGS[:3], axis=-1)
    asked = [Image.fromarray(d).convert("L").resize((28, 28), Image.Resampling.LANCZOS) for d in DRAWINGS[:3]]
    assert np.array_equal(resized(packed, 28, "lanczos")[:, 0], np.stack([np.asarray(image) for image in asked]))
    assert len(np.unique(resized(packed, 28, "nearest"))) == 2
    assert len(np.unique(resized(packed, 28, "lanczos"))) > 20


# The real data


@only_exhaustive
@pytest.mark.slow
@needs_omniglot
def test_the_real_drawings_have_the_pinned_digest_and_become_the_whole_bank(loaded):
    omniglot = loaded()
    assert omniglot.origin.digest == "5f4df20cf28269a996164e6b3b9ad25ec139b3d4bc9918d5d75eaa4f4d3e3e3e"
    assert omniglot.capacity() == dataset().capacity()
    assert omniglot.input_shape == (1, 28, 28)


@needs_omniglot
def test_real_images_are_binary_ink_on_zero_with_the_known_share_of_ink(loaded):
    x = loaded().tasks(TaskShape(5, 1, 1), 0).episodes("train", torch.arange(200)).support.x
    assert x.dtype == torch.float32
    assert x.unique().tolist() == [0.0, 1.0]
    assert 0.07 < x.mean() < 0.09
    paper = loaded(invert=False).tasks(TaskShape(5, 1, 1), 0).episodes("train", torch.arange(200)).support.x
    assert torch.equal(1 - paper, x)


@needs_omniglot
def test_relation_network_constants_centre_the_real_images(loaded):
    x = loaded(invert=False, normalise=[0.92206, 0.08426], rotations="per_episode")
    x = x.tasks(TaskShape(5, 1, 1), 0).episodes("train", torch.arange(200)).support.x
    assert abs(x.mean()) < 0.1


@needs_omniglot
def test_the_second_load_reads_no_archive(loaded, monkeypatch):
    first = loaded(split="vinyals")
    monkeypatch.setattr(omniglot, "read_part", lambda *_: pytest.fail("an archive was read"))
    assert loaded(split="vinyals").digest == first.digest


@needs_omniglot
def test_the_test_bank_is_pinned(loaded):
    tasks = loaded().tasks(TaskShape(5, 1, 1), 1000)
    assert tasks.bank_hash("test", 600) == "3788c0830af39897589fbfe72f35e98cd7b59113b1e4134cfbcdf28a7504a027"


@needs_omniglot
def test_test_episodes_hold_only_test_characters(loaded):
    omniglot = loaded(split="official")
    rows = omniglot.tasks(TaskShape(20, 1, 1), 0).draw("test", torch.arange(200)).support_rows
    evaluation_starts_at = 964 * 20
    assert (rows % (1623 * 20)).min() >= evaluation_starts_at
    training = omniglot.tasks(TaskShape(20, 1, 1), 0).draw("train", torch.arange(200)).support_rows
    assert (training % (1623 * 20)).max() < evaluation_starts_at
