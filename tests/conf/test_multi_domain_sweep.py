"""The sweep over several domains has every algorithm, each on the same tasks and the same test bank."""

from __future__ import annotations

from pathlib import Path

import pytest

from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.config.schema import Settings
from metaexp.core.errors import ConfigError
from metaexp.sweep.expand import expand
from metaexp.sweep.options import SweepOptions

CONF = Path(__file__).resolve().parents[2] / "conf"
ALGORITHMS = sorted(path.stem for path in (CONF / "algorithm").glob("*.yaml"))


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer()


def jobs(composer: Composer, *overrides: str) -> list[Settings]:
    """The settings of each job of the sweep, with overrides."""
    command = SweepOptions.parse(["sweep=multi_domain", *overrides], composer)
    return [composer.settings(job, Purpose.PLAN) for job in expand(composer, command.job_overrides)]


def algorithms(found: list[Settings]) -> list[str]:
    return sorted(job.choices["algorithm"] for job in found)


def banks_of(found: list[Settings]) -> set[str]:
    """What decides the test episodes of each job."""
    return {repr((job.resolved["dataset"], job.resolved["task"], job.resolved["eval"])) for job in found}


def test_the_sweep_has_three_seeds_of_every_algorithm_on_one_test_bank(composer: Composer) -> None:
    found = jobs(composer)
    assert algorithms(found) == sorted(3 * ALGORITHMS), "three seeds of each: ranks need them"
    assert {job.choices["dataset"] for job in found} == {"multi_domain"}
    assert len(banks_of(found)) == 1


def test_a_missing_algorithm_another_test_and_too_many_shots_would_be_seen(composer: Composer) -> None:
    one = "reptile_multi_domain_5way_1shot"
    two = f"maml_multi_domain_5way_1shot,{one}"
    assert algorithms(jobs(composer, f"experiment={two}", "seed=0")) == ["maml", "reptile"]
    assert len(banks_of(jobs(composer, f"experiment={two}", "eval.episodes=600,1000"))) == 2
    with pytest.raises(ConfigError, match=r"needs 7 examples per class; .* dataset\.domains\.emoji has a class of 6\."):
        jobs(composer, f"experiment={one}", "seed=0", "train.k_shot=6")
