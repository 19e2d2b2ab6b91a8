"""Escapes names from records for the formats they are written into."""

from __future__ import annotations

import re

from metaexp.core.terminal_text import plain

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\N{MINUS SIGN}": "$-$", "±": r"$\pm$",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}",
}  # fmt: skip
_FIRST_WITHOUT_FONT = 0x180
"""Letters before this are Latin ones, which the encoding T1 has."""
_WITH_FONT = (
    "\N{EN DASH}\N{EM DASH}\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}\N{HORIZONTAL ELLIPSIS}"
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "|", "%")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>#~$])")


def escape_markdown(text: str) -> str:
    """Escape what has a meaning in Markdown and in the HTML that it may hold. Pipes are left to the table."""
    return _MARKDOWN.sub(r"\\\1", plain(text).replace("&", "&amp;"))


def escape_latex(text: str) -> str:
    """Escape what has a meaning in LaTeX's text mode. Letters that pdflatex has no font for become question marks."""
    return "".join(_LATEX.get(c, c if ord(c) < _FIRST_WITHOUT_FONT or c in _WITH_FONT else "?") for c in plain(text))


def escape_csv(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula. Not for numbers."""
    text = plain(text)
    return f"'{text}" if text.startswith(_FORMULA) and text != "-" else text
