"""Tables on terminals of every width: no name is broken, and no line is longer than the terminal."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from metaexp.compare.comparison import compare
from metaexp.compare.gather import gather
from metaexp.compare.output.documents import print_comparison
from metaexp.compare.output.explanation import print_explanation
from metaexp.compare.output.terminal_table import print_table
from metaexp.compare.why import explain, read_side
from tests.compare.conftest import MakeRun, decide

WORDS = ("optimizer.lr=0.01", "optimizer.lr=0.001", "train.meta_batch_size=10", "transductive", "Parameters", "111,557")


@pytest.fixture
def sweep(make_run: MakeRun, tmp_path: Path) -> Path:
    for seed in range(2):
        for rate in (0.01, 0.001):
            settings = {"optimizer.lr": rate, "train.meta_batch_size": int(1000 * rate)}
            make_run("maml", seed, 2.0, config=settings, peak_memory_bytes=1 << 30)
            make_run("proto_net", seed, 2.5, config=settings, batch_norm="running", first_order=None, steps=0)
    return tmp_path / "sweep"


def printed(sweep: Path, width: int) -> str:
    output = io.StringIO()
    found = gather([sweep])
    console = Console(file=output, width=width)
    print_comparison(compare(found.runs, found.left_out, [], decide, "title", "command"), console)
    return output.getvalue()


def words_of(text: str) -> set[str]:
    return {word.strip(",;:") for word in text.split()} - {"Row", "Setting", "Rank"} - set(re.findall("─+", text))


@pytest.mark.parametrize("width", [40, 50, 60, 80, 100, 200])
def test_no_name_is_broken(sweep: Path, width: int) -> None:
    text = printed(sweep, width)
    assert max(map(len, text.splitlines())) <= width
    assert words_of(text) == words_of(printed(sweep, 500))
    assert words_of(text) > set(WORDS)


def test_a_name_that_is_longer_than_the_terminal_is_broken(sweep: Path) -> None:
    text = printed(sweep, 22)
    assert "train.meta_batch_size=" in text
    assert "train.meta_batch_size=10" not in words_of(text)


def test_a_row_is_a_list_only_where_the_words_of_the_table_have_no_room(sweep: Path) -> None:
    wide, narrow = printed(sweep, 200), printed(sweep, 60)
    assert "Steps: " not in wide
    assert "\nMAML train.meta_batch_size=10 optimizer.lr=0.01\n  Steps: 6,000; Tasks seen: 60,000; " in narrow
    assert "optimizer.lr\n  ProtoNet train.meta_batch_size=1 optimizer.lr=0.001: 0.001\n" in narrow


def test_why_breaks_no_name_either(sweep: Path) -> None:
    first, second = (read_side(sweep / name) for name in ("run_000", "run_003"))
    for width in (30, 60, 100):
        output = io.StringIO()
        print_explanation(explain(first, second, decide), Console(file=output, width=width))
        assert "train.meta_batch_size" in output.getvalue().split(), width
        assert "optimizer.lr" in output.getvalue().split(), width


def test_numbers_have_room_before_lines_of_text() -> None:
    output = io.StringIO()
    rows = [[Text("a long name of a row with many words"), Text("81.10 to 92.74")]]
    print_table(["Row", "Accuracy"], rows, [1], Console(file=output, width=40))
    assert " 81.10 to 92.74 \n with many words " in output.getvalue()
