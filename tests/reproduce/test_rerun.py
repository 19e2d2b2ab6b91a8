"""A run is made again from its folder alone, bit for bit; what differs is found, and other data are refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from kept_runs import KeptRuns
from omegaconf import OmegaConf

from metaexp.cli.reproduce import main
from metaexp.core.errors import ConfigError, DataError, ExitCode, NotFiniteError, RunFolderError
from metaexp.core.json_lines import read_lines
from metaexp.machine.signals import Interrupted
from metaexp.report.publish import publish
from metaexp.reproduce import rerun as module
from metaexp.reproduce.rerun import Rerun, format_rerun, plan_rerun, rerun
from metaexp.results.beginning import Git
from metaexp.results.record import read_record, write_record
from metaexp.run.job import run_job
from metaexp.run.progress import Lines

SAME = [
    "metrics.jsonl", "test_episodes.csv", "checkpoints/best.safetensors", "checkpoints/step_000000012.safetensors",
]  # fmt: skip


@pytest.fixture(autouse=True)
def clean_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the sources were as committed, whatever this checkout is."""
    for name in ("run.first_record.loaded_state", "results.provenance.git_state", "reproduce.rerun.git_state"):
        monkeypatch.setattr(f"metaexp.{name}", lambda *_: Git("a" * 40, False))


@pytest.fixture
def run(tiny: ModuleType, tmp_path: Path, silent: Lines, kept_runs: KeptRuns) -> Path:
    """A finished run of 12 steps: lines at 3, 6, 9, 12, validation at 4, 8, 12."""

    def train(outputs: Path) -> Path:
        folder: Path = run_job(tiny.settings(outputs), display=silent).folder
        return folder

    return kept_runs.copy("of a clean checkout", tmp_path, train)


def again(run: Path, silent: Lines, *overrides: str, steps: int | None = None, fresh: bool = False) -> Rerun:
    return rerun(plan_rerun(run, overrides, steps=steps, fresh=fresh), silent)


def tamper(run: Path, line: int, key: str, factor: float) -> None:
    """Change one number of the metrics."""
    path = run / "metrics.jsonl"
    content = path.read_text().splitlines()
    values = json.loads(content[line])
    content[line] = json.dumps(values | {key: values[key] * factor})
    path.write_text("\n".join(content) + "\n")


