"""What is logged before a run has a folder is shown at once, and is in run.log, too."""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

from metaexp.core.errors import DataError
from metaexp.run import run_log
from metaexp.run.evaluation.evaluate import evaluate_run
from metaexp.run.job import resume_job, run_job
from metaexp.run.progress import Lines
from metaexp.run.run_log import keep_early_messages


def shown_by(display: io.StringIO) -> Lines:
    return Lines(Console(file=display, width=1000))


def test_a_run_without_a_folder_shows_its_warnings(tiny: ModuleType, tmp_path: Path) -> None:
    log, shown = logging.getLogger("metaexp.early"), io.StringIO()
    level = logging.getLogger("metaexp").level
    with keep_early_messages(shown_by(shown)):
        log.info("in the log alone")
        log.warning("%s and at once", "shown")
    log.warning("afterwards")
    assert shown.getvalue() == "warning: shown and at once\n"
    assert (logging.getLogger("metaexp").level, logging.getLogger("metaexp").propagate) == (level, True)


def test_what_own_code_is_warned_of_in_each_step_is_shown_once_for_a_run_and_once_for_a_test(
    tiny: ModuleType, tmp_path: Path, silent: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = tiny.TinyMAML.predict

    def warning_predict(self: Any, *given: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
        warnings.warn("computed slowly", stacklevel=1)
        return predict(self, *given)

    monkeypatch.setattr(tiny.TinyMAML, "predict", warning_predict)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        folder = run_job(tiny.settings(tmp_path), stop_after=6, display=silent).folder
        assert [str(one.message) for one in shown] == ["computed slowly"]
        resume_job(folder, silent)
        evaluate_run(folder, display=silent)
    assert [str(one.message) for one in shown] == ["computed slowly"] * 3


def test_what_is_logged_while_the_data_are_loaded_is_in_the_log_of_the_run(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = tiny.Lines.load

    def logging_load(self: Any, *given: Any) -> Any:
        logging.getLogger("metaexp.data").info("loaded with care")
        logging.getLogger("metaexp.data").warning("one image is grey")
        return load(self, *given)

    monkeypatch.setattr(tiny.Lines, "load", logging_load)
    shown = io.StringIO()
    done = run_job(tiny.settings(tmp_path, train__steps=1), display=shown_by(shown))
    assert shown.getvalue().count("warning: one image is grey") == 1
    assert "loaded with care" not in shown.getvalue()
    lines = (done.folder / "run.log").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines[:2]] == ["INFO loaded with care", "WARNING one image is grey"]
    with pytest.raises(DataError, match="nowhere"):
        run_job(tiny.settings(tmp_path, dataset={"_target_": "tiny_runs.Missing"}), display=shown_by(shown))
    assert run_log._early.get() is None
