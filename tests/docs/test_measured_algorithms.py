"""Every algorithm of conf/ has its training step and a whole run measured, also one that is added."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from programs import load_program

from metaexp.report.published_settings import published_settings

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "benchmarks" / "records"
ALGORITHMS = frozenset(path.stem for path in (ROOT / "conf" / "algorithm").glob("*.yaml"))
ALGORITHM_OF = {
    setting.experiment: algorithm
    for algorithm, settings in published_settings(ROOT / "conf").items()
    for setting in settings
}


LEARNERS: tuple[str, ...] = load_program("benchmarks/speed_page.py").LEARNERS


def rows(record: str) -> Iterable[str]:
    found: dict[str, object] = json.loads((RECORDS / f"{record}.json").read_bytes())["results"]
    return found


def algorithms_of(record: str) -> Iterable[str | None]:
    return map(ALGORITHM_OF.get, rows(record))


WHOLE_RUNS = ("whole_runs", "validation", "memory")
MEASURED = {
    "benchmarks/pairs.py": lambda: load_program("benchmarks/pairs.py").PAIRS,
    **{f"records/{name}.json": functools.partial(rows, name) for name in LEARNERS},
    "benchmarks/whole_runs.py": lambda: map(ALGORITHM_OF.get, load_program("benchmarks/whole_runs.py").EXPERIMENTS),
    **{f"records/{name}.json": functools.partial(algorithms_of, name) for name in WHOLE_RUNS},
}
"""Where there is a row for each algorithm -> the algorithms that have one there, and other rows."""


@pytest.mark.parametrize("place", MEASURED)
def test_every_algorithm_has_a_row(place: str) -> None:
    """Where this fails, add the algorithm to pairs.py or whole_runs.py, and measure the records that lack it."""
    measured = set(MEASURED[place]())
    assert ALGORITHMS - measured == set()
    assert (ALGORITHMS | {"a_twelfth"}) - measured == {"a_twelfth"}


def test_the_pairs_are_those_of_the_records() -> None:
    pairs = list(load_program("benchmarks/pairs.py").PAIRS)
    assert [list(rows(record)) for record in LEARNERS] == [pairs] * len(LEARNERS)
