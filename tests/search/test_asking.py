"""The command of a search: its keys, its metric, and what is refused before anything is written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from metaexp.config.classes.signatures import constructor
from metaexp.config.classes.source import find_class
from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.core.errors import ConfigError
from metaexp.search.options import SearchOptions
from metaexp.search.point import Point
from metaexp.search.prepare import prepare
from metaexp.search.summary import format_opening

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer()


def test_keys_of_the_command_line_come_before_those_of_the_file(composer: Composer) -> None:
    command = SearchOptions.parse(["seed=3", "search=grid", "search.workers=2", "algorithm=maml,anil"], composer)
    assert command.trial_overrides == ["seed=3", "algorithm=maml,anil"]
    assert (command.options.sampler, command.options.workers, command.options.trials) == ("grid", 2, None)
    assert SearchOptions.parse([], composer).options.sampler == "tpe"


def test_every_file_has_every_key_of_the_schema_and_the_sampler_of_its_name(composer: Composer) -> None:
    source = find_class("metaexp.search.options.SearchOptions")
    assert source is not None
    names = {argument.name for argument in constructor(source).arguments}
    for name in composer.loader.get_group_options("search"):
        found = composer.loader.repository.load_config(f"search/{name}")
        assert found is not None
        assert set(found.config) == names
        assert found.config["sampler"] == name


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["search.trails=3"], "search.trails is not a key of search. Did you mean trials?"),
        (["search.trials=0"], "search.trials=0 must be an integer >= 1"),
        (["search.sampler=cma"], "search.sampler=cma must be one of tpe, random, grid"),
        (["search=gird"], "search=gird is not there. Did you mean grid? Known: grid, random, tpe."),
        (["search=tpe", "search=grid"], "search= is given 2 times (tpe, grid)"),
        (["search.seed=1,2"], "search.seed=1,2 holds several values; a search has one"),
        (["search.trials=null"], "search.trials=null has no end; give a number, or search=grid"),
        (["search.workers=2.5", "search.pruner=x"], "search.pruner=x must be one of median, halving, none"),
    ],
)
def test_a_key_that_is_wrong_is_named_with_what_is_allowed(composer: Composer, lines: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SearchOptions.parse(lines, composer)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["search.metric=test/mse"], "search.metric=test/mse: test results must not be used to choose"),
        (["search.metric=val/accuracy"], "search.metric=val/accuracy cannot say which point is better; use val/mse"),
        (["eval={test: true},{test: false}"], "eval varies: trials are never tested. search.test_best=true tests the"),
        (["eval.test=true"], "eval.test=true: trials are never tested. search.test_best=true tests the best one"),
        (["seed=0,1"], "seed varies: a search over seeds would choose the luckiest one"),
        (["dataset.version=a,b"], "dataset.version is a at one point and b at another"),
        (["train.eval_episodes=4,6"], "train.eval_episodes is 4 at one point and 6 at another"),
        (
            ["tracker=files,tensorboard"],
            "tracker is files or tensorboard, and that changes nothing that validation measures",
        ),
        (["paths.outputs=a,b"], "paths.outputs is a or b, and that changes nothing"),
        (["+tags=[a],[b]"], "tags is [a] or [b], and that changes nothing"),
        (["eval.weights=best,last"], "eval.weights is best or last, and that changes nothing"),
        (["eval.metrics=[],[mae]"], "eval.metrics is [] or [mae], and that changes nothing"),
        (["eval.episodes=range(4, 9)"], "eval.episodes is 4 or 8, and that changes nothing"),
        (["device.threads=int(interval(1, 2))"], "such as algorithm.inner_lr, "),
        (["optimizer.lr=1,1.0"], "optimizer.lr is 1 or 1.0, and that changes nothing that validation measures"),
        (["optimizer.lr=1,1.0,2"], "The search would rank equal trials. Keep one of these values."),
        (["device.task_chunk=null,1,2"], "device.task_chunk is null or 1 or 2, and that changes nothing"),
        (["train.eval_every=2,4", "train.log_every=1,2,3"], "train.log_every is 1 or 2 or 3, and that changes nothing"),
        (["search=grid"], "algorithm.inner_lr: search=grid tries every combination, and an interval has too many"),
        (["hydra.run.dir=x"], "hydra.run.dir=x: a search starts its trials itself"),
        (["sweep.n_jobs=2"], "sweep.n_jobs=2 is about a sweep; use it with metaexp train -m"),
        (["train.steps=-1,4"], "train.steps=-1 must be an integer >= 0"),
    ],
)
def test_what_would_mislead_or_fail_is_refused_before_anything_is_written(
    family: ModuleType, lines: list[str], message: str
) -> None:
    given = {line.partition("=")[0] for line in lines}
    common = [line for line in family.COMMON if line.partition("=")[0] not in given]
    with pytest.raises(ConfigError) as caught:
        prepare([*common, "algorithm.inner_lr=interval(0.1, 1)", *lines], Path("conf"), "config")
    assert message in str(caught.value)
    assert not Path("outputs").exists()


def test_validation_classes_that_are_trained_on_choose_no_point(family: ModuleType) -> None:
    lines = ["dataset=omniglot", "model=mlp", "algorithm=proto_net", "eval.weights=last", "optimizer.lr=0.1,0.2"]
    common = [line for line in family.COMMON if line.partition("=")[0] not in ("dataset", "algorithm", "model", "task")]
    with pytest.raises(ConfigError, match="dataset=omniglot trains on the validation classes, too"):
        prepare([*common, *lines, "dataset.split=vinyals_trainval"], Path("conf"), "config")
    prepare([*common, *lines, "dataset.split=vinyals"], Path("conf"), "config")


def test_the_folder_is_found_again_by_the_words_of_the_command(family: ModuleType) -> None:
    def place(*more: str) -> str:
        return str(prepare([*family.COMMON, "algorithm.inner_lr=0.1,0.2", *more], Path("conf"), "config").path)

    usual = place()
    assert usual.startswith("outputs/searches/inner_lr-")
    assert place("search.trials=7", "search.workers=3", "search.test_best=true") == usual
    assert place("search.seed=7") != usual
    assert place("seed=7") != usual


def test_what_is_done_before_is_a_part_of_all_trials(family: ModuleType) -> None:
    """Also where fewer trials are asked for than an earlier command made."""
    done = [Point(number, "complete", 0.5, (0.1,), {}, {}) for number in range(2)]

    def opening(trials: int, points: list[Point]) -> str:
        asked = [*family.COMMON, "algorithm.inner_lr=interval(0.1, 1)", f"search.trials={trials}"]
        return format_opening(prepare(asked, Path("conf"), "config"), points)[0].partition(": ")[2]

    assert opening(5, []) == "5 trials"
    assert opening(5, done) == "5 trials, 2 done before"
    assert opening(1, done) == "2 trials, 2 done before"


def test_a_run_or_a_sweep_refuses_keys_of_a_search(composer: Composer) -> None:
    for line in ("search=tpe", "search.trials=3"):
        with pytest.raises(
            ConfigError, match=f"{line} is about a search, which is many runs; use it with metaexp search"
        ):
            composer.settings([line], Purpose.PLAN)


def test_without_optuna_the_command_says_how_to_get_it_and_writes_nothing(family: ModuleType, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['optuna'] = None; from metaexp.cli.main import main; "
        "sys.exit(main(['search', 'algorithm.inner_lr=0.1,0.2', 'model=mlp', 'device=cpu']))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "metaexp search needs optuna. Install it with: pip install 'optuna>=5,<6'." in ended.stderr
    assert not (tmp_path / "outputs").exists()


def test_mistakes_and_help_are_answered_without_torch_and_optuna(tmp_path: Path) -> None:
    code = (
        "import sys; from metaexp.cli.main import main;"
        "codes = [int(main(['search', '--help'])), int(main(['search', 'seed=1']))];"
        "sys.exit(str([codes, [m for m in ('torch', 'optuna') if m in sys.modules]]))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert ended.stderr.strip().splitlines()[-1] == "[[0, 2], []]"
    assert "no key varies. Give one several values" in ended.stderr
    assert "search.trials=N" in ended.stdout


def test_of_many_keys_the_one_that_changes_nothing_is_named(family: ModuleType) -> None:
    """There are too many combinations then, and each end is checked with the first ends of the others."""
    alive = ["optimizer.lr=0.1,0.2,0.3", "algorithm.inner_lr=0.1,0.2,0.3", "train.meta_batch_size=2,3"]
    common = [line for line in family.COMMON if not line.startswith(("optimizer.lr", "train.meta", "train.check"))]
    prepare([*common, *alive], Path("conf"), "config")
    with pytest.raises(ConfigError) as caught:
        prepare([*common, *alive, "train.checkpoint_every=2,4"], Path("conf"), "config")
    (problem,) = caught.value.problems
    assert problem.startswith("train.checkpoint_every is 2 or 4, and that changes nothing that validation measures")
