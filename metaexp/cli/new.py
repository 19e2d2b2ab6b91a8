"""``metaexp new``: files to start from, written into the user's project."""

from __future__ import annotations

import argparse
import keyword
import re
import shlex
from collections.abc import Sequence
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from metaexp.cli.arguments import Parser
from metaexp.config.compose import Composer
from metaexp.config.permissions import allow, allowed
from metaexp.config.project import FILE, Project, find_project
from metaexp.config.untrusted import folder_problems
from metaexp.core.disk.files import write_atomically
from metaexp.core.errors import ConfigError
from metaexp.core.terminal_text import print_text

_DESCRIPTION = """\
Write a working, commented file of your own to start from, with its configuration and a test, into your project: the
folder of metaexp.toml. Without one, the current folder becomes a project. No file is ever overwritten."""
_EXAMPLES = """\
examples:
  metaexp new algorithm my_method            my_code/algorithms/my_method.py, conf/algorithm/my_method.yaml and a test
  metaexp new model my_network
  metaexp new dataset my_images
  metaexp new dataset my_functions --regression
  metaexp new experiment my_paper_table1
"""
_TOML = """\
# The project of this folder: what `metaexp` finds here without --config-dir and --trust.
config_dir = "{config_dir}"
trust = ["{package}"]        # whose code runs once the user has allowed it: metaexp trust
"""
_CONFIG_DIRS = ("conf", "my_conf")
"""Folders for configurations of a new project: the first that can be used."""
_GROUPS = {"algorithm": "algorithms", "model": "models", "dataset": "datasets"}
"""Kind -> the folder of its Python files."""


class _Options(argparse.Namespace):
    kind: str
    name: str
    package: str | None
    regression: bool


class Place(NamedTuple):
    """Where the files go.

    Attributes:
        root: The project's folder.
        config_dir: The folder of configuration files.
        package: The package of own code.
        toml: The text of a new ``metaexp.toml``; None where there is one.
    """

    root: Path
    config_dir: Path
    package: str
    toml: str | None


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp new`` and return its exit code."""
    options = _parser().parse_args(arguments, namespace=_Options())
    if options.regression and options.kind != "dataset":
        raise ConfigError(f"--regression is for datasets; leave it out, or write metaexp new dataset {options.name}.")
    check_name(options.kind, options.name)
    place = find_place(options.package, needs_code=options.kind in _GROUPS)
    is_mine = place.toml is not None and not (place.root / place.package).exists()
    files = make_files(options.kind, options.name, place, is_regression=options.regression)
    there = [path for path in files if path.exists() and path.name != "__init__.py"]
    if there:
        raise ConfigError(f"{there[0]} is there already, and nothing is overwritten. Choose another name.")
    for path, text in files.items():
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text.encode())
            print_text(f"wrote {_format_path(path)}")
    if is_mine:
        allow(place.root / FILE, [place.package])
    _print_next(options, place)
    return 0


def check_name(kind: str, name: str) -> None:
    """Check the name of something new.

    Args:
        kind: The group of configurations it would be in, such as ``model``.
        name: Its name.

    Raises:
        ConfigError: The name cannot name a Python module, or metaexp has something of that name.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name) or len(name) > 100:
        raise ConfigError(f"{name} cannot be the name of a file of code; write small letters, digits and _: my_{kind}.")
    if name in Composer().groups().get(kind, []):
        raise ConfigError(f"metaexp has {kind}={name} itself; choose another name, such as my_{name}.")


def find_place(package: str | None, *, needs_code: bool) -> Place:
    """Find where files go: the project of the current folder, or a new one in it.

    Args:
        package: The package that the user named; None for that of the project, or ``my_code``.
        needs_code: Whether there will be code in the package.

    Raises:
        ConfigError: The project names no place for the files, or not this package; or a new project has no folder for
            configurations.
    """
    if package is not None and not package.isidentifier():
        raise ConfigError(f"--package {package}: give the name of one package, such as my_code.")
    project = find_project()
    if project is None:
        name, root = package or "my_code", Path.cwd()
        folder = _new_config_dir(root)
        return Place(root, folder, name, _TOML.format(config_dir=folder.name, package=name))
    return _in_project(project, package, needs_code)


