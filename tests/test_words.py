"""Docstrings, messages, comments, pages and the names of tests have no archaic words, and none that make riddles."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PLACES = ("metaexp", "conf", "docs", "examples", "benchmarks", "tests", "scripts")
GENERATED = ("docs/results", "docs/examples")
"""Pages of runs: their words are those of the package and of conf/experiment."""

COMPARED = "longer|more|less|fewer|better|worse|faster|slower|larger|smaller|other|such|different"
"""What may follow "is no", as in "is no longer"."""
_MODALS = ("", " can", " could", " may", " might", " must", " will", " would")
THERE = "".join(rf"(?<!\bthere{modal} )" for modal in _MODALS)
"""What stands before "is no" or "be no" in "there is no" and "there can be no"."""
WORDS = {
    rf"{THERE}\b(?:is|are|was|were|be) no (?!(?:{COMPARED})\b)[a-z]+": 'write "is not a ..."',
    r"\b(?:anew|afresh)\b": 'write "again"',
    r"\b(?:is|are|was|were|be|not) passed over\b": 'write "ignored" or "left out"',
    r"\bwhere(?:of|by|upon|in|with|from|on|at|fore|to)\b": 'write "of which", "by which", ...',
    r"\bthere(?:by|of|from|in|upon|with|on|unto|to)\b": 'write "by this", "of it", ...',
    r"\b(?:hence|thence|whence|thither|hither|forthwith|henceforth)\b": 'write "so" or "from there"',
    r"\b(?:lest|albeit|unto|shall|betwixt|naught|withal|ere|oft)\b": "write the common word",
    r"\b(?:is|are|was|were) told by\b": "say who does what",
    r"\b(?:seldom|likewise)\b": 'write "rarely", "in the same way"',
    r"\bfor ever\b": 'write "forever"',
    r"\bfor (?:want|lack) of\b": 'write "because there is no ..."',
    r"\bwhat (?:became|becomes|has become) of\b": 'write "what happened to"',
    r"\bby way of\b": 'write "through" or "as"',
    r"\Adocstring: of ": "begin with a subject",
}
"""Pattern, for text in small letters -> what to write."""
STRING_OR_COMMENT = re.compile(
    r'"""(?:\\.|[^\\])*?"""'
    r"|'''(?:\\.|[^\\])*?'''"
    r'|"(?:\\.|[^"\\])*"'
    r"|'(?:\\.|[^'\\])*'"
    r"|#[^\n]*",
    re.DOTALL,
)
"""What Python reads as a string or a comment. Ten times as fast as its own tokens."""


def found(text: str) -> list[str]:
    """The archaic words of a text, each with advice. What a text has in double quotes is quoted, and may have any."""
    text = re.sub(r"\s+", " ", re.sub(r'"[^"\n]*"', '""', text)).strip().lower()
    return [f"{match[0]!r}: {advice}" for words, advice in WORDS.items() for match in re.finditer(words, text)]


def of_python(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each string, of each block of comments, and of each name of a test as a sentence."""
    nodes = list(ast.walk(ast.parse(source)))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            texts = [part.value if isinstance(part, ast.Constant) else "x" for part in node.values]
            yield node.lineno, "".join(map(str, texts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.lineno, f"Docstring: {node.value}" if id(node) in docstrings else node.value
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.lineno, node.name.replace("_", " ")
    yield from blocks(comments(source))


def comments(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each comment: of what begins with ``#`` outside of a string."""
    line, last = 1, 0
    for match in STRING_OR_COMMENT.finditer(source):
        line, last = line + source.count("\n", last, match.start()), match.start()
        if match[0].startswith("#"):
            yield line, match[0]


def blocks(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Comments in lines that follow each other, as one text."""
    start, last, words = 0, -1, ""
    for line, comment in lines:
        if line != last + 1 and words:
            yield start, words
        start, words = (start, f"{words} ") if line == last + 1 else (line, "")
        last, words = line, words + comment.lstrip("# ")
    if words:
        yield start, words


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of everything that a person reads in a file."""
    source = path.read_text("utf-8")
    if path.suffix == ".py":
        yield from of_python(source)
    elif path.suffix == ".ipynb":
        for cell in json.loads(source)["cells"]:
            yield 0, "".join(cell["source"])
    elif path.suffix == ".md":
        line = 1
        for paragraph in re.split(r"(?<=\n)(?=\n|[*|] )", source):
            yield line, paragraph
            line += paragraph.count("\n")
    else:  # YAML, shell: comments are what people read
        lines = ((i, line.partition("#")[2]) for i, line in enumerate(source.splitlines(), 1) if "#" in line)
        yield from blocks(lines)


def archaic(paths: list[Path], root: Path) -> list[str]:
    """Every archaic word in files, with its place and what to write."""
    return [
        f"{path.relative_to(root)}:{line}: {hit}" for path in paths for line, text in texts(path) for hit in found(text)
    ]


def files_of(place: str) -> list[Path]:
    kinds = (".py", ".md", ".yaml", ".yml", ".ipynb", ".sh")
    paths = (path for path in sorted((ROOT / place).rglob("*")) if path.suffix in kinds and path != Path(__file__))
    return [path for path in paths if not path.relative_to(ROOT).as_posix().startswith(GENERATED) and path.is_file()]


@pytest.mark.parametrize("place", PLACES)
def test_no_text_has_archaic_words(place: str) -> None:
    assert len(files_of(place)) > 1
    assert archaic(files_of(place), ROOT) == []


def test_the_first_pages_have_no_archaic_words() -> None:
    assert archaic(sorted(ROOT.glob("*.md")), ROOT) == []


@pytest.mark.parametrize(
    "text",
    [
        "A label that is no\nclass.",
        "Names that are no files.",
        "The folder is read anew.",
        "Blank lines are passed over.",
        "The file whereof it is made.",
        "Thereby nothing is lost.",
        "It is small, hence fast.",
        "It does what it was told by its caller.",
        "Files are seldom read.",
        "It waits for ever.",
        "It fails for lack of memory.",
        "It asks what became of a job.",
        "Examples by way of pinned memory.",
        "Docstring: Of the largest prediction.",
    ],
)
def test_an_archaic_word_is_found(text: str) -> None:
    assert len(found(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "There is no class, and where there are no files, none is read. There can be no file yet.",
        "It is no longer read, and no faster than before.",
        'It said "is no file" before.',
        "One pass over memory. Elsewhere it is there, and the rest of it is over there.",
        "He therefore shallowly tells of coherence, and of ten files.",
        "Of the rows with several seeds, one is better. Docstring: of the rows.",
    ],
)
def test_a_common_word_is_not_taken_for_an_archaic_one(text: str) -> None:
    assert found(text) == []


def test_what_looks_like_a_comment_within_a_string_is_none() -> None:
    source = 'x = "# a"  # b\ny = \'"\'  # c\n"""\n# d\n"""  # e "\nz = "\\"# f"\n# g\n'
    assert list(comments(source)) == [(1, "# b"), (2, "# c"), (5, '# e "'), (7, "# g")]


def test_strings_comments_names_and_pages_are_all_read(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(
        '"""Of a module."""\n\n\ndef test_it_is_read_anew(x):\n    # It is not\n    # seldom.\n'
        '    raise ValueError(f"{x} is "\n        f"no {x} file, "\n        "which lasts for ever")\n'
    )
    (tmp_path / "conf.yaml").write_text("# whereof\nx: afresh  # hence\n")
    (tmp_path / "page.md").write_text("One\nline.\n\n* It is\n  no list.\n* Lest it is.\n")
    (tmp_path / "notebook.ipynb").write_text(json.dumps({"cells": [{"source": ["It shall\n", "work."]}]}))
    lines = archaic(sorted(tmp_path.iterdir()), tmp_path)
    places = {tuple(line.split(": ")[:2]) for line in lines}
    assert places == {
        ("code.py:1", "'docstring"),
        ("code.py:4", "'anew'"),
        ("code.py:5", "'seldom'"),
        ("code.py:7", "'is no x'"),
        ("code.py:7", "'for ever'"),
        ("conf.yaml:1", "'whereof'"),
        ("conf.yaml:1", "'hence'"),
        ("notebook.ipynb:0", "'shall'"),
        ("page.md:4", "'is no list'"),
        ("page.md:6", "'lest'"),
    }
