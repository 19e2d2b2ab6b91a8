"""Bad command lines, made at random from a seed: each is refused by the check, in plain lines, without a traceback."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from bad_words import BAD, FINE
from sampling import sample

from metaexp.cli.main import main

SEED = 20_261_126
N_LINES = 200
N_PARTS = 4


def lines() -> list[list[str]]:
    """The command lines: each holds one to three bad words, among up to two good ones, in any order."""
    drawn = random.Random(SEED)
    found = []
    for number in range(N_LINES):
        words = [BAD[number % len(BAD)], *drawn.sample(BAD, drawn.randint(0, 2))]
        keys = {word.partition("=")[0] for word in words}  # a good value after a bad one of the same key wins
        words += [word for word in drawn.sample(FINE, drawn.randint(0, 2)) if word.partition("=")[0] not in keys]
        drawn.shuffle(words)
        found.append([part for word in words for part in (word.split() if word.count("=") == 2 else [word])])
    return found


TRIED = sample(lines(), 60, lambda words: set(words) & set(BAD))


def run(words: Sequence[str]) -> int:
    try:
        return main(["train", *words])
    except SystemExit as error:  # argparse ends so
        return int(error.code or 0)


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run would get past the check."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("metaexp.run.job.run_job", lambda *_, **__: pytest.fail("it was not refused"))


@pytest.mark.parametrize("part", range(N_PARTS))
def test_a_bad_command_line_is_refused_by_the_check(
    part: int, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for words in TRIED[part::N_PARTS]:
        code = run(words)
        said = capsys.readouterr()
        assert code in (2, 4, 6), (words, code, said.err[-2000:])
        assert "Traceback" not in said.err, words
        assert said.err.strip(), words
        assert max(map(len, said.err.splitlines())) < 3_000, words
        assert list(tmp_path.iterdir()) == [], words


def test_the_lines_are_many_and_always_the_same() -> None:
    assert lines() == lines()
    assert len(lines()) == N_LINES
    assert {word for line in lines() for word in line} >= {"seed=-1", "--cfg=nothing", "train.steps=1e3"}


def test_good_words_alone_are_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metaexp.run.job.run_job", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(["algorithm=reptile", "seed=3", "train.steps=5", "tracker=files"])
