"""``dataset=torch``: any map-style torch dataset becomes classes and splits, or a clear refusal."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from metaexp.cli.main import main
from metaexp.core.errors import ConfigError, DataError
from metaexp.core.shapes import TaskShape
from metaexp.data.wrapped.torch_dataset import TorchDataset

MODULE = '''
import io

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset


_file = io.BytesIO()
Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32), np.uint8)).save(_file, "png")
PNG = _file.getvalue()


class Squares(Dataset):
    """Images of n classes; the brightness is the class."""

    def __init__(self, n_classes=8, per_class=6, first=0, form="pil", lists=True):
        self.n_classes, self.per_class, self.first, self.form = n_classes, per_class, first, form
        if lists:
            self.targets = [first + i % n_classes for i in range(n_classes * per_class)]

    def __len__(self):
        return self.n_classes * self.per_class

    def __getitem__(self, i):
        label = self.first + i % self.n_classes
        array = np.full((6, 6), 20 * label + i // self.n_classes, np.uint8)
        if self.form == "pil":
            return Image.fromarray(array), label
        if self.form == "vector":
            return torch.full((5,), float(label)), torch.tensor(label)
        return torch.from_numpy(array), np.int64(label)


class Streams:
    def __iter__(self):
        return iter(())


class Speechless:
    def __array__(self, dtype=None, copy=None):
        raise ValueError


class Other:
    """Not a torch class, but map-style."""

    def __init__(self, kind="good"):
        self.kind = kind
        self.n = 0
        if kind == "wrong_list":
            self.labels = [0] * 12
        if kind == "short_list":
            self.labels = [0] * 3
        if kind == "masked_list":
            self.labels = np.ma.array([i % 4 for i in range(12)], mask=[i == 5 for i in range(12)])

    def __len__(self):
        if self.kind == "unknown":
            raise RuntimeError("not opened")
        return 0 if self.kind == "empty" else 12

    def __getitem__(self, i):
        self.n += 1
        x = {
            "ragged": np.zeros((4, 4 + i), np.uint8),
            "text": "word",
            "five_channels": np.zeros((5, 4, 5), np.uint8),
            "random": np.full((4, 4), self.n, np.uint8),
            "infinite": np.array([1.0, np.inf]),
            "masked": np.ma.array(np.full((4, 4), i, np.uint8), mask=np.eye(4)),
            "whole_numbers": np.arange(4),
            "float_image": Image.new("F", (4, 4), 0.5),
            "integer_image": Image.new("I", (4, 4), 40000),
            "truncated": Image.open(io.BytesIO(PNG[:70])),
            "uneven": [[1.0, 2.0], [3.0]],
            "sparse": torch.eye(4).to_sparse(),
            "speechless": Speechless(),
        }.get(self.kind, np.full((4, 4), i, np.uint8))
        if self.kind == "random_label":
            return np.full((4, 4), i, np.uint8), self.n // 5 % 4
        if self.kind == "random_later":
            x = np.full((4, 4), self.n if i == 7 else i, np.uint8)
        wrong = {"float": 0.5, "named": "dog", "negative": -1, "two": [1, 2], "nan": np.nan, "whole_float": 1.0 * i}
        wrong["masked_label"] = np.ma.array(i % 4, mask=i == 3)
        y = wrong.get(self.kind, i % 4)
        if self.kind == "fails":
            raise OSError("no such image")
        if self.kind == "leaves":
            raise SystemExit(3)
        if self.kind == "keys":
            return {"image": x, "label": y}
        if self.kind == "three":
            return x, y, i
        return x if self.kind == "alone" else (x, y)
'''
DEFAULTS: dict[str, Any] = {
    "val_target": None, "val_arguments": None, "test_target": None, "test_arguments": None, "renumbered": False,
    "train_classes": None, "val_classes": None, "test_classes": None, "fractions": [0.5, 0.25, 0.25], "split_seed": 0,
    "image_size": None, "invert": False, "normalise": None, "rotations": "none", "rotations_in": "all",
}  # fmt: skip


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module with datasets, to be imported from a folder."""
    name = f"own_squares_{abs(hash(tmp_path)) % 10**8}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield name
    sys.modules.pop(name, None)


