"""What every algorithm promises, tested on every file of conf/algorithm and on every choice of their keys.

A new YAML is tested by being there. Each case is a file with its own values ("maml"), or with one choice of one key
changed ("maml-batch_norm=episode"). The checks are those of ``metaexp check``; tests/doctor shows what they catch.
On classes every file gets every check. A sample of the choices, and of the files on numbers, has each of them and each
check at least once. EXHAUSTIVE=yes takes all.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from sampling import only_exhaustive, sample
from torch import Tensor

import metaexp
from metaexp.cli.examination import make_subject
from metaexp.config.check import SLOTS
from metaexp.config.classes.checker import class_spec
from metaexp.config.classes.make import import_class
from metaexp.config.compose import Composer
from metaexp.config.interpolation import resolve_all
from metaexp.config.schema import ClassSpec
from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.core.types import map_tensors
from metaexp.doctor.examine import CHECKS
from metaexp.doctor.finding import OTHER, SAME, Finding
from metaexp.doctor.learning import ENOUGH_ACCURACY, ENOUGH_GAIN, learning
from metaexp.doctor.subject import Subject
from metaexp.doctor.tiny import N_WAY, task

FOLDER = Path(metaexp.__file__).parents[1] / "conf" / "algorithm"
QUICK = [name for name in CHECKS if name != "learning"]
Change = tuple[str, Any] | None


@dataclass(frozen=True)
class Case:
    """One way to build an algorithm."""

    path: Path
    change: Change

    def __str__(self) -> str:
        name = str(self.path.relative_to(FOLDER).with_suffix(""))
        return name if self.change is None else f"{name}-{self.change[0]}={self.change[1]}"


@cache
def values_of(path: Path) -> dict[str, Any]:
    """The algorithm's part of the configuration that chooses the file."""
    choice = path.relative_to(FOLDER).with_suffix("").as_posix()
    config, problems = resolve_all(Composer().compose([f"algorithm={choice}"]).config)
    assert problems == []
    values: dict[str, Any] = config["algorithm"]
    return values


@cache
def spec_of(path: Path, *change: tuple[str, Any]) -> ClassSpec:
    """The algorithm of the file, checked, with some values changed."""
    return class_spec(values_of(path) | dict(change), SLOTS["algorithm"], "algorithm")


def choices(path: Path) -> Iterator[tuple[str, Any]]:
    """Every value of a true-or-false or named key that is not the file's own."""
    spec = spec_of(path)
    node = spec.arguments
    for key, kind in get_type_hints(import_class(spec, Algorithm).__init__).items():  # type: ignore[type-abstract]
        options = (False, True) if kind is bool else get_args(kind) if get_origin(kind) is Literal else ()
        yield from ((key, option) for option in options if key in node and node[key] != option)


@cache
def cases() -> list[Case]:
    paths = sorted(FOLDER.rglob("*.yaml"))
    return [Case(path, change) for path in paths for change in (None, *choices(path))]


def subject(case: Case) -> Subject:
    """The case on tasks of classification; skipped where it needs a package that is not installed."""
    found = make_subject(str(case), spec_of(case.path, *([case.change] if case.change else [])))
    try:
        found.build()
    except ConfigError as error:
        if isinstance(error.__cause__, ImportError):
            pytest.skip(str(error))
        raise
    return found


def assert_nothing_wrong(name: str, examined: Subject) -> Finding:
    """Make one check; it applies, unless there is nothing to train or there are no classes."""
    finding = CHECKS[name](examined)
    exempt = {"labels"} if examined.kind == "regression" else set()
    if not examined.build().vectorises:
        exempt |= {"vectorised"}
    if not list(examined.build().parameters()):
        exempt |= {"meta-gradient", "parameters reached"}
    assert finding.verdict == ("does not apply" if name in exempt else "ok"), finding
    return finding


def refuses(examined: Subject) -> bool:
    """Whether the algorithm refuses such tasks at construction, with the key that asks for them in its words."""
    try:
        examined.build()
    except ConfigError as error:
        return "n_way=0" in str(error)
    return False


every_case = pytest.mark.parametrize("case", cases(), ids=str)
every_file = pytest.mark.parametrize("case", [case for case in cases() if case.change is None], ids=str)


def test_files_are_found_and_their_choices_with_them() -> None:
    names = {str(case) for case in cases()}
    assert {"maml", "maml-first_order=True", "proto_net", "proto_net-batch_norm=transductive"} <= names


