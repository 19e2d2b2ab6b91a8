"""Icons and emoji from a tiny archive: found, chosen, drawn, kept, and made into episodes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from class_datasets import check_ids_by_name
from forking import run_main
from tiny_icons import CONCEPTS, EMOJI

from metaexp.core.errors import ConfigError, DataError
from metaexp.core.shapes import SPLITS, TaskShape
from metaexp.data.base import MetaDataset
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.icons import lists, prepare
from metaexp.data.icons.dataset import Emoji, Icons
from metaexp.data.icons.lists import classes, left_out
from metaexp.data.icons.package import split_by_category


def icons(**more: object) -> Icons:
    arguments = {"licences": "permissive", "designers": 10, "split": "random", "leave_out": None, "image_size": 28}
    return Icons(**{**arguments, "invert": True, "normalise": None, **more})  # type: ignore[arg-type]


def emoji(**more: object) -> Emoji:
    arguments = {"licences": "permissive", "designers": 4, "split": "random", "leave_out": None, "image_size": 28}
    return Emoji(**{**arguments, "normalise": None, **more})  # type: ignore[arg-type]


def loaded(dataset: Icons | Emoji, data: Path, lines: list[str] | None = None) -> ClassDataset:
    found = dataset.load(data, ([] if lines is None else lines).append)
    assert isinstance(found, ClassDataset)
    return found


def n_classes(dataset: MetaDataset) -> int:
    return sum(c.n_classes for c in (dataset.capacity() or {}).values())


def test_icons_are_one_drawing_by_each_designer(listed: Path) -> None:
    dataset = icons()
    found = loaded(dataset, listed)
    assert found.capacity() == dataset.capacity()
    check_ids_by_name(dataset, listed, found)
    assert n_classes(found) == len(CONCEPTS)
    assert found.input_shape == (1, 28, 28)
    sizes = found._sizes
    assert sizes["a"] == 11  # all but the one of the set under the GPL, and one drawing of two versions of a set
    assert sizes["user-plus"] == 10  # without the copy
    assert sizes["b"] == sizes["c"] == 10  # without the empty one, and without the one that was withdrawn
    assert left_out("icons") == {"designer-1:user-plus", "designer-2:b"}
    everything = loaded(icons(licences="all"), listed)
    assert everything._sizes["a"] == 12
    assert everything.digest != found.digest
    x = found.examples(torch.arange(10))
    assert x.min() == 0.0
    assert x.max() == 1.0  # ink is 1
    assert x.mean() < 0.5


def test_emoji_are_the_drawings_of_all_sets_in_colour_without_tones(listed: Path) -> None:
    found = loaded(emoji(), listed)
    assert n_classes(found) == len(EMOJI)
    assert found.input_shape == (3, 28, 28)
    names = {name for split in SPLITS for name in found.class_names[split]}
    assert "1f400_emoji-0" in names
    assert not any("dark" in name or "1f3ff" in name for name in names)
    assert set(found._sizes.values()) == {8}  # ten sets without the two that are share-alike; each emoji in each
    assert set(loaded(emoji(licences="all"), listed)._sizes.values()) == {10}


def test_it_is_drawn_once_and_then_comes_from_the_cache(listed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    first = loaded(icons(), listed, lines)
    assert f"Drawing {sum(first._sizes.values())} icons of {len(CONCEPTS)} concepts by 11 designers." in lines
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    monkeypatch.setattr(prepare, "find_archive", None)
    lines.clear()
    again = loaded(icons(), listed, lines)
    assert (lines, again.digest) == ([], first.digest)
    with pytest.raises(DataError, match=r"needs resvg-py, once.*pip install 'resvg-py>=0.5,<0.6'"):
        icons(image_size=20).load(listed, print)  # another size is another drawing


def test_a_cache_with_a_changed_pixel_is_drawn_again(listed: Path) -> None:
    first = loaded(icons(), listed)
    (file,) = (listed / "cache").glob("icons-*.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 0xFF
    file.write_bytes(content)
    lines: list[str] = []
    again = loaded(icons(), listed, lines)
    assert any("is damaged; building it again" in line for line in lines)
    assert again.digest == first.digest


def test_drawings_that_are_not_the_published_ones_are_named(listed: Path) -> None:
    lines: list[str] = []
    digest = loaded(icons(), listed, lines).origin.digest
    file = prepare.FOLDER / "icons" / "digests.txt"
    file.write_text(f"icons permissive 28 {digest}\n")
    loaded(icons(), listed, lines)
    assert not any(line.startswith("Warning") for line in lines)
    file.write_text(f"icons permissive 28 {'0' * 64}\n")
    loaded(icons(), listed, lines)
    assert lines[-1].startswith("Warning: these drawings of icons differ from the published ones")


def test_an_archive_that_the_lists_do_not_fit_is_refused(listed: Path) -> None:
    for split in SPLITS:
        file = prepare.FOLDER / "icons_random" / f"{split}.txt"
        file.write_text(file.read_text().replace("a 11 11", "a 12 12"))
    lists.counts.cache_clear()
    with pytest.raises(
        DataError, match=r"a has \(11, 11\) designers and drawings, and the packaged lists say \(12, 12\)"
    ):
        icons().load(listed, print)


def test_concepts_that_share_a_word_stay_together(listed: Path) -> None:
    by_split = classes("icons", "category", "permissive", 10)
    for noun in ("user", "file", "star"):
        assert len({split for split in SPLITS for c in by_split[split] if c.startswith(noun)}) == 1
    drawn = [{split for split in SPLITS for c in classes("icons", "random", "all", 10)[split] if c.startswith("user")}]
    assert drawn != [{"train"}]
    assert sorted(c for split in SPLITS for c in by_split[split]) == sorted(CONCEPTS)
    parts = split_by_category({f"{i}": "large" if i < 60 else f"small {i}" for i in range(100)})
    assert {"0", "59"} <= set(parts["train"])
    assert all(parts.values())


def test_test_queries_are_those_of_the_designer_who_is_left_out(listed: Path) -> None:
    everything = loaded(icons(), listed)
    without = loaded(icons(leave_out="designer-7"), listed)
    assert icons(leave_out="designer-7").capacity() is None
    assert icons(leave_out="designer-7").class_ids_in(listed) is None
    assert without.capacity()["train"].per_class == everything.capacity()["train"].per_class - 1
    episodes = without.tasks(TaskShape(2, 3, 1), 0).episodes("test", torch.arange(40))
    own = {without.examples(row).numpy().tobytes() for row in last_rows(without, "test")}
    assert {x.numpy().tobytes() for task in episodes.query.x for x in task} == own
    assert not own & {x.numpy().tobytes() for task in episodes.support.x for x in task}
    assert not own & {x.numpy().tobytes() for row in training_rows(without) for x in [without.examples(row)]}
    usual = everything.tasks(TaskShape(2, 3, 1), 0).episodes("test", torch.arange(40))
    assert not {x.numpy().tobytes() for task in usual.query.x for x in task} <= own
    assert without.digest != everything.digest
    with pytest.raises(
        ConfigError, match=r"task.n_query=2: the designer of dataset.leave_out drew 1 .* Set task.n_query=1"
    ):
        without.tasks(TaskShape(2, 1, 2), 0).bank_hash("test", 1)


def test_a_designer_with_two_sets_draws_two_queries_of_each_class(listed: Path) -> None:
    without = loaded(emoji(leave_out="noto"), listed)
    assert without.capacity()["test"].per_class == 8  # six by others, and the last two
    draw = without.tasks(TaskShape(2, 5, 2), 0).draw("test", torch.arange(40))
    table = without.table("test")
    last = {int(row) for row in torch.cat([table.first + table.length - 1, table.first + table.length - 2])}
    assert set(draw.query_rows.flatten().tolist()) == last
    assert not last & set(draw.support_rows.flatten().tolist())
    with pytest.raises(ConfigError, match=r"task.k_shot=7: without the designer of dataset.leave_out, .* 6 drawings"):
        without.tasks(TaskShape(2, 7, 1), 0).bank_hash("test", 1)


def last_rows(dataset: ClassDataset, split: str) -> list[torch.Tensor]:
    table = dataset.table(split)  # type: ignore[arg-type]
    return list(table.first + table.length - 1)


def training_rows(dataset: ClassDataset) -> list[torch.Tensor]:
    table = dataset.table("train")
    return [first + i for first, length in zip(table.first, table.length, strict=True) for i in range(length)]


def test_settings_that_fit_no_list_are_refused_with_what_is_possible(listed: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset.designers=9 is too few: .* at least 10 designers"):
        icons(designers=9)
    with pytest.raises(ConfigError, match=r"dataset.designers=13 is too many: .* Give 10 to 1[01]\."):
        icons(designers=13)
    with pytest.raises(ConfigError, match=r"dataset.leave_out=nobody is not a designer .* designer-0, designer-1"):
        icons(leave_out="nobody")
    with pytest.raises(ConfigError, match=r"dataset.leave_out=desiner-7 is not a .* Did you mean designer-7\?"):
        icons(leave_out="desiner-7")
    with pytest.raises(ConfigError, match=r"dataset.leave_out=designer-7 needs drawings by designers"):
        icons(leave_out="designer-7", stand_in=True)


def test_one_command_goes_from_the_archive_to_a_test_accuracy(
    listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metaexp.run.outputs.draw", lambda *_: {})  # figures take longer than this run
    small = "train.steps=1 train.eval_episodes=1 eval.episodes=2 task.n_way=2 task.n_query=2 tracker=files device=cpu"
    where = [f"paths.data={listed}", f"paths.outputs={tmp_path / 'outputs'}"]
    wanted = ["algorithm=proto_net", "dataset=icons", "dataset.designers=10"]
    ended = run_main(["train", *wanted, *small.split(), *where], tmp_path)
    assert ended.code == 0, ended.output
    (record,) = (tmp_path / "outputs").glob("*/record.json")
    content = json.loads(record.read_text())
    assert (content["status"], content["dataset"]) == ("completed", "icons")
    assert 0 <= content["test"]["mean"] <= 1
