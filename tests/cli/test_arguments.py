"""Options that are numbers: a wrong one is refused as every other value is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from metaexp.cli.arguments import Parser, number, whole_number
from metaexp.cli.main import main
from metaexp.core.errors import ConfigError

CLI = Path(__file__).resolve().parents[2] / "metaexp" / "cli"


@pytest.mark.parametrize("text", ["10000000000", f"{10**400}"])
def test_a_whole_number_that_no_run_could_reach_is_refused(text: str) -> None:
    parser = Parser("verb", "A verb.")
    parser.add_argument("--seeds", type=whole_number)
    with pytest.raises(
        ConfigError, match=r"^--seeds 10+(\.\.\. \(401 characters\))? is too large; 1,000,000,000 at most\.$"
    ):
        parser.parse_args(["--seeds", text])
    assert parser.parse_args(["--seeds", "1000000000"]).seeds == 10**9


@pytest.mark.parametrize("text", ["x", "1.5", "0", "-3", "", "nan"])
def test_what_is_not_a_whole_number_from_1_on_is_refused_by_name(text: str) -> None:
    parser = Parser("verb", "What it does.")
    parser.add_argument("--seeds", type=whole_number)
    assert parser.parse_args(["--seeds", "3"]).seeds == 3
    with pytest.raises(ConfigError, match=rf"^--seeds {re.escape(text)} must be a whole number from 1 on\.$"):
        parser.parse_args([f"--seeds={text}"])


def test_what_is_not_a_number_is_refused_by_name() -> None:
    parser = Parser("verb", "What it does.")
    parser.add_argument("--every", type=number("a number of seconds"))
    assert parser.parse_args(["--every", "0.5"]).every == 0.5
    with pytest.raises(ConfigError, match=r"^--every soon must be a number of seconds\.$"):
        parser.parse_args(["--every", "soon"])


def test_another_mistake_of_a_command_line_is_left_to_argparse(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser("verb", "What it does.")
    parser.add_argument("--seeds", type=whole_number)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["--seeds"])
    assert "argument --seeds: expected one argument" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["reproduce", "maml_sinusoid", "--seeds", "x"],
        ["reproduce", "RUN", "--steps", "x"],
        ["predict", "RUN", "--episodes", "x"],
        ["predict", "RUN", "--conformal", "x"],
        ["wandb-sweep", "--runs", "x"],
        ["wandb-sweep", "--stop-after", "x"],
        ["watch", "RUN", "--every", "x"],
    ],
)
def test_every_verb_says_it_in_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{words[-2]} x must be a" in line


def of_argparse(text: str) -> list[str]:
    """Options whose value argparse itself would turn into a number, with a message of its own."""
    return re.findall(r"\btype=(?:int|float)\b", text)


def test_no_verb_leaves_numbers_to_argparse() -> None:
    files = sorted(CLI.rglob("*.py"))
    assert len(files) > 20
    assert [path.name for path in files if of_argparse(path.read_text())] == []
    assert of_argparse('parser.add_argument("--jobs", type=int)') == ["type=int"]
