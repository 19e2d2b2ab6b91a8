"""Words that other programs have as verbs: the command that does what they ask for."""

from __future__ import annotations

import contextlib
import re
import shlex
from pathlib import Path

import pytest

from metaexp.cli.main import VERBS, main
from metaexp.cli.other_words import OTHER_OPTIONS, WISHES, format_other_option
from metaexp.core.errors import ExitCode


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command line without a verb is answered, up to the list of the verbs."""
    assert main(list(words)) == ExitCode.CONFIG
    text, _, verbs = capsys.readouterr().err.partition(" Known: ")
    assert verbs.startswith("train, ")
    return text


@pytest.mark.parametrize(
    ("word", "command"),
    [
        ("resume", "train resume=RUN"), ("test", "evaluate RUN"), ("eval", "evaluate RUN"), ("list", "ls"),
        ("run", "train experiment=NAME"), ("sweep", "train -m KEY=A,B,C"), ("fit", "train experiment=NAME"),
        ("delete", "rm RUN"), ("Resume", "train resume=RUN"), ("--resume", "train resume=RUN"), ("logs", "watch RUN"),
        ("dataset", "data dataset=NAME"), ("version", "--version"), ("diff", "why RUN OTHER"),
    ],
)  # fmt: skip
def test_a_word_of_other_programs_gets_the_command_that_does_it(
    word: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(capsys, word).endswith(f": `metaexp {command}`.")


def test_the_folders_that_were_given_are_in_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a run").mkdir()
    Path("b").mkdir()
    assert "`metaexp train resume='a run'`" in answer(capsys, "resume", "a run")
    assert "`metaexp why b 'a run'`" in answer(capsys, "diff", "b", "a run")
    assert "`metaexp why b OTHER`" in answer(capsys, "diff", "b", "c")
    assert "`metaexp show 'a run'`" in answer(capsys, "a run")
    assert "`metaexp" not in answer(capsys, "c")


def test_overrides_without_a_verb_are_for_train(capsys: pytest.CaptureFixture[str]) -> None:
    assert "`metaexp train -m seed=1,2 'x=a b'`" in answer(capsys, "-m", "seed=1,2", "x=a b")
    assert "`metaexp train train.steps=3`" in answer(capsys, "train.steps=3")


def test_a_mistyped_verb_gets_the_nearest_and_a_foreign_word_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "evaluat").endswith("Did you mean evaluate?")
    assert answer(capsys, "--train").endswith("Did you mean train?")
    assert answer(capsys, "xyzzy").endswith("there is no such verb.")


@pytest.mark.parametrize("command", [wish.command for wish in WISHES])
def test_every_proposed_command_is_one(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is refused for the word in capitals alone. One without such a word has help."""
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)
    placeholder = re.search(r"\b[A-Z]{3,}\b", command)
    if placeholder is None:
        with contextlib.suppress(SystemExit):
            assert main(words if words[-1].startswith("-") else [*words, "--help"]) == ExitCode.OK
    else:
        assert main(words) in (ExitCode.CONFIG, ExitCode.RUN_FOLDER)
        assert placeholder[0] in capsys.readouterr().err


def test_no_word_is_a_verb_or_has_two_commands() -> None:
    words = [word for wish in WISHES for word in wish.words.split()]
    assert len(set(words)) == len(words)
    assert not set(words) & set(VERBS)


def test_help_of_a_verb_is_that_of_the_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["help", "rm"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "usage: metaexp rm " in shown
    assert main(["help", "nothing"]) == 0
    assert "usage: metaexp VERB" in capsys.readouterr().out


OWN_OPTIONS = {
    "train": {"-m", "--multirun", "-c", "--cfg", "--resolve", "--info", "--package", "-cn", "--config-name"},
    "plan": {"-m", "--multirun", "-cn", "--config-name"},
    "search": {"-cn", "--config-name"},
    "wandb-sweep": {"-cn", "--config-name"},
    "new": {"--package"},
}


@pytest.mark.parametrize("verb", VERBS)
def test_an_option_that_only_another_verb_has_gets_a_sentence(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"-m", "--multirun", *(name for names in OTHER_OPTIONS for name in names)}
    for option in sorted(options - OWN_OPTIONS.get(verb, set())):
        assert main([verb, option, "job"]) == ExitCode.CONFIG
        (line,) = (line for line in capsys.readouterr().err.splitlines() if not line.startswith("metaexp: "))
        assert line.startswith(f"metaexp {verb}: ")
        assert option in line
        assert "metaexp train" in line or "Hydra" in line or f"Leave it out: `metaexp {verb} job`." in line
    for option in sorted(OWN_OPTIONS.get(verb, ())):
        assert format_other_option(verb, [option, "x"], OWN_OPTIONS[verb]) == ""


def test_the_command_without_several_runs_is_said_and_what_follows_a_double_dash_is_not_an_option(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["search", "-m", "optimizer.lr=0.1,0.01", "x=a b"]) == ExitCode.CONFIG
    said = capsys.readouterr().err
    assert "a search starts its own jobs" in said
    assert "Leave it out: `metaexp search optimizer.lr=0.1,0.01 'x=a b'`." in said
    assert main(["search", "--cfg=job"]) == ExitCode.CONFIG
    assert "--cfg is an option of metaexp train" in capsys.readouterr().err
    assert format_other_option("search", ["seed=0", "--", "-m"], ()) == ""
    assert format_other_option("search", ["seed=0", "--measure", "-max"], ()) == ""