def described(target: str | None, arguments: dict[str, Any] | None = None, **more: Any) -> TorchDataset:
    return TorchDataset(target=target, arguments=arguments or {}, **{**DEFAULTS, **more})


def test_classes_come_from_labels_and_are_divided_by_fractions(package: str, tmp_path: Path) -> None:
    loaded = described(f"{package}.Squares").load(tmp_path, print)
    assert {split: tuple(c) for split, c in loaded.capacity().items()} == {
        "train": (4, 6),
        "val": (2, 6),
        "test": (2, 6),
    }
    assert loaded.input_shape == (1, 6, 6)
    support = loaded.tasks(TaskShape(2, 1, 1), 0).episodes("train", torch.arange(3)).support
    shown = (support.x[:, :, 0, 0, 0] * 255).round().long() // 20
    names = [int(name) for name in loaded.class_names["train"]]
    assert set(shown.flatten().tolist()) <= set(names)
    assert (shown[:, 0] != shown[:, 1]).all()


@pytest.mark.parametrize(("form", "shape"), [("pil", (1, 6, 6)), ("tensor", (1, 6, 6)), ("vector", (5,))])
def test_images_and_vectors_are_read_with_and_without_a_list_of_labels(
    package: str, tmp_path: Path, form: str, shape: tuple[int, ...]
) -> None:
    with_list, without = (
        described(f"{package}.Squares", {"form": form, "lists": lists}).load(tmp_path, print) for lists in (True, False)
    )
    assert with_list.input_shape == shape
    assert with_list.digest == without.digest
    other = described(f"{package}.Squares", {"form": form, "per_class": 7}).load(tmp_path, print)
    assert other.digest != with_list.digest


def test_the_digest_is_that_of_the_items_whatever_class_gives_them(package: str, tmp_path: Path) -> None:
    pil, tensor = (described(f"{package}.Squares", {"form": form}).load(tmp_path, print) for form in ("pil", "tensor"))
    assert pil.origin.digest == tensor.origin.digest


def test_pil_images_are_brought_to_one_size(package: str, tmp_path: Path) -> None:
    loaded = described(f"{package}.Squares", image_size=9).load(tmp_path, print)
    assert loaded.input_shape == (1, 9, 9)


def test_lists_of_labels_divide_the_classes_and_leave_out_others(package: str, tmp_path: Path) -> None:
    lines: list[str] = []
    lists = {"train_classes": [3, 1], "val_classes": [0], "test_classes": [7, 2]}
    loaded = described(f"{package}.Squares", **lists).load(tmp_path, lines.append)
    assert loaded.class_names == {"train": ("000003", "000001"), "val": ("000000",), "test": ("000007", "000002")}
    assert lines[0] == f"Reading 30 items of {package}.Squares."
    with pytest.raises(DataError, match="dataset.val_classes: no item of .* has the label 99"):
        described(f"{package}.Squares", **{**lists, "val_classes": [0, 99]}).load(tmp_path, print)


def test_one_dataset_for_each_split(package: str, tmp_path: Path) -> None:
    more = {"val_arguments": {"first": 8, "n_classes": 2}, "test_arguments": {"first": 10, "n_classes": 2}}
    loaded = described(f"{package}.Squares", {"n_classes": 3}, **more).load(tmp_path, print)
    assert {split: c.n_classes for split, c in loaded.capacity().items()} == {"train": 3, "val": 2, "test": 2}
    assert loaded.class_names["test"] == ("000010", "000011")


