"""Every experiment resolves to the job that it resolved to before: its digest is kept in a file.

This guards against regressions. The digests are those of today, and are made again when an experiment is to change.
That nothing changed when files began to inherit from others was shown with the digests of commit cf19cd8, made before.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from experiments import published

from metaexp.config.compose import Composer
from metaexp.config.identity import config_hash
from metaexp.config.purpose import Purpose
from metaexp.config.schema import Settings
from metaexp.config.yaml_files import to_yaml

CONF = Path(__file__).resolve().parents[2] / "conf"
DIGESTS = Path(__file__).with_name("resolved_experiments.json")
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer()


def digests(settings: Settings) -> list[str]:
    """The digest of config.yaml and choices.yaml as a run would write them, and the hash of what decides numbers."""
    written = to_yaml(settings.resolved | {"paths": {}}) + to_yaml(settings.choices)
    return [hashlib.sha256(written.encode()).hexdigest(), config_hash(settings.resolved)]


def test_no_experiment_is_left_out() -> None:
    assert sorted(json.loads(DIGESTS.read_text())) == EXPERIMENTS


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_resolves_to_the_same_bytes_as_before_says_what_it_is_and_names_its_reference(name: str) -> None:
    settings = published(name)
    assert digests(settings) == json.loads(DIGESTS.read_text())[name]
    text = (CONF / "experiment" / f"{name}.yaml").read_text()
    header = text.partition("defaults:")[0]
    assert settings.experiment == name
    assert header.startswith("# @package _global_\n# ")
    assert "Paper:" in header
    assert f"metaexp train experiment={name}" in re.sub(r"\s*\\?\n#\s*", " ", header)
    assert settings.reference is not None or "none" in header or "published" in header, "say that there is no number"


@pytest.mark.parametrize("override", ["reference.value=0.5", "train.log_every=51"])
def test_a_changed_value_would_be_seen(composer: Composer, override: str) -> None:
    """Also one that decides no number."""
    name = "maml_omniglot_5way_5shot"
    settings = composer.settings([f"experiment={name}", override], Purpose.PLAN)
    assert digests(settings)[0] != json.loads(DIGESTS.read_text())[name][0]
