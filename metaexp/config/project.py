"""Where a user's own files and code are: named on the command line, in the environment, or in a ``metaexp.toml``.

``--config-dir`` and ``--trust`` come first, then METAEXP_CONFIG_DIR and METAEXP_TRUST, then the ``metaexp.toml`` of the
current folder or the nearest folder above it. Configuration files are data, so a project's own are read as they are
found. Its code runs only where the user has said so: on the command line, in the environment, or once with
``metaexp trust``. Torch and Hydra are not imported.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metaexp.config.classes.targets import suggest, trust, trust_arguments
from metaexp.config.classes.values import format_nearest, format_setting
from metaexp.config.permissions import allowed
from metaexp.core.disk.nearest import format_nearest_path
from metaexp.core.errors import ConfigError, first_line, name_option

FILE = "metaexp.toml"
CONFIG_DIR = "METAEXP_CONFIG_DIR"
TRUST = "METAEXP_TRUST"
_KEYS = ("config_dir", "trust")
_MOST_BYTES = 100_000


@dataclass(frozen=True)
class Project:
    """A ``metaexp.toml``.

    Attributes:
        file: The file.
        config_dir: The folder of configuration files; None where it names none.
        packages: The packages whose classes its configurations name; they lie beside it.
    """

    file: Path
    config_dir: Path | None
    packages: tuple[str, ...]


@dataclass(frozen=True)
class OwnFiles:
    """Where the user's own files and code are.

    Attributes:
        config_dir: The folder of configuration files; None if there is none.
        trust: Packages whose classes may be named; one in a folder with its path.
        waiting: Packages that the project names and the user has not allowed.
        origin: What named them, for the user; empty where only the command line did, or nothing.
    """

    config_dir: Path | None
    trust: tuple[str, ...]
    waiting: tuple[str, ...] = ()
    origin: str = ""


def find_project(start: Path | None = None) -> Project | None:
    """Return the project of a folder: the ``metaexp.toml`` in it, or in the nearest folder above that has one.

    Args:
        start: The folder; the current one by default.

    Raises:
        ConfigError: The file cannot be read, or has a key or a value that it may not have.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if _is_file(folder / FILE):
            return read_project(folder / FILE)
        if os.path.lexists(folder / FILE):
            raise ConfigError(
                f"{folder / FILE} is not a file, or is a link to a missing one, so what it should say is not known. "
                "Replace it by a file, or remove it."
            )
    return None


def read_project(file: Path) -> Project:
    """Read a ``metaexp.toml``.

    Raises:
        ConfigError: The file is wrong. The message lists all mistakes.
    """
    values = _values(file)
    problems = [
        f"{file}: {key} is not a key of this file.{format_nearest(key, _KEYS) or ' Known: config_dir, trust.'}"
        for key in values
        if key not in _KEYS
    ]
    config_dir = _config_dir(file, values.get("config_dir"), problems)
    packages = _packages(file, values.get("trust", []), problems)
    if problems:
        raise ConfigError(problems)
    return Project(file, config_dir, packages)


def own_files(config_dir: Path | None, packages: Sequence[str]) -> OwnFiles:
    """Find the user's own files and code, without trusting anything yet.

    Args:
        config_dir: The value of ``--config-dir``.
        packages: The values of ``--trust``.

    Raises:
        ConfigError: The environment or the project's file is wrong.
    """
    origins: list[str] = []
    found = config_dir or _from_environment(origins)
    named = [*packages, *_trusted_by_environment(origins)]
    project = find_project()
    if project is None:
        return OwnFiles(found, tuple(named), (), "; ".join(origins))
    parts: list[str] = []
    if found is None and project.config_dir is not None:
        found = project.config_dir
        parts.append(f"files in {found.name}")
    agreed = allowed(project.file) | set(named)
    running = [name for name in project.packages if name in agreed]
    waiting = tuple(name for name in project.packages if name not in agreed)
    words = [name for name in named if name not in running]
    words += [str(project.file.parent / name) for name in running]
    parts += [f"code of {', '.join(running)}"] if running else []
    parts += [f"code of {', '.join(waiting)} not allowed yet (metaexp trust)"] if waiting else []
    origins += [f"{project.file}: {', '.join(parts)}"] if parts else []
    return OwnFiles(found, tuple(words), waiting, "; ".join(origins))


