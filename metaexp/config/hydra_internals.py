"""The private parts of Hydra and OmegaConf that metaexp needs. No other file imports from ``hydra._internal``.

Hydra has no public way to compose a configuration without starting an application, to list the files that it was made
of, or to expand a sweep. A new version of Hydra is checked here first.
"""

from functools import lru_cache

import omegaconf.base
from hydra._internal import defaults_list
from hydra._internal.callbacks import Callbacks as Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl as ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository as ConfigRepository
from hydra._internal.config_repository import IConfigRepository as IConfigRepository
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl as ConfigSearchPathImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper as BasicSweeper
from hydra._internal.utils import create_config_search_path as create_config_search_path
from hydra.core.default_element import InputDefault
from omegaconf import DictConfig, grammar_parser

_make_map = defaults_list._create_interpolation_map


def _map_if_needed(overrides: defaults_list.Overrides, defaults: list[InputDefault], self_added: bool) -> DictConfig:
    """Hydra makes a map of all choices for each file, an eighth of its time, and only looks interpolations up in it."""
    needed = any(default.is_interpolation() for default in defaults)
    return _make_map(overrides, defaults, self_added) if needed else DictConfig({})


defaults_list._create_interpolation_map = _map_if_needed  # type: ignore[assignment]

# The same few interpolations are in every configuration. A tree is only read once it is made.
omegaconf.base.parse = lru_cache(maxsize=1000)(grammar_parser.parse)
