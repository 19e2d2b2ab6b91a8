"""Letters of fonts as a dataset."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from forking import run_main
from made_fonts import GREEK, HEBREW, LATIN, families, font, save

from metaexp.core.errors import ConfigError, DataError, MissingDataError
from metaexp.core.shapes import SPLITS, Capacity, TaskShape
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.fonts import Fonts


@pytest.fixture(scope="module")
def fonts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six families of 24 letters in three scripts."""
    return families(tmp_path_factory.mktemp("made") / "fonts", 6)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def dataset(**changes: object) -> Fonts:
    arguments = {
        "folder": None, "font_list": None, "split": "script", "train_scripts": ["Latin"], "val_scripts": ["Greek"],
        "test_scripts": None, "fractions": [0.5, 0.25, 0.25], "split_seed": 0, "min_families": 4, "most_per_script": 8,
        "image_size": 28, "invert": True, "normalise": None, "rotations": "none", "rotations_in": "train",
    }  # fmt: skip
    return Fonts(**{**arguments, **changes})  # type: ignore[arg-type]


def load(data: Path, said: list[str] | None = None, **changes: object) -> ClassDataset:
    loaded = dataset(**changes).load(data, (said if said is not None else []).append)
    assert isinstance(loaded, ClassDataset)
    return loaded


@pytest.mark.parametrize("size", [28, 32, 84])
def test_a_class_is_a_letter_and_its_images_are_by_the_families(fonts: Path, data: Path, size: int) -> None:
    loaded = load(data, folder=str(fonts), image_size=size)
    assert loaded.capacity() == dict.fromkeys(SPLITS, Capacity(8, 6))
    assert loaded.input_shape == (1, size, size)
    assert loaded.class_names["test"] == tuple(f"Hebrew/U+{code:04X}" for code in HEBREW)
    episode = loaded.tasks(TaskShape(3, 1, 2), 0).episodes("test", torch.arange(2))
    assert episode.query.x.amax((-1, -2)).min() > 0.5  # ink is 1
    assert episode.query.x[..., 0, 0].max() == 0.0  # on paper that is 0


def test_the_second_time_it_comes_from_the_cache_until_a_font_changes(fonts: Path, data: Path, tmp_path: Path) -> None:
    mine = families(tmp_path / "mine", 5, LATIN)
    said: list[list[str]] = [[], [], []]
    random_split = {"folder": str(mine), "split": "random"}
    first, second = (load(data, lines, **random_split) for lines in said[:2])
    save(mine / "family0.ttf", font("Family 0", LATIN, seeds={0x41: "another figure"}))
    third = load(data, said[2], **random_split)
    assert first.digest == second.digest != third.digest
    assert [any(line.startswith("Drawing 8 letters in 5 families") for line in lines) for lines in said] == [
        True, False, True,
    ]  # fmt: skip


def test_a_list_pins_the_fonts(fonts: Path, data: Path, tmp_path: Path) -> None:
    mine = families(tmp_path / "mine", 5)
    said: list[str] = []
    first = load(data, said, folder=str(mine))
    (written,) = (data / "cache").glob("fonts-*.txt")
    assert f"The 5 fonts are listed in {written}; dataset.font_list=FILE takes these alone." in said
    save(mine / "new.ttf", font("New", [*LATIN, *GREEK, *HEBREW]))
    pinned = load(data, folder=str(mine), font_list=str(written))
    assert pinned.digest == first.digest != load(data, folder=str(mine)).digest
    save(mine / "family1.ttf", font("Family 1", LATIN))
    with pytest.raises(DataError, match=r"lists 5 fonts, of which 4 are in .*: family1.ttf has another content"):
        load(data, folder=str(mine), font_list=str(written))


