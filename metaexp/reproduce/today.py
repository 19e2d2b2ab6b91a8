"""What the files of experiments give today for a record that was made with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from metaexp.config.compose import Composer
from metaexp.config.experiment_header import stated_departures
from metaexp.config.identity import config_hash
from metaexp.config.purpose import Purpose
from metaexp.core.errors import ConfigError
from metaexp.report.later_tests import departs_today
from metaexp.report.pages import Today
from metaexp.results.record import Reference, RunRecord


def find_today(record: RunRecord) -> Today | None:
    """Return what a record's overrides give today; None if that is another configuration or published number."""
    try:
        today = Composer().settings(record.overrides, Purpose.PLAN)
    except ConfigError:
        return None
    now, then = today.resolved, record.config
    if config_hash(now) != config_hash(then) or _published(now) != _published(then):
        return None
    return Today(None if today.reference is None else Reference(**today.reference))


def departs(record: RunRecord) -> str:
    """Return the departures in the header of a record's experiment; empty if the record has no published number."""
    return "" if record.reference is None else stated_departures(record.experiment)


def as_today(record: RunRecord, run: RunRecord | None = None) -> RunRecord:
    """Return a record with what the file of its experiment says now of the published number and of departures.

    Args:
        record: The record. If its experiment has other settings now, it is returned as it is.
        run: For a later test, the record of the run whose weights it tests.
    """
    today = None if record.experiment is None or not find_today(run or record) else find_today(record)
    if today is None:
        return record
    stated = departs_today(record, departs(record), is_later=run is not None)
    return dataclasses.replace(record, reference=today.reference, departs=stated)


def _published(config: Mapping[str, Any]) -> list[Any]:
    """The published number behind a verdict. Its schedule and the text beside it may change: see :class:`Today`."""
    reference = config.get("reference") or {}
    return [reference.get(key) for key in ("metric", "value", "ci95")]
