"""metaexp predict: new images are read as the run's own, named by the adapted learner, and sets cover as promised."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image
from sampling import EXHAUSTIVE, size

import metaexp as mx
from metaexp.cli.main import main
from metaexp.core.errors import ConfigError, DataError
from metaexp.core.shapes import TaskShape
from metaexp.core.types import one_task
from metaexp.data import omniglot
from metaexp.data.base import TaskSource
from metaexp.data.cache.prepared import Prepared
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.classification.preprocessing import Origin
from metaexp.data.files.drawings import DRAWINGS, packed_drawing, resized
from metaexp.data.image_folder import ImageFolder
from metaexp.data.omniglot import Omniglot
from metaexp.data.regression_table import RegressionTable
from metaexp.data.time_series import TimeSeries
from metaexp.run.predict.conformal import Calibration, calibrate, episode_costs, threshold_of
from metaexp.run.predict.learner import Learner, label_sets
from metaexp.run.predict.new_examples import Reader
from metaexp.run.predict.predict import calibrate_run

SHORT = [
    "train.steps=2", "train.meta_batch_size=2", "train.eval_every=2", "train.eval_episodes=4", "eval.episodes=6",
    "device=cpu", "device.threads=1", "tracker=files",
]  # fmt: skip


def picture(shade: int, seed: int) -> Image.Image:
    """A colour image of 20 x 14 pixels around a shade."""
    values = np.random.default_rng(seed).integers(-20, 20, (14, 20, 3)) + shade
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 24 classes that differ in shade, 6 images each."""
    root = tmp_path_factory.mktemp("images")
    for number in range(24):
        (root / f"class{number:02d}").mkdir()
        for index in range(6):
            picture(10 * number + 5, 100 * number + index).save(root / f"class{number:02d}" / f"{index}.png")
    return root


