"""A saved experiment against its published number: seeds, verdicts, cut schedules, and going on after a stop."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from metaexp.cli.reproduce import main
from metaexp.config.compose import Composer
from metaexp.config.experiment_header import departures, read_labels
from metaexp.core.errors import ExitCode, MetaexpError, NotFiniteError, RunFolderError
from metaexp.machine.signals import Interrupted
from metaexp.reproduce import run_seeds as module
from metaexp.reproduce.run_seeds import SeedsPlan, plan_seeds, run_seeds
from metaexp.results.record import read_record
from metaexp.run import throughput
from metaexp.run.progress import Lines
from metaexp.run.throughput import Throughput

EXPERIMENT = """\
# @package _global_
# A small experiment.
# Paper:    Somebody, 2017, Table 1.
# Departs:  the authors used other sinusoids,
#           and more of them.
defaults:
  - override /algorithm: maml
  - override /dataset: sinusoid
  - override /model: mlp_sinusoid
  - override /task: regression_5shot
  - override /tracker: files

model:
  hidden: [4]

algorithm:
  inner_lr: 0.001
  inner_steps_test: 1

train:
  steps: 200
  meta_batch_size: 2
  eval_every: 100
  eval_episodes: 4
  checkpoint_every: 5
  log_every: 100

eval:
  episodes: 100

device:
  threads: 1

reference:
  paper: Somebody, 2017
  table: Table 1
  metric: mse
  value: VALUE
  ci95: 0.1
  protocol: 10 sinusoids, 5 points
