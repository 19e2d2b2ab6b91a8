"""Which classes a configuration may name: those of metaexp, of torch.optim, and of packages the user trusts.

A configuration can come from anywhere, and making an object runs its code. So the file that defines the class is found
by reading source, and the class is refused, before anything is imported, unless the file belongs to an allowed package.
Trust is given by the user: on the command line (``--trust PACKAGE``), in the environment, or for a project
(``metaexp trust``); never by a configuration.
"""

from __future__ import annotations

import ast
import importlib.util
import itertools
import sys
from pathlib import Path

from metaexp.config.classes.source import (
    ClassSource,
    Scope,
    derives_from,
    derives_from_library,
    find_class,
    known_classes,
    lineage,
    module_path,
    package_folders,
    read_module,
)
from metaexp.config.classes.values import format_nearest
from metaexp.core.counted import listed
from metaexp.core.errors import ConfigError, name_option

_trusted: set[str] = set()
_folders: dict[str, Path] = {}
_ways: dict[str, str] = {}
_MOST_MODULES = 1000
"""So many modules of a package are looked at for a name like one that is not there."""


def trust(package: str, named: str = "") -> None:
    """Allow the classes of a top-level package or module from now on, in this process.

    Args:
        package: The name of a package that is installed or in the current folder, or the path of a package.
        named: What named it, for messages; the option of the command line, or the argument, by default.

    Raises:
        ConfigError: There is no such package, or Python finds another one of that name.
    """
    place, name = Path(package).expanduser().parent, Path(package).name
    named = named or name_option("--trust", package)
    if not name.isidentifier() or "\0" in package or package.endswith(("/", "\\")):
        raise ConfigError(
            f"{named}: give the name of one top-level package, such as my_package, or its path, such as src/my_package."
        )
    if package == name:
        _find(package, named)
    else:
        _find_in(place.resolve(), name, named)
        _folders[name] = place.resolve()
    read_module.cache_clear()
    _trusted.add(name)


def _find(package: str, named: str) -> None:
    if importlib.util.find_spec(package) is None:
        here = str(Path.cwd())
        sys.path.append(here)
        importlib.invalidate_caches()
        if importlib.util.find_spec(package) is None:
            sys.path.remove(here)
            raise ConfigError(
                f"{named}: there is no such package, neither installed nor in {here}. "
                "Install it, or run from the folder that holds it."
            )


def _find_in(folder: Path, package: str, named: str) -> None:
    if not (folder / package).is_dir() and not (folder / f"{package}.py").is_file():
        raise ConfigError(f"{named}: there is no such package, {folder / package}.")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
        importlib.invalidate_caches()
    spec = importlib.util.find_spec(package)
    places = [] if spec is None else [*(spec.submodule_search_locations or []), spec.origin or ""]
    if not any(Path(place).resolve().is_relative_to(folder) for place in places[:1]):
        raise ConfigError(
            f"{named}: Python finds another package of this name, {places[0] if places else '?'}, in place of "
            f"{folder / package}. Rename yours."
        )


def trusted() -> tuple[str, ...]:
    """Return the names of the packages trusted so far."""
    return tuple(sorted(_trusted))


def trust_arguments() -> tuple[str, ...]:
    """Return the packages trusted so far as arguments of :func:`trust` in another process: names, or paths."""
    return tuple(str(_folders[name] / name) if name in _folders else name for name in sorted(_trusted))


def suggest(package: str, way: str) -> None:
    """Say how a package can be trusted, for the message that refuses it.

    Args:
        package: Its name.
        way: What the user can do, in the imperative.
    """
    _ways[package] = way


def is_allowed(path: str) -> bool:
    """Whether a class may be defined at dotted path ``path``."""
    top = path.partition(".")[0]
    return top == "metaexp" or path.startswith("torch.optim.") or top in _trusted


