"""Reads a CSV file of episodes: which images are the support and the queries of each. Importing it takes no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from metaexp.core.counted import counted
from metaexp.core.errors import DataError
from metaexp.core.fit.task_fit import format_shape
from metaexp.core.shapes import TaskShape
from metaexp.data.files.csv_rows import read_rows

COLUMNS: Final = ("episode", "role", "class", "image")
ROLES: Final = ("support", "query")


class Item(NamedTuple):
    """An image of an episode.

    Attributes:
        class_name: The class that it belongs to.
        image: The path of the image, as the file has it.
    """

    class_name: str
    image: str


class FixedEpisode(NamedTuple):
    """An episode of a file.

    Attributes:
        name: What the file calls it.
        support: Its support images. Classes get their labels in the order in which they appear here.
        query: Its query images.
    """

    name: str
    support: tuple[Item, ...]
    query: tuple[Item, ...]


class EpisodeList(NamedTuple):
    """Episodes of one shape, in the order of the file.

    Attributes:
        shape: Ways, shots and queries per class of every episode.
        episodes: The episodes.
    """

    shape: TaskShape
    episodes: tuple[FixedEpisode, ...]

    def images(self) -> dict[str, list[str]]:
        """Return the images of each class, each once: classes sorted, images sorted within their class."""
        found: dict[str, set[str]] = {}
        for episode in self.episodes:
            for item in (*episode.support, *episode.query):
                found.setdefault(item.class_name, set()).add(item.image)
        return {name: sorted(found[name]) for name in sorted(found)}


def read_episodes(path: Path) -> EpisodeList:
    """Read a CSV file with the columns ``episode, role, class, image``, one image a row.

    Rows of an episode need not be together. Lines that begin with ``#`` are comments.

    Raises:
        DataError: The file holds no episodes, or episodes of different shapes.
    """
    gathered: dict[str, dict[str, list[Item]]] = {}
    for episode, role, item in _rows(path):
        gathered.setdefault(episode, {role: [] for role in ROLES})[role].append(item)
    if not gathered:
        raise DataError(f"{path} has no episodes. Below its header, it has one row for each image of each episode.")
    episodes = [FixedEpisode(name, tuple(e["support"]), tuple(e["query"])) for name, e in gathered.items()]
    return EpisodeList(_common_shape(episodes, path), tuple(episodes))


def _rows(path: Path) -> Iterator[tuple[str, str, Item]]:
    """Episode, role and image of each row."""
    header, rows = read_rows(path, comment="#")
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise DataError(
            f"{path} lacks the column {missing[0]}: its first line names the columns {', '.join(COLUMNS)}, in any "
            "order."
        )
    places = [header.index(name) for name in COLUMNS]
    for number, row in rows:
        episode, role, class_name, image = (row[place].strip() for place in places)
        if role not in ROLES:
            raise DataError(f"{path}, line {number}: role={role} is unknown; it is {' or '.join(ROLES)}.")
        if "\n" in f"{episode}{class_name}{image}":
            raise DataError(f"{path}, line {number}: a value has several lines. Each row is one line.")
        if not (episode and class_name and image):
            raise DataError(f"{path}, line {number}: episode, class and image must not be empty.")
        yield episode, role, Item(class_name, image)


def _common_shape(episodes: Sequence[FixedEpisode], path: Path) -> TaskShape:
    """The shape that all episodes have."""
    first = _shape(episodes[0], path)
    for episode in episodes[1:]:
        shape = _shape(episode, path)
        if shape != first:
            raise DataError(
                f"{path}: episode {episode.name} is {format_shape(shape)}, and episode {episodes[0].name} is "
                f"{format_shape(first)}. All must be alike; put others into a file of their own."
            )
    return first


def _shape(episode: FixedEpisode, path: Path) -> TaskShape:
    """The shape of an episode, all of whose classes have as many images."""
    where = f"{path}: episode {episode.name}"
    times = Counter(item.image for item in (*episode.support, *episode.query))
    repeated = next((image for image, n in times.items() if n > 1), None)
    if repeated is not None:
        raise DataError(f"{where} has the image {repeated} twice. An image is in the support or a query, and once.")
    classes = list(dict.fromkeys(item.class_name for item in episode.support))
    if len(classes) < 2:
        raise DataError(f"{where} has {counted(len(classes), 'class')} in its support; it needs at least 2.")
    for item in episode.query:
        if item.class_name not in classes:
            raise DataError(f"{where} asks for the class {item.class_name}, of which its support has no image.")
    shots = _count_each(classes, episode.support, f"{where}: support images")
    return TaskShape(len(classes), shots, _count_each(classes, episode.query, f"{where}: queries"))


def _count_each(classes: Iterable[str], items: Sequence[Item], what: str) -> int:
    """How many of ``items`` each class has, which is the same number and not 0."""
    times = Counter(item.class_name for item in items)
    found = {name: times[name] for name in classes}
    least, most = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
    if found[least] != found[most]:
        raise DataError(
            f"{what} are not alike: class {least} has {found[least]} and class {most} has {found[most]}. "
            "All classes of an episode need the same number."
        )
    if found[least] == 0:
        raise DataError(f"{what} are missing: there is none.")
    return found[least]