def test_copies_and_look_alikes_are_left_out(data: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    letters = [*LATIN, *GREEK, *HEBREW]
    for i in range(4):  # the first Greek letter is drawn like the first Latin one
        save(mine / f"{i}.ttf", font(f"Family {i}", letters, seeds={GREEK[0]: f"Family {i} {LATIN[0]}"}))
    save(mine / "copy.ttf", font("Copy", letters, seeds={code: f"Family 0 {code}" for code in letters}))
    said: list[str] = []
    loaded = load(data, said, folder=str(mine))
    assert loaded.capacity() == {"train": Capacity(8, 4), "val": Capacity(7, 4), "test": Capacity(8, 4)}
    assert "Greek/U+0393" not in loaded.class_names["val"]
    assert "Left out 23 copies of another family, and 4 drawn as another letter is." in said


def test_letters_may_be_divided_at_random(fonts: Path, data: Path) -> None:
    first, second = (load(data, folder=str(fonts), split="random", split_seed=seed) for seed in (0, 1))
    assert first.capacity() == {"train": Capacity(12, 6), "val": Capacity(6, 6), "test": Capacity(6, 6)}
    assert first.class_names != second.class_names


def test_impossible_scripts_are_refused(fonts: Path, data: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset.val_scripts and dataset.train_scripts both have Latin"):
        dataset(val_scripts=["Latin"])
    with pytest.raises(ConfigError, match=r"dataset.train_scripts=\[\] names no script"):
        dataset(train_scripts=[])
    with pytest.raises(
        DataError, match=r"dataset.test_scripts=\[Thai\]: these fonts have no letters of Thai. There are"
    ) as caught:
        load(data, folder=str(fonts), test_scripts=["Thai"])
    assert "Greek (8), Hebrew (8), Latin (8). Choose among these" in str(caught.value)
    with pytest.raises(DataError, match=r"dataset.test_scripts=null: these fonts have no letters of other scripts"):
        load(data, folder=str(fonts), val_scripts=["Greek", "Hebrew"])


def test_too_few_fonts_are_refused(fonts: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"6 font files of 6 families: no letter has drawings by 7 of them"):
        load(data, folder=str(fonts), min_families=7)
    monkeypatch.setattr("metaexp.data.fonts.machine_folders", lambda: [tmp_path])
    with pytest.raises(MissingDataError, match=r"there are no fonts \(.ttf, .otf, .ttc\) in .*Install some"):
        load(data)
    monkeypatch.setattr("metaexp.data.fonts.machine_folders", list)
    with pytest.raises(MissingDataError, match="in the usual folders of this machine"):
        load(data)


def test_a_missing_folder_and_a_missing_list_are_named(fonts: Path, data: Path) -> None:
    with pytest.raises(MissingDataError, match="dataset.folder=nowhere: there is no folder"):
        load(data, folder="nowhere")
    with pytest.raises(MissingDataError, match="dataset.font_list=no.txt: there is no"):
        load(data, folder=str(fonts), font_list="no.txt")


def test_a_stand_in_needs_no_fonts(data: Path) -> None:
    described = dataset(stand_in=True, stand_in_images=3, folder="nowhere", train_scripts=["Latin", "Cyrillic"])
    loaded = described.load(data, lambda line: None)
    assert loaded.capacity() == described.capacity()
    assert described.capacity() == {"train": Capacity(121, 3), "val": Capacity(56, 3), "test": Capacity(238, 3)}
    assert dataset().capacity() is None  # a negative control: fonts are not looked at


def test_the_command_draws_what_is_in_the_fonts(fonts: Path, data: Path, tmp_path: Path) -> None:
    task = ["task.n_query=2", "dataset.min_families=4", "dataset.train_scripts=[Latin]", f"paths.data={data}"]
    ended = run_main(["data", "dataset=fonts", f"dataset.folder={fonts}", *task, "--figure", "a.png"], tmp_path)
    assert ended.code == 0, ended.output
    assert "test             8          48   6" in ended.output
    assert (tmp_path / "a.png").is_file()