"""


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own: experiments with the published numbers 4, which a tiny net comes near, and 90, or none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METAEXP_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setattr("metaexp.run.outputs.draw", lambda *_: {})
    monkeypatch.setattr(throughput, "measure", lambda settings, say: Throughput(0.001, 0.0001))
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / "small.yaml").write_text(EXPERIMENT.replace("VALUE", "4.0"))
    (folder / "far.yaml").write_text(EXPERIMENT.replace("VALUE", "90.0"))
    (folder / "unpublished.yaml").write_text(EXPERIMENT.partition("reference:")[0] + "reference: null\n")
    return folder.parent


def plan(conf: Path, name: str = "small", *overrides: str, seeds: int = 1, short: bool = False) -> SeedsPlan:
    return plan_seeds(name, overrides, seeds=seeds, short=short, config_dir=conf)


def test_several_seeds_do_not_share_the_id_of_one_wandb_run(
    conf: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: dict[int, str | None] = {}

    def note(_plan: SeedsPlan, _job: object, seed: int, *_: object) -> None:
        seen[seed] = os.environ.get("WANDB_RUN_ID") or os.environ.get("WANDB_NAME")
        raise NotFiniteError("enough")

    monkeypatch.setattr(module, "_run", note)
    monkeypatch.setenv("WANDB_RUN_ID", "of-one-run")
    monkeypatch.setenv("WANDB_NAME", "of-one-run")
    run_seeds(plan(conf, seeds=2))
    assert seen == {0: None, 1: None}
    assert os.environ["WANDB_RUN_ID"] == os.environ["WANDB_NAME"] == "of-one-run"
    printed = capsys.readouterr().err
    assert "WANDB_RUN_ID names one run and is not used: each seed has an id of its own" in printed
    assert "WANDB_NAME names one run and is not used: each seed has a name of its own" in printed
    run_seeds(plan(conf, seeds=1))
    assert seen[0] == "of-one-run"


def summary(planned: SeedsPlan) -> dict[str, object]:
    content: dict[str, object] = json.loads((planned.folder / "summary.json").read_text())
    return content


def promises(out: str) -> bool:
    """Whether any line claims a reproduction; paths have the word in them."""
    return any("reproduced" in line.replace("/reproduced/", "/") for line in out.splitlines())


def test_an_experiment_with_seeds_ends_in_one_verdict(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["small", "--seeds", "2", "--config-dir", str(conf)]) == 0
    planned = plan(conf, seeds=2)
    content = summary(planned)
    runs = [read_record(planned.folder / f"seed{seed}") for seed in (0, 1)]
    assert [(run.seed, run.steps, run.full_steps, run.deviations) for run in runs] == [
        (0, 200, 200, []),
        (1, 200, 200, []),
    ]
    assert content["seeds"] == [0, 1]
    assert content["test"]["mean"] == pytest.approx(sum(run.test.mean for run in runs) / 2)  # type: ignore
    assert content["verdict"]["kind"] in ("reproduced", "undecided")  # type: ignore[index]
    assert content["departs"] == "the authors used other sinusoids, and more of them."
    out = " ".join(capsys.readouterr().out.split())
    for words in (
        "mean of 2 seeds", "seed 1", "published: 4.0 ± 0.1 (Somebody, 2017, Table 1)", "published with: 10 sinusoids",
        "measured with: 100 tasks, 5-shot, ", "departs from the paper: the authors used other sinusoids, and more",
        f"verdict: {content['verdict']['text']}",  # type: ignore[index]
    ):  # fmt: skip
        assert words in out


def test_what_is_far_from_the_paper_is_not_reproduced(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["far", "--config-dir", str(conf)]) == ExitCode.DIFFERENT
    out = capsys.readouterr().out
    assert "verdict: not reproduced: " in out
    assert promises(out)  # so that the tests below can fail


def test_a_folder_with_the_name_of_an_experiment_needs_a_path(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (conf.parent / "small").mkdir()
    (conf.parent / "small" / "config.yaml").write_text("")
    assert main(["small", "--config-dir", str(conf), "--short"]) == 0
    assert "small is taken as the saved experiment; the run folder of that name is ./small" in capsys.readouterr().err
    with pytest.raises(RunFolderError, match="is not a run folder: it has no record.json"):
        main(["./small", "--config-dir", str(conf)])


def test_a_cut_schedule_is_never_reproduced(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--short"], ["train.steps=199"]):
        assert main(["small", "--config-dir", str(conf), "--seeds", "2", *arguments]) == 0
        out = capsys.readouterr().out
        assert out.count("shortened (") == 4
        assert not promises(out)
    record = read_record(plan(conf, short=True).folder / "seed1")
    assert (record.steps, record.full_steps, record.deviations) == (2, 200, [])


def test_changed_settings_are_never_reproduced(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["small", "--config-dir", str(conf), "--short", "algorithm.inner_lr=0.02"]) == 0
    out = capsys.readouterr().out
    assert "), changed settings (algorithm.inner_lr=0.02): " in out
    assert "changed settings: algorithm.inner_lr=0.02" in out
    assert not promises(out)


def test_without_a_published_number_there_is_no_verdict(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["unpublished", "--config-dir", str(conf), "--short"]) == 0
    out = capsys.readouterr().out
    assert "no published number to compare with" in out
    assert "verdict:" not in out
    assert summary(plan(conf, "unpublished", short=True))["verdict"] is None


def test_the_same_command_goes_on_where_it_was_stopped(
    conf: Path, silent: Lines, stop_after: Callable[..., Lines]
) -> None:
    planned = plan(conf, "small", "train.steps=20", seeds=2)
    with pytest.raises(Interrupted):
        run_seeds(planned, stop_after(7, which=2))
    first = read_record(planned.folder / "seed0")
    assert (first.status, read_record(planned.folder / "seed1").steps) == ("completed", 7)
    done = run_seeds(plan(conf, "small", "train.steps=20", seeds=2), silent)
    assert [record.status for record in done.records] == ["completed", "completed"]
    assert done.records[0] == first
    assert "continues after step 7" in (planned.folder / "seed1" / "run.log").read_text()
    elsewhere = f"paths.outputs={conf.parent / 'other'}"
    undisturbed = run_seeds(plan(conf, "small", "train.steps=20", elsewhere, seeds=2), silent)
    assert undisturbed.plan.folder != planned.folder
    assert [r.test for r in undisturbed.records] == [r.test for r in done.records]


def test_seeds_can_be_added_and_start_at_the_given_one(conf: Path, silent: Lines) -> None:
    one = run_seeds(plan(conf, short=True), silent)
    more = run_seeds(plan(conf, seeds=2, short=True), silent)
    assert more.plan.folder == one.plan.folder
    assert more.records[0] == one.records[0]
    assert run_seeds(plan(conf, "small", "seed=5", short=True), silent).records[0].seed == 5
    assert plan(conf, "small", "seed=5", seeds=2).seeds == [5, 6]
    assert plan(conf).folder != plan(conf, "small", "algorithm.inner_lr=0.02").folder
    assert plan(conf).folder != plan(conf, short=True).folder


def test_a_seed_that_fails_costs_only_itself(
    conf: Path, silent: Lines, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = module._run

    def run(plan: SeedsPlan, job: object, seed: int, *rest: object) -> None:
        if seed == 0:
            raise NotFiniteError("the loss is not finite")
        real(plan, job, seed, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_run", run)
    assert main(["small", "--config-dir", str(conf), "--seeds", "3", "--short"]) == NotFiniteError.exit_code
    assert "verdict of 2 of 3 seeds: shortened" in capsys.readouterr().out
    assert summary(plan(conf, short=True))["failed"] == {"0": "the loss is not finite"}


def test_a_file_that_changed_since_a_seed_began_is_reported(conf: Path, silent: Lines) -> None:
    planned = plan(conf, short=True)
    run_seeds(planned, silent)
    path = conf / "experiment" / "small.yaml"
    path.write_text(path.read_text().replace("[4]", "[5]"))
    assert plan(conf, short=True).folder != planned.folder
    path.write_text(path.read_text().replace("[5]", "[4]"))
    (planned.folder / "plan.json").write_text('{"steps": 3}')
    with pytest.raises(RunFolderError, match="was made with other settings"):
        run_seeds(planned, silent)


@pytest.mark.parametrize(
    ("update", "steps", "full"),
    [
        (0.001, 600, 60_000),  # a hundredth
        (0.001, 1000, 1_000_000),  # no more than a thousand
        (0.7, 200, 60_000),  # what fits into five minutes, rounded down to 1, 2 or 5
        (1000.0, 1, 60_000),
        (0.001, 1, 20),
        (0.001, 0, 0),
    ],
)
def test_a_short_schedule_fits_the_machine_and_is_kept(
    update: float, steps: int, full: int, conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throughput, "measure", lambda settings, say: Throughput(update, 0.0001))
    path = conf / "experiment" / "small.yaml"
    path.write_text(path.read_text().replace("steps: 200", f"steps: {full}"))
    said: list[str] = []
    assert module._steps(plan(conf, short=True), said.append) == steps
    assert f"small: {steps:,} of {full:,} steps at {update:.2g} s, as measured here: about" in said[0]
    monkeypatch.setattr(throughput, "measure", lambda settings, say: Throughput(update / 7, 0.0001))
    assert module._steps(plan(conf, short=True), said.append) == steps


def test_the_time_of_all_seeds_is_printed_first(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "measure", lambda settings, say: Throughput(1.0, 0.5))
    said: list[str] = []
    assert module._steps(plan(conf, seeds=3), said.append) is None
    assert said == ["small: 200 steps at 1 s, as measured here: about 4.2 min for each of 3 seeds, 13 min in all"]


def test_a_damaged_plan_is_reported(conf: Path) -> None:
    planned = plan(conf, short=True)
    planned.folder.mkdir(parents=True)
    for text in ("", "{}", '{"steps": -1}', '{"steps": "3"}'):
        (planned.folder / "plan.json").write_text(text)
        with pytest.raises(RunFolderError, match="plan.json is damaged"):
            module._steps(planned, lambda line: None)


def test_rates_are_measured_and_leave_nothing(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(conf.parent)
    settings = Composer(conf).settings(["experiment=small"])
    measured = throughput.measure(settings, lambda line: None)
    assert 0 < measured.step < 5
    assert 0 < measured.episode < 5
    assert measured.seconds(settings, 200) == pytest.approx(200 * measured.step + (2 * 4 + 100) * measured.episode)
    assert [path.name for path in conf.parent.iterdir()] == ["conf"]


def test_the_departures_of_every_experiment_can_be_read() -> None:
    names = Composer().groups()["experiment"]
    found = {name: departures(name) for name in names}
    assert len(found) > 50
    silent_ones = [name for name, text in found.items() if text is None]
    assert len(silent_ones) < 5, silent_ones
    text = found["maml_omniglot_5way_1shot"]
    assert text is not None
    assert text.startswith("the authors' split depends on the order")
    assert text.endswith("we draw a new task each time.")  # the last line of several
    assert "#" not in text


def test_a_header_is_read_by_its_labels() -> None:
    assert read_labels("# Words.\n# Paper:  one\n#         two: three\n# Departs: no\nkey: 1\n# Late: x\n") == {
        "Paper": "one two: three",
        "Departs": "no",
    }


def test_errors_carry_their_codes() -> None:
    assert ExitCode.DIFFERENT not in {cls.exit_code for cls in MetaexpError.__subclasses__()}
