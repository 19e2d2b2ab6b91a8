"""Adds the later tests of runs (``metaexp evaluate``) to a comparison: other ways, shots, data or settings at test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from metaexp.compare.gather import GatheredRun, LeftOut, check_several
from metaexp.compare.rows import Decide
from metaexp.core.errors import RunFolderError
from metaexp.results.episodes import read_domains, tested_episodes
from metaexp.results.evaluations import Evaluation, Kept, evaluations
from metaexp.results.privacy import clean_text

TRAINED_ON = "trained_on"
"""The key of a row that tells apart runs that were trained on other data than they are tested on."""


def with_later_tests(runs: Sequence[GatheredRun], decide: Decide) -> tuple[list[GatheredRun], list[LeftOut]]:
    """Add each later test as a further run, of which the newest of each kind counts.

    A test with the run's own settings but for ``eval`` is not added, for the run has its own test of that kind.

    Args:
        runs: Tested runs.
        decide: Gives the part of a configuration that decides numbers.

    Returns:
        The runs with those of their later tests, and the tests that cannot be compared.
    """
    found: list[GatheredRun] = []
    left_out: list[LeftOut] = []
    for run in runs:
        found.append(run)
        kinds: dict[str, Kept] = {}
        for kept in evaluations(run.folder, run.record):  # the oldest first
            kinds[_kind(kept.evaluation.config, decide)] = kept
        kinds.pop(_kind(run.record.config, decide), None)
        for kept in kinds.values():
            try:
                found.append(_as_run(run, kept))
            except RunFolderError as error:
                name = f"{run.folder.name}, tested with {' '.join(kept.evaluation.overrides)}"
                left_out.append(LeftOut(name, clean_text(str(error).replace(f"{run.folder}/", ""))))
    return found, left_out


def _kind(config: dict[str, Any], decide: Decide) -> str:
    """What decides the numbers of a test, but for the number and the seed of its episodes."""
    decided = {key: value for key, value in decide(config).items() if key != "eval"}
    return json.dumps(decided, sort_keys=True, default=str)


def _as_run(run: GatheredRun, kept: Kept) -> GatheredRun:
    test = kept.evaluation
    _check(test)
    per_step = np.array(tested_episodes(kept.episodes, test.test, test.episodes_sha256), dtype=np.float64)
    config, dataset = dict(test.config), test.dataset
    if config.get("dataset") != run.record.config.get("dataset"):
        config[TRAINED_ON] = run.record.dataset
        changed = [line for line in test.overrides if line.lstrip("+").startswith("dataset.")]
        dataset += f" ({', '.join(changed)})" if changed else ""  # a table of its own
    record = replace(
        run.record,
        dataset=dataset,
        task=test.task,
        config=config,
        batch_norm=test.batch_norm,
        data_hash=test.data_hash,
        episode_bank=test.episode_bank,
        test=test.test,
        after_steps=test.after_steps,
        metrics=test.metrics,
        domains=test.domains,
        reference=None,
        verdict=None,
    )
    domains, classes = tuple(read_domains(kept.episodes)), tuple(kept.read_classes())
    return GatheredRun(run.folder, record, per_step, test.test, test.episode_bank, domains, classes, is_later=True)


def _check(test: Evaluation) -> None:
    """Raise RunFolderError if a test says nothing about new classes, or not about the code that was trained."""
    if test.trained_classes:
        raise RunFolderError(f"{test.trained_classes} of the test classes were trained on.")
    if test.changed_code:
        raise RunFolderError(f"your own code was edited since the training ({', '.join(test.changed_code)}).")
    check_several(test.test)
