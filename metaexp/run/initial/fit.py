"""Whether the tasks of a run fit its data, once these are loaded and their classes are known."""

from __future__ import annotations

from metaexp.config.changed_data import changes_of
from metaexp.config.schema import Settings
from metaexp.core.errors import ConfigError
from metaexp.core.fit.task_fit import DataFacts, Tasks, fit_problems
from metaexp.data.base import MetaDataset


def check_tasks(settings: Settings, dataset: MetaDataset) -> None:
    """Refuse data that are too small. That the algorithm fits is known from the configuration alone.

    Args:
        settings: The settings of the run.
        dataset: Its data, loaded.

    Raises:
        ConfigError: A split has too few classes or examples for the tasks. The message lists all problems.
    """
    changes = changes_of(settings.dataset, settings.paths.data)
    data = DataFacts(settings.dataset_name, dataset.kind, dataset.capacity(), changes=changes)
    if problems := fit_problems(data, None, Tasks(settings.train.shape, settings.task.shape)):
        raise ConfigError(problems)
