"""Pages, settings and make name no duration that nobody measured: it is of a record, or a limit of the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "Makefile", "examples/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "conf").rglob("*.yaml")),
]
_NUMBER = r"(?:an?|one|two|three|four|five|ten|some|several|[\d.]+)(?: (?:or|to) (?:[\d.]+|two|three))?"
_UNIT = r"(?:second|minute|hour|night|day|week)s?(?: of processor time)?"
CLAIM = re.compile(
    rf"\b(?:takes?|took|runs|is done|all is done) (?:in |for )?(?:about |only |at most |less than |more than |up to )?"
    rf"{_NUMBER} {_UNIT}\b|\bin (?:a|one) night\b|\b(?:half|twice|a \w+ of) the time\b|\b\w+ times as long\b",
    re.IGNORECASE,
)
KNOWN = {
    "README.md": {"takes about a minute"},  # the steps of the demo are chosen for it
    "CONTRIBUTING.md": {"takes more than five seconds"},  # a rule
    "docs/reproducing.md": {"take more than a minute", "take about a minute"},  # the limit of reproduce/in_a_minute.py
    "conf/experiment/maml_omniglot_5way_1shot_two_cores.yaml": {"takes about an hour"},  # its record
    "conf/experiment/maml_first_order_omniglot_5way_1shot_two_cores.yaml": {"takes less than an hour"},  # its record
}
"""File -> durations in it that have a source."""


def claims(text: str) -> set[str]:
    """What a text says about how long something takes."""
    return {match[0].lower() for match in CLAIM.finditer(re.sub(r"[\s#]+", " ", text))}


def test_durations_are_of_a_record_or_of_the_program() -> None:
    found = {path.relative_to(ROOT).as_posix(): claims(path.read_text(encoding="utf-8")) for path in FILES}
    assert len(found) > 100
    new = {name: said - KNOWN.get(name, set()) for name, said in found.items()}
    assert {name: said for name, said in new.items() if said} == {}
    assert {name: known - found[name] for name, known in KNOWN.items() if known - found[name]} == {}


@pytest.mark.parametrize(
    "text",
    [
        "The steps are chosen so that all is done in a\nnight on 2 cores.",
        "It runs everything and takes twice the time.",
        "# The tests take 8 to 17 seconds of\n# processor time each.",
        "Each runs in less than a minute.",
        "A job takes three times as long.",
    ],
)
def test_a_duration_is_seen(text: str) -> None:
    assert len(claims(text)) == 1


def test_limits_and_units_are_not_taken_for_durations() -> None:
    text = (
        "After ten minutes it ends the run. Sixty episodes a second. It takes one task at a time, and longer with two."
    )
    assert claims(text) == set()