@pytest.fixture(scope="module", autouse=True)
def _no_figures() -> Iterator[None]:
    """Runs draw no figures, which take longer than these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metaexp.run.outputs.draw", lambda *_: {})
        yield


@pytest.fixture(scope="module")
def run(images: Path, tmp_path_factory: pytest.TempPathFactory) -> mx.Run:
    """A run on them, inverted and normalised: nearest neighbour, which needs no training."""
    return mx.train(
        "algorithm=nearest_neighbour", "model=mlp", "model.hidden=[8]", "dataset=image_folder",
        f"dataset.folder={images}", "dataset.image_size=9", "dataset.channels=1", "dataset.invert=true",
        "dataset.normalise=[0.5,0.25]", "dataset.fractions=[0.4,0.3,0.3]", "task.n_query=3", *SHORT,
        folder=tmp_path_factory.mktemp("runs") / "images",
    )  # fmt: skip


@pytest.fixture(scope="module")
def sinusoid(tmp_path_factory: pytest.TempPathFactory) -> mx.Run:
    return mx.train("dataset=sinusoid", "model.hidden=[8]", *SHORT, folder=tmp_path_factory.mktemp("runs") / "sin")


@pytest.fixture
def task(images: Path, tmp_path: Path) -> Path:
    """Five classes to learn, one image each, and two queries of each in one flat folder."""
    for number in range(5):
        name = f"class{4 * number:02d}"
        (tmp_path / "support" / name).mkdir(parents=True)
        (tmp_path / "query").mkdir(exist_ok=True)
        for index in range(3):
            target = tmp_path / "support" / name / "0.png" if index == 0 else tmp_path / "query" / f"{name}-{index}.png"
            target.write_bytes((images / name / f"{index}.png").read_bytes())
    return tmp_path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def words(run: mx.Run, task: Path, *more: str) -> list[str]:
    return ["predict", str(run.folder), "--support", str(task / "support"), "--query", str(task / "query"), *more]


@pytest.fixture(scope="module")
def transductive(images: Path, tmp_path_factory: pytest.TempPathFactory) -> mx.Run:
    return mx.train(
        "algorithm=relation_net", "model=relation_embedding", "model.channels=4", "algorithm.relation_channels=4",
        "dataset=image_folder", f"dataset.folder={images}", "dataset.image_size=28", "dataset.channels=1",
        "dataset.fractions=[0.4,0.3,0.3]", "task.n_query=3", *SHORT,
        folder=tmp_path_factory.mktemp("runs") / "transductive",
    )  # fmt: skip


def test_too_few_queries_for_transductive_batch_norm_bring_a_warning(
    transductive: mx.Run, run: mx.Run, task: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(of: mx.Run) -> bool:
        assert main(words(of, task)) == 0
        return "They were tested with 15 at once, as many of each class, and this call has " in capsys.readouterr().out

    assert not said(transductive)
    images = sorted((task / "query").iterdir())
    for path in images[4:]:
        path.unlink()
    assert said(transductive)
    assert not said(run)  # its batch norm, if any, does not see the other queries
    x, y = torch.rand(10, 1, 28, 28), torch.arange(10) % 5
    with pytest.warns(UserWarning, match="this call has 1. Its predictions may be no better than guessing"):
        transductive.predict(x, y, x[:1])


def test_images_are_named_and_all_scores_are_written(
    run: mx.Run, task: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(run, task, "--output", str(task / "out.csv"))) == 0
    said = capsys.readouterr().out
    found = rows(task / "out.csv")
    assert [row["name"].rpartition("-")[0] for row in found] == [row["label"] for row in found]
    assert len(found) == 10
    for row in found:
        scores = {key.removeprefix("score_"): float(value) for key, value in row.items() if key.startswith("score_")}
        assert max(scores, key=lambda name: scores[name]) == row["label"]
        assert f"{row['name']}  {row['label']}" in said


def test_one_image_is_predicted_as_in_its_folder(
    run: mx.Run, task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ["predict", str(run.folder), "--support", str(task / "support"), "--output"]
    assert main([*folder, str(tmp_path / "all.csv"), "--query", str(task / "query")]) == 0
    everything = rows(tmp_path / "all.csv")
    for number, row in enumerate(everything[:2]):
        out = tmp_path / f"{number}.csv"
        assert main([*folder, str(out), "--query", str(task / "query" / row["name"])]) == 0
        (found,) = rows(out)
        assert found["name"] == Path(row["name"]).name
        scores = [name for name in row if name.startswith("score")]
        assert [float(found[s]) for s in scores] == pytest.approx([float(row[s]) for s in scores], rel=1e-4)
    assert everything[0] != everything[1]
    image = str(task / "query" / everything[0]["name"])
    assert main(["predict", str(run.folder), "--support", image, "--query", image]) == 3
    assert "lies in no class folder" in capsys.readouterr().err


def test_images_are_prepared_to_the_bit_as_those_of_the_run(run: mx.Run, images: Path) -> None:
    assert run.settings.dataset.path.endswith("ImageFolder")
    dataset = ImageFolder(**run.settings.dataset.arguments)
    loaded = dataset.load(run.settings.paths.data, lambda _: None)
    reader = Reader(dataset.image_preparation(), (1, 9, 9), False, "image_folder")
    found = reader.support(images)
    whole = loaded.examples(torch.arange(24 * 6))
    assert torch.equal(found.x, whole)
    assert found.y is not None
    assert found.y.tolist() == [f"class{row // 6:02d}" for row in range(24 * 6)]
    other = dataset.image_preparation()._replace(background="black", resize="nearest")
    assert not torch.equal(Reader(other, (1, 9, 9), False, "").support(images).x, whole)


@pytest.mark.omniglot
@pytest.mark.parametrize("resize", ["nearest", "lanczos"])
def test_drawings_of_omniglot_are_prepared_to_the_bit_as_those_of_a_run(
    resize: Literal["nearest", "lanczos"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first drawings by their names, out of 19,280."""
    folder = Path(os.environ.get("METAEXP_DATA", "data"))
    archive = folder / "omniglot" / "images_background.zip"
    if not archive.is_file():
        pytest.skip(f"there is no {archive}")
    dataset = Omniglot("maml", "none", "train", 28, resize, True, None)
    drawings = first_of(archive, size(600, 1_500), tmp_path / "drawings.zip")
    found = Reader(dataset.image_preparation(), (1, 28, 28), False, "omniglot").support(drawings)
    if resize == "lanczos" and not EXHAUSTIVE:  # all of Omniglot takes long where no cache has it
        prepared = prepared_from(drawings, resize)
        names = list(prepared.classes)
        monkeypatch.setattr(Omniglot, "prepared", lambda *_: (Origin("omniglot", "part", {}), prepared))
        lists = {"train": names[:-2], "val": names[-2:-1], "test": names[-1:]}
        monkeypatch.setattr(omniglot, "class_lists", lambda _: lists)
    loaded = dataset.load(folder, lambda _: None)
    assert torch.equal(loaded.examples(torch.arange(len(found.names))), found.x)
    other = Omniglot("maml", "none", "train", 28, resize, False, None).image_preparation()
    some = first_of(archive, 40, tmp_path / "some.zip")
    assert torch.equal(
        Reader(dataset.image_preparation(), (1, 28, 28), False, "omniglot").support(some).x, found.x[:40]
    )
    assert not torch.equal(Reader(other, (1, 28, 28), False, "omniglot").support(some).x, found.x[:40])


