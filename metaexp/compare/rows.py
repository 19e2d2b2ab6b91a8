"""Puts runs into the rows of tables: one group for each task, one row for each method with all its seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from metaexp.compare.gather import GatheredRun
from metaexp.core.errors import ConfigError, name_option
from metaexp.core.nested import values_by_key
from metaexp.results.beginning import NO_NETWORK
from metaexp.results.display.wording import format_task
from metaexp.results.own_code import codes_used
from metaexp.results.record import RunRecord

Decide = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Gives the part of a configuration that decides numbers, without arguments at their default. So a run made before an
argument was added is the same as one that has it at its default."""

_OF_RECORD = ("algorithm", "model", "dataset", "experiment", "batch_norm", "first_order", "name", "group", "steps")
_OF_TASK = ("task.", "train.n_way", "train.k_shot", "train.n_query")
"""Keys of the task, by which groups are made, and of training tasks, which follow it by default."""
OF_TEST = "eval.episodes"
"""Does not change what is trained. The runs of a table are tested on the same episodes, so it makes no rows either,
unless a row would then have one seed twice."""
ABSENT = "-"


@dataclass(frozen=True)
class Group:
    """The runs of one table, tested on tasks of one kind."""

    title: str
    dataset: str
    n_way: int
    k_shot: int
    metric: str
    runs: list[GatheredRun]


@dataclass(frozen=True)
class RowOfRuns:
    """A row of a table, as its runs.

    Attributes:
        label: Its name.
        runs: One for each seed.
        pooled: Keys other than the seed in which the runs differ, where the user chose the keys of rows.
    """

    label: str
    runs: list[GatheredRun]
    pooled: list[str]


def group(runs: Sequence[GatheredRun]) -> list[Group]:
    """Return one group for each dataset, ways, shots and metric, sorted by these."""
    found: dict[tuple[str, int, int, str], list[GatheredRun]] = {}
    for run in runs:
        task = run.record.task
        found.setdefault((run.record.dataset, task.n_way, task.k_shot, run.test.metric), []).append(run)
    return [
        Group(f"{dataset}, {format_task(members[0].record.task)}", dataset, n_way, k_shot, metric, members)
        for (dataset, n_way, k_shot, metric), members in sorted(found.items())
    ]


def rows(runs: Sequence[GatheredRun], by: Sequence[str], decide: Decide) -> list[RowOfRuns]:
    """Make the rows of a group.

    Args:
        runs: The runs of the group.
        by: Keys whose values make a row; empty for everything that decides numbers but the seed.
        decide: Gives the part of a configuration that decides numbers.

    Raises:
        ConfigError: No run has a key of ``by``.
    """
    leaves = [settings(run.record) for run in runs]
    decided = [_decided(run.record, decide) for run in runs]
    differing = _differing(decided)
    if by:
        _check_keys(by, leaves)
        identities = [tuple((key, format_yaml_value(leaf.get(key, ABSENT))) for key in by) for leaf in leaves]
        return _named_by(identities, runs, by, differing, leaves)
    trained = [key for key in differing if key != OF_TEST]
    members = _members(runs, decided, trained)
    if _has_a_seed_twice(runs, members):
        members = _members(runs, decided, differing)
    else:
        differing = trained
    labels = _labels([leaves[indices[0]] for indices in members], differing)
    return [RowOfRuns(name, [runs[i] for i in indices], []) for name, indices in zip(labels, members, strict=True)]


