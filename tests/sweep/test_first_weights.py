"""Jobs that begin at the weights of another run are checked before any job starts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from known_classes import TINY, forbid, know_no_names, train

from metaexp.cli.plan import main as plan
from metaexp.core.errors import ConfigError
from metaexp.run.initial.trained_before import find_early
from metaexp.run.progress import Lines
from metaexp.sweep import expand
from metaexp.sweep.folder import create
from metaexp.sweep.prepare import Prepared, prepare
from metaexp.sweep.run import run_all

pytestmark = pytest.mark.usefixtures("with_donor")
KNOWN = r"model\.weights=\S+donor was trained on {} {} {} classes of dataset=omniglot \(stand-in\), such as "
REFUSED = KNOWN.format(r"3\d\d of the", 423, "test")
BOTH = ["dataset.split=vinyals,maml", "seed=0,1,2"]


@pytest.fixture
def unloaded(with_donor: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let data be loaded no more."""
    forbid_loading(monkeypatch)


def forbid_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    for dataset in ("omniglot.Omniglot", "mixture.dataset.Mixture"):
        forbid(monkeypatch, f"metaexp.data.{dataset}.load")


def prepared(*overrides: str) -> Prepared:
    return prepare([*TINY, "model.weights=donor", *overrides], None, "config")


def test_jobs_that_would_be_tested_on_known_classes_are_refused_in_one_message(
    unloaded: None, monkeypatch: pytest.MonkeyPatch, silent: Lines
) -> None:
    calls: list[Any] = []

    def counted(config: Mapping[str, Any], choices: Mapping[str, str], parent: Path | None) -> Any:
        calls.append(config["dataset"]["split"])
        return find_early(config, choices, parent)

    monkeypatch.setattr(expand, "find_early", counted)
    command = [*TINY, "model.weights=donor", *BOTH]
    for start in (lambda: run_all(command, None, "config", silent), lambda: plan(command)):
        with pytest.raises(ConfigError) as raised:
            start()
        (refused,), (others,) = raised.value.problems, raised.value.notes
        assert re.match(r"job 3 \(dataset\.split=maml seed=0\) and 2 more: " + REFUSED, refused)
        assert "eval.test=false" in refused
        assert others == "The other 3 of 6 jobs are correct."
    assert calls == ["vinyals", "maml"] * 2  # jobs with the same data and weights are checked once
    assert not Path("outputs").exists()


def test_validation_classes_are_warned_of_once(unloaded: None, capsys: pytest.CaptureFixture[str]) -> None:
    (warned,) = prepared("dataset.split=vinyals", "seed=0,1,2").notes
    assert re.match("warning: every job: " + KNOWN.format("all", 172, "validation"), warned)
    assert warned.endswith("on new classes. Choose the split that these weights were trained with.")
    first, second = prepared(*BOTH, "eval.test=false").notes
    assert first.startswith("warning: job 0 (dataset.split=vinyals seed=0) and 2 more: ")
    assert second.startswith("warning: job 3 (dataset.split=maml seed=0) and 2 more: ")
    assert plan([*TINY, "model.weights=donor", "dataset.split=vinyals", "seed=0,1,2"]) == 0
    assert capsys.readouterr().out.count("validation looks better") == 1


def test_seeds_that_train_together_are_refused_as_one(unloaded: None) -> None:
    with pytest.raises(ConfigError, match=f"^every job: {REFUSED}") as raised:
        prepared("dataset.split=maml", "train.seeds=3")
    assert len(raised.value.problems) == 1
    assert len(prepared("dataset.split=vinyals", "train.seeds=3").jobs) == 3


def test_a_chain_of_weights_and_a_run_that_goes_on_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    train("middle", "dataset.split=maml", "model.weights=donor", "eval.test=false")
    forbid_loading(monkeypatch)
    with pytest.raises(ConfigError, match=f"^every job: {REFUSED.replace('donor', 'middle')}"):
        prepared("dataset.split=maml", "model.weights=middle", "seed=0,1")
    longer = ["from=middle", "train.steps=2,3"]
    with pytest.raises(
        ConfigError, match="^every job: " + REFUSED.replace(r"model\.weights=\S+donor", r"from=\S+middle")
    ):
        prepare([*longer, "eval.test=true"], None, "config")
    assert len(prepare(longer, None, "config").jobs) == 2  # eval.test=false, as in the run before


def test_a_mixture_is_refused_that_has_known_classes_in_a_domain(unloaded: None) -> None:
    mixture = ["dataset=multi_domain", "train.k_shot=1", "eval.episodes=5", "train.eval_episodes=5"]
    given = [line for line in TINY if not line.startswith(("dataset", "eval.episodes", "train.eval_episodes"))]
    command = [*given, *mixture, "dataset.stand_in=true", "model.weights=donor", "seed=0,1"]
    with pytest.raises(ConfigError, match=r"was trained on 3\d\d of the \d+ test classes of .*, such as omniglot: "):
        prepare(command, None, "config")
    (warned,) = prepare([*command, "dataset.domains.omniglot.split=vinyals"], None, "config").notes
    assert "was trained on 172 of the " in warned


def test_nothing_is_said_where_classes_are_new_or_only_the_data_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    train("plain", "dataset.split=vinyals")
    assert prepared("model.weights=plain", "dataset.split=vinyals", "seed=0,1").notes == []
    know_no_names(monkeypatch)
    assert prepared("dataset.split=maml", "seed=0,1").notes == []


def test_a_sweep_that_has_begun_goes_on(unloaded: None) -> None:
    with pytest.MonkeyPatch.context() as patch:  # as in a version that did not check
        know_no_names(patch)
        begun = prepared(*BOTH)
    create(begun.path, [], begun.digest, begun.jobs)
    again = prepared(*BOTH)
    assert again.sweep is not None
    assert again.notes == []
    with pytest.raises(ConfigError, match=REFUSED):
        prepared(*BOTH, "sweep.new=true")
