"""The block ``augment`` in a run: no part of its identity where it is empty, and a part where it is not."""

import json
from pathlib import Path

import pytest

import metaexp as mx
from metaexp.config.compose import Composer
from metaexp.config.identity import config_hash, numeric_part, with_added_keys
from metaexp.config.purpose import Purpose
from metaexp.config.schema import Settings
from metaexp.core.errors import ConfigError

SETTINGS = (
    "dataset=glyphs", "algorithm=proto_net", "train.steps=4", "train.meta_batch_size=2", "train.eval_every=2",
    "train.eval_episodes=4", "train.log_every=2", "train.checkpoint_every=2", "eval.episodes=4", "tracker=files",
    "device.accelerator=cpu", "device.threads=1",
)  # fmt: skip


SMALL = ("dataset.train_classes=60", "dataset.val_classes=10", "dataset.test_classes=10", "model.channels=8")


def settings(*overrides: str) -> Settings:
    return Composer().settings([*SETTINGS, *overrides], Purpose.PLAN)


def test_an_empty_block_is_not_part_of_the_hash_and_any_change_is():
    now = settings()
    before = {key: value for key, value in now.resolved.items() if key != "augment"}
    assert "augment" in now.resolved
    assert "augment" not in numeric_part(now.resolved)
    assert config_hash(now.resolved) == config_hash(before)
    assert settings("augment.parts=both").config_hash == now.config_hash
    hashes = {settings(f"augment.{key}").config_hash for key in ("flip=true", "crop=2", "turn=true", "contrast=0.1")}
    assert len({*hashes, now.config_hash}) == 5


def test_a_configuration_of_before_has_an_empty_block():
    now = settings().resolved
    before = {key: value for key, value in now.items() if key != "augment"}
    assert with_added_keys(before)["augment"] == now["augment"]
    assert with_added_keys({**before, "augment": {"flip": True}})["augment"]["flip"] is True


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("augment.crop=-1", r"augment\.crop=-1"),
        ("augment.brightness=2", r"augment\.brightness=2"),
        ("augment.parts=all", r"augment\.parts"),
        ("augment.flips=true", r"augment\.flips"),
    ],
)
def test_values_that_are_impossible_are_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        settings(override)


def test_regression_is_refused_before_data_are_made():
    with pytest.raises(ConfigError, match=r"^augment\.flip=true, augment\.crop=2: augment changes images, and this is"):
        settings("dataset=sinusoid", "algorithm=maml", "augment.flip=true", "augment.crop=2")
    settings("dataset=sinusoid", "algorithm=maml", "augment.parts=query")


def run(folder: Path, *overrides: str) -> bytes:
    return (mx.train(*SETTINGS, *SMALL, *overrides, folder=folder).folder / "metrics.jsonl").read_bytes()


@pytest.mark.usefixtures("no_figures")
def test_an_augmented_run_repeats_itself_and_differs_from_the_plain_one(tmp_path):
    plain = run(tmp_path / "plain")
    changed = run(tmp_path / "changed", "augment.flip=true", "augment.crop=3")
    assert run(tmp_path / "again", "augment.flip=true", "augment.crop=3") == changed
    assert changed != plain
    record = json.loads((tmp_path / "changed" / "record.json").read_text())
    assert record["config"]["augment"]["crop"] == 3
    assert record["episode_bank"] == json.loads((tmp_path / "plain" / "record.json").read_text())["episode_bank"]


@pytest.mark.usefixtures("no_figures")
def test_a_run_that_goes_on_from_an_augmented_one_is_the_longer_run(tmp_path):
    long = run(tmp_path / "long", "augment.turn=true")
    run(tmp_path / "short", "augment.turn=true", "train.steps=2")
    mx.train(f"from={tmp_path / 'short'}", "train.steps=4", folder=tmp_path / "on")
    assert (tmp_path / "on" / "metrics.jsonl").read_bytes() == long
    with pytest.raises(ConfigError, match="augment"):
        mx.train(f"from={tmp_path / 'short'}", "train.steps=4", "augment.turn=false", folder=tmp_path / "other")
