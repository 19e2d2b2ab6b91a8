"""Checks that the runs of a group were tested on the same episodes, so that they can be compared pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metaexp.compare.gather import GatheredRun
from metaexp.compare.rows import Group, format_yaml_value
from metaexp.core.counted import counted, listed
from metaexp.core.errors import RunFolderError
from metaexp.core.nested import values_by_key

_KEYS = ("eval.", "task.", "dataset.")
_OF_A_TEST = ("eval.episodes", "eval.seed", "task.n_way", "task.k_shot", "task.n_query")


@dataclass(frozen=True)
class OddRuns:
    """The runs of a group that were tested on other episodes than most.

    Attributes:
        group: The group.
        model: A run that was tested on the bank of most runs.
        runs: The runs that were tested on another bank.
    """

    group: Group
    model: GatheredRun
    runs: list[GatheredRun]


def odd_runs(group: Group) -> OddRuns | None:
    """Return the runs that need another test, on the bank of most runs; None when all have one bank."""
    banks = by_bank(group.runs)
    if len(banks) == 1:
        return None
    most = max(banks.values(), key=lambda runs: (len(runs), runs[0].test.n_episodes))
    return OddRuns(group, most[0], [run for run in group.runs if run.bank != most[0].bank])


def by_bank(runs: Sequence[GatheredRun]) -> dict[str, list[GatheredRun]]:
    """Return the runs by the hash of their test episodes."""
    found: dict[str, list[GatheredRun]] = {}
    for run in runs:
        found.setdefault(run.bank, []).append(run)
    return found


def check_banks(groups: Sequence[Group]) -> None:
    """Check that each group was tested on one bank.

    Raises:
        RunFolderError: A group was tested on several banks. The message names banks, runs and what differs.
    """
    odd = [found for group in groups if (found := odd_runs(group)) is not None]
    if odd:
        raise RunFolderError("\n".join([*(_problem(found.group) for found in odd), _advice(odd)]))


def overrides_for(run: GatheredRun, model: GatheredRun) -> list[str]:
    """Return the overrides with which ``run`` is tested on the episodes of ``model``.

    Args:
        run: The run to test.
        model: The run whose episodes are wanted.
    """
    own, wanted = values_by_key(run.record.config), values_by_key(model.record.config)
    return [f"{key}={wanted[key]}" for key in _OF_A_TEST if own.get(key) != wanted.get(key)]


def _is_helped(run: GatheredRun, model: GatheredRun) -> bool:
    """Whether ``--retest`` can give a run the test episodes of another: its data are the same, the test is not.

    It measures the run's own task and metric, not a later test or a metric of ``eval.metrics``.
    """
    own_metrics = [score.metric for score in (run.record.test, run.record.val) if score is not None]
    is_own_test = not run.is_later and run.test.metric in own_metrics
    return is_own_test and run.record.data_hash == model.record.data_hash and bool(overrides_for(run, model))


def _advice(odd: Sequence[OddRuns]) -> str:
    pairs = [(run, found.model) for found in odd for run in found.runs]
    hopeless = dict.fromkeys(run.folder.name for run, model in pairs if not _is_helped(run, model))
    advice = ["Only runs tested on the same episodes are compared."]
    if hopeless:
        advice.append(f"Leave out {listed(list(hopeless), 3)}, or the runs that these differ from.")
    if len(hopeless) < len({run.folder.name for run, _ in pairs}):
        which = "the other odd ones" if hopeless else "the odd ones"
        advice.append(
            f"`metaexp compare --retest` tests {which} again, on the bank of the most runs; or leave them out."
        )
    return " ".join(advice)


def _problem(group: Group) -> str:
    banks = by_bank(group.runs)
    lines = [f"{group.title}: the runs were tested on {len(banks)} different banks of episodes."]
    for bank, runs in sorted(banks.items(), key=lambda item: -len(item[1])):
        shown = listed([run.folder.name for run in runs], 3)
        lines.append(f"  bank {bank[:12]}, {counted(runs[0].test.n_episodes, 'episode')}: {shown}")
    differing = differing_bank_settings([runs[0] for runs in banks.values()])
    lines.append(f"  They differ in {'; '.join(differing)}." if differing else "  Their data differ.")
    return "\n".join(lines)


def differing_bank_settings(runs: Sequence[GatheredRun]) -> list[str]:
    """Return the settings that could make the banks of runs differ, such as ``eval.episodes: 600, 1000``."""
    leaves = [
        {**values_by_key(run.record.config), "data hash": (run.record.data_hash or "unknown")[:12]} for run in runs
    ]
    keys = [key for key in dict.fromkeys(k for leaf in leaves for k in leaf) if key.startswith((*_KEYS, "data hash"))]
    found = []
    for key in keys:
        values = list(dict.fromkeys(format_yaml_value(leaf.get(key, "-")) for leaf in leaves))
        if len(values) > 1:
            found.append(f"{key}: {', '.join(values)}")
    return found
