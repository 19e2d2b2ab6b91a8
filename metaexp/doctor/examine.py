"""All checks, on every kind of task that an algorithm takes."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, get_args

import torch

import metaexp
from metaexp.core.errors import ConfigError
from metaexp.doctor.finding import Finding, ok, wrong
from metaexp.doctor.gradients import meta_gradient, parameters_reached
from metaexp.doctor.learning import learning
from metaexp.doctor.mapping import vectorised
from metaexp.doctor.normalisation import batch_norm, without_batch_norm
from metaexp.doctor.purity import no_randomness, no_state, nothing_overwritten
from metaexp.doctor.shapes import problem_with, save_and_load, trajectory, ways_and_shots
from metaexp.doctor.subject import Subject
from metaexp.doctor.symmetry import labels, loss, query_order, support_order, support_used
from metaexp.doctor.tiny import Kind

Check = Callable[[Subject], Finding]
Watch = Callable[[Kind, str], None]
"""Told the kind of task and the name of each check before it is made."""


def runs(subject: Subject) -> Finding:
    """It can be built, adapts, predicts, and has a meta-loss."""
    problem = problem_with(subject, subject.build(), subject.shape)
    if problem:
        return wrong("runs", f"a task {problem}")
    return ok("runs", "it adapts, predicts in the right shape, and has a meta-loss")


CHECKS: Mapping[str, Check] = {
    "runs": runs,
    "meta-gradient": meta_gradient,
    "parameters reached": parameters_reached,
    "loss": loss,
    "support used": support_used,
    "labels": labels,
    "support order": support_order,
    "query order": query_order,
    "batch norm": batch_norm,
    "without batch norm": without_batch_norm,
    "no state": no_state,
    "nothing overwritten": nothing_overwritten,
    "no randomness": no_randomness,
    "vectorised": vectorised,
    "trajectory": trajectory,
    "ways and shots": ways_and_shots,
    "save and load": save_and_load,
    "learning": learning,
}
"""Name -> check, in the order of a report. Where the first finds something wrong, the others are not made."""


class Section(NamedTuple):
    """What was found on one kind of task; or why the algorithm refuses it, in the words of its constructor."""

    kind: Kind
    findings: list[Finding]
    refusal: str = ""


def examine(subject: Subject, watch: Watch = lambda kind, name: None) -> list[Section]:
    """Make every check on every kind of task.

    An exception in a check is a finding. Raises ConfigError when the algorithm refuses every kind of task.
    """
    refusals: dict[Kind, ConfigError] = {}
    sections = []
    kinds: tuple[Kind, ...] = get_args(Kind)
    for kind in kinds:
        try:
            on_kind = subject.on(kind)
            watch(kind, "runs")
            found = _guarded(runs, "runs", on_kind)
        except ConfigError as error:
            refusals[kind] = error
            sections.append(Section(kind, [], str(error)))
            continue
        sections.append(Section(kind, [found] if found.verdict == "wrong" else [found, *_rest(on_kind, watch)]))
    if len(refusals) == len(kinds):
        raise refusals["classification"]
    return sections


def _rest(subject: Subject, watch: Watch) -> list[Finding]:
    findings = []
    for name, check in list(CHECKS.items())[1:]:
        watch(subject.kind, name)
        findings.append(_guarded(check, name, subject))
    return findings


def _guarded(check: Check, name: str, subject: Subject) -> Finding:
    """The finding of a check; a finding too when it raises, but for a ConfigError of the very first."""
    try:
        return check(subject)
    except Exception as error:
        if isinstance(error, ConfigError) and name == "runs":
            raise
        advice = ""
        if name == "runs" and subject.kind == "regression":
            advice = "; an algorithm for classification alone says so by a ConfigError for train_shape.n_way=0"
        return wrong(name, f"{said(error)}{advice}")


def said(error: Exception) -> str:
    """What an exception said, and where in the algorithm's own code."""
    text = (str(error).strip().splitlines() or [""])[0]
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_of_an_algorithm(frame.filename)]
    where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"raises {type(error).__name__}: {text}{where}"


def _is_of_an_algorithm(filename: str) -> bool:
    """Whether a file is neither Python's, nor torch's, nor the framework's outside its algorithms."""
    framework = Path(metaexp.__file__).parent
    folders = Path(filename).parents
    if (
        not Path(filename).is_file()
        or Path(torch.__file__).parent in folders
        or Path(traceback.__file__).parent in folders
    ):
        return False
    return framework not in folders or framework / "algorithms" in folders
