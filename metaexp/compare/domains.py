"""Runs on a mixture of datasets, also compared on each of them: a table, ranks and intervals for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from metaexp.compare.gather import GatheredRun
from metaexp.core.intervals import mean_interval
from metaexp.results.record import Score


def with_domains(runs: Sequence[GatheredRun]) -> list[GatheredRun]:
    """Return runs, and after them each run on a mixture once more for each dataset, with that dataset's episodes alone.

    The episodes of a dataset are the same in two runs if all their episodes are, so pairs stay pairs.
    """
    found = list(runs)
    for run in runs:
        for name in dict.fromkeys(run.domains):
            own = np.array([domain == name for domain in run.domains])
            if own.sum() < 2:  # an interval needs two
                continue
            per_step = run.per_step[:, own]
            interval = mean_interval(per_step[-1].tolist())
            test = Score(run.test.metric, interval.mean, interval.ci95, int(own.sum()))
            record = replace(run.record, dataset=f"{run.record.dataset}: {name}")
            bank = f"{run.bank}:{name}"
            found.append(replace(run, record=record, per_step=per_step, test=test, bank=bank, domains=(), classes=()))
    return found
