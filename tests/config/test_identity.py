"""What a run is called, and which settings make two runs the same."""

from __future__ import annotations

import copy
from datetime import datetime
from typing import Any

import pytest

from metaexp.config.compose import Composer
from metaexp.config.identity import NON_NUMERIC_KEYS, config_hash, deviations, folder_name
from metaexp.config.purpose import Purpose
from metaexp.config.schema import Settings


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer()


def of(composer: Composer, *overrides: str) -> Settings:
    return composer.settings(overrides, Purpose.PLAN)


def test_the_hash_is_that_of_the_numbers_and_not_of_where_they_are_computed(composer: Composer) -> None:
    plain = config_hash(of(composer).resolved)
    elsewhere = ["device=cuda", "device.threads=3", "device.task_chunk=2", "paths.outputs=x", "tracker=files"]
    assert config_hash(of(composer, *elsewhere, "train.log_every=7", "train.checkpoint_every=9").resolved) == plain
    assert config_hash(of(composer, "eval.test=false").resolved) == plain, "the same weights, not tested"
    assert len(plain) == 64


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "eval.seed=1",
        "eval.episodes=7",
        "train.steps=7",
        "train.eval_every=7",
        "train.eval_episodes=7",
        "algorithm.inner_lr=0.39",
        "device.precision=bf16",
        "clip=norm",
        "task.k_shot=2",
        "dataset=omniglot",
    ],
)
def test_a_setting_that_decides_numbers_changes_the_hash(composer: Composer, override: str) -> None:
    assert config_hash(of(composer, override).resolved) != config_hash(of(composer).resolved)


def test_an_argument_at_its_constructors_default_may_come_or_go(composer: Composer) -> None:
    resolved = of(composer).resolved
    assert resolved["optimizer"]["amsgrad"] is False
    without = copy.deepcopy(resolved)
    del without["optimizer"]["amsgrad"]
    assert config_hash(without) == config_hash(resolved)
    without["optimizer"]["amsgrad"] = True
    assert config_hash(without) != config_hash(resolved)
    del without["optimizer"]["amsgrad"], without["algorithm"]["first_order"]  # has no default: it is decided in YAML
    assert config_hash(without) != config_hash(resolved)


def test_the_order_of_keys_and_the_way_a_number_is_written_do_not_matter(composer: Composer) -> None:
    resolved = of(composer).resolved
    turned: dict[str, Any] = {key: resolved[key] for key in reversed(list(resolved))}
    assert config_hash(turned) == config_hash(resolved)
    one, other = of(composer, "algorithm.inner_lr=1"), of(composer, "algorithm.inner_lr=1.0")
    assert config_hash(one.resolved) == config_hash(other.resolved)


def test_every_key_that_does_not_decide_exists(composer: Composer) -> None:
    labelled = of(composer, "tags=[a]", "notes=b", "train.profile=3")  # keys that are in no file
    resolved = copy.deepcopy(labelled.resolved) | {"reference": None}
    for key in NON_NUMERIC_KEYS:
        section, _, name = key.partition(".")
        assert section in resolved
        assert not name or name in resolved[section]


@pytest.mark.parametrize(
    ("more", "chooses"),
    [([], True), (["train.patience=3"], True), (["eval.weights=last"], False)],
)
def test_how_often_is_validated_is_a_deviation_only_where_validation_chooses(
    composer: Composer, more: list[str], chooses: bool
) -> None:
    published = composer.settings(["tracker=files"]).resolved
    of_validation = ["train.eval_every=7", "train.eval_episodes=9"]
    found = deviations(composer.settings(["tracker=files", *of_validation, *more]).resolved, published)
    assert set(found) == {*more, *(of_validation if chooses else [])}


def test_a_run_is_named_after_what_it_is(composer: Composer) -> None:
    assert of(composer).name == "maml-glyphs-5way_1shot-seed0"
    assert of(composer, "task.n_way=7", "seed=3").name == "maml-glyphs-7way_1shot-seed3"
    experiment = of(composer, "experiment=maml_omniglot_5way_1shot")
    assert experiment.name == "maml_omniglot_5way_1shot-5way_1shot-seed0"


@pytest.mark.parametrize(
    ("dataset", "key", "place", "name"),
    [
        ("image_folder", "folder", "/data/my birds.tar.gz", "image_folder-my_birds"),
        ("image_folder", "folder", "~/pictures/birds/", "image_folder-birds"),
        ("arrays", "file", "C:\\\\data\\\\features.npz", "arrays-features"),
        ("regression_table", "file", "series.v2.csv", "regression_table-series.v2"),
        ("time_series", "file", "loads/homes.csv", "time_series-homes"),
        ("time_series", "file", "loads/time_series.csv", "time_series"),
        ("arrays", "file", "Arrays.npz", "arrays"),
        ("arrays", "file", "arrays2.npz", "arrays-arrays2"),
    ],
)
def test_data_of_ones_own_have_the_name_of_their_file(
    composer: Composer, dataset: str, key: str, place: str, name: str
) -> None:
    settings = composer.settings([f"dataset={dataset}", f"dataset.{key}='{place}'"], Purpose.PLAN)
    assert settings.dataset_name == name
    assert f"-{name}-" in settings.name
    assert composer.settings(["dataset=omniglot"], Purpose.PLAN).dataset_name == "omniglot"


def test_folders_of_runs_in_one_second_differ(composer: Composer) -> None:
    settings = of(composer)
    first = folder_name(settings.name, datetime(2026, 1, 2, 3, 4, 5, 6))
    assert first == "maml-glyphs-5way_1shot-seed0-20260102-030405-000006"
    assert first != folder_name(settings.name, datetime(2026, 1, 2, 3, 4, 5, 7))
