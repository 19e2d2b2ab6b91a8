import os
from pathlib import Path

import numpy as np
import pytest
import torch
from class_datasets import check_ids_by_name
from small_image_folder import SPLIT_AND_PIXELS

from metaexp.core.errors import ConfigError, DataError
from metaexp.core.shapes import SPLITS, Capacity, TaskShape
from metaexp.data.arrays import Arrays

RNG = np.random.default_rng(0)
Y = np.repeat(np.arange(8), 5)[RNG.permutation(40)]


def dataset(**changes: object) -> Arrays:
    return Arrays(**{"file": "mine.npz", **SPLIT_AND_PIXELS, **changes})


def save(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez(folder / "mine.npz", **arrays)
    return folder


def test_sequences_are_delivered_as_they_are_with_their_own_labels(tmp_path):
    x = RNG.normal(size=(40, 7, 2))
    loaded = dataset().load(save(tmp_path, x=x, y=Y), print)
    assert loaded.input_shape == (7, 2)
    assert [loaded.capacity()[s] for s in SPLITS] == [Capacity(4, 5), Capacity(2, 5), Capacity(2, 5)]
    episode = loaded.tasks(TaskShape(2, 1, 2), 0).episodes("test", torch.arange(1))
    owner = {tuple(s.astype(np.float32).flatten().tolist()): int(label) for s, label in zip(x, Y, strict=True)}
    classes = [owner[tuple(s.flatten().tolist())] for s in torch.cat([episode.support.x[0], episode.query.x[0]])]
    labels = torch.cat([episode.support.y[0], episode.query.y[0]]).tolist()
    assert len(set(zip(classes, labels, strict=True))) == 2
    assert {f"{c:06d}" for c in classes} == set(loaded.class_names["test"])


@pytest.mark.parametrize(
    ("shape", "expected"), [((40, 6, 6), (1, 6, 6)), ((40, 3, 6, 6), (3, 6, 6)), ((40, 6, 6, 3), (3, 6, 6))]
)
def test_uint8_images_of_three_layouts_become_channels_first_from_zero_to_one(tmp_path, shape, expected):
    x = RNG.integers(0, 256, shape).astype(np.uint8)
    loaded = dataset().load(save(tmp_path, x=x, y=Y), print)
    assert loaded.input_shape == expected
    first = int(np.flatnonzero(Y == 0)[0])
    image = x[first] if shape[-1] != 3 else x[first].transpose(2, 0, 1)
    delivered = loaded.examples(torch.tensor([0]))[0].numpy()
    assert np.allclose(delivered.reshape(image.shape), image / 255, atol=1e-6)


def test_vectors_and_text_labels_are_taken(tmp_path):
    names = np.array(["cat", "dog", "owl", "bee"])[Y % 4]
    loaded = dataset().load(save(tmp_path, x=RNG.normal(size=(40, 9)).astype(np.float32), y=names), print)
    assert sorted(c for s in SPLITS for c in loaded.class_names[s]) == ["bee", "cat", "dog", "owl"]


def test_splits_can_be_given_as_class_lists(tmp_path):
    lists = {"train_classes": np.array([5, 1, 0]), "val_classes": np.array([2]), "test_classes": np.array([7, 6])}
    loaded = dataset().load(save(tmp_path, x=RNG.normal(size=(40, 3)), y=Y, **lists), print)
    assert loaded.class_names == {
        "train": ("000005", "000001", "000000"),
        "val": ("000002",),
        "test": ("000007", "000006"),
    }


def test_splits_can_be_given_as_arrays(tmp_path):
    parts = {}
    for split, classes in zip(SPLITS, ([0, 1, 2, 3], [4, 5], [6, 7]), strict=True):
        rows = np.isin(Y, classes)
        parts |= {f"x_{split}": RNG.normal(size=(rows.sum(), 3)), f"y_{split}": Y[rows]}
    loaded = dataset().load(save(tmp_path, **parts), print)
    assert loaded.class_names["val"] == ("000004", "000005")


def test_labels_numbered_again_in_each_split_are_refused_with_advice(tmp_path):
    parts = {f"{k}_{s}": v for s in SPLITS for k, v in {"x": RNG.normal(size=(40, 3)), "y": Y}.items()}
    with pytest.raises(DataError, match=r"label 000000 is in y_train and in y_val.*add a different offset"):
        dataset().load(save(tmp_path, **parts), print)


def test_the_digest_follows_examples_and_labels(tmp_path):
    x = RNG.normal(size=(40, 3)).astype(np.float32)
    base = dataset().load(save(tmp_path, x=x, y=Y), print).digest
    assert dataset().load(save(tmp_path, x=x, y=Y), print).digest == base
    changed = x.copy()
    changed[3, 1] += 1
    others = [{"x": changed, "y": Y}, {"x": x, "y": (Y + 1) % 8}]
    assert base not in {dataset().load(save(tmp_path, **arrays), print).digest for arrays in others}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((40, 3)), "y": Y[:-1]}, "x has 40 examples and y has 39"),
        ({"x": np.zeros((40, 3))}, "has no array y; it has x"),
        ({"x_train": np.zeros((40, 3))}, "has no array x_val; it has x_train"),
        ({"x": np.zeros((40, 3), np.int64), "y": Y}, "x is int64 of shape"),
        ({"x": np.zeros((40, 5, 6, 6), np.uint8), "y": Y}, r"x is uint8 of shape \(40, 5, 6, 6\)"),
        ({"x": np.full((40, 3), 1e300), "y": Y}, "such as 1e.300 in example 0. Divide all by a constant"),
        (
            {"x": np.full((40, 3), np.nan), "y": Y},
            "such as nan in example 0. Leave out examples where a value is missing",
        ),
        ({"x": np.zeros((40, 3)), "y": Y / 2}, "y is float64 of shape"),
        ({"x": np.array([{}] * 40), "y": Y}, "x holds Python objects, such as lists of different lengths"),
    ],
)
def test_arrays_that_will_not_do_are_refused(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message):
        dataset().load(save(tmp_path, **arrays), print)


