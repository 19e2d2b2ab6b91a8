"""Hydra's loader for the shipped configuration files and the user's own."""

from __future__ import annotations

import copy
import importlib.resources
import importlib.util
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.default_element import ResultDefault
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.types import RunMode
from omegaconf import DictConfig
from yaml import YAMLError

from metaexp.config.hydra_internals import (
    ConfigRepository,
    IConfigRepository,
    Merger,
    copy_of,
    create_config_search_path,
)
from metaexp.config.untrusted import file_problems, folder_problems
from metaexp.config.yaml_files import explain_unreadable
from metaexp.core.disk.nearest import format_nearest_path
from metaexp.core.errors import ConfigError, name_option

T = TypeVar("T")
U = TypeVar("U")


class Files(ConfigRepository):
    """The files of a search path. Each text is parsed once in a process; many configurations are made of few files.

    Attributes:
        answers: The lookups since it was last emptied, with their answers: where a name was found, or what is in a
            file.
        groups: Where groups were found, while files are assumed to be unchanged; None otherwise.
    """

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        """Look for files along a search path."""
        super().__init__(config_search_path)
        self.answers: dict[tuple[str, ObjectType | None], object] = {}
        self.groups: dict[str, ConfigSource | None] | None = None

    def load_config(self, config_path: str) -> ConfigResult | None:
        """Return what is in a file, for the caller to change; None where there is no such file."""
        source = self._find_object_source(config_path, ObjectType.CONFIG)
        if source is None:
            return None
        path = _path_of(source, config_path)
        content = self.answers[config_path, None] = None if path is None else path.read_bytes()
        key = (source.provider, source.path, config_path, content)
        if key not in _parsed:
            if len(_parsed) >= _MOST_PARSED:
                _parsed.clear()
            _parsed[key] = pickle.dumps(self._read(config_path, path))
        parsed: ConfigResult | None = copy_of(_parsed[key])
        return parsed

    def _read(self, config_path: str, path: Traversable | None) -> ConfigResult | None:
        """Read a file. Raises ConfigError if it is not YAML; what comes with metaexp is."""
        try:
            return super().load_config(config_path)
        except (YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(explain_unreadable(Path(str(path or config_path)), error)) from error

    def is_current(self, answers: dict[tuple[str, ObjectType | None], object]) -> bool:
        """Whether the files still give these answers, so that the composition would be the same."""
        return all(self._answer(name, kind) == answer for (name, kind), answer in answers.items())

    def _answer(self, name: str, kind: ObjectType | None) -> object:
        source = super()._find_object_source(name, kind or ObjectType.CONFIG)
        if kind is not None:
            return _identity_of(source)
        path = _path_of(source, name) if source else None
        return None if path is None else path.read_bytes()

    def get_group_options(self, group_name: str, results_filter: ObjectType | None = ObjectType.CONFIG) -> list[str]:
        """Return the choices of a group, sorted. Each folder is read once; Hydra asks the system about each file."""
        options: set[str] = set()
        for source in self.sources:
            folder = _place_in(source, group_name) if results_filter == ObjectType.CONFIG else None
            if isinstance(folder, Path) and folder.is_dir():
                with os.scandir(folder) as entries:
                    names = [entry.name for entry in entries if entry.name.endswith(".yaml") and entry.is_file()]
                options.update(name.removesuffix(".yaml") for name in names)
            elif source.is_group(group_name):
                options.update(source.list(group_name, results_filter))
        return sorted(options)

    def _find_object_source(self, config_path: str, object_type: ObjectType | None) -> ConfigSource | None:
        if object_type == ObjectType.GROUP and self.groups is not None:
            if config_path not in self.groups:
                self.groups[config_path] = super()._find_object_source(config_path, object_type)
            found = self.groups[config_path]
        else:
            found = super()._find_object_source(config_path, object_type)
        self.answers[config_path, object_type] = _identity_of(found)
        return found

    def __deepcopy__(self, _: object) -> Files:
        """Hydra copies a repository to give the copy other sources, which leaves these as they are."""
        return copy.copy(self)


_parsed: dict[tuple[str, str, str, bytes | None], bytes] = {}
"""Pickled contents of files, and of what Python code declares, which stays the same in a process."""
_MOST_PARSED = 1000


def _identity_of(source: ConfigSource | None) -> tuple[str, str] | None:
    return None if source is None else (source.provider, source.path)


def _path_of(source: ConfigSource, config_path: str) -> Traversable | None:
    """A file of the package, or of a folder; None for what Python code declares."""
    return _place_in(source, f"{config_path.removesuffix('.yaml')}.yaml")


def _place_in(source: ConfigSource, name: str) -> Traversable | None:
    """A file or folder of the package, or of a folder; None for what Python code declares."""
    if source.scheme() == "pkg":
        return _package_folder(source.path).joinpath(name)
    return Path(source.path, name) if source.scheme() == "file" else None


_package_folder = lru_cache(importlib.resources.files)


class _Made(NamedTuple):
    """A composition that is kept: whole, split for a current folder, its files, and the lookups it depends on."""

    whole: bytes
    cwd: str
    parts: bytes
    shared: Any
    files: Sequence[ResultDefault]
    answers: dict[tuple[str, ObjectType | None], object]


_made: dict[tuple[object, ...], _Made] = {}
"""The newest ones, by search path, name of the root file and overrides."""
_MOST_MADE = 200  # of some 140 kB each


class Loader(Merger):
    """Hydra's loader, which also remembers the files that the last configuration was made of.

    Jobs of a sweep differ in values rather than in files, and values are set later, so most ask for the same
    composition. It is made once, and again when any file that it is made of was changed, added or removed.

    Attributes:
        files: The chosen files.
    """

    repository: Files
    files: Sequence[ResultDefault] = ()
    _asks_for_more = False
    _compared: set[tuple[object, ...]] | None = None
    """The compositions whose files were compared in a block of :meth:`assume_files_unchanged`; None outside of one."""

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        """Look for files along a search path."""
        super().__init__(config_search_path)
        self.repository = Files(config_search_path)

    def compose(
        self, config_name: str, overrides: list[str], split: Callable[[DictConfig, bytes], tuple[T, U]]
    ) -> tuple[T, U]:
        """Compose a configuration, split it, and return the parts.

        Args:
            config_name: The root file.
            overrides: The choices of files.
            split: Splits the configuration, which it may change, into two parts. It is given the pickled configuration,
                too. Called once for a composition and current folder.

        Returns:
            The first part, for the caller to change, and the second part, which all callers share.
        """
        searched = tuple(_identity_of(source) for source in self.repository.get_sources())
        key = (searched, config_name, *overrides)
        made = _made.pop(key, None)
        is_known = self._compared is not None and key in self._compared
        if made is None or not (is_known or self.repository.is_current(made.answers)):
            self.repository.answers = {}
            config: DictConfig = self.load_configuration(config_name, overrides, RunMode.RUN)
            if config.hydra.job.env_copy or self._asks_for_more:
                return split(config, pickle.dumps(config))
            made = _kept(config, split, self.files, self.repository.answers)
        elif made.cwd != str(Path.cwd()):
            made = _kept(copy_of(made.whole), split, made.files, made.answers)
        if len(_made) >= _MOST_MADE:
            del _made[next(iter(_made))]
        _made[key] = made
        if self._compared is not None:
            self._compared.add(key)
        self.files = made.files
        return copy_of(made.parts), made.shared

    @contextmanager
    def assume_files_unchanged(self) -> Iterator[None]:
        """Within this block, compare the files of each composition once, and assume that they stay as they are."""
        before = self._compared, self.repository.groups
        self._compared, self.repository.groups = set(), {}
        try:
            yield
        finally:
            self._compared, self.repository.groups = before

    def get_group_options(
        self,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        """Return the choices of a group. No override changes where files are looked for, so that none is read."""
        return list(self.repository.get_group_options(group_name, results_filter))

    def _compose_config_from_defaults_list(self, defaults: list[ResultDefault], repo: IConfigRepository) -> DictConfig:
        self.files = defaults
        self._asks_for_more = any(_has_interpolation(file, repo) for file in defaults)
        problems = file_problems(defaults, repo)
        if problems:
            raise ConfigError(problems)
        return super()._compose_config_from_defaults_list(defaults, repo)


def _kept(config: DictConfig, split: Callable[[DictConfig, bytes], tuple[Any, Any]], *others: Any) -> _Made:
    """A composition to keep. Of all that is in it, only ``hydra.runtime.cwd`` depends on the current folder."""
    cwd = config.hydra.runtime.cwd = str(Path.cwd())
    whole = pickle.dumps(config)
    own, shared = split(config, whole)
    return _Made(whole, cwd, pickle.dumps(own), shared, *others)


@lru_cache(maxsize=10_000)
def parse_override(line: str) -> Override:
    """Parse an override by Hydra's grammar. It takes a millisecond, and jobs share most lines, so results are kept.

    Args:
        line: The override. The caller must not change the result.
    """
    return OverridesParser.create().parse_override(line)


def _has_interpolation(file: ResultDefault, repo: IConfigRepository) -> bool:
    """Whether a file chooses another by an interpolation, which may depend on more than files: on the environment."""
    loaded = repo.load_config(file.config_path) if file.config_path else None
    return loaded is not None and any("${" in str(vars(default)) for default in loaded.defaults_list or ())


def conf_folder() -> str:
    """Return where the shipped configuration is: in the package, or beside it in a plain checkout."""
    if importlib.util.find_spec("metaexp.conf") is not None:
        return "pkg://metaexp.conf"
    folder = Path(__file__).resolve().parents[2] / "conf"
    if not (folder / "config.yaml").is_file():
        raise ConfigError("the configuration files of metaexp are missing; install the package again.")
    return str(folder)


def make_loader(config_dir: Path | None) -> Loader:
    """Make the loader of the shipped configuration, and of a folder of the user's own, whose files come first.

    Args:
        config_dir: The user's folder, if any.

    Raises:
        ConfigError: There is no such folder, or a file in it may not be read.
    """
    search_path = create_config_search_path(conf_folder())
    shipped = Loader(search_path)
    if config_dir is None:
        return shipped
    if not config_dir.is_dir():
        near = format_nearest_path(config_dir, kind="folder")
        raise ConfigError(f"{name_option('--config-dir', config_dir)}: there is no such folder.{near}")
    if problems := folder_problems(config_dir, shipped.repository):
        raise ConfigError(problems)
    search_path.prepend(
        provider="command-line",
        path=f"file://{config_dir.resolve()}",
        anchor=SearchPathQuery(provider="schema"),
    )
    return Loader(search_path)
