"""Experiments train where its data are not: on made-up images, with no network."""

from __future__ import annotations

import os
import re
import urllib.request
from pathlib import Path

import pytest
from sampling import sample

from metaexp.config.compose import Composer
from metaexp.config.schema import Settings
from metaexp.data.base import MetaDataset
from metaexp.data.files.progress import Progress
from metaexp.run.build import load_examples
from metaexp.run.initial.command import Provenance
from metaexp.run.job import run_job
from metaexp.run.progress import Lines

CONF = Path(__file__).resolve().parents[2] / "conf"
EXPERIMENTS = sorted((CONF / "experiment").glob("*.yaml"))


def choices(experiment: Path) -> set[str]:
    """The choices of an experiment, such as ``override /algorithm: maml``."""
    return set(re.findall(r"^  - override (/\S+: \S+)", experiment.read_text(), re.M))


TRIED = sample(EXPERIMENTS, 30, choices, lambda path: path.stem)
LITTLE = [
    "train.steps=1", "train.meta_batch_size=1", "train.n_query=1", "train.eval_episodes=1",
    "eval.episodes=1", "task.n_query=1", "tracker=files", "device=cpu",
]  # fmt: skip
"""One task in one step, one episode of each test, and as few queries as there can be.

Algorithm, images, ways and shots are the experiment's. Inner loops take two steps instead of up to 50, and convolutions
have few channels: tests/models counts the weights of the published networks.
"""
INNER_STEPS = 2
CHANNELS = 16


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds no data but the stand-ins, each of which is drawn once, by one of several test processes."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "stand_ins"


@pytest.fixture(scope="module")
def loaded() -> dict[str, MetaDataset]:
    """The datasets that experiments of this process have loaded."""
    return {}


@pytest.fixture
def nowhere(data: Path, loaded: dict[str, MetaDataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Overrides for folders without data, while whatever asks the network fails. A dataset is loaded once."""

    def load_once(settings: Settings, progress: Progress) -> MetaDataset:
        key = repr(settings.dataset)
        if key not in loaded:
            loaded[key] = load_examples(settings, progress)
        return loaded[key]

    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("a stand-in asked the network")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    monkeypatch.setattr("metaexp.run.build.load_examples", load_once)
    monkeypatch.setattr("metaexp.run.outputs.draw", lambda *_: {})  # figures take longer than these runs
    return [f"paths.data={data}", f"paths.outputs={tmp_path / 'outputs'}"]


def needs_files(settings: Settings) -> bool:
    return "stand_in" in settings.dataset.parameters


def smaller(settings: Settings) -> list[str]:
    """Overrides for short inner loops and a narrow network."""
    algorithm, model = settings.algorithm.arguments, settings.model.arguments
    keys = [key for key in ("inner_steps", "inner_steps_test") if (algorithm.get(key) or 0) > INNER_STEPS]
    overrides = [f"algorithm.{key}={INNER_STEPS}" for key in keys]
    return [*overrides, f"model.channels={CHANNELS}"] if model.get("channels", 0) > CHANNELS else overrides


@pytest.mark.parametrize("experiment", TRIED, ids=lambda path: path.stem)
def test_an_experiment_trains_a_step_on_its_stand_in(
    composer: Composer, nowhere: list[str], silent: Lines, experiment: Path
) -> None:
    overrides = [f"experiment={experiment.stem}", *LITTLE, *nowhere]
    settings = composer.settings(overrides)
    overrides += smaller(settings)
    if needs_files(settings):
        overrides.append("dataset.stand_in=true")
    job = composer.job(overrides)
    finished = run_job(job.settings, Provenance.of_job(job, settings, overrides), display=silent)
    record = finished.record
    assert record.status == "completed"
    assert record.test is not None
    assert ("(stand-in)" in record.dataset) == needs_files(settings)


def test_a_sample_of_experiments_has_every_algorithm_dataset_and_network() -> None:
    assert 0 < len(TRIED) <= len(EXPERIMENTS)
    assert set().union(*map(choices, TRIED)) == set().union(*map(choices, EXPERIMENTS))
    assert {"/algorithm: maml", "/dataset: sinusoid", "/model: lstm"} <= set().union(*map(choices, TRIED))
