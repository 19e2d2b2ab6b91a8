"""Lake's one-shot challenge: its 20 runs, and the data around them."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from class_datasets import check_ids_by_name
from PIL import Image
from sampling import only_exhaustive
from torch import Tensor

from metaexp.core.errors import ConfigError
from metaexp.core.shapes import Capacity, FixedBank, TaskShape
from metaexp.data.files.class_lists import class_lists
from metaexp.data.fixed.episode_file import Item
from metaexp.data.fixed.tasks import FixedTestDataset
from metaexp.data.omniglot import PARTS
from metaexp.data.omniglot_challenge import OmniglotChallenge, challenge

DATA = Path(os.environ.get("METAEXP_DATA", "data"))
SHAPE = TaskShape(20, 1, 1)


def place(name: str) -> Path | None:
    return next((d / name for d in (DATA, DATA / "omniglot") if (d / name).is_file()), None)


needs_omniglot = pytest.mark.skipif(
    None in [place(f"{part.name}.zip") for part in PARTS], reason=f"Omniglot's two zips are not in {DATA}"
)


def dataset(**changes: object) -> OmniglotChallenge:
    arguments = {
        "rotations": "classes",
        "rotations_in": "train",
        "image_size": 28,
        "resize": "nearest",
        "invert": True,
        "normalise": None,
    }
    return OmniglotChallenge(**{**arguments, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def loaded() -> FixedTestDataset:
    data = dataset().load(DATA, lambda line: None)
    assert isinstance(data, FixedTestDataset)
    return data


def test_a_run_is_20_characters_of_one_alphabet_by_one_person_and_again_by_another() -> None:
    alphabets = []
    for run in challenge().episodes:
        drawers = [{item.image[-6:-4] for item in items} for items in (run.support, run.query)]
        assert [len(drawer) for drawer in drawers] == [1, 1]
        assert drawers[0] != drawers[1]
        (alphabet,) = {item.class_name.split("/")[0] for item in (*run.support, *run.query)}
        alphabets.append(alphabet)
        assert len({item.class_name for item in run.support}) == len({item.class_name for item in run.query}) == 20
        assert all(item.image.startswith(f"{item.class_name}/") for item in (*run.support, *run.query))
    assert [run.name for run in challenge().episodes] == [f"run{i:02d}" for i in range(1, 21)]
    assert len(set(alphabets)) == 10
    assert all(alphabets.count(alphabet) == 2 for alphabet in alphabets)


def test_no_alphabet_of_the_runs_is_trained_or_validated_on() -> None:
    lists = class_lists("omniglot_official")
    runs = {name.split("/")[0] for name in challenge().images()}
    assert runs.isdisjoint(name.split("/")[0] for split in ("train", "val") for name in lists[split])
    assert set(challenge().images()) <= set(lists["test"])  # a negative control: they are somewhere


def test_shape_number_and_capacity_are_known_without_the_files() -> None:
    assert dataset().fixed_bank(None) == FixedBank(SHAPE, 20)
    for rotations_in in ("train", "all"):
        assert dataset(rotations_in=rotations_in).capacity()["test"] == Capacity(200, 20)
    assert dataset().capacity()["train"] == Capacity(4 * 883, 20)


def test_too_few_made_up_drawings_are_refused() -> None:
    with pytest.raises(ConfigError, match="dataset.stand_in_images=7 is too few: the runs use drawing 8"):
        dataset(stand_in=True, stand_in_images=7)
    assert dataset(stand_in=True, stand_in_images=8).capacity()["test"] == Capacity(200, 8)


@needs_omniglot
def test_the_runs_show_the_drawings_that_the_list_names(loaded: FixedTestDataset) -> None:
    episodes = loaded.tasks(SHAPE, 0).episodes("test", torch.arange(20))
    assert loaded.capacity() == dataset().capacity()
    check_ids_by_name(dataset(), DATA, loaded)
    with zipfile.ZipFile(place("images_evaluation.zip") or "") as archive:
        for i in (0, 19):
            run = challenge().episodes[i]
            for shown, item in zip(episodes.query.x[i], run.query, strict=True):
                content = archive.read(f"images_evaluation/{item.image}")
                drawn = Image.open(io.BytesIO(content)).resize((28, 28), Image.Resampling.LANCZOS)  # 1 bit: nearest
                assert np.array_equal(shown[0].numpy() == 0, np.asarray(drawn))
            labels = [item.class_name for item in run.support]
            assert episodes.query.y[i].tolist() == [labels.index(item.class_name) for item in run.query]


@needs_omniglot
@pytest.mark.skipif(place("all_runs.zip") is None, reason=f"the authors' all_runs.zip is not in {DATA}")
def test_the_list_is_that_of_the_authors_archive_pixel_for_pixel() -> None:
    def pixels(archive: zipfile.ZipFile, name: str) -> bytes:
        return np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("1")).tobytes()

    with (
        zipfile.ZipFile(place("all_runs.zip") or "") as runs,
        zipfile.ZipFile(place("images_evaluation.zip") or "") as drawings,
    ):
        for run in challenge().episodes:
            support = [f"{run.name}/training/class{i:02d}.png" for i in range(1, 21)]
            pairs = [line.split() for line in runs.read(f"{run.name}/class_labels.txt").decode().splitlines() if line]
            pairs.sort()
            for name, item in zip([*support, *(test for test, _ in pairs)], [*run.support, *run.query], strict=True):
                assert pixels(runs, name) == pixels(drawings, f"images_evaluation/{item.image}"), name
            labels = [item.class_name for item in run.support]
            assert [support.index(answer) for _, answer in pairs] == [labels.index(q.class_name) for q in run.query]


@needs_omniglot
@only_exhaustive
def test_the_classifier_of_the_authors_demonstration_has_the_error_that_they_state() -> None:
    """38.8 %: the nearest drawing by the modified Hausdorff distance, on the runs as our list has them.

    Source: brendenlake/omniglot, python/one-shot-classification/demo.py and README.
    """
    with zipfile.ZipFile(place("images_evaluation.zip") or "") as archive:

        def ink(item: Item) -> Tensor:
            """The places (n, 2) of the black pixels, around their mean."""
            drawn = np.asarray(Image.open(io.BytesIO(archive.read(f"images_evaluation/{item.image}"))).convert("1"))
            places = torch.from_numpy(np.argwhere(~drawn)).float()
            return places - places.mean(0)

        wrong = 0
        for run in challenge().episodes:
            support = [ink(item) for item in run.support]
            for item in run.query:
                query = ink(item)
                nearest = min(range(len(support)), key=lambda i: modified_hausdorff(support[i], query))
                wrong += run.support[nearest].class_name != item.class_name
    assert f"{wrong / 400:.3f}" == "0.388"


def modified_hausdorff(a: Tensor, b: Tensor) -> float:
    """The larger of the two mean distances from each point of one set to the nearest of the other."""
    squares = torch.addmm(b.square().sum(1), a, b.T, alpha=-2).add_(a.square().sum(1, keepdim=True))
    return float(max(squares.amin(axis).clamp_min(0).sqrt().mean() for axis in (0, 1)))