def _new_config_dir(root: Path) -> Path:
    """Choose the folder of configurations of a new project.

    A clone of metaexp has a ``conf``, and so has many a project that uses Hydra. With a file in it that has the name of
    one of metaexp, every later command would be refused.
    """
    shipped, problems = Composer().loader.repository, list[str]()
    for name in _CONFIG_DIRS:
        found = folder_problems(root / name, shipped)
        if not found:
            return root / name
        problems += found[:1]
    raise ConfigError([*problems, "Or run metaexp new in a folder of your own."])


def _in_project(project: Project, package: str | None, needs_code: bool) -> Place:
    if project.config_dir is None:
        raise ConfigError(f'{project.file} names no folder of configurations. Add the line config_dir = "conf".')
    if needs_code and (package or "") not in ("", *project.packages):
        raise ConfigError(
            f"--package {package}: {project.file} does not name it. Add it to the list trust, and make the folder."
        )
    if needs_code and not project.packages:
        raise ConfigError(
            f'{project.file} names no package for code. Make a folder my_code, and add trust = ["my_code"].'
        )
    name = package or (project.packages[0] if project.packages else "")
    return Place(project.file.parent, project.config_dir, name, None)


def make_files(kind: str, name: str, place: Place, *, is_regression: bool = False) -> dict[Path, str]:
    """Make the files.

    Args:
        kind: ``algorithm``, ``model``, ``dataset`` or ``experiment``.
        name: The name to choose it by.
        place: Where they go.
        is_regression: Whether a dataset is of regression tasks.

    Returns:
        Path -> text, with the ``__init__.py`` files that packages need.
    """
    template = "regression" if is_regression else kind
    files: dict[Path, str] = {}
    package = place.root / place.package
    if kind in _GROUPS or place.toml is not None:
        files[package / "__init__.py"] = '"""My own code for metaexp."""\n'
    if kind in _GROUPS:
        files[package / _GROUPS[kind] / "__init__.py"] = f'"""My {_GROUPS[kind]}."""\n'
        files[package / _GROUPS[kind] / f"{name}.py"] = _fill(f"{template}.py", kind, name, place)
    files[place.config_dir / kind / f"{name}.yaml"] = _fill(f"{template}.yaml", kind, name, place)
    files[place.root / "tests" / f"test_{kind}_{name}.py"] = _fill("test.py", kind, name, place)
    if place.toml is not None:
        files[place.root / FILE] = place.toml
    return files


def _fill(template: str, kind: str, name: str, place: Place) -> str:
    text = resources.files("metaexp.cli").joinpath("templates", f"{template}.txt").read_text(encoding="utf-8")
    values = {
        "@NAME@": name,
        "@KIND@": kind,
        "@CLASS@": "".join(part.capitalize() for part in name.split("_")),
        "@PACKAGE@": place.package,
        "@TRAIN@": "[" + ", ".join(f'"{word}"' for word in _choices(kind, name)) + "]",
    }
    for word, value in values.items():
        text = text.replace(word, value)
    return text


def _choices(kind: str, name: str) -> list[str]:
    """Overrides with which something new can be trained."""
    return [f"{kind}={name}", *(["model=conv4"] if kind == "algorithm" else [])]


def _print_next(options: _Options, place: Place) -> None:
    what = f"{options.kind}={options.name}"
    print_text("next:")
    if place.package and place.package not in allowed(place.root / FILE):
        print_text(f"  metaexp trust                  once, if you know the code of {place.package}")
    print_text(f"  metaexp check {what}")
    print_text(f"  {shlex.join(['metaexp', 'train', *_choices(options.kind, options.name), 'train.steps=100'])}")
    test = shlex.quote(_format_path(place.root / "tests" / f"test_{options.kind}_{options.name}.py"))
    print_text(f"  pytest {test}" + ("" if find_spec("pytest") else "  # after: pip install pytest"))


def _format_path(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _parser() -> argparse.ArgumentParser:
    parser = Parser("new", _DESCRIPTION, epilog=_EXAMPLES)
    parser.add_argument(
        "kind", choices=[*_GROUPS, "experiment"], metavar="KIND", help=", ".join([*_GROUPS, "experiment"])
    )
    parser.add_argument("name", metavar="NAME", help="the name to choose it by, in small letters: my_method")
    parser.add_argument(
        "--package", metavar="PACKAGE", help="the package for code (default: that of metaexp.toml, or my_code)"
    )
    parser.add_argument("--regression", action="store_true", help="a dataset of regression tasks")
    return parser
