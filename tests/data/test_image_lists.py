"""Images whose classes and splits are in a CSV."""

import numpy as np
import pytest
import torch
from PIL import Image

from metaexp.core.errors import DataError, MissingDataError
from metaexp.data.image_folder import ImageFolder


def listed(folder, rows, header="file,label,split"):
    (folder / "labels.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


LISTED = ["0.png,b,test", "1.png,a,train", "2.png,a,train", "3.png,c,val", "sub/4.png,c,val"]


def of_list(labels="labels.csv"):
    return ImageFolder("mine", 4, 1, [0.5, 0.25, 0.25], 0, False, None, "none", "all", labels=labels)


@pytest.fixture
def flat(tmp_path):
    """Six images of one grey value each, five of them beside one another, and no folder of a class."""
    (tmp_path / "mine" / "sub").mkdir(parents=True)
    for n in range(6):
        place = tmp_path / "mine" / ("sub" if n == 4 else "") / f"{n}.png"
        Image.fromarray(np.full((4, 4), 10 * n, np.uint8)).save(place)
    return tmp_path


def test_a_list_says_class_and_split_of_each_image(flat):
    said = []
    loaded = of_list().load(listed(flat, LISTED), said.append)
    assert loaded.class_names == {"train": ("a",), "val": ("c",), "test": ("b",)}
    values = (loaded.examples(torch.arange(5))[:, 0, 0, 0] * 255).round().tolist()
    assert values == [10, 20, 0, 30, 40]
    assert any("1 image that" in line and "does not list" in line for line in said)
    assert of_list().capacity_in(flat) == loaded.capacity()


def test_another_list_of_the_same_images_is_read_again(flat):
    first = of_list().load(listed(flat, LISTED), print)
    changed = [LISTED[0], "1.png,a,train", "2.png,z,train", *LISTED[3:]]
    second = of_list().load(listed(flat, changed), print)
    assert second.class_names["train"] == ("a", "z")
    assert second.digest != first.digest


def test_a_list_without_splits_is_divided_by_fractions(flat):
    rows = [f"{n}.png,c{n}" for n in (0, 1, 2, 3, 5)]
    loaded = of_list().load(listed(flat, rows, "filename,class"), print)
    assert sorted(sum(loaded.class_names.values(), ())) == ["c0", "c1", "c2", "c3", "c5"]


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("file,split", ["0.png,train"], r"has no column label; it has file, split"),
        ("name,label", ["0.png,a"], r"has no column file; it has name, label"),
        ("file,path,label", ["0.png,0.png,a"], r"has the columns file and path\. Keep the one with the file"),
        ("file,label", ["9.png,a"], r"line 2: there is no file '9\.png' in .*mine"),
        ("file,label", ["/etc/passwd,a"], r"line 2: there is no file '/etc/passwd'"),
        ("file,label", ["0.png,a", "0.png,b"], r"0\.png is on line 2 and on line 3"),
        ("file,label", ["0.png,"], r"line 2: 0\.png has no label"),
        ("file,label", [], r"lists no images"),
        ("file,label,split", ["0.png,a,train", "1.png,a,test"], r"line 3: class a is in train and in test"),
        ("file,label,split", ["0.png,a,dev"], r"line 2: split is 'dev'; it must be train, val, test"),
        ("file,label,split", ["0.png,a,train"], r"no class is in val"),
    ],
)
def test_a_wrong_list_is_refused_by_line_or_column(flat, header, rows, message):
    with pytest.raises(DataError, match=message):
        of_list().load(listed(flat, rows, header), print)


def test_a_missing_list_names_its_key(flat):
    with pytest.raises(MissingDataError, match=r"dataset\.labels=nothing\.csv: there is no file"):
        of_list("nothing.csv").load(flat, print)
