"""Every experiment trains where its data are not: on made-up images, with no network.

Of experiments that differ in ways and shots alone, those with larger tasks do so in CI.
"""

from __future__ import annotations

import os
import re
import urllib.request
from collections.abc import Iterable
from pathlib import Path

import pytest
from sampling import size

from metaexp.config.compose import Composer
from metaexp.config.schema import Settings
from metaexp.data.base import MetaDataset
from metaexp.data.files.progress import Progress
from metaexp.run.build import load_examples
from metaexp.run.initial.command import Provenance
from metaexp.run.job import run_job
from metaexp.run.progress import Lines

CONF = Path(__file__).resolve().parents[2] / "conf"
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
WAYS_AND_SHOTS = re.compile(r"_(\d+)way_(\d+)shot")
LITTLE = [
    "train.steps=1", "train.meta_batch_size=1", "train.n_query=1", "train.eval_episodes=1",
    "eval.episodes=1", "task.n_query=1", "tracker=files", "device=cpu",
]  # fmt: skip
"""One task in one step, one episode of each test, and as few queries as there can be.

Network, algorithm, images, ways and shots are the experiment's, but for NARROW. Inner loops take two steps instead of
up to 50.
"""
INNER_STEPS = 2
NARROW = ["model.channels=16"]
"""With full context embeddings: 64 channels give LSTMs of 60 million weights, and checkpoints of 1 GB."""


def least(names: Iterable[str]) -> list[str]:
    """Of experiments that differ in ways and shots alone, the one with the smallest tasks."""
    smallest: dict[str, str] = {}
    for name in names:
        family = WAYS_AND_SHOTS.sub("", name)
        smallest[family] = min(name, smallest.get(family, name), key=size_of_tasks)
    return list(smallest.values())


def size_of_tasks(name: str) -> list[int]:
    found = WAYS_AND_SHOTS.search(name)
    return [int(number) for number in found.groups()] if found else []


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


def short_loops(settings: Settings) -> list[str]:
    arguments = settings.algorithm.arguments
    keys = [key for key in ("inner_steps", "inner_steps_test") if (arguments.get(key) or 0) > INNER_STEPS]
    return [f"algorithm.{key}={INNER_STEPS}" for key in keys]


@pytest.mark.parametrize("name", size(least(EXPERIMENTS), EXPERIMENTS))
def test_every_experiment_trains_a_step_on_its_stand_in(
    composer: Composer, nowhere: list[str], silent: Lines, name: str
) -> None:
    overrides = [f"experiment={name}", *LITTLE, *nowhere]
    settings = composer.settings(overrides)
    overrides += short_loops(settings)
    if needs_files(settings):
        overrides.append("dataset.stand_in=true")
    if settings.algorithm.arguments.get("fce"):
        overrides += NARROW
    job = composer.job(overrides)
    finished = run_job(job.settings, Provenance.of_job(job, settings, overrides), display=silent)
    record = finished.record
    assert record.status == "completed"
    assert record.test is not None
    assert ("(stand-in)" in record.dataset) == needs_files(settings)
