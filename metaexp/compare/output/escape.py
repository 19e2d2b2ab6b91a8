"""Escapes names from records for the formats they are written into."""

from __future__ import annotations

import html
import re

from metaexp.core.terminal_text import plain

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\N{MINUS SIGN}": "$-$", "±": r"$\pm$",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}",
}  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "|", "%")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>#~$])")


def for_html(text: str) -> str:
    """Escape a text for the content of an element and for attributes in double or single quotes."""
    return html.escape(plain(text), quote=True)


def for_markdown(text: str) -> str:
    """Escape what has a meaning in Markdown and in the HTML that it may hold. Pipes are left to the table."""
    return _MARKDOWN.sub(r"\\\1", plain(text).replace("&", "&amp;"))


def for_latex(text: str) -> str:
    """Escape what has a meaning in LaTeX's text mode."""
    return "".join(_LATEX.get(c, c) for c in plain(text))


def for_csv(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula. Not for numbers."""
    text = plain(text)
    return f"'{text}" if text.startswith(_FORMULA) and text != "-" else text
