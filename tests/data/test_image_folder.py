import io
import os
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from changed_caches import change_only
from class_datasets import check_ids_by_name
from PIL import Image
from pillow_version import pillow_version
from small_image_folder import image_folder as dataset

from metaexp.core.errors import ConfigError, DataError
from metaexp.core.shapes import SPLITS, Capacity, TaskShape
from metaexp.data.classification.random_split import checked_fractions, split_by_fractions
from metaexp.data.files.images import Reading, read_image


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (8, 8), kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


def write(root: Path, names: list[str], **options: object) -> None:
    """One picture per name; the number of its class and its own are its red and green."""
    folders = sorted({name.rpartition("/")[0] for name in names})
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture((folders.index(name.rpartition("/")[0]), i, 0), **options))


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


SPLIT = [
    f"{s}/{c}/{i}.png"
    for s, classes in {"train": "abcd", "val": "ef", "test": "gh"}.items()
    for c in classes
    for i in range(3)
]
FLAT = [f"{c}/{i}.png" for c in "abcdefgh" for i in range(3)]


def test_folders_named_after_splits_are_the_split(data):
    write(data / "images", SPLIT)
    loaded = dataset().load(data, print)
    assert loaded.capacity() == {"train": Capacity(4, 3), "val": Capacity(2, 3), "test": Capacity(2, 3)}
    assert loaded.class_names["test"] == ("test/g", "test/h")
    x = loaded.tasks(TaskShape(2, 1, 2), 0).episodes("test", torch.arange(10)).query.x
    assert x.shape == (10, 4, 3, 8, 8)
    red = (x[:, :, 0] * 255).round().long().unique().tolist()
    assert red == [bank_index("test/g"), bank_index("test/h")]


def bank_index(folder: str) -> int:
    return sorted({name.rpartition("/")[0] for name in SPLIT}).index(folder)


def test_other_folders_are_divided_by_fractions_and_seed(data):
    write(data / "images", FLAT)
    loaded = dataset().load(data, print)
    assert [len(loaded.class_names[s]) for s in SPLITS] == [4, 2, 2]
    assert sorted(c for s in SPLITS for c in loaded.class_names[s]) == list("abcdefgh")
    assert dataset().load(data, print).digest == loaded.digest
    assert dataset(split_seed=1).load(data, print).digest != loaded.digest


def test_nested_folders_zips_and_an_archives_own_root_are_understood(data):
    write(data / "images", [f"{s}/alphabet/{c}/{i}.png" for s in SPLITS for c in (s[:2], s[:2] * 2) for i in range(2)])
    assert dataset().load(data, print).class_names["val"] == ("val/alphabet/va", "val/alphabet/vava")
    with zipfile.ZipFile(data / "all.zip", "w") as archive:
        for name in SPLIT:
            archive.writestr(f"mine/{name}", picture((1, 2, 3)))
    assert dataset(folder="all.zip").load(data, print).class_names["test"] == ("mine/test/g", "mine/test/h")


def test_any_size_and_format_is_brought_to_the_size_and_channels(data):
    write(data / "images", FLAT[:12], size=(31, 17), kind="PNG")
    for name in FLAT[12:]:
        path = data / "images" / name.replace(".png", ".JPG")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture((9, 9, 9), (5, 60), "JPEG"))
    assert dataset(image_size=13).load(data, print).input_shape == (3, 13, 13)
    assert dataset(channels=1).load(data, print).input_shape == (1, 8, 8)


def test_a_changed_file_is_noticed_and_an_unchanged_folder_is_not_read_again(data):
    write(data / "images", FLAT)
    lines: list[str] = []
    first = dataset().load(data, lines.append)
    again = dataset().load(data, lines.append)
    assert again.digest == first.digest
    assert sum("Reading images" in line for line in lines) == 1
    (data / "images" / "a" / "0.png").write_bytes(picture((200, 200, 200)))
    assert dataset().load(data, lines.append).digest != first.digest
    assert sum("Reading images" in line for line in lines) == 2


