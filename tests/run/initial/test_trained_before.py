"""A run that starts from the weights of another run counts that run's training classes as its own."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from known_classes import TINY, forbid, know_no_names, train

import metaexp as mx
from metaexp.config.classes import targets
from metaexp.core.errors import RunFolderError
from metaexp.results.record import read_record
from metaexp.run.evaluation.evaluate import evaluate_run
from metaexp.run.job import continued_record, resume_job
from metaexp.run.progress import Lines
from metaexp.search.prepare import prepare

pytestmark = pytest.mark.usefixtures("with_donor")
REFUSED = (
    r"model\.weights=\S+ was trained on 3\d\d of the 423 test classes of dataset=omniglot \(stand-in\), such as "
    r".*eval\.test=false"
)


@pytest.fixture
def donor(with_donor: None) -> mx.Run:
    return mx.load_run("donor")


def test_validation_classes_that_the_weights_know_are_warned_of_and_all_are_recorded(
    donor: mx.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    run = train("run", "dataset.split=vinyals", "model.weights=donor")
    shown = capsys.readouterr().err
    assert "was trained on all 172 validation classes of dataset=omniglot" in shown
    assert "So validation looks better than it would on new classes" in shown
    assert run.record.test is not None
    own = train("plain", "dataset.split=vinyals").record.training_classes
    assert set(own) < set(run.record.training_classes) == set(donor.record.training_classes)
    assert (run.record.val_classes_trained, donor.record.val_classes_trained) == (172, 172)

    capsys.readouterr()
    again = train("again", "dataset.split=vinyals", "model.weights=run")
    assert "all 172 validation classes" in capsys.readouterr().err
    assert again.record.training_classes == run.record.training_classes
    assert continued_record(run.record, replace(run.record, training_classes=own)).training_classes == sorted(
        run.record.training_classes
    )
    capsys.readouterr()
    longer = mx.train("from=run", "train.steps=2", folder="longer").record
    shown = capsys.readouterr().err
    assert "warning: from=" in shown
    assert "was trained on all 172 validation classes of dataset=omniglot" in shown
    assert (longer.training_classes, longer.val_classes_trained) == (run.record.training_classes, 172)


def test_nothing_is_said_where_all_classes_are_new(capsys: pytest.CaptureFixture[str]) -> None:
    plain = train("plain", "dataset.split=vinyals")
    capsys.readouterr()
    run = train("run", "dataset.split=vinyals", "model.weights=plain")
    assert "was trained on" not in capsys.readouterr().err
    assert run.record.training_classes == plain.record.training_classes
    assert run.record.val_classes_trained == 0
    mx.train("from=run", "train.steps=2", folder="longer")
    assert "was trained on" not in capsys.readouterr().err


@pytest.mark.parametrize("weights", ["donor", "donor/checkpoints/best.safetensors"])
def test_test_classes_that_the_weights_know_are_refused(donor: mx.Run, weights: str, silent: Lines) -> None:
    with pytest.raises(mx.ConfigError, match=REFUSED):
        train("run", "dataset.split=maml", f"model.weights={weights}")
    train("run", "dataset.split=maml", f"model.weights={weights}", "eval.test=false")
    with pytest.raises(mx.ConfigError, match=r"from=\S*run was trained on 3\d\d of the 423 test classes"):
        mx.train("from=run", "train.steps=2", "eval.test=true", folder="longer")
    with pytest.raises(mx.ConfigError, match=r"3\d\d of the 423 test classes were trained on.*--allow-trained-classes"):
        evaluate_run(Path("run"), display=silent)
    evaluation = evaluate_run(Path("run"), display=silent, allow_trained_classes=True).evaluation
    assert evaluation.trained_classes > 300


def test_the_command_that_measures_known_classes_has_the_options_without_which_own_code_is_refused(
    donor: mx.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["dataset.split=maml", "model.weights=donor"]
    with pytest.raises(mx.ConfigError, match=r"give `metaexp evaluate RUN --allow-trained-classes`; the number"):
        train("run", *asked)
    monkeypatch.setattr(targets, "_trusted", {"mine", "other"})
    monkeypatch.setattr(targets, "_folders", {"mine": Path("/src")})
    options = "--trust /src/mine --trust other --allow-trained-classes"
    with pytest.raises(mx.ConfigError, match=f"give `metaexp evaluate RUN {options}`; the number"):
        train("run", *asked)
    searched = [*TINY, *asked, "optimizer.lr=0.01,0.02", "search=grid", "search.test_best=true"]
    with pytest.raises(mx.ConfigError, match=f"`metaexp evaluate RUN {options}` measures a trial nevertheless"):
        prepare(searched, None, "config")


def test_a_run_that_goes_on_and_is_killed_before_it_had_a_record_knows_them_too(
    donor: mx.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train("run", "dataset.split=vinyals", "model.weights=donor")
    with monkeypatch.context() as patch:
        forbid(patch, "metaexp.run.job._run")
        with pytest.raises(AssertionError, match="_run was called"):
            mx.train("from=run", "train.steps=2", folder="longer")
    assert not Path("longer", "record.json").exists()
    longer = resume_job(Path("longer")).record
    assert (longer.status, longer.steps) == ("completed", 2)
    assert longer.training_classes == run.record.training_classes == donor.record.training_classes
    assert (longer.val_classes_trained, longer.initial_weights) == (172, run.record.initial_weights)


def test_of_a_file_outside_of_run_folders_nothing_is_known(donor: mx.Run) -> None:
    shutil.copy("donor/checkpoints/best.safetensors", "copy.safetensors")
    own = train("plain", "dataset.split=maml").record.training_classes
    run = train("run", "dataset.split=maml", "model.weights=copy.safetensors")
    assert read_record(Path("run")).training_classes == run.record.training_classes == own


def test_a_record_of_another_tool_beside_checkpoints_is_not_read(donor: mx.Run) -> None:
    checkpoints = Path("other", "checkpoints")
    checkpoints.mkdir(parents=True)
    shutil.copy("donor/checkpoints/best.safetensors", checkpoints / "model.safetensors")
    Path("other", "record.json").write_text('{"loss": 1}')
    train("run", "dataset.split=maml", f"model.weights={checkpoints / 'model.safetensors'}")
    Path("other", "config.yaml").touch()  # now it looks like a run folder
    with pytest.raises(RunFolderError, match=r"other/record\.json"):
        train("again", "dataset.split=maml", f"model.weights={checkpoints / 'model.safetensors'}")


@pytest.mark.parametrize("names_tell", [True, False])
def test_both_starts_are_refused_before_anything_is_built(
    donor: mx.Run, monkeypatch: pytest.MonkeyPatch, names_tell: bool
) -> None:
    train("run", "dataset.split=maml", "model.weights=donor", "eval.test=false")
    if names_tell:
        forbid(monkeypatch, "metaexp.run.build.load_dataset")
    else:
        know_no_names(monkeypatch)
        forbid(monkeypatch, "metaexp.run.build.build_network")
    with pytest.raises(mx.ConfigError, match=REFUSED):
        train("other", "dataset.split=maml", "model.weights=donor")
    with pytest.raises(mx.ConfigError, match=REFUSED.replace(r"model\.weights", "from")):
        mx.train("from=run", "train.steps=2", "eval.test=true", folder="other")
    assert not Path("other").exists()
    with pytest.raises(AssertionError, match="was called"):  # a negative control: what may be tested comes so far
        train("other", "dataset.split=vinyals", "model.weights=donor")


def without_classes(folder: str) -> None:
    """Make the record of a run one of before: it does not list the classes of its training."""
    content = json.loads(Path(folder, "record.json").read_text())
    del content["training_classes"], content["digest"], content["test_episodes_sha256"]
    Path(folder, "record.json").write_text(json.dumps(content))


def test_the_classes_of_a_record_that_lists_none_are_those_that_its_settings_name(
    donor: mx.Run, capsys: pytest.CaptureFixture[str], silent: Lines
) -> None:
    train("plain", "dataset.split=maml")
    for folder in ("donor", "plain"):
        without_classes(folder)
    with pytest.raises(mx.ConfigError, match=REFUSED):
        train("run", "dataset.split=maml", "model.weights=donor")
    train("run", "dataset.split=maml", "model.weights=donor", "eval.test=false")
    with pytest.raises(mx.ConfigError, match=r"3\d\d of the 423 test classes were trained on"):
        evaluate_run(Path("run"), display=silent)
    capsys.readouterr()
    train("again", "dataset.split=maml", "model.weights=plain")  # a negative control: it knows none of them
    assert "does not list" not in capsys.readouterr().err


def test_a_record_that_lists_no_classes_is_said_not_to_where_settings_do_not_name_them(
    donor: mx.Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_classes("donor")
    know_no_names(monkeypatch)
    capsys.readouterr()
    train("run", "dataset.split=maml", "model.weights=donor")
    assert "does not list the classes that it was trained on" in capsys.readouterr().err


def test_a_record_that_lists_no_classes_is_said_not_to_where_it_began_at_other_weights(
    donor: mx.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its settings name its own classes, and not those of the weights before it."""
    train("middle", "dataset.split=vinyals", "model.weights=donor")
    without_classes("middle")
    for folder, overrides in {
        "longer": ["from=middle", "train.steps=2"],
        "run": [*TINY, "dataset.split=vinyals", "model.weights=middle"],
    }.items():
        capsys.readouterr()
        mx.train(*overrides, folder=folder)
        assert "does not list the classes that it was trained on" in capsys.readouterr().err
