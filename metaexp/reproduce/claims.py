"""What a page says of a run whose weights were tested again: what was measured, not what its record claims.

A record comes with the run, perhaps from a stranger, and anyone can write one with a digest that fits.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from metaexp.config.compose import Composer
from metaexp.config.experiment_header import stated_departures
from metaexp.config.identity import config_hash, deviations
from metaexp.config.purpose import Purpose
from metaexp.config.shipped import shipped_class
from metaexp.core.errors import ConfigError, RunFolderError
from metaexp.report.later_tests import SavedExperiment, published_test, record_of_test
from metaexp.reproduce.saved_experiment import match_experiment
from metaexp.results.evaluations import Evaluation
from metaexp.results.record import RECORD_FILE, Reference, RunRecord
from metaexp.results.verdict import with_verdict


def check_claims(record: RunRecord, found: Evaluation) -> None:
    """Check that a record names the learner, the data, the task and the training that its weights were tested with.

    Args:
        record: The record, or that of a row for a later test.
        found: The test of its weights.

    Raises:
        RunFolderError: It names others, or the run calls classes by names that are those of other classes.
    """
    config = found.config
    claimed = {
        "algorithm": (record.algorithm, found.algorithm),
        "dataset": (record.dataset, found.dataset),
        "task": (dataclasses.astuple(record.task), dataclasses.astuple(found.task)),
        "batch_norm": (record.batch_norm, found.batch_norm),
        "seed": (record.seed, config["seed"]),
        "steps": (record.steps, config["train"]["steps"]),
    }
    for key, (ours, theirs) in claimed.items():
        if ours != theirs and not _is_the_same(key, ours, theirs, config):
            raise RunFolderError(
                f"{RECORD_FILE} says {key} {_words(ours)}, and the run has {_words(theirs)}. Restore the record."
            )
    for group in ("algorithm", "dataset"):
        _check_name(group, getattr(found, group), config[group])


def _is_the_same(key: str, ours: Any, theirs: Any, config: Mapping[str, Any]) -> bool:
    if key == "dataset":  # earlier records have not the name of the user's own folder
        return ours is not None and str(theirs).startswith(f"{ours}-")
    return key == "steps" and config["train"].get("patience") is not None and 0 <= ours < theirs


def _words(value: Any) -> str:
    if isinstance(value, tuple):
        return "{}-way {}-shot with {} queries".format(*value)
    return repr(value)


def _check_name(group: str, name: str, node: Mapping[str, Any]) -> None:
    """Raise RunFolderError where a name is that of a file of metaexp, and the class is not that of this file."""
    shipped, ours = shipped_class(group, re.split("[ -]", name)[0]), node.get("_target_")
    if shipped not in (None, ours):
        raise RunFolderError(
            f"choices.yaml: {group} is {name}, which is the class {shipped}, and config.yaml has {ours}. Restore "
            "choices.yaml, or name the user's own file otherwise."
        )


def of_all_episodes(found: Evaluation, whole: RunRecord) -> Evaluation:
    """Return a test of the first episodes as one of all, with the score of the record.

    Args:
        found: The test of the first episodes, which gave what the record has for them.
        whole: The record, with the score of all episodes.
    """
    assert whole.test is not None
    n_tested, n_episodes = found.test.n_episodes, whole.test.n_episodes
    config = {**found.config, "eval": {**found.config["eval"], "episodes": n_episodes}}
    return dataclasses.replace(
        found, test=whole.test, after_steps=[], metrics=[], domains={}, config=config, config_hash=config_hash(config),
        episode_bank=whole.episode_bank or "",
        overrides=[item for item in found.overrides if item != f"eval.episodes={n_tested}"],
    )  # fmt: skip


def row_record(record: RunRecord, found: Evaluation, composer: Composer) -> RunRecord:
    """Return the record for a row: with what was measured, and compared with the experiment's own file.

    Steps, departures and published number are those of the file today. An experiment that is not among the files has
    no published number.

    Args:
        record: The record of the run.
        found: The test of its weights, with the settings of the run.
        composer: Finds the experiments.
    """
    made = dataclasses.replace(with_measured(record, found), reference=None, verdict=None)
    if record.experiment is None or not _is_known(record.experiment, composer):
        return made
    published = composer.published(record.experiment)
    reference = published.reference
    return with_verdict(
        dataclasses.replace(
            made,
            full_steps=published.train.steps,
            deviations=deviations(found.config, published.resolved),
            departs="" if reference is None else stated_departures(record.experiment),
            reference=None if reference is None else Reference(**reference),
        )
    )


def later_row_record(
    name: str, record: RunRecord, found: Evaluation, experiment: str | None, composer: Composer
) -> RunRecord:
    """Return the record for the row of a later test, compared with the file of the experiment that it is a test of.

    Args:
        name: The name of the run.
        record: The record for the row of the run.
        found: The later test.
        experiment: The experiment of which it is said to be a test.
        composer: Finds the experiments.
    """

    def find(of: RunRecord, test: Evaluation) -> SavedExperiment | None:
        if experiment is None or of.parent is not None or not _is_known(experiment, composer):
            return None
        matched = match_experiment(experiment, composer, of, test)
        return None if matched is None else matched[1]

    return record_of_test(published_test(found, name, record, find), record)


def _is_known(experiment: str | None, composer: Composer) -> bool:
    return experiment in composer.loader.get_group_options("experiment")


def with_measured(record: RunRecord, found: Evaluation) -> RunRecord:
    """Return a record with the settings and scores of a test of its weights.

    Args:
        record: The record.
        found: The test.
    """
    return dataclasses.replace(
        record, dataset=found.dataset, config=found.config, config_hash=found.config_hash, test=found.test,
        after_steps=found.after_steps, metrics=found.metrics, domains=found.domains,
    )  # fmt: skip


def gives(record: RunRecord, composer: Composer) -> bool:
    """Return whether the overrides of a record give its settings, with today's files.

    Args:
        record: The record.
        composer: Composes the settings.
    """
    try:
        return composer.settings(record.overrides, Purpose.PLAN).config_hash == config_hash(record.config)
    except ConfigError:
        return False
