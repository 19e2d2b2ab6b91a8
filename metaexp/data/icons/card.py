"""The data card of icons and emoji: tables of the packaged lists, and a figure of sample episodes.

``python -m metaexp.data.icons.card PAGE`` brings the tables of a page up to date, between the lines that mark them;
``python -m metaexp.data.icons.card PAGE FOLDER FIGURE.png`` also draws episodes of the drawings in ``paths.data``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from metaexp.core.disk.files import write_atomically
from metaexp.core.shapes import SPLITS, TaskShape
from metaexp.data.files.class_lists import read_class_list
from metaexp.data.icons.lists import SplitBy, classes
from metaexp.data.icons.sets import FOLDER, PERMISSIVE, Kind, Licences, families, places

_KINDS: Final[tuple[Kind, ...]] = ("icons", "emoji")
_LEAST: Final = {"icons": (15, 10), "emoji": (5, 4)}
_SHAPE: Final = TaskShape(5, 1, 5)
_EPISODE: Final = 4
"""The number of the episode that is drawn."""


def format_counts() -> str:
    """Return the classes of each choice of licences, designers and split, as a Markdown table."""
    rows = ["| dataset | `licences` | `designers` | classes | drawings | train / val / test, `random` | `category` |"]
    rows.append("|---|---|--:|--:|--:|---|---|")
    for kind in _KINDS:
        for licences in ("permissive", "all"):
            for least in _LEAST[kind]:
                rows.append(_format_row(kind, licences, least))
    return "\n".join(rows)


def format_licences(kind: Kind) -> str:
    """Return the designers, their sets, the licences of these, and their drawings, as a Markdown table."""
    rows = ["| designer | sets | licence | drawings |", "|---|---|---|--:|"]
    sets: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for name, spdx, number in _licences(kind):
        sets.setdefault((places(kind)[name].family, spdx), []).append((name, number))
    for family in families(kind):
        for (of, spdx), found in sets.items():
            if of == family:
                names = ", ".join(name for name, _ in found)
                mark = "" if spdx in PERMISSIVE else " (only with `licences=all`)"
                rows.append(f"| {family} | {names} | {spdx}{mark} | {sum(n for _, n in found):,} |")
    return "\n".join(rows)


def fill_tables(page: str) -> str:
    """Return a page with its tables as the packaged lists have them.

    Args:
        page: The text, with pairs of lines such as ``<!-- counts:begin -->`` and ``<!-- counts:end -->``.
    """
    tables = {"counts": format_counts(), **{f"licences of {kind}": format_licences(kind) for kind in _KINDS}}
    for name, table in tables.items():
        around = re.compile(f"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.DOTALL)
        page = around.sub(lambda match, table=table: f"{match[1]}\n{table}\n\n{match[2]}", page)  # type: ignore[misc]
    return page


def draw_episodes(folder: Path, path: Path) -> None:
    """Save a figure (PNG): a test episode of icons, one with a designer left out, and one of emoji.

    Args:
        folder: ``paths.data``.
        path: The file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from metaexp.data.icons.dataset import Emoji, Icons

    icons: dict[str, Any] = {"licences": "permissive", "designers": 15, "split": "random", "image_size": 84}
    emoji = Emoji("permissive", 4, "random", None, 84, None)
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(1, 3, width_ratios=[7, 3, 7])
    plain = Icons(leave_out=None, invert=False, normalise=None, **icons)
    held_out = Icons(leave_out="google", invert=False, normalise=None, **icons)
    _episode(parts[0], plain, folder, 5, "icons, 5-way 1-shot")
    _episode(parts[1], held_out, folder, 1, "queries by google")
    _episode(parts[2], emoji, folder, 5, "emoji, 5-way 1-shot")
    content = BytesIO()
    figure.savefig(content, format="png", dpi=110)
    write_atomically(path, content.getvalue())


def _episode(part: Any, dataset: Any, folder: Path, n_query: int, title: str) -> None:
    """Draw one episode: a row for each class, its support on the left."""
    import torch

    loaded = dataset.load(folder, lambda _: None)
    draw = loaded.tasks(TaskShape(_SHAPE.n_way, _SHAPE.k_shot, n_query), 1000).draw("test", torch.tensor([_EPISODE]))
    axes = part.subplots(_SHAPE.n_way, 1 + n_query, squeeze=False)
    part.suptitle(title, fontsize=10)
    first = loaded.table("test").first.tolist()
    for label, row in enumerate(axes):
        support, query = (rows[0][y[0] == label] for rows, y in (draw[:2], draw[2:]))
        begin = max(start for start in first if start <= int(support[0]))
        name = loaded.class_names["test"][first.index(begin)].partition("_")
        row[0].set_ylabel((name[2] or name[0]).replace("-", "\n"), rotation=0, ha="right", va="center", fontsize=8)
        for ax, index in zip(row, [*support, *query], strict=True):
            ax.imshow(loaded.examples(index).permute(1, 2, 0).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1)
            ax.set_xticks([])
            ax.set_yticks([])
            for side in ax.spines.values():
                side.set_color("black" if ax is row[0] else "lightgrey")
    axes[0][0].set_title("support", fontsize=8)
    axes[0][1].set_title("queries" if n_query > 1 else "query", fontsize=8)


def _format_row(kind: Kind, licences: Licences, least: int) -> str:
    def sizes(split_by: SplitBy) -> str:
        return " / ".join(str(len(classes(kind, split_by, licences, least)[split])) for split in SPLITS)

    of_each = [n for found in classes(kind, "random", licences, least).values() for n in found.values()]
    numbers = f"{len(of_each):,} | {sum(of_each):,} | {sizes('random')} | {sizes('category')}"
    return f"| `{kind}` | `{licences}` | {least} | {numbers} |"


def _licences(kind: Kind) -> Iterator[tuple[str, str, int]]:
    for line in read_class_list(FOLDER / kind / "licences.txt"):
        name, spdx, number = line.split()
        yield name, spdx, int(number)


def main(page: Path, folder: Path | None = None, figure: Path | None = None) -> None:
    """Bring the tables of a page up to date, and draw the figure where a folder and a file are given.

    Args:
        page: The page.
        folder: ``paths.data``, or None.
        figure: The PNG file, or None.
    """
    write_atomically(page, fill_tables(page.read_text(encoding="utf-8")).encode())
    if folder is not None and figure is not None:
        draw_episodes(folder, figure)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
