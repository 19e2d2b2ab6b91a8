"""The shipped configuration, and a folder of the user's own before it."""

from __future__ import annotations

import importlib.util
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from metaexp.config import loader
from metaexp.config.compose import Composer
from metaexp.config.hydra_internals import ConfigLoaderImpl, ConfigRepository
from metaexp.config.loader import Files, conf_folder, make_loader
from metaexp.config.purpose import Purpose
from metaexp.core.errors import ConfigError


def write(folder: Path, name: str, text: str) -> None:
    path = folder / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_files_of_the_user_are_found_beside_the_shipped_ones(tmp_path: Path) -> None:
    write(tmp_path, "task/mine", "n_way: 7\nk_shot: 2\nn_query: 3\n")
    assert Composer(tmp_path).settings(["task=mine"], Purpose.PLAN).task.shape == (7, 2, 3)
    assert make_loader(tmp_path).repository.config_exists("task/5way_1shot")
    assert not make_loader(None).repository.config_exists("task/mine")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("task/5way_1shot", "n_way: 7\n", "has the name of a shipped file"),
        ("task/mine", "x: 1\n" * 200_000, "has 1,000,000 bytes; a configuration has at most"),
    ],
)
def test_a_folder_with_a_file_that_cannot_be_used_is_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    write(tmp_path, name, text)
    with pytest.raises(ConfigError, match=said):
        make_loader(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such folder"):
        make_loader(tmp_path / "nowhere")


def test_the_shipped_files_are_in_the_package_or_beside_it_or_the_user_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert conf_folder() == "pkg://metaexp.conf"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert Path(conf_folder()) == Path(loader.__file__).parents[2] / "conf"
    monkeypatch.setattr(loader, "__file__", str(tmp_path / "metaexp" / "config" / "loader.py"))
    with pytest.raises(ConfigError, match="install the package again"):
        conf_folder()


def test_what_is_done_to_one_configuration_changes_no_other() -> None:
    first = Composer().compose([])
    first.config.train.steps = -1
    first.config.model.channels = -1
    first.hydra.job.name = "changed"
    second = Composer().compose([])
    assert second.config.train.steps == 150
    assert second.config.model.channels == 64
    assert second.hydra.job.name == "metaexp"
    assert first.config != second.config


def test_the_time_in_a_configuration_is_not_that_of_the_first_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra keeps the time that it has read while it composes, and others are made of the same files."""
    notes = "notes='${now:%Y-%m-%d}'"
    assert Composer().settings([notes], Purpose.PLAN).notes != "1999-12-31"
    monkeypatch.setattr("hydra.core.utils.datetime", SimpleNamespace(now=lambda: datetime(1999, 12, 31)))
    assert Composer().settings([notes], Purpose.PLAN).notes == "1999-12-31"


def test_an_edited_file_is_read_again(tmp_path: Path) -> None:
    composer = Composer(tmp_path)
    for width in (4, 5):
        write(tmp_path, "model/small", f"_target_: metaexp.models.mlp.MLP\nhidden: [{width}]\n")
        assert composer.compose(["model=small"]).config.model.hidden == [width]
        assert Composer(tmp_path).compose(["model=small"]).config.model.hidden == [width]


def all_of(config: DictConfig) -> Any:
    """What is in a configuration, with interpolations as they are written."""
    return OmegaConf.to_container(config, resolve=False)


def test_the_same_choices_are_composed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the values are: they are set later. An edit and a new file are noticed."""
    composed: list[list[str]] = []
    compose = ConfigLoaderImpl.load_configuration

    def note(self: ConfigLoaderImpl, name: str | None, overrides: list[str], *more: Any) -> DictConfig:
        composed.append(overrides)
        return compose(self, name, overrides, *more)

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", note)
    write(tmp_path, "model/small", "defaults:\n  - optional more@_here_: there\nwidth: 1\n")
    for seed in (1, 2, 3):
        config = Composer(tmp_path).settings(["task=5way_5shot", f"seed={seed}"], Purpose.PLAN)
        assert (config.seed, config.task.k_shot) == (seed, 5)
        assert Composer(tmp_path).compose(["model=small"]).config.model == {"width": 1}
    assert composed == [["task=5way_5shot"], ["model=small"]]
    write(tmp_path, "model/small", "defaults:\n  - optional more@_here_: there\nwidth: 2\n")
    assert Composer(tmp_path).compose(["model=small"]).config.model == {"width": 2}
    write(tmp_path, "model/more/there", "depth: 3\n")
    assert Composer(tmp_path).compose(["model=small"]).config.model == {"width": 2, "depth": 3}
    (tmp_path / "model" / "more" / "there.yaml").unlink()
    assert Composer(tmp_path).compose(["model=small"]).config.model == {"width": 2}
    assert len(composed) == 5
    monkeypatch.chdir(tmp_path)
    moved = Composer(tmp_path).compose(["model=small"])
    assert moved.hydra.runtime.cwd == HydraConfig.get().runtime.cwd == str(tmp_path)
    assert len(composed) == 5
    monkeypatch.setattr(loader, "_made", {})
    again = Composer(tmp_path).compose(["model=small"])
    assert moved.config == again.config
    assert all_of(moved.hydra) == all_of(again.hydra)
    (tmp_path / "model" / "small.yaml").unlink()
    with pytest.raises(ConfigError, match="model/small"):
        Composer(tmp_path).compose(["model=small"])


def test_files_that_stay_are_compared_once_and_an_edit_is_noticed_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    compare = Files.is_current

    def note(self: Files, answers: Any) -> bool:
        asked.append(len(answers))
        return compare(self, answers)

    monkeypatch.setattr(Files, "is_current", note)
    write(tmp_path, "model/small", "width: 1\n")
    composer = Composer(tmp_path)
    composer.compose(["model=small"])
    for _ in range(3):
        composer.compose(["model=small"])
    assert len(asked) == 3
    asked.clear()
    write(tmp_path, "model/small", "width: 2\n")
    with composer.loader.assume_files_unchanged():
        widths = [composer.compose(["model=small"]).config.model.width for _ in range(5)]
    assert widths == [2] * 5
    assert len(asked) == 1
    write(tmp_path, "model/small", "width: 3\n")
    assert composer.compose(["model=small"]).config.model.width == 3


def test_an_override_that_was_read_before_is_as_it_was_written() -> None:
    composer = Composer()
    for _ in range(2):
        settings = composer.settings(["+tags=[a]", "model.channels=7"], Purpose.PLAN)
        assert settings.resolved["tags"] == ["a"]
        assert settings.resolved["model"]["channels"] == 7
        settings.resolved["tags"].append("b")
        first, second = composer.parse("seed=1,2"), composer.parse("seed=1,2")
        assert first == second
        assert first is not second
        assert isinstance(first, Override)
        first.key_or_group = "changed"


def test_only_the_newest_compositions_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "_MOST_MADE", 2)
    monkeypatch.setattr(loader, "_made", {})
    for name in ("maml", "reptile", "maml", "proto_net"):
        assert Composer().compose([f"algorithm={name}"]).choices["algorithm"] == name
    assert [f"algorithm={name}" for name in ("maml", "proto_net")] == [key[2] for key in loader._made]


