"""Hydra's loader of the shipped configuration, and of the user's own before it."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from hydra.core.config_search_path import SearchPathQuery
from hydra.core.default_element import ResultDefault
from omegaconf import DictConfig

from metaexp.config.hydra_internals import ConfigLoaderImpl, IConfigRepository, create_config_search_path
from metaexp.config.untrusted import file_problems, folder_problems
from metaexp.core.errors import ConfigError


class Loader(ConfigLoaderImpl):
    """Hydra's loader, which also remembers the files that the last configuration was made of.

    Attributes:
        files: The chosen files.
        contents: Reads them.
    """

    files: Sequence[ResultDefault] = ()
    contents: IConfigRepository | None = None

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
