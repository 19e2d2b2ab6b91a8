"""The private parts of Hydra and OmegaConf that metaexp needs. No other file imports from ``hydra._internal``.

Hydra has no public way to compose a configuration without starting an application, to list the files that it was made
of, or to expand a sweep. A new version of Hydra is checked here first.
"""

import pickle
from functools import lru_cache
from itertools import takewhile
from typing import Any

import omegaconf.base
from hydra import version
from hydra._internal import defaults_list
from hydra._internal.callbacks import Callbacks as Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl as ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository as CachingConfigRepository
from hydra._internal.config_repository import ConfigRepository as ConfigRepository
from hydra._internal.config_repository import IConfigRepository as IConfigRepository
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl as ConfigSearchPathImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper as BasicSweeper
from hydra._internal.utils import create_config_search_path as create_config_search_path
from hydra.core.default_element import InputDefault, ResultDefault
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf, flag_override, grammar_parser

_make_map = defaults_list._create_interpolation_map


def _map_if_needed(overrides: defaults_list.Overrides, defaults: list[InputDefault], self_added: bool) -> DictConfig:
    """Hydra makes a map of all choices for each file, an eighth of its time, and only looks interpolations up in it."""
    needed = any(default.is_interpolation() for default in defaults)
    return _make_map(overrides, defaults, self_added) if needed else DictConfig({})


defaults_list._create_interpolation_map = _map_if_needed  # type: ignore[assignment]

# Hydra compares its version with a few others hundreds of times while it composes.
version._get_version = lru_cache(version._get_version)

# The same few interpolations are in every configuration. A tree is only read once it is made.
omegaconf.base.parse = lru_cache(maxsize=1000)(grammar_parser.parse)

_SECTION = "hydra/config"
_merged: dict[tuple[object, ...], bytes] = {}
"""What the files of Hydra's section give together, by their names, places and contents."""
_MOST_MERGED = 100


def copy_of(pickled: bytes) -> Any:
    """Return a copy of what this process has pickled: five times as fast as a deep copy.

    Args:
        pickled: What ``pickle.dumps`` gave in this process.
    """
    return pickle.loads(pickled)  # noqa: S301 - no bytes from a file or from elsewhere come here


class Merger(ConfigLoaderImpl):
    """The part of Hydra's loader that merges the chosen files.

    The files of Hydra's own section come first. They hold more than all others, and most configurations have the same.
    """

    def _compose_config_from_defaults_list(self, defaults: list[ResultDefault], repo: IConfigRepository) -> DictConfig:
        assert isinstance(repo, CachingConfigRepository)
        section = list(takewhile(lambda file: (file.config_path or "").startswith("hydra/"), defaults))
        contents = [repo.load_config(str(file.config_path)) for file in section]
        key = (*((file.config_path, file.package) for file in section), *map(pickle.dumps, contents))
        if key not in _merged:
            if len(_merged) >= _MOST_MERGED:
                _merged.clear()
            _merged[key] = pickle.dumps(super()._compose_config_from_defaults_list(section, repo))
        merged = ConfigResult("hydra", "", copy_of(_merged[key]), {"package": ""}, is_schema_source=True)
        repo.cache[f"config_path={_SECTION}"] = merged
        others = defaults[len(section) :]
        return super()._compose_config_from_defaults_list([ResultDefault(_SECTION, package=""), *others], repo)

    @staticmethod
    def _embed_result_config(ret: ConfigResult, package_override: str | None) -> ConfigResult:
        package = ret.header["package"] if package_override is None else package_override
        if not package:
            return ret
        config = OmegaConf.create()
        with flag_override(config, "no_deepcopy_set_nodes", True):
            OmegaConf.update(config, package, copy_of(pickle.dumps(ret.config)), merge=False)
        return ConfigResult(ret.provider, ret.path, config, ret.header, ret.defaults_list, ret.is_schema_source)
