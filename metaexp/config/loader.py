"""Hydra's loader of the shipped configuration, and of the user's own before it."""

from __future__ import annotations

import copy
import importlib.resources
import importlib.util
from collections.abc import Sequence
from importlib.resources.abc import Traversable
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.default_element import ResultDefault
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig

from metaexp.config.hydra_internals import (
    ConfigLoaderImpl,
    ConfigRepository,
    IConfigRepository,
    create_config_search_path,
)
from metaexp.config.untrusted import file_problems, folder_problems
from metaexp.core.errors import ConfigError


class Files(ConfigRepository):
    """The files of a search path. Each text is parsed once in a process; many configurations are made of few files."""

    def load_config(self, config_path: str) -> ConfigResult | None:
        """Return what is in a file, for the caller to change; None where there is no such file."""
        source = self._find_object_source(config_path, ObjectType.CONFIG)
        path = _path_of(source, config_path) if source else None
        if source is None or path is None:
            return super().load_config(config_path)
        key = (source.provider, source.path, config_path, path.read_bytes())
        if key not in _parsed:
            if len(_parsed) >= _MOST_PARSED:
                _parsed.clear()
            _parsed[key] = super().load_config(config_path)
        return copy.deepcopy(_parsed[key])

    def __deepcopy__(self, _: object) -> Files:
        """Hydra copies a repository to give the copy other sources, which leaves these as they are."""
        return copy.copy(self)


_parsed: dict[tuple[str, str, str, bytes], ConfigResult | None] = {}
_MOST_PARSED = 1000


def _path_of(source: ConfigSource, config_path: str) -> Traversable | None:
    """A file of the package, or of a folder; None for what Python code declares."""
    name = f"{config_path.removesuffix('.yaml')}.yaml"
    if source.scheme() == "pkg":
        return importlib.resources.files(source.path).joinpath(name)
    return Path(source.path, name) if source.scheme() == "file" else None


class Loader(ConfigLoaderImpl):
    """Hydra's loader, which also remembers the files that the last configuration was made of.

    Attributes:
        files: The chosen files.
        contents: Reads them.
    """

    files: Sequence[ResultDefault] = ()
    contents: IConfigRepository | None = None

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        """Look for files along a search path."""
        super().__init__(config_search_path)
        self.repository = Files(config_search_path)

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
        self.files, self.contents = defaults, repo
        problems = file_problems(defaults, repo)
        if problems:
            raise ConfigError(problems)
        return super()._compose_config_from_defaults_list(defaults, repo)


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
        raise ConfigError(f"--config-dir {config_dir}: there is no such folder.")
    problems = folder_problems(config_dir, shipped.repository)
    if problems:
        raise ConfigError(problems)
    search_path.prepend(
        provider="command-line",
        path=f"file://{config_dir.resolve()}",
        anchor=SearchPathQuery(provider="schema"),
    )
    return Loader(search_path)