@pytest.mark.parametrize(
    ("y", "advice"),
    [
        (Y * 1.0, "Convert them: y.astype(int)."),
        (Y > 2, "Convert them: y.astype(int)."),
        (np.where(Y > 2, np.nan, Y), "Leave out examples where y is NaN or infinite."),
        (Y / 2, "Give each class a whole number. To predict numbers, use dataset=regression_table."),
        (Y.astype("S"), "Convert them: numpy.char.decode(y)."),
        (Y[:, None], "Take its only column: y[:, 0]."),
        (np.eye(10)[Y], "Convert its one-hot rows: y.argmax(1)."),
        (np.stack([Y, Y], 1), "Give each class a whole number. To predict numbers, use dataset=regression_table."),
    ],
)
def test_labels_that_are_refused_are_refused_with_what_to_do(tmp_path, y, advice):
    with pytest.raises(DataError) as caught:
        dataset().load(save(tmp_path, x=np.zeros((40, 3)), y=y), print)
    assert str(caught.value).endswith(f"; it must be one whole number or text for each example. {advice}")


@pytest.mark.parametrize(
    ("y", "convert"),
    [
        (Y * 1.0, lambda y: y.astype(int)),
        (Y.astype("S"), np.char.decode),
        (Y[:, None], lambda y: y[:, 0]),
        (np.eye(10)[Y], lambda y: y.argmax(1)),
    ],
)
def test_what_the_advice_says_gives_labels_that_are_taken(tmp_path, y, convert):
    loaded = dataset().load(save(tmp_path, x=RNG.normal(size=(40, 3)), y=convert(y)), print)
    assert sum(split.n_classes for split in loaded.capacity().values()) == len(set(Y.tolist()))


def test_conventions_for_bytes_are_refused_for_floats(tmp_path):
    save(tmp_path, x=np.zeros((40, 3)), y=Y)
    for changes in ({"invert": True}, {"normalise": [0.5, 0.5]}):
        with pytest.raises(ConfigError, match=r"dataset.invert and dataset.normalise are for uint8 images"):
            dataset(**changes).load(tmp_path, print)


