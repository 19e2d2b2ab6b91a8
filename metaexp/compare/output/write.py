"""Writes a comparison into a folder: page, Markdown, CSV, LaTeX and figures."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from metaexp.compare.comparison import ComparedRuns
from metaexp.compare.find import PAGE, UNFINISHED, is_earlier
from metaexp.compare.output.classes import CLASSES_TABLE
from metaexp.compare.output.documents import to_csv, to_latex, to_markdown
from metaexp.compare.output.draw import draw
from metaexp.compare.output.figures import figures
from metaexp.compare.output.page import to_html
from metaexp.core.disk.files import encode_text, write_atomically

_KINDS = ("scores", "differences", "learning", "adaptation", "settings", "shots", "ways", "paper", "classes")


def render(comparison: ComparedRuns, *, for_paper: bool = False, axis: str = "steps") -> dict[str, bytes]:
    """Return the content of every file of a comparison by its name. Nothing is written.

    Args:
        comparison: What they show.
        for_paper: Whether to make the files for a paper, too.
        axis: What the learning curves are drawn over: steps, tasks or time.
    """
    found = figures(comparison, axis)
    drawn = {figure.name: draw(figure) for figure in found}
    texts = {
        PAGE: to_html(comparison, {name: item.svg for name, item in drawn.items()}),
        **to_csv(comparison),
        "README.md": to_markdown(comparison, {figure.title: f"{figure.name}.png" for figure in found}),
        "table.tex": to_latex(comparison),
    }
    more: dict[str, bytes | str] = {}
    if for_paper:
        from metaexp.compare.output.paper import paper_files

        more = paper_files(comparison, found)
    contents = {**texts, **{f"{name}.png": item.png for name, item in drawn.items()}, **more}
    return {name: encode_text(item) if isinstance(item, str) else item for name, item in contents.items()}


def write(files: dict[str, bytes], folder: Path) -> list[Path]:
    """Write the files of a comparison, all or none.

    They are written beside the old ones first and take their places at the end, so a full disk or an interrupt leaves
    an earlier comparison as it was. Other files in the folder stay.

    Args:
        files: Name -> content, from :func:`render`.
        folder: Where they go; made if it is missing. Files of the same names are replaced, and figures of an earlier
            comparison removed.

    Returns:
        The files.

    Raises:
        OSError: The files cannot be written. A folder that was made for them is removed.
    """
    is_new, unfinished = not folder.exists(), folder / UNFINISHED
    folder.mkdir(parents=True, exist_ok=True)
    old = {*folder.glob("*.png"), *folder.glob("paper*"), folder / CLASSES_TABLE} if is_earlier(folder) else set()
    try:
        _remove(unfinished)  # of a comparison that was killed
        unfinished.mkdir()
        for name, content in files.items():
            write_atomically(unfinished / name, content)
        for name in files:
            if (folder / name).is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(folder / name))
    except BaseException:
        _remove(unfinished)
        if is_new:
            folder.rmdir()
        raise
    for name in sorted(files, key=lambda name: name == PAGE):  # the page last
        (unfinished / name).replace(folder / name)
    _remove(unfinished)
    paths = [folder / name for name in files]
    for path in old - set(paths):
        if path.name.startswith(_KINDS):
            path.unlink(missing_ok=True)
    return paths


def _remove(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