def test_labels_that_begin_again_in_each_split_must_be_said_to(package: str, tmp_path: Path) -> None:
    more = {"val_arguments": {"per_class": 5}, "test_arguments": {"per_class": 4}}
    with pytest.raises(DataError, match="label 0 is in train and in val.*dataset.renumbered=true"):
        described(f"{package}.Squares", **more).load(tmp_path, print)
    loaded = described(f"{package}.Squares", **more, renumbered=True).load(tmp_path, print)
    assert loaded.class_names["val"][0] == "val/000000"
    assert {split: c.n_classes for split, c in loaded.capacity().items()} == {"train": 8, "val": 8, "test": 8}


def test_datasets_of_other_shapes_in_other_splits_are_refused(package: str, tmp_path: Path) -> None:
    more = {"val_arguments": {"form": "vector"}, "test_arguments": {}}
    with pytest.raises(DataError, match=r"items of val are torch.float32 of shape \(5,\), and those of train"):
        described(f"{package}.Squares", **more, renumbered=True).load(tmp_path, print)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "ragged",
            r"item 1 is uint8 of shape \(1, 4, 5\), and item 0 is uint8 of shape \(1, 4, 4\)",
        ),
        ("text", r"item 0 is <U4 of shape \(\); an example must be a PIL image, a uint8 image, or floats"),
        ("whole_numbers", r"item 0 is int64 of shape \(4,\); an example must be"),
        ("five_channels", r"item 0 is uint8 of shape \(5, 4, 5\); images must be .* with 1 or 3 channels"),
        (
            "infinite",
            "item 0 has values that are not finite as float32, such as inf. Leave the item out of the dataset",
        ),
        ("masked", r"item 0 is masked \(numpy\.ma\).* leave the item out of the dataset, or fill it in"),
        ("masked_label", r"the label of .*item 3 is masked \(numpy\.ma\)"),
        ("masked_list", r"has masked labels in its labels \(numpy\.ma\)\. Leave items without a label out"),
        ("float", "item 0 has the label 0.5; labels must be whole numbers, .* use dataset=regression_table"),
        (
            "whole_float",
            r"item 0 has the label 0\.0; labels must be whole numbers, .* Return int\(label\)",
        ),
        ("nan", "item 0 has the label nan; .* Leave items without a label out of the dataset"),
        ("named", "item 0 has the label 'dog'; labels must be whole numbers, .* Give each class a number"),
        ("two", r"item 0 has the label \[1, 2\]; labels must be whole numbers, one for each item\. .* label.argmax"),
        ("negative", "item 0 has the label -1; labels must not be negative"),
        ("alone", "item 0 is a ndarray; it must be a pair of an example and its label"),
        ("keys", "item 0 is a dict with the keys image, label; it must be a pair of .* Derive a class of your own"),
        ("three", "item 0 is a tuple of length 3; it must be a pair of an example and its label"),
        ("fails", "item 0 cannot be read: OSError: no such image"),
        ("leaves", "item 0 cannot be read: SystemExit: 3"),
        ("random", "item 0 differs when it is read again, as with random transforms"),
        ("random_later", "item 7 differs when it is read again"),
        ("random_label", "item 0 differs when it is read again"),
        ("float_image", "item 0 is a PIL image of mode F, whose values have no known range"),
        ("integer_image", "item 0 is a PIL image of mode I, whose values have no known range"),
        ("truncated", "item 0 cannot be read: OSError: "),
        ("uneven", "item 0 cannot be made into an array: setting an array element with a sequence"),
        ("sparse", "item 0 cannot be made into an array: can't convert Sparse layout tensor to numpy"),
        ("speechless", r"item 0 cannot be made into an array: ValueError\."),
        ("unknown", "does not say how many items it has: RuntimeError: not opened"),
        ("wrong_list", "item 1 has the label 1, and its list of labels says 0"),
        ("short_list", "has 12 items, and its labels are 3"),
        ("empty", "has no items"),
    ],
)
def test_items_that_cannot_be_used_are_named(package: str, tmp_path: Path, kind: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        described(f"{package}.Other", {"kind": kind}).load(tmp_path, print)


def test_good_items_of_a_class_that_is_not_torchs_are_read(package: str, tmp_path: Path) -> None:
    assert described(f"{package}.Other").load(tmp_path, print).input_shape == (1, 4, 4)


UNUSUAL = """
import numpy as np
import torch
from PIL import Image


class Unusual:
    '''The brightness is the number of the item, however it is given.'''

    buffer = np.zeros((4, 4), np.uint8)

    def __init__(self, form):
        self.form = form

    @property
    def targets(self):
        raise RuntimeError("not read yet")

    def __len__(self):
        return 12

    def __getitem__(self, i):
        array = np.full((4, 4), 10 * i, np.uint8)
        if self.form == "one_buffer":
            self.buffer[:] = array
            return self.buffer, i % 4
        if self.form == "transparent":
            image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
            image.putalpha(Image.fromarray(255 - array))
            return image, i % 4
        return torch.tensor(array / 256, dtype=torch.bfloat16, requires_grad=True), i % 4
"""


@pytest.mark.parametrize(("form", "unit"), [("one_buffer", 255), ("transparent", 255), ("bfloat16", 256)])
def test_every_item_is_seen_as_it_is(form: str, unit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the last one in the place of all, and not the colour that lies below what is transparent."""
    name = f"own_unusual_{form}"
    (tmp_path / f"{name}.py").write_text(UNUSUAL)
    monkeypatch.syspath_prepend(str(tmp_path))
    loaded = described(f"{name}.Unusual", {"form": form}).load(tmp_path, print)
    brightness = loaded.examples(torch.arange(12)).flatten(1)[:, 0] * unit
    assert sorted(brightness.tolist()) == pytest.approx([10 * i for i in range(12)], abs=1e-4)


PHOTOGRAPHS = """
import io

import numpy as np
import torch
from PIL import Image, ImageOps


class Photographs:
    '''A camera was turned for every second one.'''

    def __init__(self, form, orientation=6):
        self.form, self.orientation = form, orientation

    def __len__(self):
        return 12

    def __getitem__(self, i):
        pixels = np.arange(16).reshape(4, 4).astype(np.uint8) * (i + 1)
        exif = Image.Exif()
        if i % 2:
            exif[0x0112] = self.orientation
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG", exif=exif)
        image = Image.open(file)
        if self.form == "array":
            return np.asarray(image), i % 4
        if self.form == "converted":
            image = image.convert("RGB")
        if self.form == "upright":
            image = ImageOps.exif_transpose(image)
        return image, i % 4
"""


@pytest.mark.parametrize(
    ("form", "orientation", "is_turned_here"),
    [
        ("file", 6, True),
        ("file", 3, True),
        ("file", 2, True),
        ("converted", 6, True),
        ("upright", 6, False),
        ("file", 1, False),
        ("array", 6, False),
    ],
)
def test_photographs_are_turned_as_in_folders_of_images(
    form: str, orientation: int, is_turned_here: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"own_photographs_{form}_{orientation}"
    (tmp_path / f"{name}.py").write_text(PHOTOGRAPHS)
    monkeypatch.syspath_prepend(str(tmp_path))
    lines: list[str] = []
    loaded = described(f"{name}.Photographs", {"form": form, "orientation": orientation}).load(tmp_path, lines.append)
    examples = (loaded.examples(torch.arange(12))[:, 0] * 255).round().long()
    plain = torch.arange(16).reshape(4, 4)
    turned = {6: plain.rot90(-1), 3: plain.rot90(2), 2: plain.flip(1), 1: plain}[orientation]
    wanted = {0: plain, 1: plain if form == "array" else turned}
    numbers = sorted(range(12), key=lambda i: i % 4)  # the order of the labels
    assert torch.equal(examples, torch.stack([wanted[i % 2] * (i + 1) for i in numbers]))
    said = [line for line in lines if line.startswith("  6 of 12 items were turned upright")]
    assert len(said) == is_turned_here


def test_two_classes_cannot_be_divided(package: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 2 classes, which cannot be divided into train, val and test"):
        described(f"{package}.Squares", {"n_classes": 2}).load(tmp_path, print)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("Streams", {}, "has no __len__, so it is not a map-style dataset"),
        ("Squares", {"sides": 4}, "cannot be made with {'sides': 4}: .*unexpected keyword argument"),
    ],
)
def test_classes_that_cannot_be_made_are_refused(
    package: str, tmp_path: Path, name: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        described(f"{package}.{name}", arguments).load(tmp_path, print)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"train_classes": [1]}, "dataset.train_classes is given, and dataset.val_classes is not. Give all three."),
        ({"val_arguments": {}}, "the test split has none. Give dataset.test_arguments, too."),
        ({"test_target": "a.B"}, "the val split has none. Give dataset.val_arguments, too."),
        (
            {"val_arguments": {}, "test_arguments": {}, "train_classes": [1], "val_classes": [2], "test_classes": [3]},
            "both say the splits. Leave one out.",
        ),
        ({"renumbered": True}, "dataset.renumbered=true is for one dataset for each split"),
        ({"train_classes": [1], "val_classes": [2], "test_classes": [1]}, "label 1 is in the classes of two splits"),
    ],
)
def test_splits_are_given_in_one_way(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        described("a.B", **given)


def test_images_and_floats_have_their_own_settings(package: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dataset.invert and dataset.normalise are for uint8 images"):
        described(f"{package}.Squares", {"form": "vector"}, invert=True).load(tmp_path, print)
    assert described(f"{package}.Squares", invert=True).load(tmp_path, print).stores_bytes


def test_without_a_class_it_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset.target=null: name the class of your dataset"):
        described(None).load(tmp_path, print)


def run(tmp_path: Path, package: str, *more: str) -> int:
    return main(
        [
            "train", "dataset=torch", f"dataset.target={package}.Squares", "dataset.arguments.per_class=5",
            "dataset.fractions=[0.4,0.3,0.3]", "task.n_way=2", "task.k_shot=1", "task.n_query=2", "algorithm=proto_net",
            "model=mlp", "train.steps=2", "train.eval_every=2", "train.eval_episodes=4", "eval.episodes=4",
            f"paths.outputs={tmp_path}/out", f"paths.data={tmp_path}", *more,
        ]
    )  # fmt: skip


def test_a_class_of_a_package_that_is_not_trusted_is_refused_before_it_is_imported(
    package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, package) == 2
    message = capsys.readouterr().err
    assert f"dataset.target={package}.Squares is refused, and nothing of it was imported" in message
    assert f"--trust {package}" in message
    assert package not in sys.modules


def test_a_trusted_class_is_trained_on_and_its_code_and_data_are_in_the_record(package: str, tmp_path: Path) -> None:
    assert run(tmp_path, package, "--trust", package) == 0
    (file,) = (tmp_path / "out").rglob("record.json")
    record = json.loads(file.read_text())
    assert record["status"] == "completed"
    assert record["dataset"] == f"torch-{package}.Squares"
    assert record["config"]["dataset"]["arguments"] == {"per_class": 5}
    assert f"{package}.py" in json.dumps(record)
    assert np.isfinite(record["test"]["mean"])


def test_an_unknown_class_of_a_trusted_package_is_named(
    package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, package, "--trust", package, f"dataset.target={package}.Squars") == 2
    assert f"dataset.target={package}.Squars: {package} has no class Squars. Did you mean Squares?" in (
        capsys.readouterr().err
    )
    assert run(tmp_path, package, "--trust", package, "dataset.target=Squares") == 2
    assert "must be the dotted path of a class" in capsys.readouterr().err


def test_colour_images_keep_their_colours(tmp_path: Path, package: str) -> None:
    from metaexp.data.wrapped.items import read_items

    red = Image.new("RGB", (5, 5), (200, 10, 30))
    items = read_items([(red, 0), (red.convert("L"), 1)][:1], "list", None, None, print)
    assert items.examples[0, :, 0, 0].tolist() == [200, 10, 30]