def test_missing_and_damaged_files_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"dataset.file=.*: there is no .*mine.npz"):
        dataset().load(tmp_path, print)
    for content in (b"", b"PK\x03\x04damaged", b"something else"):
        (tmp_path / "mine.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"is not an .npz file of plain arrays"):
            dataset().load(tmp_path, print)


def by_split(**changes: np.ndarray) -> dict[str, np.ndarray]:
    """Images of 2 classes for each split, 4 of each, with ``changes``."""
    parts: dict[str, np.ndarray] = {}
    for number, split in enumerate(SPLITS):
        parts[f"x_{split}"] = RNG.integers(0, 256, (8, 6, 6)).astype(np.uint8)
        parts[f"y_{split}"] = np.repeat([2 * number, 2 * number + 1], 4)
    return {**parts, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"x_train": np.zeros((9, 6, 6), np.uint8), "x_val": np.zeros((7, 6, 6), np.uint8)},
            "x_val has 7 .* y_val has 8",
        ),
        (
            {"y_val": np.array([2, 2, 3]), "y_test": np.repeat([4, 5], [4, 9])},
            "x_test has 8 examples and y_test has 13",
        ),
        ({"x_val": np.zeros((8, 6, 6), np.float32)}, "x_val is float32 of shape|x_val is float32 and x_train is uint8"),
        ({"x_test": np.zeros((8, 1, 6, 6), np.float32)}, "x_test is float32 and x_train is uint8"),
        (
            {"x_val": np.zeros((8, 5, 6), np.uint8)},
            r"an example of x_val is \(1, 5, 6\) and one of x_train is \(1, 6, 6\)",
        ),
        ({"x_test": np.zeros((0, 6, 6), np.uint8)}, r"x_test is uint8 of shape \(0, 6, 6\)"),
        ({"y_val": np.array([["a"]] * 8)}, r"y_val is <U1 of shape \(8, 1\)"),
        ({"y_test": np.array([b"a"] * 8)}, "y_test is text in bytes"),
        ({"y_test": np.array([1, "a", None] * 2 + [1, 2], dtype=object)}, "y_test holds Python objects"),
        ({"x": np.zeros((8, 6, 6), np.uint8)}, "has both x and x_train"),
    ],
)
def test_each_split_is_checked_by_itself(tmp_path, changes, message):
    data = save(tmp_path, **by_split(**changes))
    for call in (lambda: dataset().load(data, print), lambda: dataset().capacity_in(data)):
        with pytest.raises(DataError, match=message) as raised:
            call()
        assert "pickle" not in str(raised.value)
        assert all(line.startswith(str(tmp_path)) for line in str(raised.value).splitlines())
    dataset().load(save(tmp_path, **by_split()), print)
    dataset().capacity_in(tmp_path)


def test_every_wrong_split_has_a_line(tmp_path):
    changes = {"x_val": np.zeros((8, 5, 6), np.uint8), "x_test": np.zeros((8, 6, 7), np.uint8)}
    with pytest.raises(DataError) as raised:
        dataset().load(save(tmp_path, **by_split(**changes)), print)
    assert len(str(raised.value).splitlines()) == 2


def test_floats_with_channels_last_are_images_of_three_channels(tmp_path):
    x = RNG.normal(size=(40, 6, 5, 3)).astype(np.float32)
    loaded = dataset().load(save(tmp_path, x=x, y=Y), print)
    assert loaded.input_shape == (3, 6, 5)
    first = int(np.flatnonzero(Y == 0)[0])
    assert np.array_equal(loaded.examples(torch.tensor([0]))[0].numpy(), x[first].transpose(2, 0, 1))
    many = RNG.normal(size=(40, 3, 6, 3)).astype(np.float32)
    assert dataset().load(save(tmp_path, x=many, y=Y), print).input_shape == (3, 6, 3)


def test_a_bare_array_is_told_from_an_npz_file(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros((4, 3)))
    with pytest.raises(DataError, match=r"is one bare array \(.npy\). Save examples and labels together: numpy.savez"):
        dataset(file="one.npy").load(tmp_path, print)


def test_wrong_names_are_answered_with_the_right_ones(tmp_path):
    with pytest.raises(
        DataError, match="no array x, and none for each split; it has images, labels. Name them x and y"
    ):
        dataset().load(save(tmp_path, images=np.zeros((40, 3)), labels=Y), print)


