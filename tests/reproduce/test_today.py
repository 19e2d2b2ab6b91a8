"""A record is compared with what the file of its experiment says today, as the pages of the results are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from metaexp.config.experiment_header import stated_departures
from metaexp.report.later_tests import record_of_test
from metaexp.reproduce.today import as_today
from metaexp.results.evaluations import published_tests
from metaexp.results.record import RunRecord, read_record

RUN = Path(__file__).parents[2] / "docs" / "results" / "maml_sinusoid"
EARLIER = "in words of yesterday"


def recorded() -> RunRecord:
    """The record, with other words about the protocol and the departures than the file has."""
    record = read_record(RUN)
    assert record.reference is not None
    return dataclasses.replace(
        record, departs=EARLIER, reference=dataclasses.replace(record.reference, protocol="in words of yesterday")
    )


def test_departures_and_published_number_are_those_of_the_file() -> None:
    today = as_today(recorded())
    assert today.departs == stated_departures("maml_sinusoid") != EARLIER
    assert today.reference is not None
    assert today.reference.protocol.startswith("600 sinusoids")


def test_a_later_test_keeps_whose_weights_it_has() -> None:
    run = read_record(RUN)
    (test,) = published_tests(RUN, run)
    later = dataclasses.replace(record_of_test(test, run), departs=f"weights of mine. {EARLIER}")
    assert later.experiment is not None
    assert as_today(later, run).departs.startswith("weights of mine. In ")
    assert as_today(later, dataclasses.replace(run, overrides=["seed=0"])) == later
    without = dataclasses.replace(later, experiment=None)
    assert as_today(without, run) == without


@pytest.mark.parametrize("change", [{"overrides": ["no.such=key"]}, {"experiment": None}, {"config": {"seed": 1}}])
def test_a_record_of_other_settings_is_left_as_it_is(change: dict[str, object]) -> None:
    record = dataclasses.replace(recorded(), **change)  # type: ignore[arg-type]
    assert as_today(record) == record
