"""A comparison written into a folder: page, Markdown, CSV, LaTeX and figures."""

from __future__ import annotations

from pathlib import Path

from metaexp.compare.comparison import Comparison
from metaexp.compare.find import PAGE, is_earlier
from metaexp.compare.output.documents import to_csv, to_latex, to_markdown
from metaexp.compare.output.draw import draw
from metaexp.compare.output.figures import figures
from metaexp.compare.output.page import to_html
from metaexp.core.files import write_atomically

_KINDS = ("scores", "differences", "learning", "adaptation", "shots", "ways")


def render(comparison: Comparison) -> dict[str, bytes]:
    """Every file of a comparison, by its name. Nothing is written."""
    found = figures(comparison)
    drawn = {figure.name: draw(figure) for figure in found}
    texts = {
        PAGE: to_html(comparison, {name: item.svg for name, item in drawn.items()}),
        **to_csv(comparison),
        "README.md": to_markdown(comparison, {figure.title: f"{figure.name}.png" for figure in found}),
        "table.tex": to_latex(comparison),
    }
    return {
        **{name: text.encode() for name, text in texts.items()},
        **{f"{name}.png": item.png for name, item in drawn.items()},
    }


def write(files: dict[str, bytes], folder: Path) -> list[Path]:
    """Write the files of :func:`render` into ``folder``, which is made; files of the same names are replaced.

    Where that fails, a folder that held nothing before is empty again. Returns the files.
    """
    is_new = not folder.exists() or not any(folder.iterdir())
    folder.mkdir(parents=True, exist_ok=True)
    old = set(folder.glob("*.png")) if is_earlier(folder) else set()
    paths: list[Path] = []
    try:
        for name, content in files.items():
            write_atomically(folder / name, content)
            paths.append(folder / name)
    except OSError:
        for path in paths if is_new else []:
            path.unlink(missing_ok=True)
        raise
    for path in old - set(paths):
        if path.name.startswith(_KINDS):
            path.unlink()
    return paths