def find_target(key: str, target: object, base: str, library: str = "") -> ClassSource:
    """Find the class that ``key: {_target_: target}`` names. Nothing is imported.

    Args:
        key: The dotted key of the node, for messages.
        target: The dotted path of the class, as the configuration gives it.
        base: The dotted path of the class that it must be or derive from.
        library: The dotted prefix of classes outside metaexp that it may derive from instead; "" for none.

    Raises:
        ConfigError: There is no such class, or it may not be used here.
    """
    where = f"{key}._target_={target}"
    if not isinstance(target, str) or "." not in target:
        raise ConfigError(f"{where} must be the dotted path of a class, such as metaexp.algorithms.maml.MAML.")
    source = find_named(where, target)
    if not derives_from(source, base) and not (library and derives_from_library(source, library)):
        bases = [Scope(item.module).locate_node(node) for item in lineage(source) for node in item.node.bases]
        for path in bases:
            if isinstance(path, str) and (problem := _problem_of_source(path.rpartition(".")[0])):
                raise ConfigError(f"{where}: {problem}")
        wanted = base.rpartition(".")[2]
        other = f" or from {library}.Module" if library else ""
        raise ConfigError(f"{where} is not a {wanted}; {key} needs a class derived from {base}{other}.")
    return source


def find_named(where: str, path: str) -> ClassSource:
    """Find the class that the value of a key names; it may have any base. Nothing is imported.

    Args:
        where: The key and its value, for messages.
        path: The dotted path of the class.

    Raises:
        ConfigError: There is no such class, or its package is not trusted.
    """
    if not is_allowed(path):
        raise ConfigError(_refusal(where, path, ""))
    source = find_class(path)
    if source is None:
        module, _, name = path.rpartition(".")
        if read_module(module) is None:
            raise ConfigError(f"{where}: {_problem_of_source(module) or _no_module(module)}")
        raise ConfigError(f"{where}: {module} has no class {name}.{_other_classes(module, name)}")
    if not is_allowed(source.path):
        raise ConfigError(_refusal(where, source.path, f" It is {source.path}."))
    return source


def _other_classes(module: str, name: str) -> str:
    """Say which class may be meant; where no name is near, which ones an own module has, as after a renaming."""
    if near := format_nearest(name, known_classes(module)):
        return near
    found = read_module(module)
    names = found.names if found else {}
    own = [known for known, node in names.items() if isinstance(node, ast.ClassDef) and not known.startswith("_")]
    if not own or module.startswith(("metaexp.", "torch.")):
        return ""
    return (
        f" It has {listed(own, 3)}. If the class was renamed, write `class {name}({own[0]}): pass` there: what names "
        "it, such as the runs of before, finds it again."
    )


def find_function(where: str, path: str) -> None:
    """Check that there is a function, which may be used here. Nothing is imported.

    Args:
        where: The key and its value, for messages.
        path: The dotted path of the function.

    Raises:
        ConfigError: There is no such function, or its package is not trusted.
    """
    if not is_allowed(path):
        raise ConfigError(_refusal(where, path, ""))
    name, _, function = path.rpartition(".")
    module = read_module(name)
    if module is None:
        raise ConfigError(f"{where}: {_problem_of_source(name) or _no_module(name)}")
    if function not in module.names:
        raise ConfigError(f"{where}: {name} has no function {function}.{format_nearest(function, module.names)}")


def _problem_of_source(module: str) -> str:
    """Say why the source of a module cannot be read; "" if it can, or there is none."""
    path = module_path(module)
    if path is None or not is_allowed(f"{module}."):
        return ""
    try:
        ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        return f"{path}, line {error.lineno or 1}, is not Python: {error.msg}. Correct it."
    except UnicodeDecodeError as error:
        return f"{path} is not text in UTF-8, see byte {error.start}. Save it as UTF-8."
    except OSError as error:
        return f"{path} cannot be read: {error.strerror or error}."
    return ""


def _no_module(name: str) -> str:
    """Say that there is no such module, in which folder its package was found, and which of its modules is alike."""
    package = name.partition(".")[0]
    if package == "metaexp":
        return f"there is no module {name}."
    folders = package_folders(package)
    found = listed([str(folder) for folder in folders], 2) or f"the file {module_path(package)}"
    known = [
        ".".join([package, *path.relative_to(folder).with_suffix("").parts])
        for folder in folders
        for path in itertools.islice(folder.rglob("*.py"), _MOST_MODULES)
    ]
    return f"there is no module {name}. The package {package} is {found}.{format_nearest(name, known)}"


def _refusal(where: str, path: str, what_it_is: str) -> str:
    return (
        f"{where} is refused, and nothing of it was imported.{what_it_is} A configuration may name classes of metaexp "
        f"and torch.optim. If you know the code and want to run it, {_way(path.partition('.')[0])}."
    )


def _way(package: str) -> str:
    return _ways.get(package, f"add --trust {package} (in Python: trust='{package}' of train, load_run or dataset)")