def use_own_files(config_dir: Path | None, packages: str | Sequence[str]) -> OwnFiles:
    """Find the user's own files and code, and trust the code that the user has named or allowed.

    Args:
        config_dir: The value of ``--config-dir``.
        packages: The values of ``--trust``, or one of them.

    Raises:
        ConfigError: The environment or the project's file is wrong, or there is no such package.
    """
    packages = [packages] if isinstance(packages, str) else packages
    found = own_files(config_dir, packages)
    for package in found.trust:
        trust(package, _named(package, packages))
    for package in found.waiting:
        suggest(package, f"run `metaexp trust`, which allows what {FILE} of this project asks for")
    return found


def _named(package: str, given: Sequence[str]) -> str:
    """What names a package that is trusted, for messages: the caller, the environment or the project's file."""
    if package in given:
        return name_option("--trust", package)
    return f"{TRUST}={package}" if package in _trusted_by_environment([]) else f"{FILE}: trust names {package}"


def _is_file(path: Path) -> bool:
    """Whether there is a file. False also where the folder may not be read."""
    try:
        return path.is_file()
    except OSError:
        return False


def _values(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ConfigError(f"{file} has more than {_MOST_BYTES:,} bytes; it needs two lines.")
        return tomllib.loads(content.decode())
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file} cannot be read as TOML: {first_line(error)}.") from error


def _config_dir(file: Path, value: object, problems: list[str]) -> Path | None:
    if value is None:
        return None
    where = f"{file}: config_dir={format_setting(value)}"
    if not isinstance(value, str) or not value or "\0" in value:
        problems.append(f'{where} must be the name of a folder beside the file, such as "conf".')
        return None
    folder = (file.parent / value).resolve()
    if folder == file.parent.resolve() or not folder.is_relative_to(file.parent.resolve()):
        problems.append(f'{where} must lie below the folder of the file, such as "conf".')
    elif not folder.is_dir():
        problems.append(f"{where}: there is no such folder. Make it, or remove the line.")
    return folder


def _packages(file: Path, value: object, problems: list[str]) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) and name.isidentifier() for name in value):
        problems.append(f'{file}: trust={format_setting(value)} must be a list of packages, such as ["my_methods"].')
        return ()
    for name in value:
        if not (file.parent / name).is_dir() and not (file.parent / f"{name}.py").is_file():
            problems.append(
                f"{file}: trust names {name}, which does not lie beside the file. Put it there; an installed package "
                f"is trusted with {name_option('--trust', name)} or {TRUST}."
            )
    return tuple(value)


def _from_environment(origins: list[str]) -> Path | None:
    value = os.environ.get(CONFIG_DIR)
    if not value:
        return None
    folder = Path(value).expanduser()
    if not folder.is_dir():
        near = format_nearest_path(folder, key=f"{CONFIG_DIR}=", kind="folder")
        raise ConfigError(f"{CONFIG_DIR}={value}: there is no such folder.{near} Correct it or unset it.")
    origins.append(f"{CONFIG_DIR}: files in {folder}")
    return folder


def _trusted_by_environment(origins: list[str]) -> list[str]:
    names = [name.strip() for name in os.environ.get(TRUST, "").split(",") if name.strip()]
    if names:
        origins.append(f"{TRUST}: code of {', '.join(names)}")
    return names


def trust_options(packages: Iterable[str]) -> list[str]:
    """Return the ``--trust`` options that a later command needs for packages.

    There are none for a package that the environment or the project allows, because they do so for that command, too.

    Args:
        packages: Names of top-level packages.
    """
    try:
        allowed_anyway = {Path(word).name for word in own_files(None, ()).trust}
    except ConfigError:  # the file of the project is wrong
        allowed_anyway = set()
    places = {Path(word).name: word for word in trust_arguments()}
    return [word for name in packages if name not in allowed_anyway for word in ("--trust", places.get(name, name))]


def own_file_options(config_dir: Path | None, config_name: str, packages: Iterable[str]) -> list[str]:
    """Return the options with which another command finds the user's own files and packages.

    Args:
        config_dir: The folder of configuration files; None if there is none.
        config_name: Name of the root file.
        packages: Packages to trust; names or paths.
    """
    folder = [] if config_dir is None else ["--config-dir", str(config_dir)]
    root = [] if config_name == "config" else ["--config-name", config_name]
    return [*folder, *root, *(word for package in packages for word in ("--trust", package))]
