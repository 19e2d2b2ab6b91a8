"""Names from records made harmless for the format they are written into."""

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
    """For element content and for attributes in double or single quotes."""
    return html.escape(plain(text), quote=True)


def for_markdown(text: str) -> str:
    """Without meaning in Markdown or in the HTML that it may hold. Pipes are left to the table."""
    return _MARKDOWN.sub(r"\\\1", plain(text).replace("&", "&amp;"))


def for_latex(text: str) -> str:
    """Without meaning in LaTeX's text mode."""
    return "".join(_LATEX.get(c, c) for c in plain(text))


def for_csv(text: str) -> str:
    """Text that no spreadsheet takes for a formula. Not for numbers."""
    text = plain(text)
    return f"'{text}" if text.startswith(_FORMULA) and text != "-" else text
