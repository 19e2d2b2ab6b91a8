"""Every file of conf/, found by looking: it composes, it is checked, and its keys are its class's arguments."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from metaexp.config.check import SECTIONS, SLOTS, TRACKER
from metaexp.config.classes.signatures import constructor
from metaexp.config.classes.source import find_class
from metaexp.config.command_line.apply import IN_NO_FILE
from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.sweep.expand import expand, freeze_all, swept_keys
from metaexp.sweep.freezer import Freezer
from metaexp.sweep.options import SweepOptions

CONF = Path(__file__).resolve().parents[2] / "conf"
FILES = sorted(path.relative_to(CONF).with_suffix("").as_posix() for path in CONF.rglob("*.yaml"))
GROUPS = [
    name for name in FILES if "/" in name and name.partition("/")[0] not in ("experiment", "hydra", "search", "sweep")
]
EXPERIMENTS = [name.removeprefix("experiment/") for name in FILES if name.startswith("experiment/")]
SWEEPS = [name.removeprefix("sweep/") for name in FILES if name.startswith("sweep/")]
TORCH_SWITCHES = {"foreach", "maximize", "capturable", "differentiable", "fused", "decoupled_weight_decay"}
"""Arguments of torch's optimisers that choose an implementation, or another optimiser, and keep their defaults."""


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer()


def nodes(value: Any, slot: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node with a class inside a file, with the slot that it is for."""
    if isinstance(value, dict):
        if "_target_" in value:
            yield slot, value
        for item in value.values():
            yield from nodes(item, slot if "_target_" not in value else "")


def content(name: str) -> dict[str, Any]:
    """A file as written, without its defaults list."""
    loaded = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"), resolve=False)
    assert isinstance(loaded, dict)
    return {str(key): value for key, value in loaded.items() if key != "defaults"}


NODES = [
    pytest.param(name, slot, node, id=f"{name}:{node['_target_'].rpartition('.')[2]}")
    for name in GROUPS
    for slot, node in nodes(content(name), name.partition("/")[0])
]


def injected(slot: str) -> frozenset[str]:
    return TRACKER.injected if slot == "tracker" else SLOTS[slot].injected if slot in SLOTS else frozenset()


def test_the_search_finds_files() -> None:
    assert {
        "config",
        "sweep/seeds",
        "algorithm/maml",
        "dataset/omniglot",
        "experiment/maml_omniglot_5way_1shot",
    } <= set(FILES)
    assert len(NODES) > 20


@pytest.mark.parametrize("name", GROUPS)
def test_every_choice_of_every_group_composes_and_is_checked(
    composer: Composer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metaexp.tracking.mlflow.find_spec", lambda name: True)  # the file is right without the package
    group, _, choice = name.partition("/")
    overrides = [f"{group}={choice}"]
    if group == "task" and content(name)["n_way"] == 0:
        overrides.append("dataset=sinusoid")  # brings another task, which the command line overrules
    if choice == "omniglot_challenge":  # whose test episodes are fixed
        overrides += ["task=20way_1shot", "task.n_query=1", "eval.episodes=20"]
    assert composer.settings(overrides, Purpose.PLAN).choices[group] == choice


@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_composes_into_different_jobs_and_says_what_it_is(composer: Composer, name: str) -> None:
    command = SweepOptions.parse([f"sweep={name}"], composer)
    swept = swept_keys(composer, command.job_overrides)
    jobs = freeze_all(Freezer(composer, name, swept, on_this_machine=False), expand(composer, command.job_overrides))
    text = (CONF / "sweep" / f"{name}.yaml").read_text()
    assert text.startswith("# ")
    assert f"# metaexp train -m sweep={name}" in text
    assert len(jobs) > 2
    assert len({job.config_hash for job in jobs}) == len(jobs)
    assert set(content(f"sweep/{name}")) <= {"params", "on_error", "retries"}


def test_experiments_are_all_different() -> None:
    files = [OmegaConf.to_yaml(OmegaConf.load(CONF / "experiment" / f"{name}.yaml")) for name in EXPERIMENTS]
    assert len(set(files)) == len(files)


OTHER_WORDS_FOR_INNER_STEPS = re.compile(r"\b(?:updates?|iterations?|gradient steps?|adaptation steps?)\b")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_protocol_says_inner_steps_in_the_word_of_the_project(name: str) -> None:
    reference = content(f"experiment/{name}").get("reference")
    assert OTHER_WORDS_FOR_INNER_STEPS.search((reference or {}).get("protocol", "")) is None


def test_another_word_for_inner_steps_would_be_seen() -> None:
    for words in ("600 tasks, 12 updates", "one gradient step", "5 iterations"):
        assert OTHER_WORDS_FOR_INNER_STEPS.search(words)
    assert OTHER_WORDS_FOR_INNER_STEPS.search("600 tasks, 12 inner steps, steps") is None


@pytest.mark.parametrize(("name", "slot", "node"), NODES)
def test_keys_are_constructor_arguments_both_ways(name: str, slot: str, node: dict[str, Any]) -> None:
    """Against the imported class, so that what is read from source is tested as well."""
    module, _, cls = node["_target_"].rpartition(".")
    real = inspect.signature(getattr(importlib.import_module(module), cls).__init__).parameters
    arguments = set(real) - {"self", "args", "kwargs"}
    source = find_class(node["_target_"])
    assert source is not None
    assert {argument.name for argument in constructor(source).arguments} == arguments
    wanted = arguments - injected(slot)
    if module.startswith("torch.optim"):
        wanted -= TORCH_SWITCHES
    assert set(node) - {"_target_"} == wanted


@pytest.mark.parametrize("section", SECTIONS)
def test_keys_of_a_framework_section_are_fields_of_its_schema_both_ways(composer: Composer, section: str) -> None:
    source = find_class(SECTIONS[section])
    assert source is not None
    optional = {key.partition(".")[2] for key in IN_NO_FILE if key.startswith(f"{section}.")}
    text = (CONF / "config.yaml").read_text()
    assert [key for key in optional if f"  # {key}: " not in text] == []  # a comment says that there is such a key
    fields = {argument.name for argument in constructor(source).arguments} - optional
    files = [name for name in GROUPS if name.startswith(f"{section}/")]
    written = [content(name) for name in files] or [content("config")[section]]
    for keys in written:
        assert set(keys) == fields
    assert set(composer.settings([], Purpose.PLAN).resolved[section]) == fields


@pytest.mark.parametrize("name", FILES)
def test_only_paths_read_the_environment_and_only_the_root_speaks_to_hydra(name: str) -> None:
    text = (CONF / f"{name}.yaml").read_text()
    assert "oc.env" not in text or name.startswith("paths/")
    assert "hydra" not in content(name) or name == "config"


def test_a_key_too_many_or_too_few_would_be_seen() -> None:
    """The two comparisons above, on a file with a planted mistake."""
    node = content("algorithm/maml")
    arguments = {argument.name for argument in constructor(find_class(node["_target_"])).arguments}  # type: ignore[arg-type]
    wanted = arguments - injected("algorithm")
    assert set(node) - {"_target_"} == wanted
    assert set(node) - {"_target_", "inner_lr"} != wanted
    assert set(node) | {"typo"} != wanted
