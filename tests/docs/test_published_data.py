"""Published weights are tested again wherever the data of all parts of their tasks are, and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from made_fonts import families
from published_data import described, why_missing

from metaexp.data.base import Dataset
from metaexp.data.icons.archive import published
from metaexp.results.record import read_record

RUN = Path(__file__).parents[2] / "docs" / "results" / "proto_net_multi_domain_5way_1shot"
FILES = {
    "omniglot": ["omniglot/images_background.zip", "omniglot/images_evaluation.zip"],
    "icons": ["icons/json.tgz"],
    "emoji": ["icons/json.tgz"],
    "glyphs": [],
}
LETTERS = {"min_families": 4, "most_per_script": 8, "train_scripts": ["Latin"]}


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def dataset_of(*names: str, **of_fonts: object) -> Dataset:
    """The dataset of the published run, with some of its parts only; one alone makes a dataset of its own."""
    config: dict[str, Any] = read_record(RUN).config
    domains = {name: dict(config["dataset"]["domains"][name]) for name in names}
    domains = {name: {**part, **(of_fonts if name == "fonts" else {})} for name, part in domains.items()}
    mixture = config["dataset"] | {"domains": domains}
    return described(config | {"dataset": mixture if len(domains) > 1 else domains[names[0]]})


def put(data: Path, *names: str) -> None:
    for file in [file for name in names for file in FILES[name]]:
        (data / file).parent.mkdir(exist_ok=True)
        (data / file).touch()
        os.truncate(data / file, published().most)  # the icons' archive is known by its size


@pytest.mark.parametrize("absent", ["omniglot", "icons"])
def test_a_mixture_needs_the_files_of_each_part(data: Path, absent: str) -> None:
    put(data, *({*FILES} - {absent, "emoji"}))
    why = why_missing(dataset_of(*FILES), "d", data)
    assert absent in why
    assert "glyphs" not in why
    put(data, absent)
    why_missing.cache_clear()
    assert why_missing(dataset_of(*FILES), "d", data) == ""


@pytest.mark.parametrize("name", ["emoji", "omniglot"])
def test_a_dataset_of_its_own_needs_its_files(data: Path, name: str) -> None:
    assert why_missing(dataset_of(name), "d", data) != ""
    why_missing.cache_clear()
    put(data, name)
    assert why_missing(dataset_of(name), "d", data) == ""
    assert why_missing(dataset_of("glyphs"), "d", data) == ""


@pytest.mark.parametrize("parts", [["fonts"], ["fonts", "glyphs"]], ids=["alone", "in a mixture"])
def test_fonts_must_be_those_of_the_record(data: Path, parts: list[str]) -> None:
    assert "no letter has drawings" in why_missing(
        dataset_of(*parts, folder=str(families(data / "few", 2)), **LETTERS), "d", data
    )
    fonts = dataset_of(*parts, folder=str(families(data / "fonts", 6)), **LETTERS)
    digest = fonts.load(data, lambda _: None).digest
    assert why_missing(fonts, digest, data) == ""
    assert why_missing(fonts, "d", data) == "the fonts of this machine are not those of the record"


def test_every_published_run_says_what_it_needs(data: Path) -> None:
    runs = [read_record(path) for path in sorted(RUN.parent.glob("*/record.json"))]
    known = {type(described(run.config)) for run in runs}
    assert {kind.__name__ for kind in known} >= {"Mixture", "Fonts", "Icons", "Emoji", "Omniglot", "Sinusoid"}
    assert [kind.__name__ for kind in known if kind.sources is Dataset.sources] == []
