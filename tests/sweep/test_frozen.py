"""Jobs are saved as they were composed, and jobs that would do the same are recognised."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from metaexp.config.compose import Composer
from metaexp.core.errors import ConfigError, RunFolderError
from metaexp.sweep.decide import duplicates
from metaexp.sweep.expand import digest, expand, freeze_all, runs_here, sweep_name, swept_keys
from metaexp.sweep.freezer import Freezer
from metaexp.sweep.frozen_job import FrozenJob, read_frozen, write_frozen
from metaexp.sweep.groups import together_problems
from metaexp.sweep.prepare import prepare


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer()


def frozen(composer: Composer, *overrides: str) -> list[FrozenJob]:
    swept = swept_keys(composer, overrides)
    return freeze_all(Freezer(composer, "group", swept), expand(composer, overrides))


def test_a_job_is_read_as_it_was_written(composer: Composer, tmp_path: Path) -> None:
    first, second = frozen(composer, "experiment=maml_omniglot_5way_1shot", "seed=0,1", "algorithm.inner_lr=0.3")
    write_frozen(second, tmp_path)
    assert read_frozen(tmp_path) == second
    assert read_frozen(tmp_path) != first
    assert (second.number, second.what, second.group) == (1, "seed=1", "group")
    assert second.name == "001-maml_omniglot_5way_1shot-5way_1shot-seed1"
    assert second.full_steps == 60_000
    assert second.deviations == ["algorithm.inner_lr=0.3"]
    assert "- seed=1\n" in second.files[".hydra/overrides.yaml"]


@pytest.mark.parametrize(
    ("given", "varies", "jobs"),
    [
        (["seed=0,1", "seed=5"], False, [5]),
        (["seed=5", "seed=0,1"], True, [0, 1]),
        (["seed=0,1", "++seed=5"], False, [5]),
        (["++seed=0,1", "train.steps=3", "seed=5"], False, [5]),
        (["++seed=5", "seed=0,1"], True, [0, 1]),
        (["seed=3", "seed=5"], False, [5]),
    ],
)
def test_of_a_key_that_is_given_twice_the_last_counts(
    composer: Composer, given: list[str], varies: bool, jobs: list[int]
) -> None:
    assert [job.config["seed"] for job in frozen(composer, *given)] == jobs
    assert swept_keys(composer, given) == ({"seed"} if varies else set())
    assert prepare(given, None, "config").path.name.startswith("seed-" if varies else "single-")


def test_values_that_do_not_count_are_not_counted_as_jobs(composer: Composer) -> None:
    given = ["++seed=range(9000)", "task.k_shot=1,5", "seed=5"]
    assert expand(composer, given) == [["task.k_shot=1", "seed=5"], ["task.k_shot=5", "seed=5"]]
    with pytest.raises(ConfigError, match="18,000 jobs"):
        expand(composer, given[:-1])


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["seed=0,1", "seed=5,6"], "seed is given 2 times (seed=0,1 seed=5,6), and only the last would count."),
        (["seed=0,1", "seed=2", "++seed=range(5,7)"], "seed is given 2 times (seed=0,1 ++seed=range(5,7))"),
        (["algorithm=maml,anil", "algorithm=reptile,anil"], "algorithm is given 2 times"),
    ],
)
def test_two_lists_of_values_for_one_key_are_refused(composer: Composer, given: list[str], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        expand(composer, given)
    assert [text[: len(problem)] for text in caught.value.problems] == [problem]


def test_of_two_launchers_the_last_counts() -> None:
    here, elsewhere = "hydra/launcher=basic", "hydra/launcher=submitit_slurm"
    assert runs_here([elsewhere, here])
    assert not runs_here([here, elsewhere])
    assert together_problems([elsewhere, here]) == []
    assert len(together_problems([here, elsewhere])) == 1


def test_the_settings_are_those_composed_and_threads_fill_only_an_open_place(composer: Composer) -> None:
    overrides = ["seed=3", "train.steps=7"]
    (job,) = frozen(composer, *overrides)
    assert job.settings() == composer.settings(overrides)
    assert job.settings(threads=2).device.threads == 2
    (fixed,) = frozen(composer, "device.threads=1")
    assert fixed.settings(threads=2).device.threads == 1


def test_what_is_damaged_or_no_job_is_refused(composer: Composer, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"is not the folder of a sweep's job: it has no frozen\.json"):
        read_frozen(tmp_path)
    (job,) = frozen(composer, "seed=0")
    write_frozen(job, tmp_path)
    path = tmp_path / "frozen.json"
    path.write_text(path.read_text().replace('"number": 0', '"number": "none"'))
    with pytest.raises(RunFolderError, match=r"frozen\.json is damaged: key number is 'none'"):
        read_frozen(tmp_path)
    path.write_text(path.read_text()[:100])
    with pytest.raises(RunFolderError, match="is damaged"):
        read_frozen(tmp_path)


def test_a_class_that_is_not_trusted_is_refused_when_the_job_is_run(composer: Composer) -> None:
    (job,) = frozen(composer, "seed=0")
    node = {**job.config["algorithm"], "_target_": "os.system"}
    with pytest.raises(ConfigError, match="refused"):
        replace(job, config={**job.config, "algorithm": node}).settings()


def test_equal_jobs_are_found_and_jobs_that_do_something_else_are_not(composer: Composer) -> None:
    jobs = frozen(composer, "seed=0,0,1", "device.threads=1,2")
    assert duplicates(jobs) == {2: 0, 3: 1}
    assert jobs[0].config_hash == jobs[1].config_hash, "threads decide no numbers, but two jobs were asked for"
    elsewhere = replace(jobs[0], config={**jobs[0].config, "paths": {"data": "x", "outputs": "y"}})
    assert elsewhere.identity == jobs[0].identity


def test_problems_of_all_jobs_are_reported_at_once_with_how_many_are_correct(composer: Composer) -> None:
    with pytest.raises(ConfigError) as error:
        frozen(composer, "seed=0,1,-1", "algorithm=maml,reptil")
    text = str(error.value)
    assert "algorithm=reptil is not there. Did you mean reptile?" in text
    assert "seed=-1 must be an integer >= 0." in text
    assert "The other 2 of 6 jobs are correct." in text


def test_values_that_only_a_search_can_choose_are_refused(composer: Composer) -> None:
    with pytest.raises(ConfigError, match=r"inner_lr=interval\(0,1\) has no list of values; write choice"):
        frozen(composer, "algorithm.inner_lr=interval(0,1)")


def test_a_command_is_known_by_what_it_asks_for_not_by_how_it_is_run(tmp_path: Path) -> None:
    asked = ["algorithm=maml,anil", "seed=0,1"]
    known = digest(asked, None, "config")
    how = [
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
        "sweep.n_jobs=2",
        "sweep.new=true",
        "sweep.on_error=stop",
    ]
    assert digest([*asked, *how], None, "config") == known
    for other in ([*asked, "train.steps=3"], asked[:1], ["sweep=seeds", *asked]):
        assert digest(other, None, "config") != known
    assert digest(asked, tmp_path, "config") != known
    assert digest(asked, None, "other") != known
    assert sweep_name(None, ["algorithm", "algorithm.inner_lr"], known) == f"algorithm-inner_lr-{known[:8]}"
    assert sweep_name("seeds", ["seed"], known) == f"seeds-{known[:8]}"


def test_a_frozen_file_is_plain_json(composer: Composer, tmp_path: Path) -> None:
    (job,) = frozen(composer, "seed=4")
    write_frozen(job, tmp_path)
    assert json.loads((tmp_path / "frozen.json").read_text())["config"]["seed"] == 4
