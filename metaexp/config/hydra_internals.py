"""The private parts of Hydra that metaexp needs. No other file imports from ``hydra._internal``.

Hydra has no public way to compose a configuration without starting an application, to list the files that it was made
of, or to expand a sweep. A new version of Hydra is checked here first.
"""

from hydra._internal.callbacks import Callbacks as Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl as ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository as IConfigRepository
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl as ConfigSearchPathImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper as BasicSweeper
from hydra._internal.utils import create_config_search_path as create_config_search_path
