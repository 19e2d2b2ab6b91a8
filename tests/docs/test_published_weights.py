"""The weights of published runs give the numbers of their records."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import pytest
from published_data import described, why_missing
from same_machine import is_same_machine
from sampling import size

from metaexp.core.intervals import mean_interval
from metaexp.report.later_tests import overrides_of, record_of_test
from metaexp.report.publish import MOST_BYTES, WEIGHTS
from metaexp.reproduce.from_weights import agree as agree_up_to_rounding
from metaexp.results.episodes import EPISODES_FILE, read_episodes
from metaexp.results.evaluations import PUBLISHED_TESTS, PublishedTest, evaluations
from metaexp.results.record import RunRecord, Score, read_record
from metaexp.run.checkpoint import read, write
from metaexp.run.evaluation.evaluate import evaluate_run
from metaexp.run.progress import Lines

RESULTS = Path(__file__).parents[2] / "docs" / "results"
RUNS = sorted(path.parent.name for path in RESULTS.glob("*/record.json"))
LATER = {
    f"{name} {' '.join(overrides_of(kept.evaluation))}": (
        name,
        kept.evaluation,
        f"{PUBLISHED_TESTS}/{kept.episodes.name}",
    )
    for name in RUNS
    for kept in evaluations(RESULTS / name, read_record(RESULTS / name))
    if isinstance(kept.evaluation, PublishedTest)
}
"""Published later tests of the weights by their titles: the run, the test and its file of episodes."""
PASSES = size(500, 10_000)
"""The first episodes of a row are tested, up to so many passes of an image through a network: a second, or some."""
LATER_PASSES = size(100, 10_000)
"""The same of later tests, which have the weights of a row again."""
FEWEST = size(2, 5)
"""At least so many episodes."""
STEPS = ("inner_steps_test", "inner_epochs_test", "tune_steps")
"""Arguments that count the steps of an algorithm in a test."""
SLOWER = {"meta_lstm": 4, "relation_net": 2}
"""What a pass costs where the network is not all that computes: LSTMs for every weight, a network for every pair."""
FASTER = {"mlp_sinusoid": 4_000, "nearest_neighbour": 800}
"""How many passes through a small network, or through none, count as one."""


def copy_of(name: str, place: Path) -> Path:
    """A copy that an evaluation may write to."""
    return Path(shutil.copytree(RESULTS / name, place / name))


def need_data(record: RunRecord) -> None:
    """Skip the test if the data of a record are not here."""
    folder = Path(os.environ.get("METAEXP_DATA", "no METAEXP_DATA"))
    if why := why_missing(described(record.config), record.data_hash, folder):
        pytest.skip(f"{why} (METAEXP_DATA is the folder of the data)")


def episodes_to_test(record: RunRecord, most_passes: int = PASSES) -> int:
    """How many episodes of a test are tested here. A step of adaptation is three passes of each support example."""
    assert record.test is not None
    arguments = record.config["algorithm"]
    steps = next((steps for key in STEPS if (steps := arguments.get(key))), 0)
    task = record.task
    passes = max(1, task.n_way) * (task.k_shot * (1 + 3 * steps) + task.n_query)
    faster = max(FASTER.get(record.model, 1), FASTER.get(record.algorithm, 1))
    affordable = most_passes * faster // (passes * SLOWER.get(record.algorithm, 1))
    return min(max(FEWEST, affordable), record.test.n_episodes)


def score_of(folder: Path, display: Lines, *overrides: str) -> Score:
    """The score of the weights in a folder. More threads decide the last digit only, and wait for each other."""
    record = read_record(folder)
    threads = record.device.threads if record.device and is_same_machine(record) else 1
    overrides = (f"device.threads={threads}", "device.accelerator=cpu", *overrides)
    return evaluate_run(folder, overrides, display=display).evaluation.test


def first_of(record: RunRecord, folder: Path, n_episodes: int, file: str = EPISODES_FILE) -> RunRecord:
    """The record of a test of the first episodes only."""
    assert record.test is not None
    values = read_episodes(folder / file)[-1][:n_episodes]
    return dataclasses.replace(record, test=Score(record.test.metric, *mean_interval(values), n_episodes))


def agree(found: Score, record: RunRecord) -> bool:
    expected = record.test
    assert expected is not None
    if is_same_machine(record):
        return found == expected
    return agree_up_to_rounding(found, expected)


def test_every_published_run_has_small_weights() -> None:
    assert [name for name in RUNS if not all((RESULTS / name / file).is_file() for file in WEIGHTS)] == []
    assert all((RESULTS / name / WEIGHTS[1]).stat().st_size <= MOST_BYTES for name in RUNS)


@pytest.mark.parametrize("name", RUNS)
def test_the_weights_give_the_recorded_number(name: str, tmp_path: Path, silent: Lines) -> None:
    record = read_record(RESULTS / name)
    need_data(record)
    folder = copy_of(name, tmp_path)
    n_episodes = episodes_to_test(record)
    assert record.test is not None
    if n_episodes < record.test.n_episodes:
        record = first_of(record, RESULTS / name, n_episodes)
    assert agree(score_of(folder, silent, f"eval.episodes={n_episodes}"), record)


def test_all_episodes_of_sinusoids_and_of_pixels_are_tested() -> None:
    """The README says so."""
    records = {name: read_record(RESULTS / name) for name in RUNS}
    whole = {
        name for name, record in records.items() if record.test and episodes_to_test(record) == record.test.n_episodes
    }
    fast = {name for name, r in records.items() if r.dataset == "sinusoid" or r.algorithm == "nearest_neighbour"}
    assert len(fast) > 40
    assert fast - whole == set()
    assert {*records} - whole != set()


@pytest.mark.parametrize("name", RUNS)
def test_the_recorded_number_is_the_mean_of_all_recorded_episodes(name: str) -> None:
    record = read_record(RESULTS / name)
    assert record.test is not None
    n_episodes = record.test.n_episodes
    assert len(read_episodes(RESULTS / name / EPISODES_FILE)[-1]) == n_episodes
    assert first_of(record, RESULTS / name, n_episodes).test == record.test


def gives_its_number(title: str, folder: Path, display: Lines) -> bool:
    """Whether the weights in a copy of a run give the number of a published later test."""
    name, test, episodes = LATER[title]
    made = record_of_test(test, read_record(RESULTS / name))
    n_episodes = episodes_to_test(made, LATER_PASSES)
    found = score_of(folder, display, *overrides_of(test), f"eval.episodes={n_episodes}")
    made = first_of(made, RESULTS / name, n_episodes, episodes)
    return agree(found, dataclasses.replace(made, device=test.device, versions=test.versions))


@pytest.mark.parametrize("title", LATER)
def test_the_weights_give_the_numbers_of_published_later_tests(title: str, tmp_path: Path, silent: Lines) -> None:
    name, test, _ = LATER[title]
    need_data(record_of_test(test, read_record(RESULTS / name)))
    assert gives_its_number(title, copy_of(name, tmp_path), silent)


@pytest.mark.parametrize("title", list(LATER)[:1])
def test_other_weights_give_another_number_in_a_later_test(title: str, tmp_path: Path, silent: Lines) -> None:
    name, test, _ = LATER[title]
    need_data(record_of_test(test, read_record(RESULTS / name)))
    folder = copy_of(name, tmp_path)
    base = folder / "checkpoints" / "best"
    tensors, values = read(base)
    write(base, {key: 1.3 * tensor for key, tensor in tensors.items()}, values)
    assert not gives_its_number(title, folder, silent)


def test_the_mean_of_other_episodes_is_another_number() -> None:
    record = read_record(RESULTS / "maml_sinusoid")
    assert record.test is not None
    some = first_of(record, RESULTS / "maml_sinusoid", record.test.n_episodes - 1).test
    assert some is not None
    assert some.mean != record.test.mean


def test_other_weights_give_another_number(tmp_path: Path, silent: Lines) -> None:
    folder = copy_of("maml_sinusoid", tmp_path)
    base = folder / "checkpoints" / "best"
    tensors, values = read(base)
    write(base, {key: 1.01 * tensor for key, tensor in tensors.items()}, values)
    assert not agree(score_of(folder, silent), read_record(folder))
