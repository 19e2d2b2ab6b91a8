"""Pages of one HTML file that need no server and no network.

The template escapes every text. As a second barrier, the page's content security policy allows only its own script,
by its hash, and loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from importlib import resources
from typing import Any

from metaexp.core.terminal_text import plain

JOINTS = re.compile(r"(?<=[._/])(?=[A-Za-z_])|(?<==)(?=\S)|(?<=\d{8})(?=\d{4})")
"""Where a line may break in a name: ``optimizer.``, ``weight_``, ``decay=``, and within numbers of twelve digits."""
_AT_NUMBERS = re.compile(r"(?<=\d) (?=(?:s|min|h|%|points?|KiB|MiB|GiB)(?:\W|$))|(?<=[<>=]) (?=\d)")


def render_page(package: str, name: str, **values: Any) -> str:
    """Return a page, with its style and its script in it.

    Args:
        package: The package that holds ``NAME.html.j2``, ``NAME.css`` and ``NAME.js``.
        name: NAME of these files.
        **values: What the template shows beside ``policy``, ``style`` and ``script``.
    """
    import jinja2  # only pages need it

    def resource(file: str) -> str:
        return resources.files(package).joinpath(file).read_text("utf-8")

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, loader=jinja2.FunctionLoader(resource), finalize=_plain,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(breakable=breakable, joined=joined)
    script = resource(f"{name}.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'"
    )
    page = environment.get_template(f"{name}.html.j2").render(
        policy=policy, style=resource(f"{name}.css"), script=script, **values
    )
    return f"{page.rstrip()}\n"


def breakable(text: str) -> str:
    """Return the HTML of a name that a line may break at its joints, as after the dot of ``algorithm.inner_lr``.

    Args:
        text: The name, or any other text.
    """
    return JOINTS.sub("<wbr>", html.escape(plain(text)))


def joined(text: str) -> str:
    """Return the HTML of a text in which no line breaks between a number and its unit or sign.

    Args:
        text: A sentence, or a number.
    """
    parts = _AT_NUMBERS.split(plain(text))
    return "&nbsp;".join(map(html.escape, parts))


def _plain(value: Any) -> Any:
    """Texts in one line without control characters, numbers in full; jinja2 calls this on every value it prints."""
    if type(value) is str:
        return plain(value)
    return repr(value) if isinstance(value, float) else value
