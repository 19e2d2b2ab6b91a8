"""``hydra.run.dir`` and ``hydra.sweep.dir`` are resolved and checked by the same rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from metaexp.cli.main import main
from metaexp.config.command_line.override_text import chosen_launcher
from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.core.errors import ConfigError
from metaexp.sweep.prepare import prepare


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer()


def folder(composer: Composer, kind: str, *overrides: str) -> Path | None:
    """The folder that a run, or a sweep of one job, would have."""
    if kind == "run":
        return composer.job(overrides, Purpose.PLAN).run_dir
    job = composer.settings([line for line in overrides if "hydra." not in line], Purpose.PLAN)
    return composer.sweep_folder(overrides, [job.resolved])


@pytest.mark.parametrize("kind", ["run", "sweep"])
@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("~/mine", "/home/someone/mine"),
        ("'~/mine'", "/home/someone/mine"),
        ("'two words'", "two words"),
        ("${paths.outputs}/mine", "/elsewhere/mine"),
        ("${algorithm.inner_lr}/seed${seed}", "0.3/seed7"),
        ("${hydra.job.name}/x", "metaexp/x"),
        ("a\\=b", "a=b"),
        (".", None),
    ],
)
def test_a_folder_is_resolved_with_the_overrides_of_its_command(
    composer: Composer, kind: str, place: str, found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    overrides = ["seed=7", "algorithm.inner_lr=0.3", "paths.outputs=/elsewhere", f"hydra.{kind}.dir={place}"]
    assert folder(composer, kind, *overrides) == (None if found is None else Path(found))


@pytest.mark.parametrize("kind", ["run", "sweep"])
@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("${nope}/x", "hydra.{kind}.dir=${{nope}}/x cannot be resolved: Interpolation key 'nope' not found."),
        ("${oc.env:HOME}/x", "hydra.{kind}.dir=${{oc.env:HOME}}/x in hydra reads the environment"),
        ("", "hydra.{kind}.dir= names no folder; give one, such as hydra.{kind}.dir=outputs/mine."),
        ("???", "hydra.{kind}.dir=??? names no folder"),
        ("null", "hydra.{kind}.dir=null (field 'hydra.{kind}.dir' is not Optional)"),
        ("[a,b]", "hydra.{kind}.dir=[a,b] (Cannot convert 'list' to string"),
    ],
)
def test_a_folder_that_cannot_be_resolved_is_refused_in_one_line(
    composer: Composer, kind: str, place: str, problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        folder(composer, kind, f"hydra.{kind}.dir={place}")
    assert problem.format(kind=kind) in str(caught.value)


def test_a_sweep_has_one_folder() -> None:
    problem = r"hydra\.sweep\.dir=\$\{seed\}/x is 0/x for one job and 1/x for another"
    with pytest.raises(ConfigError, match=problem):
        prepare(["seed=0,1", "hydra.sweep.dir=${seed}/x"], None, "config")
    with pytest.raises(ConfigError, match=r"hydra\.sweep\.dir=a,b has several values; give one folder"):
        prepare(["seed=0,1", "hydra.sweep.dir=a,b"], None, "config")
    alike = prepare(["seed=0,1", "hydra.sweep.dir=${train.steps}/x", "train.steps=5"], None, "config")
    assert alike.path == Path("5/x")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["train", "hydra.sweep.dir=x"], "hydra.sweep.dir is the folder of a sweep; give hydra.run.dir, or add -m"),
        (["train", "-m", "seed=0,1", "hydra.run.dir=x"], "is the folder of a single run; give hydra.sweep.dir."),
        (["plan", "seed=0,1", "hydra.run.dir=x"], "is the folder of a single run; give hydra.sweep.dir."),
        (
            ["train", "hydra/launcher=joblib"],
            "hydra/launcher=joblib: a launcher starts the jobs of a sweep; leave",
        ),
        (["train", "hydra/launcher=none"], "hydra/launcher=none: a launcher starts the jobs of a sweep"),
        (["train", "hydra.launcher.n_jobs=2"], "hydra.launcher.n_jobs=2: a launcher starts the jobs of a sweep"),
        (
            ["train", "hydra/sweeper=basic", "hydra.sweeper.max_batch_size=1"],
            "hydra.sweeper.max_batch_size=1: `meta",
        ),
        (["plan", "hydra.sweeper.params={seed: '0,1'}"], "hydra.sweeper.params={seed: '0,1'}: `metaexp search` lets"),
        (["train", "-m", "+hydra.sweeper.params.seed='0,1'"], "`metaexp train -m` runs all combinations"),
        (["train", "from=run", "train.steps=9", "hydra.sweep.dir=x"], "hydra.sweep.dir is the folder of a sweep; give"),
        (["train", "from=run", "train.steps=9", "hydra/launcher=joblib"], "a launcher starts the jobs of a sweep"),
    ],
)
def test_what_only_the_other_kind_uses_is_refused(
    words: list[str], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert problem in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (
            ["train", "hydra/job_logging=disabled"],
            "hydra/job_logging cannot be set: metaexp does that itself. Of",
        ),
        (["plan", "hydra/output=default"], "hydra/output cannot be set: metaexp does that itself."),
        (["plan", "hydra=config"], "hydra cannot be set: metaexp does that itself."),
        (["train", "~hydra.run.dir"], "~hydra.run.dir: nothing can be taken out of Hydra's section; leave"),
        (
            ["train", "-m", "seed=0,1", "~hydra/launcher"],
            "~hydra/launcher: nothing can be taken out of Hydra's section",
        ),
        (["plan", "+hydra/launcher=joblib"], "+hydra/launcher=joblib: write hydra/launcher=joblib, without the plus."),
        (["plan", "hydra/launcher=basic,joblib"], "plan: hydra/launcher=basic,joblib has several values; give one."),
        (
            ["plan", "hydra/launcher=joblib", "hydra.launcher.n_jobs=1,2"],
            "plan: hydra.launcher.n_jobs=1,2 has several values; give one.",
        ),
        (
            ["plan", "++hydra.launcher.n_jobs=2"],
            "++hydra.launcher.n_jobs=2: the basic launcher, which is chosen",
        ),
        (
            ["train", "-m", "seed=0,1", "hydra/launcher@hydra.launcher=joblib"],
            "hydra/launcher@hydra.launcher=joblib: a key of Hydra takes no package. Write hydra/launcher=joblib.",
        ),
        (["plan", "++hydra/launcher@x=joblib,basic"], "takes no package. Write hydra/launcher=joblib,basic."),
        (["plan", "hydra.sweep.dir@x=mine"], "hydra.sweep.dir@x=mine: a key of Hydra takes no package."),
        (["train", "hydra/job_logging@x=none"], "takes no package. Write hydra/job_logging=none."),
        (["plan", "seed=0,1", "hydra/launcher='nope'"], "hydra/launcher=nope is not there. Known: basic, joblib"),
        (["plan", "model@embedding=mlp"], "model@embedding=mlp: no file chooses model@embedding. Write model=mlp."),
        (
            ["plan", "dataset=mixture", "+dataset@dataset.domains.b=glyphs"],
            "a command line cannot add a dataset to a mixture. A mixture is of classification datasets",
        ),
        (["train", "+task@train=5way_5shot"], "no file chooses task@train. Write task=5way_5shot."),
        (
            ["plan", "hydra/launcher=joblib", "+hydra.launcher.n_jobs=2", "hydra/launcher=basic"],
            "+hydra.launcher.n_jobs=2: the basic launcher,",
        ),
    ],
)
def test_what_would_have_no_effect_on_hydra_is_refused(
    words: list[str], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*words, "dataset=glyphs"]) == 2
    assert problem in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_ones_own_may_name_a_package_that_the_command_line_then_chooses(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("defaults:\n  - config\n  - clip@schedule: none\n  - _self_\n")
    composer = Composer(tmp_path, "mine")
    chosen = composer.compose(["clip@schedule=norm"]).config
    assert chosen.schedule._target_ == "metaexp.core.optim.ClipNorm"
    assert chosen.clip == composer.compose([]).config.clip


@pytest.mark.parametrize("chosen", ["basic", "'basic'"])
def test_the_basic_launcher_is_the_pool_of_this_process_however_it_is_written(chosen: str) -> None:
    assert chosen_launcher([f"hydra/launcher={chosen}"]) is None
    assert chosen_launcher([f"hydra/launcher={chosen.replace('basic', 'joblib')}"]) == "joblib"


@pytest.mark.parametrize("plus", ["", "++"])
def test_what_starts_jobs_is_not_among_the_overrides_of_a_job(plus: str) -> None:
    words = [
        "hydra/launcher=joblib",
        f"{plus}hydra.launcher.n_jobs=2",
        "hydra/sweeper=basic",
        f"{plus}hydra.sweep.dir=x",
    ]
    prepared = prepare(["dataset=glyphs", "seed=0,1", *words], None, "config")
    assert [job.overrides for job in prepared.jobs] == [["dataset=glyphs", f"seed={seed}"] for seed in (0, 1)]
