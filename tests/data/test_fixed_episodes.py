"""Test episodes of one's own, from a CSV file and a folder of images."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import torch
from forking import run_main
from PIL import Image

from metaexp.core.errors import DataError, MissingDataError
from metaexp.core.shapes import Capacity, FixedBank, TaskShape
from metaexp.data.fixed.tasks import FixedTestDataset
from metaexp.data.fixed_episodes import FixedEpisodes

SHAPE = TaskShape(2, 1, 1)
ROWS = ["1,support,x,a/0.png", "1,support,y,b/0.png", "1,query,y,b/1.png", "1,query,x,a/1.png"]
MORE = ["2,support,y,a/0.png", "2,support,x,b/0.png", "2,query,x,b/2.png", "2,query,y,a/2.png"]  # x and y exchanged
RIGHT = ["dataset=fixed_episodes", "dataset.file=mine/episodes.csv", "dataset.image_size=28", "dataset.channels=1"]
TASK = ["task.n_way=2", "task.k_shot=1", "task.n_query=1"]


def value(folder: str, number: int) -> int:
    return 40 * (ord(folder) - ord("a")) + 10 * number


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with images of four classes and two episodes of two of them, which call these x and y."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("METAEXP_DATA", str(tmp_path / "data"))
    for folder in "abcd":
        place = tmp_path / "data" / "mine" / folder
        place.mkdir(parents=True)
        for number in range(3):
            Image.new("L", (28, 28), value(folder, number)).save(place / f"{number}.png")
    write_list(tmp_path / "data", [*ROWS, *MORE])
    return tmp_path / "data"


def write_list(data: Path, rows: list[str]) -> None:
    (data / "mine" / "episodes.csv").write_text("\n".join(["episode,role,class,image", *rows]) + "\n")


def dataset(**changes: object) -> FixedEpisodes:
    arguments = {
        "file": "mine/episodes.csv", "folder": None, "image_size": 4, "channels": 1, "invert": False, "normalise": None,
    }  # fmt: skip
    return FixedEpisodes(**{**arguments, **changes})  # type: ignore[arg-type]


def test_episodes_show_the_images_of_the_file(data: Path) -> None:
    loaded = dataset().load(data, lambda line: None)
    assert isinstance(loaded, FixedTestDataset)
    episodes = loaded.tasks(SHAPE, 0).episodes("test", torch.arange(2))
    shown = (episodes.query.x[..., 0, 0, 0] * 255).round().int().tolist()
    assert shown == [[value("b", 1), value("a", 1)], [value("b", 2), value("a", 2)]]
    assert episodes.query.y.tolist() == [[1, 0], [1, 0]]  # in the second episode b has the name that a had in the first
    assert dataset().capacity_in(data) == loaded.capacity() == {"test": Capacity(2, 4)}
    assert dataset().fixed_bank(data) == FixedBank(SHAPE, 2)
    assert dataset().fixed_bank(None) is None


def test_the_images_may_be_in_an_archive_elsewhere(data: Path) -> None:
    with zipfile.ZipFile(data / "images.zip", "w") as archive:
        for image in sorted((data / "mine").rglob("*.png")):
            archive.write(image, image.relative_to(data / "mine"))
    elsewhere, beside = (dataset(folder=f).load(data, lambda line: None) for f in ("images.zip", None))
    first, second = (loaded.tasks(SHAPE, 0).episodes("test", torch.arange(2)) for loaded in (elsewhere, beside))
    assert torch.equal(first.support.x, second.support.x)
    assert not torch.equal(first.support.x, first.query.x)


def test_other_rows_and_other_pixels_give_another_digest(data: Path) -> None:
    def digest() -> str:
        return dataset().load(data, lambda line: None).digest

    first = digest()
    assert digest() == first
    write_list(data, ROWS)
    second = digest()
    Image.new("L", (28, 28), 200).save(data / "mine" / "a" / "1.png")
    assert len({first, second, digest()}) == 3


def test_a_missing_file_a_missing_folder_and_a_missing_image_are_named(data: Path) -> None:
    with pytest.raises(MissingDataError, match=r"dataset.file=no.csv: there is no .*no.csv. Give a CSV file"):
        dataset(file="no.csv").load(data, lambda line: None)
    with pytest.raises(MissingDataError, match=r"dataset.folder=nowhere: there is no .*nowhere"):
        dataset(folder="nowhere").load(data, lambda line: None)
    (data / "mine" / "a" / "2.png").unlink()
    with pytest.raises(DataError, match="lacks 1 of 6 images; the first is a/2.png"):
        dataset().load(data, lambda line: None)


@pytest.mark.parametrize("folder", [None, "mine/b"])
def test_a_missing_image_says_which_folder_was_taken_and_what_to_set(data: Path, folder: str | None) -> None:
    write_list(data, [row.replace(",a/", ",no/") for row in ROWS])
    with pytest.raises(DataError) as caught:
        dataset(folder=folder).load(data, lambda line: None)
    message = str(caught.value)
    assert "dataset.file=mine/episodes.csv gives the paths of images inside dataset.folder" in message
    assert f"dataset.folder, which is {folder or 'null'}" in message
    assert "set dataset.folder to the folder, zip or tar" in message


def test_a_trained_run_is_tested_on_them_by_a_command(data: Path, tmp_path: Path) -> None:
    """Which says what does not fit, and warns of pixels that the run was not trained on."""
    for number, split in enumerate(("train", "val", "test")):  # of black and white: not the classes of the episodes
        for c in range(2):
            folder = data / "own" / split / f"{split}{c}"
            folder.mkdir(parents=True)
            for i in range(2):
                Image.new("L", (28, 28), 200 + 20 * c + number + 5 * i).save(folder / f"{i}.png")
    train = [
        "train", "algorithm=proto_net", "model=conv4", "model.channels=4", *TASK, "dataset=image_folder",
        "dataset.folder=own", "dataset.image_size=28", "dataset.channels=1", "train.steps=1", "train.meta_batch_size=1",
        "train.eval_episodes=1", "eval.episodes=1", "eval.test=false", "tracker=files", "device=cpu",
        f"paths.data={data}",
    ]  # fmt: skip
    ended = run_main(train, tmp_path)
    assert ended.code == 0, ended.output
    (run,) = (tmp_path / "outputs").glob("proto_net*")

    ended = run_main(["evaluate", str(run), *RIGHT], tmp_path)
    assert ended.code == 0, ended.output
    assert "warning" not in ended.output
    refused = run_main(["evaluate", str(run), *RIGHT, "eval.episodes=3", "task.n_query=2"], tmp_path)
    assert refused.code == 2
    assert (
        "fixed_episodes are fixed: 2-way 1-shot with 1 query per class; and the task is 2-way 1-shot" in refused.output
    )
    assert "eval.episodes=3 are more than the 2 test episodes of fixed_episodes. Set eval.episodes=2." in refused.output
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("accelerator: cpu", "accelerator: cuda"))  # trained elsewhere
    other = ["eval.episodes=2", "dataset.invert=true", "device=cpu"]
    warned = run_main(["evaluate", str(run), *RIGHT, *other], tmp_path)
    assert warned.code == 0, warned.output
    line = "the run was trained with dataset.invert=false, dataset.normalise=null; fixed_episodes has "
    assert (
        f"{line}dataset.invert=true, dataset.normalise=null. Its network may not have seen such values."
        in warned.output
    )
    kept = [json.loads(file.read_text()) for file in (run / "evaluations").glob("*.json")]
    assert sorted(found["test"]["n_episodes"] for found in kept) == [1, 2]
    assert len({found["episode_bank"] for found in kept}) == 2


def test_nothing_can_be_trained_on_them(data: Path, tmp_path: Path) -> None:
    command = ["train", *RIGHT, *TASK, "eval.episodes=2", "algorithm=proto_net", "tracker=files", f"paths.data={data}"]
    ended = run_main(command, tmp_path)
    assert ended.code == 2
    assert (
        ended.output.count("fixed_episodes has test episodes alone, and nothing to train on. Test a finished run") == 1
    )
    assert "metaexp evaluate RUN dataset=fixed_episodes." in ended.output


def test_they_can_be_looked_at_whatever_the_task(data: Path, tmp_path: Path) -> None:
    ended = run_main(["data", *RIGHT, f"paths.data={data}"], tmp_path)
    assert ended.code == 0, ended.output
    assert "test             2           8   4" in ended.output
    write_list(data, ROWS[:-1])
    ended = run_main(["data", *RIGHT, f"paths.data={data}"], tmp_path)
    assert ended.code == 3
    assert "episodes.csv: episode 1: queries are not alike: class x has 0 and class y has 1" in ended.output
