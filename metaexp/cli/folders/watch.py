"""``metaexp watch FOLDER``: the jobs of a sweep, the trials of a search or a run, live."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from metaexp.cli.arguments import Parser, number
from metaexp.core.errors import ConfigError
from metaexp.core.terminal_text import make_console, print_text
from metaexp.folders.find import Found
from metaexp.folders.show import found_at

_DESCRIPTION = """\
Watch a sweep, a search or a run: each job with its phase, step, newest validation, rate and time left, and what has
failed. On a terminal the table is live until nothing runs any more; Ctrl-C ends the watching, not the work. Elsewhere a
line is printed when something changes. Only the folder is read."""
_SHORTEST, _LONGEST = 0.1, 3600.0
_ALLOWED = f"a number of seconds between {_SHORTEST:g} and {_LONGEST:g}"


class _Options(argparse.Namespace):
    folder: Path
    once: bool
    every: float


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp watch`` and return its exit code."""
    options = _parser().parse_args(arguments, namespace=_Options())
    if not _SHORTEST <= options.every <= _LONGEST:
        raise ConfigError(f"--every {options.every:g} must be {_ALLOWED}.")
    found = found_at(options.folder.expanduser())

    from metaexp.folders.watch import Watched, format_watched

    if options.once:
        print_text(format_watched(found, Watched(found).look()))
        return 0
    try:
        _watch_live(found, options.every) if make_console().is_interactive else _watch_lines(found, options.every)
    except KeyboardInterrupt:
        print_text("no longer watched; what runs goes on")
    return 0


def _watch_live(found: Found, every: float) -> None:
    from rich.live import Live
    from rich.text import Text

    from metaexp.folders.watch import Watched, format_after, format_watched

    watched = Watched(found)
    look = watched.look()
    with Live(console=make_console(), auto_refresh=False, vertical_overflow="ellipsis") as live:
        while True:
            live.update(Text(format_watched(found, look), no_wrap=True, overflow="ellipsis"), refresh=True)
            if not look.in_use:
                break
            time.sleep(every)
            look = watched.look()
    print_text(format_after(found, look.lines))


def _watch_lines(found: Found, every: float) -> None:
    from metaexp.folders.watch import Watched, format_after, format_changes, format_sum, format_watched

    watched = Watched(found)
    look = watched.look()
    print_text(format_watched(found, look), flush=True)
    while look.in_use:
        time.sleep(every)
        before, look = look, watched.look()
        for text in format_changes(before.lines, look.lines):
            print_text(text, flush=True)
        if not look.in_use:
            print_text(format_sum(found, look), flush=True)
    print_text(format_after(found, look.lines))


def _parser() -> argparse.ArgumentParser:
    parser = Parser("watch", _DESCRIPTION)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder of a sweep, a search or a run")
    parser.add_argument("--once", action="store_true", help="print the table once and end")
    parser.add_argument(
        "--every", type=number(_ALLOWED), default=1.0, metavar="SECONDS", help="how often to look (1 second)"
    )
    return parser
