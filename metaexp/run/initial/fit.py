"""Whether the tasks of a run fit its data, and test new classes, once the data are loaded."""

from __future__ import annotations

from metaexp.config.changed_data import changes_of
from metaexp.config.schema import Settings
from metaexp.core.errors import ConfigError
from metaexp.core.fit.task_fit import DataFacts, Tasks, fit_problems
from metaexp.data.base import MetaDataset, Progress
from metaexp.data.mixture.data import MixtureData
from metaexp.run.initial.trained_before import find_shared, format_doubt, format_refusal


def check_tasks(settings: Settings, dataset: MetaDataset) -> None:
    """Refuse data that are too small. That the algorithm fits is known from the configuration alone.

    Args:
        settings: The settings of the run.
        dataset: Its data, loaded.

    Raises:
        ConfigError: A split has too few classes or examples for the tasks. The message lists all problems.
    """
    changes = changes_of(settings.dataset, settings.paths.data)
    domains = dataset.sizes() if isinstance(dataset, MixtureData) else None
    data = DataFacts(settings.dataset_name, dataset.kind, dataset.capacity(), changes=changes, domains=domains)
    if problems := fit_problems(data, None, Tasks(settings.train.shape, settings.task.shape)):
        raise ConfigError(problems)


def check_new_classes(
    dataset: MetaDataset, name: str, *, is_tested: bool, val_in_train: bool, progress: Progress
) -> None:
    """Check that classes of the test of a mixture, and of its validation, are not training classes, too.

    It can have them in both: two datasets of the same classes, each divided in its own way. Of other data nothing is
    read.

    Args:
        dataset: The data of a run, loaded.
        name: What messages call them.
        is_tested: Whether the run will be tested.
        val_in_train: Whether the dataset says itself that it trains on what it validates on.
        progress: Takes a warning where validation classes are trained on.

    Raises:
        ConfigError: Test classes are training classes, and the run is to be tested.
    """
    if not isinstance(dataset, MixtureData):
        return
    known = find_shared(dataset.class_ids, name, val_in_train=val_in_train)
    if known.test and is_tested:
        raise ConfigError(format_refusal(known))
    if known.val:
        progress(f"warning: {format_doubt(known)}")
