import pytest
from class_datasets import numbered_images, tiny_dataset

from metaexp.core.errors import ConfigError
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.classification.preprocessing import Origin, Pixels
from metaexp.data.classification.trained_classes import count_trained, training_class_ids
from metaexp.data.sinusoid import Sinusoid

SIZES = {"train": [4, 5, 6], "test": [5, 5]}


def split_anew(train: list[str], test: list[str], names: dict[str, str] | None = None, **options: object):
    """The classes of ``tiny_dataset(SIZES)``, perhaps under other names, in other splits."""
    classes = {"train/0": 4, "train/1": 5, "train/2": 6, "test/0": 5, "test/1": 5}
    names = names or {}
    renamed = {names.get(name, name): size for name, size in classes.items()}
    splits = {"train": train, "val": [], "test": test}
    return ClassDataset(Origin("tiny", "0" * 64), numbered_images(25), renamed, splits, **options)


def test_the_split_that_was_trained_with_shares_no_class():
    trained = training_class_ids(tiny_dataset(SIZES))
    assert len(trained) == 6
    assert count_trained(tiny_dataset(SIZES), "tiny", trained, allowed=False) == 0


def test_classes_that_were_trained_on_are_counted_and_refused_unless_allowed():
    trained = training_class_ids(tiny_dataset(SIZES))
    other = split_anew(["test/0"], ["train/1", "train/2", "test/1"])
    assert count_trained(other, "tiny", trained, allowed=True) == 2
    message = r"dataset=tiny: 2 of the 3 test classes were trained on, such as train/1.*--allow-trained-classes"
    with pytest.raises(ConfigError, match=message):
        count_trained(other, "tiny", trained, allowed=False)


def test_a_class_under_another_name_or_inverted_is_recognised_by_its_examples():
    trained = training_class_ids(tiny_dataset(SIZES))
    other = split_anew(["test/0"], ["new name", "test/1"], {"train/1": "new name"}, pixels=Pixels(invert=True))
    assert count_trained(other, "tiny", trained, allowed=True) == 1


def test_a_class_with_other_pixels_is_recognised_by_its_name():
    trained = training_class_ids(tiny_dataset(SIZES))
    classes = {"train/0": 4, "else": 21}
    other = ClassDataset(Origin("tiny", ""), 255 - numbered_images(25), classes, {"test": list(classes)})
    assert count_trained(other, "tiny", trained, allowed=True) == 1
    elsewhere = ClassDataset(Origin("other", ""), 255 - numbered_images(25), classes, {"test": list(classes)})
    assert count_trained(elsewhere, "other", trained, allowed=True) == 0


def test_families_of_functions_have_no_classes(tmp_path):
    family = Sinusoid([0.1, 5.0], [0.0, 3.0], [-5.0, 5.0]).load(tmp_path, print)
    assert training_class_ids(family) == []
    assert count_trained(family, "sinusoid", ["a"], allowed=False) == 0
