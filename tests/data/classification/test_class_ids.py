"""Classes are known by their names before their examples are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from class_datasets import check_ids_by_name

from metaexp.config.classes.make import make
from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.core.shapes import SPLITS
from metaexp.data.base import Dataset, MetaDataset, Progress
from metaexp.data.classification.class_ids import named_classes
from metaexp.data.glyphs import Glyphs

DOMAINS = ("omniglot", "icons", "emoji", "fonts", "glyphs")
FEW = {
    "omniglot": ["stand_in_images=2", "split=vinyals_trainval"],
    "omniglot_challenge": ["stand_in_images=8"],
    "mini_imagenet": ["stand_in_images=2", "image_size=8"],
    "tiered_imagenet": ["stand_in_images=2", "image_size=8"],
    "cub": ["stand_in_images=2", "image_size=8"],
    "cifar_fs": ["stand_in_images=2"],
    "fc100": ["stand_in_images=2"],
    "icons": ["stand_in_images=2", "split=category"],
    "emoji": ["stand_in_images=2"],
    "fonts": ["stand_in_images=2"],
    "glyphs": ["train_classes=3", "val_classes=2", "test_classes=4", "per_class=2"],
    "multi_domain": [f"domains.{name}.{'per_class' if name == 'glyphs' else 'stand_in_images'}=2" for name in DOMAINS],
}
"""As few made-up images of each class as there can be."""


def described(name: str, *keys: str) -> Dataset:
    task = ["task.n_way=2", "task.k_shot=1", "task.n_query=1", "eval.weights=last"]
    settings = Composer().settings([f"dataset={name}", *task, *[f"dataset.{key}" for key in keys]], Purpose.LOOK)
    return make(settings.dataset, Dataset)


@pytest.mark.parametrize("name", FEW)
def test_the_names_of_a_stand_ins_classes_are_known_before_it_is_drawn(name: str, tmp_path: Path) -> None:
    description = described(name, *FEW[name], *([] if name == "glyphs" else ["stand_in=true"]))
    check_ids_by_name(description, tmp_path, description.load(tmp_path, lambda _: None))


def test_a_stand_in_has_no_class_of_the_real_dataset(tmp_path: Path) -> None:
    real, made_up, other = (
        described("omniglot", f"stand_in={value}", f"split={split}").class_ids_in(tmp_path)
        for value, split in (("false", "maml"), ("true", "maml"), ("false", "vinyals"))
    )

    def every(found: Any) -> set[str]:
        return {identifier for split in SPLITS for ids in found[split].values() for identifier in ids}

    assert not every(real) & every(made_up)
    assert every(real) == every(other)  # the same characters in other splits


def test_a_mixture_with_a_domain_that_only_its_examples_tell_knows_nothing(tmp_path: Path) -> None:
    assert described("fonts").class_ids_in(tmp_path) is None
    assert described("multi_domain").class_ids_in(tmp_path) is None


class LoadsOwn(Glyphs):
    """What it loads, its base class does not know."""

    def load(self, folder: Path, progress: Progress) -> MetaDataset:
        raise NotImplementedError


class LoadsAndNames(LoadsOwn):
    class_ids_in = Glyphs.class_ids_in


class LoadsTheSame(Glyphs):
    pass


def test_a_dataset_that_loads_otherwise_than_its_base_class_does_not_inherit_its_names(tmp_path: Path) -> None:
    few = {f"{split}_classes": 2 for split in SPLITS}
    assert named_classes(LoadsOwn(**few, per_class=2, seed=0), tmp_path) is None
    for cls in (LoadsAndNames, LoadsTheSame, Glyphs):
        found = named_classes(cls(**few, per_class=2, seed=0), tmp_path)
        assert found is not None
        assert list(found["test"]) == ["test/00000", "test/00001"]
