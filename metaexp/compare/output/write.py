"""A comparison written into a folder: page, Markdown, CSV, LaTeX and pictures."""

from __future__ import annotations

from pathlib import Path

from metaexp.compare.comparison import Comparison
from metaexp.compare.find import PAGE, is_earlier
from metaexp.compare.output import png
from metaexp.compare.output.documents import to_csv, to_latex, to_markdown
from metaexp.compare.output.figures import figures
from metaexp.compare.output.page import to_html
from metaexp.core.files import write_atomically

_KINDS = ("scores", "differences", "learning", "adaptation", "shots", "ways")


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write everything into ``folder``, which is made; files of the same names are replaced. Returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png") if is_earlier(folder) else []:
        if old.name.startswith(_KINDS):
            old.unlink()
    drawn = figures(comparison)
    pictures = {}
    for figure in drawn:
        png.draw(figure, folder / f"{figure.name}.png")
        pictures[figure.title] = f"{figure.name}.png"
    texts = {
        PAGE: to_html(comparison, drawn),
        "README.md": to_markdown(comparison, pictures),
        "table.tex": to_latex(comparison),
        **to_csv(comparison),
    }
    for name, text in texts.items():
        write_atomically(folder / name, text.encode())
    return [*(folder / name for name in texts), *(folder / name for name in pictures.values())]
