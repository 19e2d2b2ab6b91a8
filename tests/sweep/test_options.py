"""Ready-made sweeps and the keys of a sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

from metaexp.config.compose import Composer
from metaexp.core.errors import ConfigError
from metaexp.sweep.expand import expand
from metaexp.sweep.options import SweepCommand, SweepOptions


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer()


def test_without_keys_of_its_own_a_sweep_is_the_usual_one(composer: Composer) -> None:
    assert SweepOptions.parse(["seed=0,1", "train.steps=3"], composer) == SweepCommand(
        None, SweepOptions(), ["seed=0,1", "train.steps=3"]
    )


def test_a_ready_made_sweep_brings_values_and_the_command_line_comes_before_it(composer: Composer) -> None:
    command = SweepOptions.parse(["sweep=algorithms", "seed=7", "sweep.n_jobs=2", "dataset=omniglot"], composer)
    assert command.name == "algorithms"
    assert command.options == SweepOptions(n_jobs=2)
    assert command.job_overrides == ["algorithm=maml,relation_net,meta_lstm,proto_net", "seed=7", "dataset=omniglot"]


def test_a_file_of_ones_own_may_say_how_to_go_on_after_an_error(tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "mine.yaml").write_text("on_error: retry\nretries: 5\nparams:\n  seed: range(0,3)\n")
    composer = Composer(tmp_path)
    command = SweepOptions.parse(["sweep=mine", "sweep.retries=1"], composer)
    assert command.options == SweepOptions(on_error="retry", retries=1)
    assert command.job_overrides == ["seed=range(0,3)"]
    (tmp_path / "sweep" / "mine.yaml").write_text("seed: 3\n")
    with pytest.raises(ConfigError, match=r"sweep/mine\.yaml must have params: keys, each with its values"):
        SweepOptions.parse(["sweep=mine"], Composer(tmp_path))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("sweep=seds", r"sweep=seds is not there\. Did you mean seeds\? Known: algorithms, "),
        ("sweep.on_eror=stop", r"sweep\.on_eror is not a key of sweep\. Did you mean on_error\? Known: on_error, "),
        ("sweep.on_error=skip", r"sweep\.on_error=skip must be "),
        ("sweep.name=a/b", r"sweep\.name=a/b names a folder: letters, digits, '\.', '-' and '_', at most 100"),
        ("sweep.name=..", r"sweep\.name=\.\. names a folder"),
        ("sweep.n_jobs=0", r"sweep\.n_jobs=0 must be an integer >= 1"),
        ("sweep.n_jobs=1,2", r"sweep\.n_jobs=1,2 holds several values; a sweep has one"),
    ],
)
def test_a_wrong_value_is_reported_with_what_is_allowed(composer: Composer, line: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        SweepOptions.parse(["seed=0,1", line], composer)


def test_two_ready_made_sweeps_are_one_too_many(composer: Composer) -> None:
    with pytest.raises(ConfigError, match=r"sweep= is given 2 times \(seeds, inner_lr\)"):
        SweepOptions.parse(["sweep=seeds", "sweep=inner_lr"], composer)


def test_a_single_run_has_no_sweep(composer: Composer) -> None:
    for line in ("sweep=seeds", "sweep.on_error=stop"):
        with pytest.raises(ConfigError, match="is about a sweep, which is several runs; use it with metaexp train -m"):
            composer.settings([line])


def test_the_error_for_a_missing_launcher_says_how_to_install_it(composer: Composer) -> None:
    from metaexp.config.command_line.overrides import _group_problem

    known = set(composer.loader.get_group_options("hydra/launcher"))
    missing = [name for name in ("joblib", "submitit_slurm", "ray") if name not in known]
    for name in missing:
        with pytest.raises(ConfigError, match=r"Install it with: pip install 'hydra-\S+-launcher>=[^']+'"):
            composer.settings([f"hydra/launcher={name}"])
    override = composer.parse("hydra/launcher=jobli")
    assert not isinstance(override, str)
    assert "Install" not in str(_group_problem(override, composer.loader))


def test_more_jobs_than_anyone_can_run_are_refused_before_they_are_listed() -> None:
    composer = Composer()
    with pytest.raises(ConfigError, match=r"these overrides give 81,000,000 jobs; a sweep has at most 10,000"):
        expand(composer, ["seed=range(0,9000)", "eval.seed=range(0,9000)"])
    assert len(expand(composer, ["seed=range(0,30)", "eval.seed=range(0,2)"])) == 60