def test_a_choice_that_depends_on_more_than_files_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "model/fitting", "defaults:\n  - size@_here_: ${oc.env:SIZE}\n")
    write(tmp_path, "model/size/small", "hidden: [1]\n")
    write(tmp_path, "model/size/large", "hidden: [9]\n")
    for name, width in (("small", 1), ("large", 9)):
        monkeypatch.setenv("SIZE", name)
        assert Composer(tmp_path).compose(["model=fitting"]).config.model.hidden == [width]


def test_choices_are_the_yaml_files_of_all_folders(tmp_path: Path) -> None:
    for name in ("mine", "two.dots"):
        write(tmp_path, f"model/{name}", "x: 1\n")
    (tmp_path / "model" / "folder.yaml").mkdir()
    (tmp_path / "model" / "notes.txt").touch()
    found = make_loader(tmp_path).repository
    for group in ("model", "hydra/launcher", "experiment", "", "nothing"):
        assert found.get_group_options(group) == ConfigRepository.get_group_options(found, group)
    assert {"mine", "two.dots", "conv4"} <= set(found.get_group_options("model"))
    assert not {"folder", "notes"} & set(found.get_group_options("model"))


def test_two_folders_with_the_same_names_are_kept_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path, f"{name}/model/small", f"_target_: {name}\n")
        assert Composer(tmp_path / name).compose(["model=small"]).config.model._target_ == name


def test_a_file_may_choose_another_one_by_the_name_of_a_choice(tmp_path: Path) -> None:
    write(tmp_path, "model/fitting", "defaults:\n  - size@_here_: for_${task}\n")
    write(tmp_path, "model/size/for_5way_1shot", "hidden: [5]\n")
    write(tmp_path, "model/size/for_20way_1shot", "hidden: [20]\n")
    composer = Composer(tmp_path)
    for n_way in (5, 20):
        assert composer.compose(["model=fitting", f"task={n_way}way_1shot"]).config.model.hidden == [n_way]