def prepared_from(archive: Path, resize: Literal["nearest", "lanczos"]) -> Prepared:
    """The drawings of whole characters, as the dataset prepares all of them."""
    with zipfile.ZipFile(archive) as source:
        names = sorted(source.namelist())
        packed = np.stack([packed_drawing(source.read(name), name) for name in names])
    characters = dict.fromkeys(("/".join(name.split("/")[1:3]) for name in names), DRAWINGS)
    return Prepared(torch.from_numpy(resized(packed, 28, resize)), characters, "part")


def first_of(archive: Path, most: int, place: Path) -> Path:
    """An archive of the first drawings of another one, by their names."""
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(place, "w") as part:
        for name in sorted(name for name in whole.namelist() if name.endswith(".png"))[:most]:
            part.writestr(name, whole.read(name))
    return place


def test_arrays_are_prepared_as_the_images_they_hold(run: mx.Run, task: Path, tmp_path: Path) -> None:
    reader = Reader(ImageFolder(**run.settings.dataset.arguments).image_preparation(), (1, 9, 9), False, "")
    bytes_ = np.random.default_rng(0).integers(0, 256, (4, 9, 9), np.uint8)
    np.savez(tmp_path / "bytes.npz", x=bytes_)
    floats = ((1 - bytes_[:, None] / 255) - 0.5) / 0.25
    np.savez(tmp_path / "floats.npz", x=floats)
    first, second = reader.query(tmp_path / "bytes.npz"), reader.query(tmp_path / "floats.npz")
    assert torch.allclose(first.x, second.x, atol=1e-5)
    assert first.names == ["0", "1", "2", "3"]


def test_regression_gives_values_and_intervals(sinusoid: mx.Run, tmp_path: Path) -> None:
    x = np.linspace(-4, 4, 10)
    np.savez(tmp_path / "support.npz", x=x, y=np.sin(x))
    np.savez(tmp_path / "query.npz", x=np.array([0.5, 1.5]))
    out = tmp_path / "out.csv"
    command = ["predict", str(sinusoid.folder), "--support", str(tmp_path / "support.npz")]
    command += ["--query", str(tmp_path / "query.npz"), "--output", str(out), "--conformal", "0.8", "--episodes", "20"]
    assert main(command) == 0
    (first, _) = rows(out)
    assert list(first) == ["name", "value_0", "low_0", "high_0"]
    assert float(first["low_0"]) < float(first["value_0"]) < float(first["high_0"])
    direct = sinusoid.predict(x[:, None], np.sin(x), [[0.5]])
    assert float(first["value_0"]) == pytest.approx(float(direct[0, 0]), abs=1e-6)


