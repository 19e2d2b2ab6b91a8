"""The command line of programs that write measurements into a page of docs/, or check that it is up to date."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from metaexp.core.disk.files import write_atomically
from metaexp.core.terminal_text import print_text


def page_parser(about: str | None, page: str) -> argparse.ArgumentParser:
    """Return a parser with ``--page`` and ``--check``.

    Args:
        about: What the program does.
        page: The page that it writes.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, required=True, metavar="FILE", help=page)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where the page is stale")
    return parser


def write_page(options: argparse.Namespace, on_page: Callable[[str], str]) -> int:
    """Write the page, or say whether it is up to date; exit code 0, or 1 where ``--check`` finds it stale.

    Args:
        options: Parsed by :func:`page_parser`.
        on_page: Returns the text of the page with today's tables.
    """
    before = options.page.read_text("utf-8")
    now = on_page(before)
    if options.check:
        print_text("up to date" if now == before else f"{options.page} is stale; run this without --check")
        return int(now != before)
    write_atomically(options.page, now.encode())
    return 0
