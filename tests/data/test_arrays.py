from pathlib import Path

import numpy as np
import pytest
import torch

from metaexp.core.errors import ConfigError, DataError
from metaexp.core.shapes import SPLITS, Capacity, TaskShape
from metaexp.data.arrays import Arrays

RNG = np.random.default_rng(0)
Y = np.repeat(np.arange(8), 5)[RNG.permutation(40)]


def dataset(**changes: object) -> Arrays:
    arguments = {
        "file": "mine.npz",
        "fractions": [0.5, 0.25, 0.25],
        "split_seed": 0,
        "invert": False,
        "normalise": None,
        "rotations": "none",
        "rotations_in": "all",
    }
    return Arrays(**{**arguments, **changes})


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


def test_labels_numbered_anew_in_each_split_are_refused_with_advice(tmp_path):
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
        ({"x_train": np.zeros((40, 3))}, "has no array y_train"),
        ({"x": np.zeros((40, 3), np.int64), "y": Y}, "x is int64 of shape"),
        ({"x": np.zeros((40, 5, 6, 6), np.uint8), "y": Y}, r"x is uint8 of shape \(40, 5, 6, 6\)"),
        ({"x": np.full((40, 3), 1e300), "y": Y}, "not finite as float32"),
        ({"x": np.full((40, 3), np.nan), "y": Y}, "not finite"),
        ({"x": np.zeros((40, 3)), "y": Y / 2}, "y is float64 of shape"),
        ({"x": np.array([{}] * 40), "y": Y}, "not an .npz file of plain arrays"),
    ],
)
def test_arrays_that_will_not_do_are_refused(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message):
        dataset().load(save(tmp_path, **arrays), print)


def test_conventions_for_bytes_are_refused_for_floats(tmp_path):
    save(tmp_path, x=np.zeros((40, 3)), y=Y)
    for changes in ({"invert": True}, {"normalise": [0.5, 0.5]}):
        with pytest.raises(ConfigError, match=r"dataset.invert and dataset.normalise are for uint8 images"):
            dataset(**changes).load(tmp_path, print)


def test_missing_and_damaged_files_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"dataset.file: there is no .*mine.npz"):
        dataset().load(tmp_path, print)
    for content in (b"", b"PK\x03\x04damaged", b"something else"):
        (tmp_path / "mine.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"is not an .npz file of plain arrays"):
            dataset().load(tmp_path, print)
