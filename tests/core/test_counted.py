"""Numbers with their nouns, and that no message makes a plural of its own."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from metaexp.core.counted import agreeing, counted, listed, plural, shortened

ROOT = Path(__file__).resolve().parents[2]
NOUNS = "steps|runs|seeds|jobs|trials|episodes|rows|ranks|threads|keys|minutes|hours"
"""What messages count that may well be one."""


@pytest.mark.parametrize(
    ("n", "noun", "text"),
    [
        (1, "step", "1 step"), (0, "step", "0 steps"), (2000, "step", "2,000 steps"), (1, "class", "1 class"),
        (2, "class", "2 classes"), (3, "query", "3 queries"), (2, "series", "2 series"), (2, "index", "2 indexes"),
        (2, "finished run", "2 finished runs"), (2, "more query", "2 more queries"), (1, "more query", "1 more query"),
        (2, "link in the archive", "2 links in the archive"), (1, "link in the archive", "1 link in the archive"),
        (2, "class without an image", "2 classes without an image"), (2, "series of one", "2 series of one"),
        (2, "file with the suffix .in", "2 files with the suffix .in"), (2, "match", "2 matches"),
        (2, "special file (FIFO or device) in it", "2 special files (FIFO or device) in it"),
    ],
)  # fmt: skip
def test_a_noun_follows_its_number(n: int, noun: str, text: str) -> None:
    assert counted(n, noun) == text


def test_a_verb_follows_its_number() -> None:
    assert [agreeing(n, "is") for n in (0, 1, 2)] == ["are", "is", "are"]
    assert (plural("was"), plural("has"), plural("does")) == ("were", "have", "do")


@pytest.mark.parametrize(
    ("names", "text"),
    [("a", "a"), ("abc", "a, b, c"), ("abcd", "a, b, c, d"), ("abcde", "a, b, c and 2 more"), ("", "")],
)
def test_a_list_is_cut_only_where_that_makes_it_shorter(names: str, text: str) -> None:
    assert listed(names, 3) == text


def test_a_list_says_what_the_others_are() -> None:
    assert listed(["x"] * 2000, 1, mark="; ", more="more keys") == "x and 1,999 more keys"
    assert listed("abc", 2, mark="; ") == "a; b; c"


@pytest.mark.parametrize(("length", "is_whole"), [(200, True), (201, False), (2000, False)])
def test_a_long_text_is_shown_by_its_beginning_and_its_length(length: int, is_whole: bool) -> None:
    text = "x" * length
    assert shortened(text) == (text if is_whole else f"{'x' * 60}... ({length:,} characters)")


def own_cuts(tree: ast.AST) -> Iterator[str]:
    """The places where the first of some names are joined."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "join":
            for part in (inner for argument in node.args for inner in parts_of(argument)):
                if isinstance(part, ast.Subscript) and isinstance(part.slice, ast.Slice):
                    end = part.slice.upper
                    if end is not None and not isinstance(end, ast.UnaryOp):  # [:-1] leaves the last to an "and"
                        yield ast.unparse(part)


def parts_of(argument: ast.expr) -> list[ast.expr]:
    """What is joined: an argument itself, or what a comprehension or a function goes through."""
    if isinstance(argument, ast.GeneratorExp | ast.ListComp):
        return [generator.iter for generator in argument.generators]
    return [argument, *(argument.args if isinstance(argument, ast.Call) else [])]


def test_no_message_cuts_a_list_by_itself() -> None:
    texts = ('", ".join(names[:3])', '", ".join(f"{n}" for n in names[:_MOST])', '", ".join(map(str, names[:5]))')
    assert all(list(own_cuts(ast.parse(text))) for text in texts)
    assert not list(own_cuts(ast.parse('", ".join(names[1:]) + ".".join(n[:5] for n in names)')))
    files = sorted((ROOT / "metaexp").rglob("*.py"))
    found = {(path.name, text) for path in files for text in own_cuts(ast.parse(path.read_text()))}
    assert {pair for pair in found if pair[1] not in CUTS} == set(), "use metaexp.core.counted.listed"
    assert {text for _, text in found} >= CUTS, "nothing is allowed that is not there"


CUTS = {
    "names[:most]", "parts[:end]",  # in listed itself, and a name of a package
    "known[len(KEYS):len(KEYS) + _MOST_NAMED]", "found[:_MOST_NAMED]",  # the text says so itself
}  # fmt: skip
ALLOWED = {
    "{_format_estimate(required.episodes)} episodes",  # in text, and more than one
    "{several} seeds", "{which} steps", "{what} runs", "{format_job(job)} runs",
}  # fmt: skip
"""What stands before the noun is a text, or the noun is a verb."""


PLURALS = ({"'s'", "''"}, {"'es'", "''"})


def own_plurals(tree: ast.AST) -> Iterator[str]:
    """The nouns that follow a number in an f-string, or that get their s there. A number in capitals is a constant."""
    for node in ast.walk(tree):
        if isinstance(node, ast.IfExp) and {ast.unparse(node.body), ast.unparse(node.orelse)} in PLURALS:
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
        '''"process" + ("es" if n > 1 else "")''',
    )  # fmt: skip
    assert all(list(own_plurals(ast.parse(text))) for text in texts)
    assert not list(own_plurals(ast.parse("""f"{counted(n, 'step')} of {_MOST} steps, {name} stepsize" """)))
    files = sorted((ROOT / "metaexp").rglob("*.py"))
    assert len(files) > 300
    found = {(path.name, text) for path in files for text in own_plurals(ast.parse(path.read_text()))}
    assert {text for _, text in found} >= ALLOWED, "nothing is allowed that is not there"
    assert [pair for pair in found if pair[1] not in ALLOWED] == [], "use metaexp.core.counted"


PLAIN_STEP = re.compile(r"(?<![-\w])steps? \{[^{}:]*\}|\{[^{}:]*\} of \{(?:counted\([^{}]*'step'|[^{}:]*steps)")
"""A step, or how many of some steps, without a mark of thousands. An option or a key has its number as it is typed."""


def test_no_message_has_a_step_without_its_thousands() -> None:
    for text in ("after step {step}, too", "{done} of {counted(total, 'step')}", "step {a:,} of {n} of {self.steps:,}"):
        assert PLAIN_STEP.search(text), text
    for text in ("step {step:,}", "--steps {steps}", "after_steps {x:,}", "{a:,} of {counted(total, 'step')}"):
        assert not PLAIN_STEP.search(text), text
    found = {
        f"{path.name}: {match[0]}"
        for path in (ROOT / "metaexp").rglob("*.py")
        for match in PLAIN_STEP.finditer(path.read_text(encoding="utf-8"))
    }
    assert found == set()
