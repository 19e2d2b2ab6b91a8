"""Bad command lines of every verb, mixed at random from a seed: each is refused before any work, in plain lines."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bad_command_lines import BAD_OF_VERB, fault, lines, run, try_all, work_in
from bad_words import FINE

from metaexp.cli.main import VERBS

N_LINES = 200
N_PARTS = 4


@pytest.mark.parametrize("part", range(N_PARTS))
def test_a_bad_command_line_of_any_verb_is_refused_before_any_work(part: int) -> None:
    found = try_all(lines(N_LINES)[part::N_PARTS])
    assert found["failed"] == []
    assert found["lines"] == N_LINES // N_PARTS


def test_the_lines_are_many_of_every_verb_and_always_the_same() -> None:
    assert lines(N_LINES) == lines(N_LINES)
    assert lines(N_LINES) != lines(N_LINES, seed=1)
    assert len(lines(N_LINES)) == N_LINES
    assert {words[0] for words in lines(N_LINES)} == set(VERBS)
    assert set(BAD_OF_VERB) == set(VERBS)


def test_a_good_command_line_is_not_refused(tmp_path: Path) -> None:
    with work_in(tmp_path):
        assert run(["why", "run", "run"]).code == 0
        assert run(["train", "--cfg", "job", *FINE]).code == 0


def test_faults_of_every_kind_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with work_in(tmp_path) as folder:
        assert fault(["train", "train.steps=-1"], folder) is None
        assert fault(["train", "train.steps=1"], folder) == "not refused: the work began"
        assert str(fault(["train", "--cfg", "job"], folder)).startswith("exit code 0")
        deeds = {
            "exception": lambda: 1 / 0,
            "wrote": (folder / "made").touch,
            "traceback": lambda: sys.stderr.write("Traceback (most recent call last):"),
            "answer": lambda: None,
        }
        for kind, deed in deeds.items():
            monkeypatch.setattr("bad_command_lines.command", lambda _, deed=deed: [deed(), 2][1])
            assert str(fault(["train"], folder)).startswith(kind)
