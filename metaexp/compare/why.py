"""Lists what differs between two runs and could explain different numbers, the likeliest first."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metaexp.compare.output.wording import format_difference, format_range
from metaexp.compare.rows import ABSENT, Decide, format_yaml_value
from metaexp.compare.statistics.effects import Array
from metaexp.compare.statistics.pairs import compare_rows
from metaexp.core.counted import counted
from metaexp.core.errors import RunFolderError
from metaexp.core.nested import values_by_key
from metaexp.results.beginning import NO_NETWORK
from metaexp.results.display.wording import format_score
from metaexp.results.episodes import EPISODES_FILE, tested_episodes
from metaexp.results.evaluations import as_trained
from metaexp.results.own_code import codes_used, differing_files, inexact_resumes, source_files
from metaexp.results.record import RunRecord, read_record

_NUMERIC = ("torch", "numpy", "metaexp", "python", "system")
"""Versions that numbers depend on most, in this order; the others follow."""


class Side(NamedTuple):
    """One of the two runs.

    Attributes:
        folder: The run folder.
        record: Its record.
        per_step: (steps + 1, E), the metric of every test episode; None for a run that was not tested.
    """

    folder: Path
    record: RunRecord
    per_step: Array | None


class Finding(NamedTuple):
    """One difference.

    Attributes:
        kind: The name of its kind.
        key: What differs.
        first: The value in the first run.
        second: The value in the second run.
    """

    kind: str
    key: str
    first: str
    second: str


class Kind(NamedTuple):
    """A kind of difference, and what it means for the numbers."""

    name: str
    meaning: str


KINDS = [
    Kind("state", "one of them did not run to its end or was not tested, so there may be nothing to explain"),
    Kind("test episodes", "they were tested on different tasks: the numbers differ even for the same weights"),
    Kind("data", "they saw other examples"),
    Kind("configuration", "these settings decide numbers"),
    Kind("seed", "other initial weights and other training tasks: expect a difference as between any two seeds"),
    Kind("course", "training went on for longer, or other weights were selected"),
    Kind("code", "the code itself may compute something else"),
    Kind("versions", "results change by rounding, sometimes by more"),
    Kind("machine", "results change by rounding, which training can amplify"),
    Kind("other settings", "these do not decide numbers"),
]


class Explanation(NamedTuple):
    """Everything that differs between two runs.

    Attributes:
        first: The first run.
        second: The second run.
        findings: The differences, ordered as :data:`KINDS`.
        numbers: Sentences about the test scores.
    """

    first: Side
    second: Side
    findings: list[Finding]
    numbers: list[str]


def read_side(folder: Path) -> Side:
    """Read a run, with its later test if it ended before one.

    Raises:
        RunFolderError: There is no record, or a file is damaged.
    """
    record = read_record(folder)
    place = folder if folder.is_dir() else folder.parent
    path = place / EPISODES_FILE
    later = as_trained(place, record) if record.test is None else None
    if later is not None:
        found, path = later.evaluation, later.episodes
        record = dataclasses.replace(record, test=found.test, episode_bank=found.episode_bank)
        record = dataclasses.replace(record, test_episodes_sha256=found.episodes_sha256)
    per_step = tested_episodes(path, record.test, record.test_episodes_sha256) if path.exists() else None
    return Side(folder, record, None if per_step is None else np.array(per_step, dtype=np.float64))


def explain(first: Side, second: Side, decide: Decide) -> Explanation:
    """Compare everything that two records say.

    Args:
        first: A run.
        second: Another run.
        decide: Gives the part of a configuration that decides numbers.
    """
    a, b = first.record, second.record
    findings = [
        *_differ("state", {"status": (a.status, b.status), "error": (a.error, b.error)}),
        *_differ("state", {"tested": (a.test is not None, b.test is not None)}),
        *_banks(a, b),
        *_differ("data", {"data hash": (_short(a.data_hash), _short(b.data_hash)), "dataset": (a.dataset, b.dataset)}),
        *_config(a, b, decide),
        *_differ("course", {"steps done": (a.steps, b.steps), "tested after step": (a.selected_step, b.selected_step)}),
        *_differ("course", {"continues": (_parent(a), _parent(b))}),
        *_differ("course", {"resumed bit for bit": (a.exact_resume, b.exact_resume)}),
        *_differ_by_name("course", inexact_resumes(a), inexact_resumes(b)),
        *_code(a, b),
        *_own_files(first, second),
        *_differ_by_name("versions", a.versions, b.versions, [*_NUMERIC, *sorted({**a.versions, **b.versions})]),
        *_machine(a, b),
    ]
    order = {kind.name: place for place, kind in enumerate(KINDS)}
    findings.sort(key=lambda finding: order[finding.kind])
    return Explanation(first, second, findings, _numbers(first, second, findings))


def _differ(kind: str, values: Mapping[str, tuple[Any, Any]]) -> list[Finding]:
    return [Finding(kind, key, format_yaml_value(x), format_yaml_value(y)) for key, (x, y) in values.items() if x != y]


def _differ_by_name(kind: str, a: Mapping[str, str], b: Mapping[str, str], names: Iterable[str] = ()) -> list[Finding]:
    return _differ(kind, {name: (a.get(name, ABSENT), b.get(name, ABSENT)) for name in names or {**a, **b}})


def _banks(a: RunRecord, b: RunRecord) -> list[Finding]:
    found = _differ("test episodes", {"hash of the bank": (_short(a.episode_bank), _short(b.episode_bank))})
    ways = {"ways": (a.task.n_way, b.task.n_way), "shots": (a.task.k_shot, b.task.k_shot)}
    return [*found, *_differ("test episodes", {**ways, "queries per class": (a.task.n_query, b.task.n_query)})]


def _config(a: RunRecord, b: RunRecord, decide: Decide) -> list[Finding]:
    left, right = values_by_key(a.config), values_by_key(b.config)
    first, second = values_by_key(decide(a.config)), values_by_key(decide(b.config))
    found = []
    for key in dict.fromkeys([*left, *right]):
        x, y = left.get(key, ABSENT), right.get(key, ABSENT)
        if x == y and isinstance(x, bool) == isinstance(y, bool):
            continue
        decides = format_yaml_value(first.get(key, ABSENT)) != format_yaml_value(second.get(key, ABSENT))
        decides &= not (key.startswith("model.") and a.model == b.model == NO_NETWORK)
        kind = "configuration" if decides else "other settings"
        if key == "seed":
            kind = "seed"
        elif decides and key.startswith(("eval.", "task.")):
            kind = "test episodes"
        elif key.startswith("device.") and kind == "other settings":
            kind = "machine"
        found.append(Finding(kind, key, format_yaml_value(x), format_yaml_value(y)))
    return found


def _code(a: RunRecord, b: RunRecord) -> list[Finding]:
    def format_commit(record: RunRecord) -> str:
        if record.git is None:
            return "not recorded"
        return record.git.commit[:12] + (" with uncommitted changes" if record.git.dirty else "")

    own = _differ("code", {"own code": (_own(a), _own(b))})
    if a.sources is not None and b.sources is not None:
        sources = _differ("code", {"metaexp sources": (a.sources[:12], b.sources[:12])})
        return [*own, *_differ("code", {"commit": (format_commit(a), format_commit(b))}), *sources]
    both_dirty = a.git is not None and b.git is not None and a.git.dirty and b.git.dirty and a.git == b.git
    if both_dirty:
        return [*own, Finding("code", "uncommitted changes", "not recorded which", "not recorded which")]
    return [*own, *_differ("code", {"commit": (format_commit(a), format_commit(b))})]


def _own_files(first: Side, second: Side) -> list[Finding]:
    """The files of the user's own code that differ, or that only one of the runs has."""
    sides = (first, second)
    x, y = (source_files(s.record.own_code, s.folder if s.folder.is_dir() else s.folder.parent) for s in sides)
    names = differing_files(x, y)
    return [Finding("code", f"own file {name}", x.get(name, ABSENT)[:12], y.get(name, ABSENT)[:12]) for name in names]


