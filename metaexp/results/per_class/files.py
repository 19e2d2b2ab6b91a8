"""``test_classes.csv``: the accuracy of each named class over all test episodes. Without torch.

``test_confusions.csv`` beside it has the answers of every episode, from which it is made.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from metaexp.core.counted import counted
from metaexp.core.disk.files import encode_text, read_regular, write_atomically
from metaexp.core.errors import RunFolderError
from metaexp.core.terminal_text import plain

if TYPE_CHECKING:
    from metaexp.core.types import EpisodeClasses

CLASSES_FILE = "test_classes.csv"
CONFUSIONS_FILE = "test_confusions.csv"
MOST_CONFUSIONS = 3
"""At most this many other classes are named beside a class."""
_MOST_NAMED = 3
_COLUMNS = ("class", "accuracy", "right", "queries", "episodes")


class Confusion(NamedTuple):
    """A class that another one was taken for.

    Attributes:
        name: The class.
        times: How many queries of the other class were taken for it.
        queries: Queries of the other class in episodes that had both.
    """

    name: str
    times: int
    queries: int


class ClassResult(NamedTuple):
    """The answers for the queries of a class, over all test episodes.

    Attributes:
        name: The class.
        right: How many answers were right.
        queries: How many queries it had.
        episodes: In how many episodes it was.
        confusions: The classes that it was taken for, the most frequent first; at most three.
    """

    name: str
    right: int
    queries: int
    episodes: int
    confusions: tuple[Confusion, ...]

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return self.right / self.queries


def over_episodes(episodes: Iterable[EpisodeClasses]) -> list[ClassResult]:
    """Return the result of each class, the hardest first.

    Args:
        episodes: The classes of every test episode, with what their queries were taken for.
    """
    right, queries, times = Counter[str](), Counter[str](), Counter[str]()
    taken: defaultdict[str, Counter[str]] = defaultdict(Counter)
    together: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for names, counts in episodes:
        for name, row in zip(names, counts, strict=True):
            n_queries = sum(row)
            times[name] += 1
            queries[name] += n_queries
            for other, count in zip(names, row, strict=True):
                together[name][other] += n_queries
                taken[name][other] += count
            right[name] = taken[name][name]
    found = []
    for name in (name for name, n_queries in queries.items() if n_queries):
        others = sorted((-n, other) for other, n in taken[name].items() if n and other != name)[:MOST_CONFUSIONS]
        confusions = tuple(Confusion(other, -n, together[name][other]) for n, other in others)
        found.append(ClassResult(name, right[name], queries[name], times[name], confusions))
    return sorted(found, key=lambda item: (item.accuracy, item.name))


def classes_sha256(episodes: Sequence[EpisodeClasses]) -> str | None:
    """Return the SHA-256 (hex) of ``test_classes.csv``; None without classes, when there is no such file.

    Args:
        episodes: As for :func:`over_episodes`.
    """
    return hashlib.sha256(_encode(over_episodes(episodes))).hexdigest() if episodes else None


def write_classes(classes: Path, confusions: Path, episodes: Sequence[EpisodeClasses]) -> None:
    """Write the two files.

    Args:
        classes: The file with a line for each class, the hardest first.
        confusions: The file with a line for each episode, class, and class that queries of it were taken for.
        episodes: As for :func:`over_episodes`.
    """
    write_atomically(classes, _encode(over_episodes(episodes)))
    lines: list[list[Any]] = [
        [number, name, other, count]
        for number, (names, counts) in enumerate(episodes)
        for name, row in zip(names, counts, strict=True)
        for other, count in zip(names, row, strict=True)
        if count
    ]
    write_atomically(confusions, _csv([["episode", "class", "taken_for", "queries"], *lines]))


def read_classes(path: Path, sha256: str | None) -> list[ClassResult]:
    """Read the file with a line for each class.

    Args:
        path: The file.
        sha256: Its SHA-256 in the record, hex; None where there was no such file.

    Returns:
        The results, the hardest first; empty without a file.

    Raises:
        RunFolderError: The file was changed after the test.
    """
    if sha256 is None or not os.path.lexists(path):
        return []
    content = read_regular(path)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise RunFolderError(f"{path} was changed after the test: its SHA-256 is not that of the record. Restore it.")
    found = []
    for row in list(csv.reader(io.StringIO(content.decode("utf-8"), newline="")))[1:]:
        name, _, *numbers = row[: len(_COLUMNS)]
        others = row[len(_COLUMNS) :]
        confusions = [
            Confusion(others[i], int(others[i + 1]), int(others[i + 2])) for i in range(0, len(others), 3) if others[i]
        ]
        right, queries, times = map(int, numbers)
        found.append(ClassResult(name, right, queries, times, tuple(confusions)))
    return found


def format_hardest(found: Sequence[ClassResult], file: str) -> str:
    """Return one line about the hardest classes; an empty text where the classes are not known.

    Args:
        found: The results, the hardest first.
        file: The name of the file that has all.
    """
    if not found:
        return ""
    named = ", ".join(
        f"{plain(item.name)} {format_accuracy(item)} of {counted(item.queries, 'query')}"
        for item in found[:_MOST_NAMED]
    )
    return f"hardest of {len(found):,} classes: {named}; all are in {file}\n"


def format_accuracy(found: ClassResult) -> str:
    """Return the accuracy of a class in percent."""
    return f"{found.accuracy * 100:.1f} %"


def format_confusion(found: ClassResult) -> str:
    """Return what a class is taken for most often, and how often; an empty text where all answers were right."""
    if not found.confusions:
        return ""
    name, times, queries = found.confusions[0]
    return f"{plain(name)} ({times:,} of {queries:,})"


def _encode(found: Sequence[ClassResult]) -> bytes:
    places = range(1, MOST_CONFUSIONS + 1)
    header = [*_COLUMNS, *(f"{what}_{n}" for n in places for what in ("taken_for", "times", "of"))]
    lines = []
    for item in found:
        others = [cell for confusion in item.confusions for cell in confusion]
        empty = [""] * (3 * (MOST_CONFUSIONS - len(item.confusions)))
        lines.append([item.name, f"{item.accuracy:.6g}", item.right, item.queries, item.episodes, *others, *empty])
    return _csv([header, *lines])


def _csv(lines: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return encode_text(text.getvalue())