def _members(runs: Sequence[GatheredRun], decided: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[list[int]]:
    """The indices of the runs of each row: those of one algorithm with the same values of some keys."""
    found: dict[Any, list[int]] = {}
    for index, (run, leaf) in enumerate(zip(runs, decided, strict=True)):
        identity = tuple(format_yaml_value(leaf.get(key, ABSENT)) for key in keys)
        found.setdefault((run.record.algorithm, identity), []).append(index)
    return list(found.values())


def _has_a_seed_twice(runs: Sequence[GatheredRun], members: Sequence[Sequence[int]]) -> bool:
    return any(len({runs[index].record.seed for index in indices}) < len(indices) for indices in members)


def settings(record: RunRecord) -> dict[str, Any]:
    """Return the leaves of a run's configuration by dotted key, and the fields of the record that can make rows."""
    found = network_as_made(values_by_key(record.config), record)
    for key in _OF_RECORD:
        found[key] = getattr(record, key)
    return {**found, **_beside_configuration(record)}


def _decided(record: RunRecord, decide: Decide) -> dict[str, Any]:
    """What decides numbers: the configuration, the user's own code, and the run that it went on from."""
    return {**network_as_made(values_by_key(decide(record.config)), record), **_beside_configuration(record)}


def network_as_made(leaves: Mapping[str, Any], record: RunRecord) -> dict[str, Any]:
    """Return the leaves of a configuration with the name of the initial weights in place of their digest.

    ``model.weights`` is then the name of the file or run with the start of its digest, and None for a run that began
    at no file. Where the file is does not matter. Keys of a network that was not made are left out.

    Args:
        leaves: The leaves by dotted key.
        record: The record of the run.
    """
    digest, path, start = "model.weights_sha256", "model.weights", record.initial_weights
    found = {key: value for key, value in leaves.items() if record.model != NO_NETWORK or not key.startswith("model.")}
    if found.get(digest):
        short = str(found.pop(digest))[:12]
        found[path] = f"{start.file} ({short})" if start is not None else short
    found.setdefault(path, None)
    return found


def _beside_configuration(record: RunRecord) -> dict[str, Any]:
    """What decides numbers and is not a key of the configuration, where there is something."""
    found = {}
    if record.parent is not None and record.parent.branch is not None:
        found["from"] = record.parent.branch
    if codes := codes_used(record):
        found["own_code"] = ", then ".join(codes)
    return found


def format_yaml_value(value: Any) -> str:
    """Return a setting as it stands in YAML."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(format_yaml_value, value))}]"
    return str(value)


def is_of_task(key: str) -> bool:
    """Whether a key belongs to the task, by which groups are made."""
    return key.startswith(_OF_TASK)


def _differing(decided: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys that decide numbers and are not the same in all runs, without the seed and the task."""
    keys = list(dict.fromkeys(key for leaf in decided for key in leaf))
    kept = [key for key in keys if key != "seed" and not key.startswith("task.")]
    return [key for key in kept if len({format_yaml_value(leaf.get(key, ABSENT)) for leaf in decided}) > 1]


def _labels(leaves: Sequence[Mapping[str, Any]], differing: Sequence[str]) -> list[str]:
    """The name of the algorithm; where several rows share it, with the keys that tell them apart.

    Where such rows are of different experiments, the name of the experiment stands for the keys that it sets.
    """
    methods = [_method(leaf) for leaf in leaves]
    labels = []
    for leaf, method in zip(leaves, methods, strict=True):
        peers = [other for other in leaves if other["algorithm"] == leaf["algorithm"]]
        name = str(leaf["algorithm"])
        if len({peer["experiment"] for peer in peers}) > 1:
            peers = [peer for peer in peers if peer["experiment"] == leaf["experiment"]]
            others = {_method(other) or name for other in leaves if other["experiment"] != leaf["experiment"]}
            name = (_without_task(leaf) if method in others else method) or name
        keys = [key for key in differing if len({format_yaml_value(peer.get(key, ABSENT)) for peer in peers}) > 1]
        labels.append(" ".join([name, *(_pair(key, leaf) for key in keys)]))
    return labels


def _method(leaf: Mapping[str, Any]) -> str:
    """The name of a row's experiment without data and task, which the table names; empty without an experiment."""
    return _without_task(leaf).replace(f"_{leaf.get('dataset')}", "", 1)


def _without_task(leaf: Mapping[str, Any]) -> str:
    task = f"_{leaf.get('task.n_way')}way_{leaf.get('task.k_shot')}shot"
    return str(leaf["experiment"] or "").replace(task, "", 1)


def _pair(key: str, leaf: Mapping[str, Any]) -> str:
    short = key.removeprefix("algorithm.").removesuffix("._target_")
    text = format_yaml_value(leaf.get(key, ABSENT))
    return f"{short}={text.rpartition('.')[2] if key.endswith('_target_') else text}"


def _named_by(
    identities: Sequence[tuple[tuple[str, str], ...]],
    runs: Sequence[GatheredRun],
    by: Sequence[str],
    differing: Sequence[str],
    leaves: Sequence[Mapping[str, Any]],
) -> list[RowOfRuns]:
    found: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for index, identity in enumerate(identities):
        found.setdefault(identity, []).append(index)
    result = []
    for identity, indices in found.items():
        names = [
            value if key in ("algorithm", "model", "dataset", "experiment", "name") else f"{key}={value}"
            for key, value in identity
        ]
        pooled = [
            key
            for key in differing
            if key not in by and len({format_yaml_value(leaves[i].get(key, ABSENT)) for i in indices}) > 1
        ]
        result.append(RowOfRuns(" ".join(names), [runs[i] for i in indices], pooled))
    return result


def _check_keys(by: Sequence[str], leaves: Sequence[Mapping[str, Any]]) -> None:
    known = sorted({key for leaf in leaves for key in leaf})
    problems = []
    for key in by:
        if key in known:
            continue
        near = get_close_matches(key, known, n=3) or [name for name in known if name.endswith(f".{key}")]
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        problems.append(
            f"{name_option('--by', key)}: no run has this key.{hint} Use {', '.join(_OF_RECORD)}, or a dotted key of "
            "the configuration such as algorithm.inner_lr."
        )
    if "seed" in by:
        named = name_option("--by", "seed")
        problems.append(f"{named}: the runs of a row are its seeds, so rows cannot be made by seed.")
    if problems:
        raise ConfigError(problems)
