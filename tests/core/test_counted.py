"""Numbers with their nouns, and that no message makes a plural of its own."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from metaexp.core.counted import agreeing, counted, plural

ROOT = Path(__file__).resolve().parents[2]
NOUNS = "steps|runs|seeds|jobs|trials|episodes|rows|ranks|threads|keys|minutes|hours"
"""What messages count that may well be one."""


@pytest.mark.parametrize(
    ("n", "noun", "text"),
    [
        (1, "step", "1 step"), (0, "step", "0 steps"), (2000, "step", "2,000 steps"), (1, "class", "1 class"),
        (2, "class", "2 classes"), (3, "query", "3 queries"), (2, "series", "2 series"), (2, "index", "2 indexes"),
        (2, "finished run", "2 finished runs"), (2, "more query", "2 more queries"), (1, "more query", "1 more query"),
    ],
)  # fmt: skip
def test_a_noun_follows_its_number(n: int, noun: str, text: str) -> None:
    assert counted(n, noun) == text


def test_a_verb_follows_its_number() -> None:
    assert [agreeing(n, "is") for n in (0, 1, 2)] == ["are", "is", "are"]
    assert (plural("was"), plural("has"), plural("does")) == ("were", "have", "do")


ALLOWED = {
    "{_format_estimate(required.episodes)} episodes",  # in text, and more than one
    "{several} seeds", "{which} steps", "{what} runs", "{format_job(job)} runs",
}  # fmt: skip
"""What stands before the noun is a text, or the noun is a verb."""


def own_plurals(tree: ast.AST) -> Iterator[str]:
    """The nouns that follow a number in an f-string, or that get their s there. A number in capitals is a constant."""
    for node in ast.walk(tree):
        if isinstance(node, ast.IfExp) and {ast.unparse(node.body), ast.unparse(node.orelse)} == {"'s'", "''"}:
            yield ast.unparse(node)
        for value, after in zip(node.values, node.values[1:], strict=False) if isinstance(node, ast.JoinedStr) else ():
            if not isinstance(value, ast.FormattedValue) or not isinstance(after, ast.Constant):
                continue
            found = re.match(rf" ({NOUNS})\b", str(after.value))
            if found and not re.fullmatch(r"_?[A-Z_]+", ast.unparse(value.value)):
                yield f"{{{ast.unparse(value.value)}}} {found[1]}"


def test_no_message_makes_a_plural_of_its_own() -> None:
    texts = (
        'f"{n} steps"', 'f"after {run.steps:,} of {n:,} steps{end}"', '''f"{n} job{'s' if n > 1 else ''}"''',
    )  # fmt: skip
    assert all(list(own_plurals(ast.parse(text))) for text in texts)
    assert not list(own_plurals(ast.parse("""f"{counted(n, 'step')} of {_MOST} steps, {name} stepsize" """)))
    files = sorted((ROOT / "metaexp").rglob("*.py"))
    assert len(files) > 300
    found = {(path.name, text) for path in files for text in own_plurals(ast.parse(path.read_text()))}
    assert {text for _, text in found} >= ALLOWED, "nothing is allowed that is not there"
    assert [pair for pair in found if pair[1] not in ALLOWED] == [], "use metaexp.core.counted"
