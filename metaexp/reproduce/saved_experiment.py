"""Finds the saved experiment that a later test is a test of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from metaexp.config.compose import Composer
from metaexp.config.experiment_header import stated_departures
from metaexp.config.identity import deviations
from metaexp.report.later_tests import SavedExperiment
from metaexp.results.evaluations import Evaluation
from metaexp.results.record import RunRecord

_OF_TEST = ("task.", "eval.episodes")
"""Prefixes of the keys that decide the test and not the training."""
_AT_TEST = re.compile(r"algorithm\.(tune\w*|\w+_test)=")
"""Arguments of algorithms that only validation and test use, not training."""
_TRAINING_TASKS = {"train.n_way": "way", "train.k_shot": "shot", "train.n_query": "query"}
"""The settings in which the training may differ from that of the experiment."""


def match_experiment(
    name: str, composer: Composer, record: RunRecord, test: Evaluation
) -> tuple[int, SavedExperiment] | None:
    """Return an experiment if a later test is a test of it, and in how many settings the training differs.

    Its settings are those of the test, and those of the training except for the task and the number of episodes of the
    test. Where the last weights are tested, what the algorithm does at test may differ as well: validation, which does
    the same, chose nothing. The seeds and the number of steps may differ, and so may the training tasks, which is said
    then.

    Args:
        name: The name of its file.
        composer: Composes its settings.
        record: The record of the run.
        test: The later test.
    """
    published = composer.published(name).resolved
    of_run = [item for item in deviations(record.config, published) if not _is_of_test(item, record)]
    changed = list(dict.fromkeys([*deviations(test.config, published), *of_run]))
    if not all(item.partition("=")[0] in _TRAINING_TASKS for item in changed):
        return None
    return len(changed), _saved(name, published, test.config, changed)


def _is_of_test(item: str, record: RunRecord) -> bool:
    """Whether a setting, as ``key=value``, decided no weights of a run."""
    return item.startswith(_OF_TEST) or (record.tests_last and _AT_TEST.match(item) is not None)


def _saved(
    name: str, published: Mapping[str, Any], tested: Mapping[str, Any], changed: Sequence[str]
) -> SavedExperiment:
    """The experiment of a later test, whose training differs from the experiment's in ``changed``."""
    seeds = [("seed", tested["seed"], published["seed"])]
    seeds += [(f"{s}.{k}", tested[s][k], published[s][k]) for s, k in (("eval", "seed"), ("train", "steps"))]
    differences = [_format_difference(item, published) for item in changed]
    return SavedExperiment(
        name,
        [f"experiment={name}", *changed, *(f"{key}={ours}" for key, ours, theirs in seeds if ours != theirs)],
        published["train"]["steps"],
        published.get("reference"),
        differences,
        stated_departures(name),
    )


def _format_difference(item: str, published: Mapping[str, Any]) -> str:
    key, _, value = item.partition("=")
    what, theirs = _TRAINING_TASKS[key], published["train"][key.partition(".")[2]]
    return f"trained on {value}-{what} tasks, the experiment on {theirs}-{what} tasks"