def test_class_lists_must_be_classes_of_the_labels(tmp_path):
    lists = {"train_classes": np.array([5, 91, 92]), "val_classes": np.array(["2"]), "test_classes": np.array([7])}
    with pytest.raises(DataError) as raised:
        dataset().load(save(tmp_path, x=RNG.normal(size=(40, 3)), y=Y, **lists), print)
    first, second = str(raised.value).splitlines()
    assert "train_classes names 000091, which no label in y is (nor 1 other). Labels in y are such as 000000" in first
    assert "val_classes names 2, which no label in y is" in second


def test_classes_in_no_list_are_counted(tmp_path):
    lists = {"train_classes": np.array([5, 1]), "val_classes": np.array([2]), "test_classes": np.array([7])}
    lines: list[str] = []
    dataset().load(save(tmp_path, x=RNG.normal(size=(40, 3)), y=Y, **lists), lines.append)
    assert any("20 examples of 4 classes that are in no class list" in line for line in lines)


def test_the_capacity_is_known_from_the_labels_alone(tmp_path):
    for arrays in ({"x": RNG.normal(size=(40, 3)), "y": Y}, by_split()):
        data = save(tmp_path, **arrays)
        loaded = dataset().load(data, print)
        assert dataset(rotations="none").capacity_in(data) == loaded.capacity()
        check_ids_by_name(dataset(), data, loaded)


def test_an_array_that_says_it_is_huge_is_refused_before_memory_is_taken(tmp_path):
    import io
    import zipfile

    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**9, 10**6)})
    with zipfile.ZipFile(tmp_path / "mine.npz", "w") as archive:
        archive.writestr("x.npy", file.getvalue())
    with pytest.raises(DataError, match="x is damaged: it says 4000000000000000 bytes, and has 0"):
        dataset().load(tmp_path, print)


def test_examples_in_training_and_in_test_are_counted(tmp_path):
    parts = by_split()
    parts["x_test"][:3] = parts["x_train"][:3]
    lines: list[str] = []
    dataset().load(save(tmp_path, **parts), lines.append)
    (warning,) = [line for line in lines if "Warning" in line]
    assert "the test split has 3 of its 8 examples in the train split" in warning
    lines.clear()
    dataset().load(save(tmp_path, **by_split()), lines.append)
    assert not any("Warning" in line for line in lines)


def test_a_path_may_begin_with_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save(tmp_path, x=RNG.normal(size=(40, 3)), y=Y)
    assert dataset(file="~/mine.npz").load(tmp_path / "elsewhere", print).input_shape == (3,)
    with pytest.raises(DataError, match="there is no such home folder"):
        dataset(file="~nobody-of-this-name/mine.npz").load(tmp_path, print)


def test_a_fifo_or_a_device_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "mine.npz")
    for file in ("mine.npz", "/dev/zero"):
        with pytest.raises(DataError, match="is a FIFO, a socket or a device. Give a regular file or a folder"):
            dataset(file=file).load(tmp_path, print)
    with pytest.raises(DataError, match="is a folder. Give an .npz file in it"):
        dataset(file=str(tmp_path)).load(tmp_path, print)


def _of_scales(folder: Path, **factors: float) -> list[str]:
    """What is said of float splits that are multiplied by factors."""
    arrays = {}
    for number, split in enumerate(SPLITS):
        arrays[f"x_{split}"] = np.random.default_rng(number).random((20, 7)) * factors.get(split, 1.0)
        arrays[f"y_{split}"] = np.repeat(np.arange(4), 5) + 10 * number
    said: list[str] = []
    dataset().load(save(folder, **arrays), said.append)
    return [line for line in said if "scale" in line]


@pytest.mark.parametrize(
    ("factors", "named"),
    [
        ({"train": 255.0}, ["val", "test"]),
        ({"test": 255.0}, ["test"]),
        ({"val": 0.001}, ["val"]),
        ({"val": 0}, ["val"]),
    ],
)
def test_float_splits_of_other_scales_are_named(tmp_path, factors, named):
    said = _of_scales(tmp_path, **factors)
    assert [line.split()[4] for line in said] == named
    assert all("such as 0 to 255 and 0 to 1" in line for line in said)


def test_float_splits_that_only_differ_as_data_do_are_not_named(tmp_path):
    assert not _of_scales(tmp_path, val=3.0, test=0.4)
    assert not _of_scales(tmp_path, train=255.0, val=255.0, test=255.0)
