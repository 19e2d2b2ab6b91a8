"""``model.weights`` in a configuration: found, hashed, and part of what a run is; absent, it changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from metaexp.config.check import check
from metaexp.config.compose import Composer
from metaexp.config.identity import config_hash, numeric_part
from metaexp.config.purpose import Purpose
from metaexp.config.schema import Settings
from metaexp.core.errors import ConfigError

PLAIN = ["dataset=sinusoid", "device=cpu"]


def compose(*overrides: str) -> Settings:
    return Composer().settings([*PLAIN, *overrides])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"some weights")
    return path


def test_without_weights_a_configuration_and_its_hash_are_what_they_were() -> None:
    plain = compose()
    assert not set(plain.resolved["model"]) & {"weights", "weights_partial", "weights_sha256"}
    for line in ("model.weights=null", "+model.weights=null", "model.weights_partial=false"):
        assert compose(line).resolved == plain.resolved
        assert compose(line).config_hash == plain.config_hash


def test_a_run_is_another_one_with_other_weights_and_the_same_one_wherever_they_lie(file: Path, tmp_path: Path) -> None:
    with_file = compose(f"model.weights={file}")
    assert with_file.config_hash != compose().config_hash
    elsewhere = tmp_path / "copy.safetensors"
    elsewhere.write_bytes(file.read_bytes())
    assert compose(f"model.weights={elsewhere}").config_hash == with_file.config_hash
    assert compose(f"model.weights={file}", "model.weights_partial=true").config_hash == with_file.config_hash
    elsewhere.write_bytes(b"other weights")
    assert compose(f"model.weights={elsewhere}").config_hash != with_file.config_hash


def test_the_path_is_kept_whole_and_out_of_what_decides_numbers(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = compose(f"model.weights={file.name}")
    assert settings.resolved["model"]["weights"] == str(file)
    assert "weights" not in numeric_part(settings.resolved)["model"]
    assert "weights" not in settings.model.arguments


def test_a_saved_configuration_needs_the_file_no_more(file: Path) -> None:
    saved = compose(f"model.weights={file}")
    file.unlink()
    again = check(saved.resolved, saved.choices, Purpose.CONTINUE)
    assert again.resolved == saved.resolved
    with pytest.raises(ConfigError, match="cannot be read"):
        check(saved.resolved, saved.choices, Purpose.TRAIN)


def test_a_digest_that_is_given_must_be_that_of_the_file(file: Path) -> None:
    digest = compose(f"model.weights={file}").resolved["model"]["weights_sha256"]
    assert compose(f"model.weights={file}", f"model.weights_sha256={digest}").config_hash
    with pytest.raises(ConfigError, match="is not the file that the configuration names"):
        compose(f"model.weights={file}", f"model.weights_sha256={'0' * 64}")
    with pytest.raises(ConfigError, match="must be 64 hexadecimal digits"):
        compose(f"model.weights={file}", "model.weights_sha256=abc")


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("nowhere.pt", r"nowhere\.pt cannot be read \(No such file or directory\)\. Give a \.safetensors or \.pt file"),
        ("text.txt", r"text\.txt ends in \.txt; a file of weights ends in \.safetensors or \.pt, \.pth, \.bin, \.ckpt"),
        ("bare", "bare ends in no suffix"),
        ("folder", r"no config\.yaml. Give a run folder, or a file of weights\.$"),
        ("saved", r"no config\.yaml. Give a run folder, or a file of weights, such as .*saved/model\.safetensors\.$"),
        ("run", "has no weights: the run was not validated yet, its checkpoints are lost, or this is a published copy"),
        ("torn", r"best\.safetensors is missing, or is not a regular file"),
        ("line.pt/below", "cannot be read"),
    ],
)
def test_what_is_not_a_file_of_weights_is_refused_before_anything_is_loaded(
    tmp_path: Path, place: str, problem: str
) -> None:
    for name in ("folder", "saved", "run/checkpoints", "torn/checkpoints"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("text.txt", "bare", "line.pt", "saved/config.json", "saved/model.safetensors"):
        (tmp_path / name).write_text("x")
    for name in ("run", "torn"):
        (tmp_path / name / "config.yaml").write_text("seed: 0")
    (tmp_path / "torn" / "checkpoints" / "best.json").write_text("{}")
    with pytest.raises(ConfigError, match=problem):
        compose(f"model.weights={tmp_path / place}")


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as found:
        compose("model.weights=/nowhere.pt", "train.steps=-1", "model.weights_partial=2")
    text = str(found.value)
    assert "train.steps=-1" in text
    assert "model.weights_partial=2 must be true or false" in text
    assert "/nowhere.pt cannot be read" in text


@pytest.mark.parametrize("line", ["model.weights_partial=true", f"model.weights_sha256={'0' * 64}"])
def test_a_key_about_weights_without_weights_is_refused(line: str) -> None:
    with pytest.raises(ConfigError, match=r"has no effect without model\.weights=FILE_OR_RUN"):
        compose(line)


def test_a_misspelt_key_is_answered_with_the_right_one() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean model\.weights\?"):
        compose("model.weigths=x.pt")


def test_an_experiment_file_may_name_weights(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    text = "# @package _global_\ndefaults:\n  - override /dataset: sinusoid\n  - override /device: cpu\nmodel:\n"
    (folder / "mine.yaml").write_text(f"{text}  weights: {file}\n")
    found = Composer(tmp_path / "conf").settings(["experiment=mine"])
    assert found.config_hash == compose(f"model.weights={file}").config_hash
    assert found.config_hash == config_hash(found.resolved)


def test_a_network_that_takes_weights_itself_keeps_its_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from metaexp.config.classes import targets
    from metaexp.config.classes.source import read_module

    (tmp_path / "takes_weights.py").write_text(
        "from metaexp.models.base import Network\n"
        "class Net(Network):\n"
        "    def __init__(self, input_shape, n_outputs, weights: str): ...\n"
        "    def features(self, x): return x\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(targets, "_trusted", {"takes_weights"})
    read_module.cache_clear()
    saved = compose()
    config = saved.resolved | {"model": {"_target_": "takes_weights.Net", "weights": "imagenet"}}
    found = check(config, saved.choices, Purpose.TRAIN)
    assert found.model.arguments == {"weights": "imagenet"}
    assert numeric_part(found.resolved)["model"]["weights"] == "imagenet"