def _own(record: RunRecord) -> str:
    """The digest of the user's own code, and the commits of the packages that it is in."""
    if record.own_code is None:
        return "none"
    commits = [
        f"{name} {state.commit[:12]}{' with uncommitted changes' if state.dirty else ''}"
        for name, state in record.own_code.git.items()
        if state is not None
    ]
    return ", then ".join(codes_used(record)) + (f" ({', '.join(commits)})" if commits else "")


def _parent(record: RunRecord) -> str:
    """The run whose checkpoint a run went on from."""
    if record.parent is None:
        return "no other run"
    return "; ".join([f"{record.parent.name}, step {record.parent.step:,}", *record.parent.not_from_start])


def _machine(a: RunRecord, b: RunRecord) -> list[Finding]:
    x, y = a.device, b.device
    if x is None or y is None:
        return _differ(
            "machine", {"device": ("recorded" if x else "not recorded", "recorded" if y else "not recorded")}
        )
    left, right = dataclasses.asdict(x), dataclasses.asdict(y)
    return _differ("machine", {f"used {key}": (left[key], right[key]) for key in left})


def _short(text: str | None) -> str:
    return "not recorded" if text is None else text[:12]


def _numbers(first: Side, second: Side, findings: list[Finding]) -> list[str]:
    a, b = first.record, second.record
    if a.test is None or b.test is None:
        which = "neither" if a.test is None and b.test is None else "only one"
        return [f"There are no two numbers to compare: {which} was tested."]
    if a.test.metric != b.test.metric:
        scores = [f"{test.metric} {format_score(test)}" for test in (a.test, b.test)]
        return [f"They were tested by different metrics: test {scores[0]}, and test {scores[1]}."]
    lines = [f"test {a.test.metric}: {format_score(a.test)} and {format_score(b.test)}."]
    if first.per_step is None or second.per_step is None or a.episode_bank != b.episode_bank:
        return [
            *lines,
            "They were not tested on the same episodes, or these are not kept, so a difference is not paired.",
        ]
    x, y = first.per_step[-1], second.per_step[-1]
    if x.shape != y.shape or x.size < 2:
        raise RunFolderError(
            f"{first.folder} and {second.folder}: one bank of episodes, but {x.size} and {y.size} results."
        )
    if np.array_equal(first.per_step, second.per_step):
        lines.append("Every test episode gave the same number, to the last bit, in both.")
        return [*lines, *(["There is nothing to explain."] if findings else [])]
    (pair,) = compare_rows([x[None], y[None]], True, is_accuracy=a.test.metric == "accuracy").pairs
    found = pair.difference
    lines.append(
        f"A minus B is {format_difference(a.test.metric, found.mean)} (95 % interval over episodes "
        f"{format_range(a.test.metric, found)}). {int((x != y).sum()):,} of {counted(x.size, 'episode')} differ. "
        f"The first of them is episode {int(np.argmax(x != y))}."
    )
    if not findings:
        lines.append(
            "Nothing that is recorded differs, so these runs should be equal: suspect an operation that is not "
            "deterministic, memory or a driver. `metaexp train` both again to see which changes."
        )
    return lines