@pytest.fixture(scope="module", params=["inputs", "both"])
def tides(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> mx.Run:
    """A run on a table of large numbers, which are standardised."""
    folder = tmp_path_factory.mktemp("tides")
    random = np.random.default_rng(0)
    task = np.repeat(np.arange(30), 25)
    x = random.normal([1000.0, 5.0], [200.0, 1.0], (len(task), 2))
    y = np.stack([x[:, 0] * 0.1 + task, x[:, 1] * 1000 - 40 * task], -1)
    np.savez(folder / "tides.npz", x=x, y=y, task=task)
    return mx.train(
        "algorithm=maml", "dataset=regression_table", f"dataset.file={folder / 'tides.npz'}", "algorithm.inner_lr=1e-9",
        f"dataset.standardise={request.param}", *SHORT, folder=folder / "run",
    )  # fmt: skip


def test_numbers_of_a_standardised_table_are_given_and_predicted_in_its_units(tides: mx.Run, tmp_path: Path) -> None:
    arguments = tides.settings.dataset.arguments
    content = np.load(arguments["file"])
    scaled = RegressionTable(**arguments).load(Path(), lambda _: None).conventions
    support, query = slice(0, 10), slice(10, 25)
    np.savez(tmp_path / "support.npz", x=content["x"][support], y=content["y"][support])
    np.savez(tmp_path / "query.npz", x=content["x"][query])
    command = ["predict", str(tides.folder), "--support", str(tmp_path / "support.npz"), "--output"]
    command += [str(tmp_path / "out.csv"), "--query", str(tmp_path / "query.npz")]
    assert main([*command, "--conformal", "0.8", "--episodes", "20"]) == 0
    x, y = (content["x"] - scaled["x"]["mean"]) / scaled["x"]["std"], content["y"]
    mean, std = (np.array(scaled["y"][name]) for name in ("mean", "std")) if "y" in scaled else (0.0, 1.0)
    wanted = tides.predict(x[support], (y[support] - mean) / std, x[query]) * std + mean
    found = np.array([[float(row[f"value_{i}"]) for i in (0, 1)] for row in rows(tmp_path / "out.csv")])
    assert found == pytest.approx(wanted, rel=1e-4)
    assert found != pytest.approx(tides.predict(content["x"][support], y[support], content["x"][query]), rel=1e-4)
    threshold = tides.calibrate(0.8, k_shot=10, episodes=20).threshold
    ends = np.array([[float(row[f"high_{i}"]) for i in (0, 1)] for row in rows(tmp_path / "out.csv")])
    assert ends - found == pytest.approx(np.broadcast_to(threshold * std, found.shape), rel=1e-2)


def test_a_forecast_is_in_the_units_of_the_series(tmp_path: Path) -> None:
    lines = ["series,time,load,heat"]
    for series in range(12):
        lines += [f"home{series},{t},{100 + 10 * math.sin(t + series)},{5000 + t}" for t in range(60)]
    (tmp_path / "homes.csv").write_text("\n".join(lines))

    def homes(standardise: Literal["none", "values"]) -> TimeSeries:
        file = str(tmp_path / "homes.csv")
        return TimeSeries(file, 4, 2, [0.6, 0.2, 0.2], 0, targets=["heat"], standardise=standardise)

    description = homes("values")
    scales = description.scales(Path(), lambda _: None)
    assert scales is not None
    assert scales.x is not None
    assert scales.y is not None
    assert [len(part) for part in (*scales.x, *scales.y)] == [2, 2, 2, 2]  # two columns; one target of two steps
    data = description.load(Path(), lambda _: None)
    assert scales.in_units(data.y.numpy()).min() == pytest.approx(5004, abs=0.1)
    assert homes("none").scales(Path(), lambda _: None) is None


def test_a_table_that_was_changed_no_longer_scales(
    tides: mx.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(tides.settings.dataset.arguments["file"])
    kept, content = path.read_bytes(), dict(np.load(path))
    np.savez(tmp_path / "task.npz", x=content["x"][:10], y=content["y"][:10])
    np.savez(path, **content | {"x": content["x"] + 1})
    task = ["--support", str(tmp_path / "task.npz"), "--query", str(tmp_path / "task.npz")]
    assert main(["predict", str(tides.folder), *task]) == 3
    assert "was changed since the run was trained" in capsys.readouterr().err
    path.write_bytes(kept)
    np.savez(tmp_path / "task.npz", x=content["x"][:10], y=content["y"][:10, :1])
    assert main(["predict", str(tides.folder), *task]) == 2
    assert "y has shape (10, 1); this run takes (S, 2) targets" in capsys.readouterr().err


class TwoWay(mx.Algorithm):
    """An imperfect classifier: distances to class means in one noisy dimension."""

    fixed_way = False

    @property
    def batch_norm(self) -> str:  # type: ignore[override]
        return "none"

    def adapt(self, support: mx.Examples) -> torch.Tensor:
        one_hot = torch.nn.functional.one_hot(support.y, support.n_way).float()
        return one_hot.T @ support.x / one_hot.sum(0).unsqueeze(1)

    def predict(self, adapted: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return -torch.cdist(x, adapted).square()


def blurred_tasks(spread: float, seed: int) -> ClassDataset:
    """Tasks whose classes overlap: points around class centres; a task's own difficulty varies."""
    generator = torch.Generator().manual_seed(seed)
    names = [f"{split}{number:03d}" for split in ("train", "val", "test") for number in range(150)]
    centres = torch.randn(450, 1, 2, generator=generator)
    noise = spread * torch.rand(450, 1, 1, generator=generator) * torch.randn(450, 20, 2, generator=generator)
    splits = {split: [name for name in names if name.startswith(split)] for split in ("train", "val", "test")}
    x = (centres + noise).reshape(-1, 2)
    return ClassDataset(Origin("blurred", "0"), x, dict.fromkeys(names, 20), splits)


def coverage(tasks: TaskSource, threshold: float, n_episodes: int) -> float:
    """The part of test queries whose true class is in the set, one query a task, so that all are independent."""
    hits = 0
    for index in range(n_episodes):
        episode = one_task(tasks.episodes("test", torch.tensor([index])), 0)
        algorithm = TwoWay()
        scores = algorithm.predict(algorithm.adapt(episode.support), episode.query.x[:1])
        hits += int(episode.query.y[0]) in label_sets(scores.numpy(), threshold)[0]
    return hits / n_episodes


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_sets_cover_as_promised_on_test_episodes_and_others_do_not(level: float) -> None:
    shape, n = TaskShape(5, 2, 4), 300
    tasks = blurred_tasks(1.5, 0).tasks(shape, 3)
    found = calibrate(TwoWay().eval(), tasks, shape, level, n)
    error = math.sqrt(level * (1 - level) / n)
    seen = coverage(tasks, found.threshold, n)
    assert level - 4 * error < seen < level + 6 * error
    # calibrated on tasks that are easier, or without calibration: the promise is not kept
    easier = calibrate(TwoWay().eval(), blurred_tasks(0.5, 0).tasks(shape, 3), shape, level, n)
    assert coverage(tasks, easier.threshold, n) < level - 4 * error
    assert coverage(tasks, 0.0, n) < level - 4 * error


def test_intervals_cover_targets_of_unseen_regression_tasks(sinusoid: mx.Run) -> None:
    from metaexp.data.sinusoid import Sinusoid

    shape, n, level = TaskShape(0, 10, 10), 150, 0.9
    tasks = Sinusoid(**sinusoid.settings.dataset.arguments).load(Path(), lambda _: None).tasks(shape, 3)
    algorithm = sinusoid.algorithm()
    found = calibrate(algorithm, tasks, shape, level, n)
    costs = []
    for index in range(n):
        episode = one_task(tasks.episodes("test", torch.tensor([index])), 0)
        with torch.no_grad():
            costs.append(episode_costs(algorithm, episode))
    covered = float((torch.stack(costs) <= found.threshold).double().mean(1).mean())
    error = float((torch.stack(costs) <= found.threshold).double().mean(1).std()) / math.sqrt(n)
    assert abs(covered - level) < 5 * error
    assert abs(float((torch.stack(costs) <= found.threshold / 3).double().mean()) - level) > 5 * error


def test_the_threshold_counts_a_task_more_than_there_are() -> None:
    """Nine tasks of one query at 0.9: rank 9 of 9, where the plain quantile would take rank 8.1."""
    costs = torch.arange(9.0).unsqueeze(1)
    assert threshold_of(costs, 0.9) == 8.0
    assert threshold_of(costs, 0.5) == 4.0
    assert threshold_of(torch.arange(18.0).reshape(9, 2), 0.9) == 17.0
    assert label_sets(np.array([[0.0, 5.0, 4.9]], np.float32), 0.0) == [[1]]
    assert label_sets(np.array([[0.0, 5.0, 4.9]], np.float32), 1.0) == [[1, 2, 0]]


def test_sets_are_printed_and_written(run: mx.Run, task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = task / "out.csv"
    assert main(words(run, task, "--conformal", "0.9", "--episodes", "12", "--output", str(out))) == 0
    said = capsys.readouterr().out
    assert "coverage 0.9 over unseen tasks, calibrated on 12 validation episodes of 5 ways and 1 shot\n" in said
    for row in rows(out):
        assert row["label"] in row["set"].split("|")


def test_labels_that_are_floats_are_refused_with_what_to_do(tmp_path: Path) -> None:
    reader, path = Reader(None, (3,), False, ""), tmp_path / "support.npz"
    np.savez(path, x=np.zeros((2, 3), np.float32), y=np.array([0.0, 1.0]))
    with pytest.raises(DataError, match=r"for each of 2 examples\. Convert them: y\.astype\(int\)\.$"):
        reader.support(path)
    np.savez(path, x=np.zeros((2, 3), np.float32), y=np.array([0, 1]))
    assert reader.support(path).y is not None
    np.savez(path, x=np.zeros((2, 3), np.float32), y=np.array([0, 1, 2]))
    with pytest.raises(DataError, match=r"for each of 2 examples\.$"):
        reader.support(path)


def test_python_gives_the_same_predictions_sets_and_intervals(run: mx.Run, task: Path, sinusoid: mx.Run) -> None:
    reader = Reader(ImageFolder(**run.settings.dataset.arguments).image_preparation(), (1, 9, 9), False, "")
    support, query = reader.support(task / "support"), reader.query(task / "query")
    assert support.y is not None
    learner = run.learner()
    adapted = learner.adapt(support.x, support.y)
    assert [str(name) for name in adapted.predict(query.x)] == [name.rpartition("-")[0] for name in query.names]
    assert list(run.predict(support.x, support.y, query.x)) == list(adapted.predict(query.x))
    calibration = run.calibrate(0.8, episodes=10)
    assert (calibration.level, calibration.n_episodes, calibration.shape.n_way) == (0.8, 10, 5)
    sets = adapted.sets(query.x, calibration)
    assert all(label in names for label, names in zip(adapted.predict(query.x), sets, strict=True))
    assert {type(name) for names in sets for name in names} == {str}
    with pytest.raises(ConfigError, match=r"call adapt\(x, y\) first"):
        learner.predict(query.x)
    with pytest.raises(ConfigError, match="intervals are for regression"):
        adapted.intervals(query.x, calibration)
    values = sinusoid.adapt([[0.0], [1.0]], [[0.0], [1.0]])
    low, high = values.intervals([[0.5]], sinusoid.calibrate(0.5, k_shot=2, episodes=5))
    assert low.shape == high.shape == (1, 1)
    assert low < values.predict([[0.5]]) < high
    with pytest.raises(ConfigError, match="prediction sets are of classes"):
        values.sets([[0.5]], calibration)


def test_a_learner_says_in_one_line_what_it_is(run: mx.Run, sinusoid: mx.Run) -> None:
    learner, step = run.learner(), run.record.selected_step
    of_run = f"{run.record.algorithm} with {run.record.model}, 5-way 1-shot, weights of {run.folder} after {step} step"
    assert re.fullmatch(rf"<Learner {re.escape(of_run)}s?: not adapted>", repr(learner))
    x = np.linspace(0, 1, 6 * 81, dtype=np.float32).reshape(6, 1, 9, 9)
    assert repr(learner.adapt(x, [0, 1, 2, 0, 1, 2])).endswith(": adapted to a 3-way 2-shot task>")
    assert repr(learner).endswith(": not adapted>")
    adapted = repr(sinusoid.adapt([[0.0], [1.0]], [[0.0], [1.0]]))
    assert adapted.startswith(f"<Learner {sinusoid.record.algorithm} with ")
    assert adapted.endswith(": adapted to a 2-shot task>")
    by_hand = Learner(learner.algorithm, learner.interface, learner.task)
    assert repr(by_hand) == f"<Learner {type(learner.algorithm).__name__}, 5-way 1-shot: not adapted>"


def test_a_calibration_with_other_weights_brings_a_warning_also_from_a_file(
    run: mx.Run, recwarn: pytest.WarningsRecorder
) -> None:
    x = np.linspace(0, 1, 5 * 81, dtype=np.float32).reshape(5, 1, 9, 9)
    adapted = run.learner().adapt(x, range(5))
    own = json.loads(json.dumps(run.calibrate(0.5, episodes=5)))
    saved = Calibration(own[0], own[1], own[2], TaskShape(*own[3]), own[4])
    adapted.sets(x, saved)
    adapted.sets(x, saved._replace(weights_sha256=""))  # of an earlier version
    assert not [w for w in recwarn if "calibrated" in str(w.message)]
    with pytest.warns(
        UserWarning, match=r"other weights than the learner's.*Calibrate the run of this learner, .* after"
    ):
        adapted.sets(x, saved._replace(weights_sha256="0" * 64))


def test_what_does_not_fit_the_run_is_one_line(
    run: mx.Run, sinusoid: mx.Run, task: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(task / "one.npz", x=np.zeros((2, 1, 9, 9)), y=[1, 1])
    np.savez(task / "small.npz", x=np.zeros((2, 1, 8, 8)), y=[1, 2])
    np.savez(task / "unlabelled.npz", x=np.zeros((2, 1, 9, 9)))
    np.savez(task / "few.npz", x=np.zeros((2, 1, 9, 9)), y=[1])
    (task / "flat").mkdir()
    (task / "empty").mkdir()
    picture(5, 5).save(task / "flat" / "a.png")
    (task / "broken").mkdir()
    (task / "broken" / "a.png").write_bytes(b"no image")
    support, query = ["--support", str(task / "support")], ["--query", str(task / "query")]
    wrong = [
        ([*support], 2, "--query is missing"),
        ([*query], 2, "--support is missing"),
        (["--support", f"{task}/one.npz", *query], 2, "y names one class, 1; a task has at least two"),
        (["--support", f"{task}/small.npz", *query], 2, "an example has shape (1, 8, 8); this run takes (1, 9, 9)"),
        (["--support", f"{task}/unlabelled.npz", *query], 3, "it must have x and y"),
        (["--support", f"{task}/few.npz", *query], 3, "for each of 2 examples"),
        (["--support", f"{task}/flat", *query], 3, "a.png lies in no class folder"),
        (["--support", f"{task}/nowhere", *query], 3, "there is no such folder or file. Give one folder"),
        ([*support, "--query", f"{task}/quary"], 3, f"folder or file. Did you mean {task}/query? Give a folder"),
        (
            ["--support", f"{task}/nowhere.npz", *query],
            3,
            "nowhere.npz: there is no such folder or file.",
        ),
        (
            ["--support", f"{task}/no", "--query", f"{task}/not"],
            3,
            f"--query {task}/not: there is no such folder or file",
        ),
        (
            ["--support", f"{task}/no", "--query", f"{task}/not"],
            3,
            f"--support {task}/no: there is no such folder or file",
        ),
        ([*support, "--query", f"{task}/empty"], 3, "has 0 images"),
        ([*support, "--query", f"{task}/broken"], 3, "is not an image that can be read"),
        ([*support, *query, "--conformal", "1.5"], 2, "--conformal 1.5 must be between 0 and 1"),
        ([*support, *query, "--conformal", "0.99"], 2, "a coverage of 0.99 needs at least 99 calibration episodes; 6"),
        ([*support, *query, "--conformal", "x"], 2, "--conformal x must be a number between 0 and 1"),
        ([*support, *query, "--episodes", "5"], 2, "--episodes 5 is for --conformal"),
        ([*support, *query, "--episodes", "0"], 2, "--episodes 0 must be a whole number from 1 on"),
        ([*support, *query, "--output", f"{task}/one.npz"], 2, "is there already"),
        ([*support, *query, "--output", f"{task}/no/x.csv"], 2, "there is no folder"),
    ]
    for more, code, said in wrong:
        assert main(["predict", str(run.folder), *more]) == code, more
        error = capsys.readouterr().err.strip()
        assert said in error
        assert len(error.splitlines()) == 1
    assert main(["predict", str(sinusoid.folder), *support, *query]) == 2
    assert (
        "sinusoid, reads no image files and no tables. Give an .npz file with x of shape (B, 1) and y with one row of "
        "targets for each of the B examples." in capsys.readouterr().err
    )
    assert main(["predict", *support, *query]) == 2
    assert "give one run folder; 0 were given" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("n_way", "k_shot", "advice"),
    [
        (5, 4, "has 7 validation classes, and only 6 examples of one. Give at most 3 examples of a class, or leave"),
        (8, 3, "Give at most 7 classes, or leave the sets out."),
        (8, 4, "Give at most 7 classes and at most 3 examples of a class, or leave the sets out."),
    ],
)
def test_a_support_set_that_is_too_large_to_calibrate_for_is_refused_with_what_fits(
    run: mx.Run, n_way: int, k_shot: int, advice: str
) -> None:
    with pytest.raises(ConfigError, match=f"{n_way} classes with {k_shot} examples of each, and 3 quer") as error:
        run.calibrate(0.5, n_way, k_shot, episodes=5)
    assert advice in str(error.value)
    assert run.calibrate(0.5, 7, 3, episodes=5).shape == TaskShape(7, 3, 3)


def test_a_dataset_with_too_few_validation_examples_for_any_support_set_is_advised_nothing_else(run: mx.Run) -> None:
    settings = run.settings
    task = dataclasses.replace(settings.task, n_query=6)
    with pytest.raises(ConfigError, match=r"6 queries of each .* one\. Leave the sets out\.$"):
        calibrate_run(run.learner(), dataclasses.replace(settings, task=task), TaskShape(5, 1, 6), 0.5, 5)


def test_a_fixed_way_algorithm_refuses_other_ways(sinusoid: mx.Run, tmp_path: Path) -> None:
    maml = mx.train(
        "model=mlp", "model.hidden=[4]", "dataset.train_classes=8", "dataset.val_classes=5", "dataset.test_classes=5",
        "dataset.per_class=6", *SHORT, folder=tmp_path / "maml",
    )  # fmt: skip
    learner = maml.learner()
    with pytest.raises(ConfigError, match="y names 3 classes; the algorithm of this run takes exactly 5"):
        learner.adapt(np.zeros((3, 1, 28, 28)), ["a", "b", "c"])
    assert learner.adapt(np.zeros((5, 1, 28, 28)), list("abcde")).predict(np.zeros((2, 1, 28, 28))).shape == (2,)
    with pytest.raises(
        ConfigError, match=r"x has values that are not finite as float32, such as nan in example 0\. Leave"
    ):
        learner.adapt(np.full((5, 1, 28, 28), np.nan), list("abcde"))
    with pytest.raises(ConfigError, match=r"y has shape \(3,\); this run takes \(S, 1\) targets"):
        sinusoid.adapt(np.zeros((2, 1)), [1.0, 2.0, 3.0])
    with pytest.raises(ConfigError, match=r"y has masked values \(numpy\.ma\)"):
        sinusoid.adapt(np.zeros((2, 1)), np.ma.array([1.0, 2.0], mask=[False, True]))
    with pytest.raises(DataError, match="reads no image files|there is no such folder"):
        Reader(None, (1,), True, "x").query(tmp_path / "nowhere")