def test_a_run_from_elsewhere_does_not_say_where_it_is_made_again(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert plan_rerun(run).place.parent == tmp_path / "reproduced"
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere" / "run"
    shutil.copytree(run, elsewhere)
    assert plan_rerun(elsewhere).place.parent == Path("outputs") / "reproduced"
    assert plan_rerun(elsewhere, ["paths.outputs=there"]).place.parent == Path("there") / "reproduced"


def test_a_run_made_again_has_the_same_bytes(run: Path, silent: Lines) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = again(run, silent)
    assert done.result.identical
    assert done.folder.parent == run.parent / "reproduced"
    assert all((done.folder / name).read_bytes() == (run / name).read_bytes() for name in SAME)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert json.loads((done.folder / "replay.json").read_text())["identical"] is True
    text = format_rerun(done)
    assert text.startswith("identical\n  the same: 8 lines of metrics.jsonl, steps 3 to 12")
    assert "the selected weights" in text


def test_a_number_that_was_changed_is_found_where_it_is(run: Path, silent: Lines) -> None:
    tamper(run, 3, "val/mse", 1.001)
    done = again(run, silent)
    assert not done.result.identical
    (first,) = done.result.differences
    assert (first.where, first.quantity) == ("metrics.jsonl, step 8", "val/mse")
    assert first.relative == pytest.approx(0.001, rel=0.01)
    assert format_rerun(done).startswith("not identical\n")
    assert "none of what is recorded (versions, device, threads, commit, data) differs" in format_rerun(done)


def test_another_thread_count_and_other_versions_are_named(run: Path, silent: Lines) -> None:
    tamper(run, 0, "train/loss", 1.5)
    record = read_record(run)
    write_record(dataclasses.replace(record, versions=record.versions | {"torch": "1.0"}), run)
    text = format_rerun(again(run, silent, "device.threads=2"))
    assert "first difference: metrics.jsonl, step 3: train/loss is" in text
    assert "possible cause: torch was 1.0 and is " in text
    assert "and: threads was 1 and is 2" in text


def test_other_data_are_refused_before_anything_is_trained(run: Path, silent: Lines) -> None:
    record = read_record(run)
    write_record(dataclasses.replace(record, data_hash="f" * 64), run)
    with pytest.raises(DataError) as refused:
        again(run, silent)
    assert "f" * 64 in str(refused.value)
    assert str(record.data_hash) in str(refused.value)
    assert "paths.data=" in str(refused.value)
    assert not (run.parent / "reproduced").exists()


def test_a_published_copy_is_made_again_with_this_users_paths(
    run: Path, silent: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = publish(run, tmp_path / "docs", "tiny")
    shutil.rmtree(run)
    monkeypatch.setenv("METAEXP_OUTPUTS", str(tmp_path / "mine"))
    monkeypatch.setenv("METAEXP_DATA", str(tmp_path / "my data"))
    done = again(copy, silent)
    assert done.result.identical
    assert done.folder.parent == tmp_path / "mine" / "reproduced"
    assert done.plan.settings.paths.data == tmp_path / "my data"
    assert "the selected weights" in done.result.compared  # the copy has them, too
    assert "10 test episodes" in done.result.compared
    tamper(copy, 0, "train/loss", 1.1)
    assert not again(copy, silent).result.identical


def test_the_beginning_is_made_under_the_full_configuration(run: Path, silent: Lines) -> None:
    """The rate of the inner loop is annealed over train.steps: cutting these would change the first numbers."""
    done = again(run, silent, steps=7)
    assert done.result.identical
    assert format_rerun(done).startswith("identical as far as compared: the first 7 steps\n")
    assert read_record(done.folder).status == "interrupted"
    assert read_record(done.folder).config["train"]["steps"] == 12
    assert [step for step, _ in read_lines(done.folder / "metrics.jsonl")] == [3, 4, 6]
    whole = again(run, silent)
    assert whole.folder == done.folder
    assert whole.result.identical
    assert whole.result.until is None
    assert again(run, silent, steps=4).result.compared[0] == "2 lines of metrics.jsonl, steps 3 to 4"
    cut = publish(run, run.parent / "docs", "cut")
    config = OmegaConf.load(cut / "config.yaml")
    config.train.steps = 7
    OmegaConf.save(config, cut / "config.yaml")
    record = read_record(cut)
    write_record(dataclasses.replace(record, config=OmegaConf.to_container(config)), cut)
    assert not again(cut, silent, f"paths.outputs={run.parent}", steps=6).result.identical


def test_a_change_behind_the_compared_beginning_is_not_seen(run: Path, silent: Lines) -> None:
    tamper(run, 4, "train/loss", 1.5)
    assert again(run, silent, steps=8).result.identical
    assert not again(run, silent).result.identical


def test_an_interrupted_rerun_continues_with_the_same_command(
    run: Path, silent: Lines, stop_after: Callable[..., Lines]
) -> None:
    plan = plan_rerun(run)
    with pytest.raises(Interrupted):
        rerun(plan, stop_after(7))
    assert read_record(plan.place).steps == 7
    done = again(run, silent)
    assert done.folder == plan.place
    assert done.result.identical
    assert "continues after step 7" in (plan.place / "run.log").read_text()


def test_a_stopped_command_says_that_it_can_be_given_again(
    run: Path, monkeypatch: pytest.MonkeyPatch, stop_after: Callable[..., Lines]
) -> None:
    monkeypatch.setattr(module, "default_display", lambda: stop_after(7))
    with pytest.raises(Interrupted, match="after 7 of 12.*or with this command again, which also compares") as stopped:
        main([str(run)])
    assert stopped.value.exit_code == 143


def test_a_fresh_one_leaves_the_earlier_one_alone_and_is_the_one_to_go_on_with(run: Path, silent: Lines) -> None:
    first = again(run, silent).folder
    second = again(run, silent, fresh=True, steps=6).folder
    assert second.name == f"{first.name}_2"
    assert read_record(first).status == "completed"
    assert again(run, silent).folder == second


def test_another_source_or_device_has_a_folder_of_its_own(
    run: Path, silent: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {plan_rerun(run).place, plan_rerun(run, ["device.threads=3"]).place}
    monkeypatch.setattr(module, "git_state", lambda *_: Git("b" * 40, False))
    places.add(plan_rerun(run).place)
    assert len(places) == 3


def test_threads_that_were_left_to_torch_are_those_of_the_run(tiny: ModuleType, tmp_path: Path, silent: Lines) -> None:
    folder = run_job(tiny.settings(tmp_path, device__threads=None), display=silent).folder
    record = read_record(folder)
    assert record.device is not None
    write_record(dataclasses.replace(record, device=dataclasses.replace(record.device, threads=3)), folder)
    assert plan_rerun(folder).settings.device.threads == 3
    assert plan_rerun(folder, ["device.threads=2"]).settings.device.threads == 2


def test_an_interrupted_run_is_compared_as_far_as_it_went(
    tiny: ModuleType, tmp_path: Path, silent: Lines, stop_after: Callable[..., Lines]
) -> None:
    folder = tmp_path / "stopped"
    with pytest.raises(Interrupted):
        run_job(tiny.settings(tmp_path), folder=folder, display=stop_after(7))
    done = again(folder, silent)
    assert done.result.identical
    assert done.result.until == 6


def test_a_run_that_was_not_finite_is_compared_up_to_there(tiny: ModuleType, tmp_path: Path, silent: Lines) -> None:
    folder = tmp_path / "poisoned"
    with pytest.raises(NotFiniteError):
        run_job(tiny.settings(tmp_path, dataset__poison=25), folder=folder, display=silent)
    assert again(folder, silent).result.until == 8


def test_what_would_make_it_another_run_is_refused(run: Path) -> None:
    for override in ("seed=1", "train.steps=20", "algorithm.inner_lr=0.5", "device.precision=bf16"):
        key = override.partition("=")[0]
        with pytest.raises(ConfigError, match=f"the overrides change {key}, so that it would be another run"):
            plan_rerun(run, [override])
    with pytest.raises(ConfigError, match="--steps 2 would compare nothing.*begin after step 3"):
        plan_rerun(run, steps=2)


def test_a_folder_that_contradicts_itself_or_holds_no_numbers_is_refused(run: Path) -> None:
    (run / "metrics.jsonl").write_bytes(b"")
    with pytest.raises(RunFolderError, match="has no metrics: there is nothing to compare with"):
        plan_rerun(run)
    config = OmegaConf.load(run / "config.yaml")
    config.seed = 5
    OmegaConf.save(config, run / "config.yaml")
    with pytest.raises(RunFolderError, match=r"config.yaml is not the configuration that record.json has"):
        plan_rerun(run)


def test_a_place_that_was_blanked_must_be_given_and_may_be_anywhere() -> None:
    before = {"dataset": {"folder": "<path>", "size": 84}}
    module._check_same(before, {"dataset": {"folder": "/data/birds", "size": 84}})
    with pytest.raises(ConfigError, match="dataset.folder was blanked.*give it: dataset.folder="):
        module._check_same(before, before)
    with pytest.raises(ConfigError, match="change dataset.size"):
        module._check_same(before, {"dataset": {"folder": "/data/birds", "size": 28}})


def test_the_exit_code_tells_identical_from_different(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run)]) == 0
    assert capsys.readouterr().out.startswith("identical\n")
    tamper(run, 0, "train/loss", 2.0)
    assert main([str(run)]) == ExitCode.DIFFERENT == 11
    assert "first difference: metrics.jsonl, step 3: train/loss" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a run folder or the name of a saved experiment first"),
        (["maml_sinusod"], "neither a run folder nor a saved experiment. Did you mean maml_sinusoid?"),
        (["RUN", "--seeds", "3"], "--seeds and --short are for saved experiments"),
        (["RUN", "--short"], "--seeds and --short are for saved experiments"),
        (["maml_sinusoid", "--steps", "3"], "--steps and --fresh are for run folders"),
        (["maml_sinusoid", "--seeds", "0"], "--seeds 0 must be a whole number from 1 on"),
        (["maml_sinusoid", "--seeds", "x"], "--seeds x must be a whole number from 1 on"),
        (["RUN", "--steps", "1.5"], "--steps 1.5 must be a whole number from 1 on"),
        (["maml_sinusoid", "--short", "train.steps=3"], "--short chooses train.steps"),
        (["maml_sinusoid", "experiment=x"], "remove the override experiment="),
    ],
)
def test_error_messages_say_what_to_do(arguments: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as told:
        main([str(tmp_path) if word == "RUN" else word for word in arguments])
    assert message in str(told.value)
