"""Makes all checks on every kind of task that an algorithm takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple, get_args

from metaexp.core.errors import ConfigError
from metaexp.doctor.finding import Finding, does_not_apply, format_error, ok, wrong
from metaexp.doctor.gradients import meta_gradient, parameters_reached
from metaexp.doctor.learning import learning
from metaexp.doctor.mapping import vectorised
from metaexp.doctor.normalisation import batch_norm, without_batch_norm
from metaexp.doctor.purity import no_randomness, no_state, nothing_overwritten
from metaexp.doctor.shapes import adaptation_path, problem_with, save_and_load, ways_and_shots
from metaexp.doctor.subject import Subject
from metaexp.doctor.symmetry import labels, loss, query_order, support_order, support_used
from metaexp.doctor.tiny import Kind

Check = Callable[[Subject], Finding]
Watch = Callable[[Kind, str], None]
"""Called with the kind of task and the name of each check, before the check is made."""


def runs(subject: Subject) -> Finding:
    """Check that the algorithm can be built, adapts, predicts, and has a meta-loss."""
    problem = problem_with(subject, subject.build(), subject.shape)
    if problem:
        return wrong("runs", f"a task {problem}")
    return ok("runs", "it adapts, predicts in the right shape, and has a meta-loss")


CHECKS: Mapping[str, Check] = {
    "runs": runs,
    "no state": no_state,
    "nothing overwritten": nothing_overwritten,
    "no randomness": no_randomness,
    "meta-gradient": meta_gradient,
    "parameters reached": parameters_reached,
    "loss": loss,
    "support used": support_used,
    "labels": labels,
    "support order": support_order,
    "query order": query_order,
    "batch norm": batch_norm,
    "without batch norm": without_batch_norm,
    "vectorised": vectorised,
    "adaptation path": adaptation_path,
    "ways and shots": ways_and_shots,
    "save and load": save_and_load,
    "learning": learning,
}
"""Name -> check, in the order of a report. If the first finds something wrong, the others are not made."""
PURITY = ("no state", "nothing overwritten", "no randomness")
"""If one of these finds something wrong, later checks are not made, because they compare an algorithm with itself."""


class Section(NamedTuple):
    """The result on one kind of task.

    Attributes:
        kind: The kind of task.
        findings: One for each check.
        refusal: Why the algorithm does not take such tasks; empty if it does.
    """

    kind: Kind
    findings: list[Finding]
    refusal: str = ""


def examine(subject: Subject, watch: Watch = lambda *_: None) -> list[Section]:
    """Make every check on every kind of task.

    An exception in a check is a finding. If an algorithm works on one kind of task and fails at once on the other, it
    counts as not meant for the other.

    Args:
        subject: The algorithm and network to check.
        watch: Called before each check.

    Returns:
        One section per kind of task.

    Raises:
        ConfigError: The algorithm refuses every kind of task.
    """
    kinds: tuple[Kind, ...] = get_args(Kind)
    sections = [section(subject.on(kind), watch) for kind in kinds]
    if all(part.refusal for part in sections):
        raise ConfigError(sections[0].refusal)
    if any(_runs(part) for part in sections):
        sections = [part if _runs(part) or part.refusal else _not_meant(part) for part in sections]
    return sections


def section(subject: Subject, watch: Watch = lambda *_: None, checks: Mapping[str, Check] = CHECKS) -> Section:
    """Make checks on one kind of task.

    Args:
        subject: The algorithm on that kind of task.
        watch: Called before each check.
        checks: Name -> check; the first is ``runs``.
    """
    if subject.kind == "regression" and subject.cls.classes_needed is True:
        return Section(subject.kind, [], "it needs classes, as its classes_needed says.")
    watch(subject.kind, "runs")
    try:
        subject, first = choose_features(subject)
    except ConfigError as error:
        return Section(subject.kind, [], str(error))
    findings = [first]
    for name, check in list(checks.items())[1:] if first.verdict == "ok" else []:
        spoilt = [finding.name for finding in findings if finding.verdict == "wrong" and finding.name in PURITY]
        if spoilt and name not in PURITY:
            findings.append(does_not_apply(name, f"not checked until '{spoilt[0]}' is ok"))
        else:
            watch(subject.kind, name)
            findings.append(make_check(check, name, subject))
    return Section(subject.kind, findings)


def choose_features(subject: Subject) -> tuple[Subject, Finding]:
    """Choose the features that an algorithm works on: maps, or else vectors.

    Returns:
        The subject with these features, and the finding of :func:`runs`.
    """
    first = make_check(runs, "runs", subject)
    if first.verdict == "ok" or subject.cls.model_output != "embedding":
        return subject, first
    on_vectors = replace(subject, features="vectors")
    second = make_check(runs, "runs", on_vectors)
    if second.verdict != "ok":
        return subject, first
    return on_vectors, ok("runs", f"{second.sentence}; with feature vectors, and not with feature maps")


def make_check(check: Check, name: str, subject: Subject) -> Finding:
    """Make one check. An exception in it counts as a finding.

    Args:
        check: The check.
        name: Its name.
        subject: What is checked.

    Raises:
        ConfigError: In ``runs`` only: the constructor refuses such tasks.
    """
    try:
        return check(subject)
    except Exception as error:
        if isinstance(error, ConfigError) and name == "runs":
            raise
        advice = "; here all is in float64: take dtypes from the examples" if "dtype" in str(error) else ""
        return wrong(name, f"{format_error(error)}{advice}")


def _runs(part: Section) -> bool:
    return bool(part.findings) and part.findings[0].verdict == "ok"


def _not_meant(part: Section) -> Section:
    advice = (
        "write classes_needed = True into its class"
        if part.kind == "regression"
        else "let its constructor say so: take train_shape, and raise a ConfigError when train_shape.n_way is not 0"
    )
    reason = f"it {part.findings[0].sentence}. If it is not meant for {part.kind}, {advice}."
    return Section(part.kind, [], reason)
