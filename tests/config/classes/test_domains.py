from __future__ import annotations

from typing import Any

import pytest

from metaexp.config.classes.checker import Checker, Slot
from metaexp.config.classes.domains import HOW_TO_ADD, wrong_domains
from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.core.errors import ConfigError

MIXTURE = "metaexp.data.mixture.dataset.Mixture"
GLYPHS = {"_target_": "metaexp.data.glyphs.Glyphs"}

WRONG: dict[str, tuple[Any, str]] = {
    "nothing in it": ({}, "dataset.domains.sine={} has no _target_ of a dataset."),
    "settings alone": ({"seed": 5}, "has no _target_ of a dataset."),
    "a name": ("sinusoid", "dataset.domains.sine=sinusoid is not a dataset."),
    "nothing": (None, "dataset.domains.sine=null is not a dataset."),
    "functions": ({"_target_": "metaexp.data.sinusoid.Sinusoid"}, "dataset.domains.sine is for regression."),
    "a table": ({"_target_": "metaexp.data.regression_table.RegressionTable"}, "is for regression."),
    "series": ({"_target_": "metaexp.data.time_series.TimeSeries", "length": 3}, "is for regression."),
    "a mixture": ({"_target_": MIXTURE, "domains": {}}, "dataset.domains.sine is a mixture itself."),
}


def problems(domain: str, *others: str) -> list[str]:
    """What the check of ``dataset=mixture`` says of a domain ``sine``."""
    with pytest.raises(ConfigError) as caught:
        Composer().settings(["dataset=mixture", f"dataset.domains.sine={domain}", *others], Purpose.LOOK)
    return caught.value.problems


@pytest.mark.parametrize("name", WRONG)
def test_a_domain_that_is_not_a_classification_dataset_is_named_with_what_is_allowed(name: str) -> None:
    node, said = WRONG[name]
    found = wrong_domains({"_target_": MIXTURE, "domains": {"old": GLYPHS, "sine": node}})
    assert list(found) == ["sine"]
    assert found["sine"].endswith(f"{said} {HOW_TO_ADD}")


@pytest.mark.parametrize(
    "dataset",
    [
        {"_target_": MIXTURE, "domains": {"old": GLYPHS, "new": GLYPHS}},
        {"_target_": MIXTURE, "domains": {"old": GLYPHS, "odl": {"seed": 5}}},
        {"_target_": MIXTURE, "domains": {"old": GLYPHS, "mine": {"_target_": "nowhere.Mine"}}},
        {"_target_": MIXTURE, "domains": 3},
        {"_target_": "nowhere.Mine", "domains": {"sine": {}}},
        {"_target_": 3, "domains": {"sine": {}}},
        {"domains": {"sine": {}}},
        GLYPHS,
        3,
    ],
)
def test_what_is_right_or_said_elsewhere_is_not_reported(dataset: Any) -> None:
    assert wrong_domains(dataset) == {}


def test_a_wrong_domain_brings_one_sentence_and_the_others_are_still_checked() -> None:
    assert problems("{}") == [f"dataset.domains.sine={{}} has no _target_ of a dataset. {HOW_TO_ADD}"]
    (sinusoid,) = problems("{_target_:metaexp.data.sinusoid.Sinusoid}")
    assert "for regression" in sinusoid
    with pytest.raises(ConfigError) as caught:
        Composer().settings(
            ["dataset=mixture", "dataset.domains.sine={}", "dataset.domains.glyphs.seed=x"], Purpose.LOOK
        )
    assert len(caught.value.problems) == 2


def test_the_key_that_a_wrong_one_lies_in_is_not_proposed() -> None:
    checker = Checker(["dataset.domains", "dataset.seed"])
    nodes = {"old": GLYPHS, "zzz": {}}
    checker.nodes("dataset.domains", nodes, Slot("metaexp.data.base.Dataset"))
    assert any("dataset.domains.zzz has no _target_ that names its class. Known: old." in p for p in checker.problems)
