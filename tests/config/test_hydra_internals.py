"""Files are merged as Hydra merges them, node by node, whatever was merged before."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.types import RunMode
from omegaconf import DictConfig, Node

from metaexp.config import hydra_internals
from metaexp.config.hydra_internals import ConfigLoaderImpl
from metaexp.config.loader import make_loader

FILES = {
    "model/small": "hidden: [1]\nextra: {deep: '${seed}'}\n",
    "model/twice": "defaults:\n  - small@first\n  - small@second.inside\n  - _self_\nfirst: {hidden: [2]}\n",
    "hydra/launcher/own": "_target_: hydra_plugins.own\nown: 1\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        write(tmp_path, name, text)
    return tmp_path


def write(folder: Path, name: str, text: str) -> None:
    path = folder / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def nodes(node: Node) -> object:
    """Types, flags and values of a configuration, all the way down."""
    value = node._value()
    if isinstance(value, dict):
        value = {key: nodes(item) for key, item in value.items()}
    elif isinstance(value, list):
        value = [nodes(item) for item in value]
    return type(node), repr(node._metadata), value


def composed(loader: ConfigLoaderImpl, overrides: list[str]) -> DictConfig:
    return loader.load_configuration("config", overrides, RunMode.RUN)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["experiment=maml_plus_plus_omniglot_5way_1shot"],
        ["model=twice"],
        ["hydra/launcher=own"],
        ["hydra/job_logging=default", "hydra.job.name=mine", "seed=3", "+new.key=[1]", "~clip"],
    ],
)
def test_a_configuration_is_that_of_hydra(folder: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hydra_internals, "_merged", {})
    own = make_loader(folder)
    for day in (1, 2):  # Hydra keeps the time in what it composes
        monkeypatch.setattr("hydra.core.utils.datetime", SimpleNamespace(now=lambda day=day: datetime(2000, 1, day)))
        plain = nodes(composed(ConfigLoaderImpl(own.config_search_path), overrides))
        assert nodes(composed(own, overrides)) == plain
    assert nodes(composed(own, [*overrides, "+notes=other"])) != plain
    assert len(hydra_internals._merged) == 1


def test_what_is_done_to_one_configuration_changes_no_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hydra.core.utils.datetime", SimpleNamespace(now=lambda: datetime(2000, 1, 1)))
    first = composed(make_loader(folder), ["model=twice"])
    before = nodes(first)
    first.model.first.hidden = [9]
    first.hydra.job.name = "changed"
    first.hydra.launcher._target_ = "changed"
    assert nodes(first) != before
    assert nodes(composed(make_loader(folder), ["model=twice"])) == before


def test_an_edit_in_the_section_of_hydra_is_noticed(folder: Path) -> None:
    for number in (1, 2):
        write(folder, "hydra/launcher/own", f"own: {number}\n")
        assert composed(make_loader(folder), ["hydra/launcher=own"]).hydra.launcher.own == number


def test_few_merged_sections_are_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hydra_internals, "_merged", {})
    monkeypatch.setattr(hydra_internals, "_MOST_MERGED", 2)
    for number in range(5):
        write(folder, "hydra/launcher/own", f"own: {number}\n")
        composed(make_loader(folder), ["hydra/launcher=own"])
        assert 1 <= len(hydra_internals._merged) <= 2