def pair_name(pair: tuple[Case, str]) -> str:
    return f"{pair[0]} {pair[1]}"


def pair_kinds(pair: tuple[Case, str]) -> list[str]:
    return [str(pair[0]), pair[1]]


FILES_CHECKED = [(case, name) for case in cases() if case.change is None for name in QUICK]
CHOICES_CHECKED = sample(
    [(case, name) for case in cases() if case.change is not None for name in QUICK],
    60,
    pair_kinds,
    pair_name,
)


@pytest.mark.parametrize(("case", "name"), FILES_CHECKED + CHOICES_CHECKED, ids=str)
def test_nothing_is_wrong_with_it_on_classes(case: Case, name: str) -> None:
    assert_nothing_wrong(name, subject(case))


@pytest.mark.parametrize(("case", "name"), sample(FILES_CHECKED, 60, pair_kinds, pair_name), ids=str)
def test_nothing_is_wrong_with_it_on_numbers_unless_it_refuses_them(case: Case, name: str) -> None:
    examined = subject(case).on("regression")
    if not refuses(examined):
        assert_nothing_wrong(name, examined)


@every_case
def test_numbers_can_be_learned_from_or_are_refused_at_construction(case: Case) -> None:
    examined = subject(case).on("regression")
    if not refuses(examined):
        assert_nothing_wrong("runs", examined)


@every_case
def test_a_first_order_gradient_is_far_from_exact(case: Case) -> None:
    examined = subject(case)
    if examined.build().first_order:
        assert CHECKS["meta-gradient"](examined).measured["relative error"] > 1e-3


@every_case
def test_algorithms_that_declare_to_depend_on_order_or_ways_do(case: Case) -> None:
    examined = subject(case)
    algorithm = examined.build()
    order, names = CHECKS["support order"](examined).measured, CHECKS["labels"](examined).measured
    moved = order["a shuffled support changes predictions by"]
    assert moved > OTHER if algorithm.depends_on_support_order else moved < SAME
    assert ("without relabelling the outputs by" in names) == algorithm.fixed_way
    assert names.get("without relabelling the outputs by", 1.0) > OTHER


@every_file
def test_it_learns_to_tell_classes_far_above_chance(case: Case) -> None:
    finding = learning(subject(case))
    assert finding.verdict == "ok", finding
    measured = finding.measured
    assert measured["accuracy"] >= ENOUGH_ACCURACY > 2.5 / N_WAY
    assert not measured["training steps"] or measured["accuracy"] >= measured["untrained"] + ENOUGH_GAIN
    assert measured["with misleading supports"] < 0.25  # the control: labels without meaning


@only_exhaustive
@every_file
def test_it_learns_numbers_far_above_chance_unless_it_refuses_them(case: Case) -> None:
    examined = subject(case).on("regression")
    if refuses(examined):
        return
    finding = learning(examined)
    assert finding.verdict == "ok", finding
    assert finding.measured["squared error"] < finding.measured["with misleading supports"]


def tensors_of(state: Any) -> list[Tensor]:
    found: list[Tensor] = []
    map_tensors(lambda t: found.append(t) or t, state)
    return found


def kept_states(path: Iterable[Any], own: Iterable[Tensor] = ()) -> int:
    """How many tensors of a state are still there two states later, though that one does not have them.

    Args:
        path: The states.
        own: Tensors that stay anyway, as the algorithm's own.
    """
    stay = {id(t) for t in own}
    seen: list[list[weakref.ref[Tensor]]] = []
    kept = 0
    for state in path:
        now = {id(t) for t in tensors_of(state)}
        earlier = [ref() for refs in seen[:-1] for ref in refs]
        kept = max(kept, len({id(t) for t in earlier if t is not None} - now - stay))
        seen.append([weakref.ref(t) for t in tensors_of(state)])
    return kept


@every_file
def test_the_states_of_earlier_steps_are_let_go_of_at_test(case: Case) -> None:
    examined = subject(case)
    algorithm = examined.build().eval()
    with torch.no_grad():
        own = [*algorithm.parameters(), *algorithm.buffers()]
        assert kept_states(algorithm.adaptation_path(task(examined.shape, 0).support), own) == 0


@pytest.mark.parametrize("keeps", [True, False])
def test_states_that_are_kept_are_counted(keeps: bool) -> None:
    path = (torch.full((2,), float(step)) for step in range(5))
    assert kept_states(list(path) if keeps else path) == (3 if keeps else 0)