def test_a_changed_cache_with_a_checksum_that_fits_it_is_built_again_under_the_same_digest(data):
    write(data / "images", SPLIT)
    first = dataset().load(data, lambda _: None)
    change_only(data / "cache")
    lines: list[str] = []
    again = dataset().load(data, lines.append)
    assert any("is damaged; building it again" in line for line in lines)
    assert again.digest == first.digest
    rows = torch.arange(again.table("train").total)
    assert torch.equal(again.examples(rows), first.examples(rows))


def test_a_file_with_other_bytes_and_the_old_size_and_time_is_noticed(data):
    write(data / "images", FLAT, kind="BMP")  # all of one size
    first = dataset().load(data, lambda _: None)
    file = data / "images" / FLAT[0]
    before = file.stat()
    file.write_bytes(picture((99, 99, 99), kind="BMP"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert dataset().load(data, lambda _: None).digest != first.digest


@pytest.mark.parametrize(("mode", "counted"), [("w", True), ("w:gz", False)])
def test_a_plain_tar_is_counted_at_any_size_and_a_large_compressed_one_is_not(data, mode, counted, monkeypatch):
    write(data / "own", SPLIT)
    with tarfile.open(data / "images.tar", mode) as archive:
        archive.add(data / "own", "own")
    described = dataset(folder="images.tar")
    loaded = described.load(data, lambda _: None)
    wanted = loaded.capacity()
    assert described.capacity_in(data) == wanted
    check_ids_by_name(described, data, loaded)
    monkeypatch.setattr("metaexp.data.files.archives._QUICK", 100)
    assert described.capacity_in(data) == (wanted if counted else None)
    assert (described.class_ids_in(data) is not None) == counted


def test_a_class_in_two_splits_is_refused(data):
    write(data / "images", [f"{s}/{c}/{i}.png" for s in SPLITS for c in "ab" for i in range(2)])
    with pytest.raises(DataError, match=r"class a is in train and in val\. In meta-learning the classes"):
        dataset().load(data, print)


def test_a_split_that_is_not_complete_is_refused(data):
    write(data / "images", [name for name in SPLIT if not name.startswith("val")])
    with pytest.raises(DataError, match="has the folders test, train: for a split of your own, have exactly"):
        dataset().load(data, print)


def test_only_one_split_is_not_taken_for_an_archives_root(data):
    write(data / "images", [name for name in SPLIT if name.startswith("train")])
    with pytest.raises(DataError, match="has the folders train: for a split"):
        dataset().load(data, print)


def test_missing_and_empty_folders_are_refused(data):
    with pytest.raises(DataError, match=r"dataset.folder=images: there is no .*images\. Give a folder of images"):
        dataset().load(data, print)
    write(data / "images", ["loose.png", "a/.hidden.png", "__MACOSX/a/b.png"])
    (data / "images" / "a" / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="has no folders with images in them"):
        dataset().load(data, print)


def test_a_file_that_is_not_an_image_is_named(data):
    write(data / "images", FLAT)
    (data / "images" / "b" / "1.png").write_bytes(b"not an image")
    reason = r"no known format\. Put an intact image in its place, or take it out\."
    with pytest.raises(DataError, match=rf"images: b/1.png is not an image that can be read: {reason}"):
        dataset().load(data, print)


def test_fewer_than_three_classes_cannot_be_divided(data):
    write(data / "images", FLAT[:6])
    with pytest.raises(
        DataError, match=r"2 classes \(a, b\) cannot be divided into train, val and test.*: give data of three"
    ):
        dataset().load(data, print)


@pytest.mark.parametrize("n", [3, 4, 5, 10, 101])
@pytest.mark.parametrize("fractions", [(0.64, 0.16, 0.2), (0.01, 0.01, 0.98), (0.98, 0.01, 0.01), (0.01, 0.98, 0.01)])
def test_every_split_gets_a_class_and_none_is_lost(n, fractions):
    names = [f"class {i}" for i in range(n)]
    splits = split_by_fractions(names, fractions, 0)
    assert sorted(c for s in SPLITS for c in splits[s]) == sorted(names)
    assert all(splits[s] for s in SPLITS)


def test_a_new_class_moves_few_others():
    names = [f"class {i}" for i in range(200)]
    before, after = (split_by_fractions(n, (0.6, 0.2, 0.2), 0) for n in (names, [*names, "new"]))
    assert len(set(before["test"]) - set(after["test"])) <= 2
    assert split_by_fractions(reversed(names), (0.6, 0.2, 0.2), 0) == before
    assert len(set(before["test"]) - set(split_by_fractions(names, (0.6, 0.2, 0.2), 1)["test"])) > 10


@pytest.mark.parametrize("fractions", [[0.5, 0.5], [0.5, 0.5, 0.0], [0.5, 0.6, 0.2], [1.2, -0.1, -0.1]])
def test_impossible_fractions_are_refused(fractions):
    with pytest.raises(ConfigError, match="must be three positive numbers that add up to 1"):
        checked_fractions(fractions)


def test_colours_arrive_in_the_order_red_green_blue(data):
    write(data / "images", FLAT)
    (data / "images" / "a" / "0.png").write_bytes(picture((255, 128, 0)))
    loaded = dataset().load(data, print)
    assert np.allclose(loaded.examples(torch.tensor([0]))[0, :, 0, 0], [1.0, 128 / 255, 0.0], atol=1e-6)


def strokes() -> np.ndarray:
    """Strokes (8, 8): True where there is ink."""
    return np.eye(8, dtype=bool) | np.eye(8, dtype=bool)[::-1] & (np.arange(8) < 3)


def as_bytes(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def read(content: bytes, **options: object) -> np.ndarray:
    """The image in ``content``, grey, 8 x 8, from 0 to 255."""
    return read_image(content, "folder", "a.png", Reading(1, 8, upright=True, **options)).pixels[0]


SIXTEEN = strokes().astype(np.uint16) * 40000 + 2000


@pytest.mark.parametrize(
    "content",
    [
        as_bytes(Image.fromarray(SIXTEEN)),
        as_bytes(Image.fromarray(SIXTEEN.astype(np.int32)), "TIFF"),
        as_bytes(Image.fromarray((SIXTEEN / 65535).astype(np.float32)), "TIFF"),
    ],
)
def test_images_of_more_than_8_bits_are_scaled_by_their_depth(content):
    assert np.array_equal(np.unique(read(content)), [round(2000 / 257), round(42000 / 257)])
    assert np.array_equal(read(content) > 100, strokes())


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_images_are_seen_on_the_background(mode):
    image = Image.new("LA", (8, 8), (0, 0))
    image.putalpha(Image.fromarray((strokes() * 255).astype(np.uint8)))
    content = as_bytes(image.convert(mode))
    assert np.array_equal(read(content) < 128, strokes())
    assert read(content, background="black").max() == 0


def test_an_opaque_image_with_an_alpha_channel_has_the_digest_it_always_had():
    opaque = Image.fromarray((strokes() * 255).astype(np.uint8)).convert("RGBA")
    assert read_image(as_bytes(opaque), "folder", "a.png", Reading(1, 8)).treatment == ""
    opaque.putpixel((0, 0), (0, 0, 0, 0))
    assert read_image(as_bytes(opaque), "folder", "a.png", Reading(1, 8)).treatment == "composited on white"


def test_photographs_are_turned_as_a_viewer_turns_them():
    pixels = (np.arange(64).reshape(8, 8) * 4).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    content = as_bytes(Image.fromarray(pixels), exif=exif)
    assert np.array_equal(read(content), np.rot90(pixels, -1))
    assert np.array_equal(read(as_bytes(Image.fromarray(pixels))), pixels)


@pytest.mark.parametrize(
    "names", [("Train", "Val", "Test"), ("TRAINING", "validation", "testing"), ("train", "valid", "test")]
)
def test_splits_in_capitals_and_by_their_other_names_are_the_split(data, names):
    renamed = dict(zip(SPLITS, names, strict=True))
    write(data / "images", [f"{renamed[name.split('/')[0]]}/{name.split('/', 1)[1]}" for name in SPLIT])
    loaded = dataset().load(data, print)
    assert loaded.class_names["test"] == (f"{names[2]}/g", f"{names[2]}/h")
    assert loaded.capacity() == dataset().capacity_in(data)


def test_two_folders_for_one_split_are_refused(data):
    write(data / "images", [*SPLIT, "Train/z/0.png"])
    with pytest.raises(DataError, match="has the folders Train, test, train, val: for a split of your own"):
        dataset().load(data, print)


def test_images_beside_the_class_folders_of_a_split_are_refused(data):
    write(data / "images", [*SPLIT, "val/loose.png"])
    with pytest.raises(DataError, match="images lie in val beside its class folders"):
        dataset().load(data, print)


def test_what_is_left_out_is_counted_and_why(data):
    write(data / "images", [*FLAT, "loose.png", "a/.hidden.png"])
    for name in ("a/notes.txt", "b/notes.txt", "c/more", "labels/of.csv"):
        (data / "images" / name).parent.mkdir(exist_ok=True)
        (data / "images" / name).write_text("x")
    os.mkfifo(data / "images" / "b" / "pipe.png")
    lines: list[str] = []
    dataset().load(data, lines.append)
    (line,) = [line for line in lines if line.startswith("Ignored")]
    for part in (
        "2 files with the suffix .txt",
        "1 file without a suffix",
        "1 hidden file",
        "1 image beside the class folders",
        "1 folder with files but no image",
        "1 special file (FIFO, socket or device)",
    ):
        assert part in line
    lines.clear()
    (data / "images" / "new").mkdir()
    write(data / "images", ["new/1.jfif"], kind="JPEG")
    loaded = dataset().load(data, lines.append)
    assert "new" in [name for split in SPLITS for name in loaded.class_names[split]]


def test_the_same_image_in_training_and_in_test_is_counted(data):
    write(data / "images", SPLIT)
    (data / "images" / "test" / "g" / "0.png").write_bytes((data / "images" / "train" / "a" / "0.png").read_bytes())
    lines: list[str] = []
    dataset().load(data, lines.append)
    (warning,) = [line for line in lines if "Warning: the test" in line]
    assert "the test split has 1 of its 6 examples in the train split" in warning


def test_links_out_of_the_folder_are_followed_only_with_follow_links(data):
    write(data / "images", FLAT)
    write(data / "elsewhere", ["0.png", "1.png"])
    (data / "images" / "linked").symlink_to(data / "elsewhere")
    with pytest.raises(DataError, match=r"linked is a link to .*elsewhere.*dataset.follow_links=true"):
        dataset().load(data, print)
    assert sum(c.n_classes for c in dataset(follow_links=True).load(data, print).capacity().values()) == 9


def test_messages_never_show_an_object_of_python(data):
    write(data / "images", FLAT)
    for content in (b"not an image", picture((1, 2, 3))[:40], picture((1, 2, 3), (90, 90), "JPEG")[:300], b""):
        (data / "images" / "b" / "1.png").write_bytes(content)
        with pytest.raises(DataError, match=r"images: b/1.png is not an image") as raised:
            dataset().load(data, print)
        assert "<" not in str(raised.value)


def test_a_home_folder_is_understood(data, monkeypatch):
    monkeypatch.setenv("HOME", str(data))
    write(data / "images", FLAT)
    assert dataset(folder="~/images").load(data / "nowhere", print).input_shape == (3, 8, 8)


@pytest.mark.skipif(sys.platform != "linux", reason="names of bytes are Linux's")
def test_names_that_are_not_text_are_read_like_others(data):
    write(data / "images", FLAT)
    (data / "images" / "a").rename(data / "images" / os.fsdecode(b"\xff\xfe"))
    first = dataset().load(data, lambda _: None)
    again = dataset().load(data, lambda _: None)  # from the cache
    assert sum(c.n_classes for c in first.capacity().values()) == 8
    assert again.digest == first.digest
    assert sum(len(first.class_ids(split)) for split in SPLITS) == 8


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_files_with_several_images_are_counted_and_the_first_is_used(data, kind):
    write(data / "images", FLAT)
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((250, 0, 0), (0, 250, 0))]
    for label in "ab":
        frames[0].save(data / "images" / label / f"more.{kind.lower()}", kind, save_all=True, append_images=frames[1:])
    lines: list[str] = []
    loaded = dataset().load(data, lines.append)
    assert "  of 2 files with several images, such as animations, the first image is used" in lines
    split = next(
        split for split in SPLITS if "a" in split_by_fractions(sorted("abcdefgh"), [0.5, 0.25, 0.25], 0)[split]
    )
    assert loaded.capacity()[split].per_class >= 2
    read = read_image((data / "images" / "a" / f"more.{kind.lower()}").read_bytes(), "x", "y", Reading(3, 8))
    assert read.pixels[0].min() > 200
    write(data / "plain", FLAT)
    lines.clear()
    dataset(folder="plain").load(data, lines.append)
    assert not [line for line in lines if "several images" in line]


@pytest.mark.skipif(pillow_version() < (10, 4), reason="Pillow before 10.4 cannot write such a PNG")
def test_one_grey_of_a_png_of_16_bits_may_be_transparent() -> None:
    pixels = np.array([[0, 65535], [30000, 0]], np.uint16)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", transparency=30000)
    for background, value in (("white", 255), ("black", 0)):
        read = read_image(file.getvalue(), "x", "y", Reading(1, 2, background))
        assert read.pixels[0].tolist() == [[0, 255], [value, 0]]
        assert read.treatment == f"scaled to 8 bits, composited on {background}"


@pytest.mark.parametrize(
    "names",
    [("meta-train", "meta-val", "meta-test"), ("base", "novel"), ("images_background", "images_evaluation"),
     ("MetaTrain", "metaTest"), ("seen_classes", "unseen_classes"), ("train_set", "test_set")],
)  # fmt: skip
def test_folders_that_look_like_splits_are_not_mixed(data, names):
    classes = [f"{folder}/{folder}{c}/{i}.png" for folder in names for c in "abcd" for i in range(2)]
    write(data / "images", classes)
    for call in (lambda: dataset().load(data, print), lambda: dataset().capacity_in(data)):
        with pytest.raises(DataError, match=f"{sorted(names)[0]}.*look like splits. Call them train, val and test"):
            call()


@pytest.mark.parametrize(
    "names", [("Latin", "Greek"), ("basement", "novelty"), ("base", "Greek"), ("testament", "values")]
)
def test_folders_that_do_not_are_divided_by_fractions(data, names):
    write(data / "images", [f"{folder}/{folder}{c}/{i}.png" for folder in names for c in "abcd" for i in range(2)])
    assert dataset().load(data, print).capacity()["train"].n_classes == 4


def test_classes_that_are_called_like_splits_are_classes(data):
    write(data / "images", [f"{name}/{i}.png" for name in ("base", "test_set_1", "seen", *"abcde") for i in range(2)])
    assert dataset().load(data, print).capacity()["train"].n_classes == 4


def test_empty_folders_are_counted_among_what_is_left_out(data):
    write(data / "images", FLAT)
    for name in ("z", "zz"):
        (data / "images" / name).mkdir()
    lines: list[str] = []
    dataset().load(data, lines.append)
    assert f"Ignored in {data / 'images'}: 2 empty folders." in lines


def test_a_file_that_is_twice_in_an_archive_is_found_when_its_classes_are_counted(data):
    with zipfile.ZipFile(data / "images.zip", "w") as archive:
        for name in [*FLAT, f"./{FLAT[3]}"]:
            archive.writestr(name, picture((1, 2, 3)))
    with pytest.raises(DataError, match=f"has the file {FLAT[3]} twice"):
        dataset(folder="images.zip").capacity_in(data)


def test_a_folder_with_nothing_in_it_is_not_its_own_empty_folder(data):
    (data / "images").mkdir()
    advice = r"Put the images of each class into a folder that has its name\.$"
    with pytest.raises(DataError, match=rf"images has no folders with images in them\. {advice}"):
        dataset().load(data, print)
