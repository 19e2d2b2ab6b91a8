"""``metaexp trust``: allow a project to run its own code, once for all commands."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from metaexp.cli.arguments import Parser
from metaexp.config.permissions import allow, forget, list_file, read_list
from metaexp.config.project import FILE, Project, find_project
from metaexp.core.disk.nearest import format_nearest_path
from metaexp.core.errors import ConfigError
from metaexp.core.terminal_text import print_text

_DESCRIPTION = """\
Allow a project to run the code of the packages that its metaexp.toml names. Until then only --trust and METAEXP_TRUST
do, because a project can be a stranger's. If metaexp.toml names another package later, you have to allow it again.
`metaexp new` allows the project that it makes."""


class _Options(argparse.Namespace):
    folder: Path
    remove: bool
    list: bool


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp trust`` and return its exit code."""
    parser = Parser("trust", _DESCRIPTION)
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path(), metavar="DIR", help="the project (default: the current one)"
    )
    parser.add_argument("--remove", action="store_true", help="allow it no longer")
    parser.add_argument("--list", action="store_true", help="list the projects that are allowed")
    options = parser.parse_args(arguments, namespace=_Options())
    if options.list:
        _print_list()
        return 0
    project = _project(options.folder)
    if options.remove:
        was_allowed = forget(project.file)
        print_text(f"{project.file}: {'no longer allowed' if was_allowed else 'it was not allowed'} to run its code")
        return 0
    if not project.packages:
        raise ConfigError(
            f'{project.file} names no packages, so there is nothing to allow. Add trust = ["my_package"].'
        )
    allow(project.file, project.packages)
    print_text(f"{project.file} may run code of {', '.join(project.packages)} now, in every command.")
    print_text(f"kept in {list_file()}; undo: metaexp trust --remove")
    return 0


def _project(folder: Path) -> Project:
    if not folder.is_dir():
        raise ConfigError(f"{folder}: there is no such folder.{format_nearest_path(folder, kind='folder')}")
    project = find_project(folder)
    if project is None:
        raise ConfigError(
            f"there is no {FILE} in {folder.resolve()} or above it. `metaexp new` makes one, or write one with the "
            'lines config_dir = "conf" and trust = ["my_package"].'
        )
    return project


def _print_list() -> None:
    listed = read_list()
    for file, entry in listed.items():
        print_text(f"{file}: {', '.join(entry['packages'])}{'' if Path(file).is_file() else ' (not there any more)'}")
    if not listed:
        print_text("no project is allowed to run its code")
