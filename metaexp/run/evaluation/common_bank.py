"""Tests runs again whose test episodes differ from those of the other runs of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from metaexp.compare.banks import OddRuns, odd_runs, overrides_for
from metaexp.compare.gather import GatheredRun, with_test
from metaexp.compare.rows import group
from metaexp.core.errors import MachineError, RunFolderError
from metaexp.results.episodes import read_episodes, tested_episodes
from metaexp.results.evaluations import evaluations
from metaexp.run.evaluation.evaluate import evaluate_run


def evaluate_on_common_bank(runs: Sequence[GatheredRun], config_dir: Path | None) -> list[GatheredRun]:
    """Test runs on the episode bank that most runs of their group have, if their own differs.

    An earlier test on that bank in the run folder is used instead of a new one.

    Args:
        runs: The runs of a comparison.
        config_dir: The user's own configuration folder.

    Returns:
        All runs, with the tests on that bank.

    Raises:
        RunFolderError: The episodes still differ, because the data differ.
        MachineError: A run folder cannot be written.
        MetaexpError: A test failed, as :func:`metaexp.run.evaluation.evaluate.evaluate_run` says.
    """
    replaced: dict[int, GatheredRun] = {}
    for item in group(runs):
        odd = odd_runs(item)
        if odd is not None:
            for run in odd.runs:
                replaced[id(run)] = _earlier(run, odd.model) or _tested(run, odd, config_dir)
    return [replaced.get(id(run), run) for run in runs]


def _tested(run: GatheredRun, odd: OddRuns, config_dir: Path | None) -> GatheredRun:
    evaluation, path = evaluate_run(run.folder, overrides_for(run, odd.model), config_dir)
    if path is None:
        raise MachineError(f"{run.folder} cannot be written, so its new test could not be kept. Compare a copy of it.")
    if evaluation.changed_code:
        files = ", ".join(evaluation.changed_code)
        raise RunFolderError(
            f"{run.folder.name} cannot be tested again: your own code was edited since it was trained ({files}). "
            "Restore the code, or leave the run out."
        )
    if evaluation.episode_bank != odd.model.bank:
        raise RunFolderError(
            f"{run.folder.name} was tested again as {odd.model.folder.name} was, and its test episodes still "
            f"differ ({evaluation.episode_bank[:12]}, not {odd.model.bank[:12]}): their data differ. Leave it out."
        )
    return with_test(run, evaluation.test, evaluation.episode_bank, np.array(read_episodes(path.with_suffix(".csv"))))


def _earlier(run: GatheredRun, model: GatheredRun) -> GatheredRun | None:
    """``run`` with an earlier test on the bank of ``model``; None if its folder has none with the same settings."""
    for kept in evaluations(run.folder, run.record):
        found = kept.evaluation
        if found.episode_bank != model.bank or found.changed_code:
            continue
        if not all(line.startswith(("eval.", "task.")) for line in found.overrides):
            continue
        with suppress(RunFolderError):  # a file of episodes that is damaged
            per_step = tested_episodes(kept.episodes, found.test, found.episodes_sha256)
            return with_test(run, found.test, found.episode_bank, np.array(per_step))
    return None
