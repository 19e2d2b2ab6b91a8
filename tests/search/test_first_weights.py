"""A search whose trials begin at the weights of another run says first what these know."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from known_classes import TINY, know_no_names

from metaexp.cli.main import main
from metaexp.core.errors import ConfigError, RunFolderError
from metaexp.search.prepare import prepare
from metaexp.search.run import search

pytestmark = pytest.mark.usefixtures("with_donor")
VARIED = ["model.weights=donor", "optimizer.lr=0.01,0.02"]
ASKED = [*TINY, *VARIED, "search=grid", "search.folder=found"]
LATER = (
    r"warning: every job: model\.weights=\S+ was trained on 3\d\d of the 423 test classes .*"
    r"So the test of the chosen run would not be on new classes, and `metaexp evaluate` refuses "
    r"it without --allow-trained-classes\."
)
DOUBT = r"warning: every job: model\.weights=\S+ was trained on all 172 validation classes of dataset=omniglot"


def test_a_search_that_would_test_its_best_trial_on_known_classes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tested = [*ASKED, "dataset.split=maml", "search.test_best=true"]
    message = r"every job: search\.test_best=true: model\.weights=\S+ was trained on 3\d\d of the 423 test classes"
    with pytest.raises(ConfigError, match=message):
        prepare(tested, None, "config")
    untested = prepare(tested[:-1], None, "config")
    assert len(untested.corners) == 2
    assert any(re.match(LATER, note) for note in untested.notes)
    assert not any(re.match(LATER, note) for note in prepare([*ASKED, "dataset.split=vinyals"], None, "config").notes)
    assert len(prepare([*ASKED, "dataset.split=vinyals", tested[-1]], None, "config").corners) == 2
    know_no_names(monkeypatch)
    assert prepare(tested, None, "config").notes == []


def test_validation_classes_are_warned_of_once_before_the_first_trial(capsys: pytest.CaptureFixture[str]) -> None:
    found = prepare([*ASKED, "dataset.split=vinyals"], None, "config")
    Path("found").mkdir()
    with pytest.raises(RunFolderError, match="is not the folder of a search"):
        search(found, ASKED, None)
    assert len(re.findall(DOUBT, capsys.readouterr().out)) == 1


def test_a_sweep_file_for_wandb_is_written_with_a_warning_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["wandb-sweep", *TINY, "tracker=wandb", *VARIED]
    assert main([*asked, "dataset.split=vinyals", "--output", "-"]) == 0
    shown = capsys.readouterr()
    assert len(re.findall(DOUBT, shown.err)) == 1
    assert "warning" not in shown.out
    assert not re.search(LATER, shown.err)
    assert main([*asked, "dataset.split=maml", "--output", "sweep.yaml"]) == 0  # tests nothing
    assert len(re.findall(LATER, capsys.readouterr().err)) == 1
