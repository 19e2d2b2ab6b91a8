"""Publishes later tests of a run's weights, and makes a row of the results of each. Without torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from metaexp.core.disk.files import encode_text, make_folder, read_regular, write_atomically
from metaexp.core.errors import RunFolderError
from metaexp.core.fit.task_fit import is_stand_in
from metaexp.report.publish import WEIGHTS
from metaexp.results.display.wording import format_task
from metaexp.results.episodes import tested_episodes
from metaexp.results.evaluations import (
    EVALUATIONS,
    PUBLISHED_TESTS,
    Evaluation,
    Kept,
    PublishedTest,
    evaluations,
    format_published_test,
)
from metaexp.results.privacy import clean_config, clean_overrides
from metaexp.results.record import Reference, RunRecord, read_record
from metaexp.results.verdict import reproduction_verdict

_OF_MACHINE = (
    "device=", "device.accelerator=", "device.threads=", "device.task_chunk=", "device.deterministic=",
    "device.cuda_graphs=", "device.examples=",
)  # fmt: skip
"""Prefixes of overrides that say where a test is computed, not what is tested."""


class SavedExperiment(NamedTuple):
    """The saved experiment that a later test is a test of.

    Attributes:
        name: The name of its file.
        overrides: Those that compose the configuration of the test from the file.
        steps: Its training steps.
        reference: Its published number, as its file has it; None where there is none.
        deviations: What differs between the training and that of the experiment, in words.
        departs: Where it departs from its paper.
    """

    name: str
    overrides: list[str]
    steps: int
    reference: Mapping[str, Any] | None
    deviations: list[str]
    departs: str


FindExperiment = Callable[[RunRecord, Evaluation], SavedExperiment | None]
"""Finds the saved experiment to which a later test belongs."""


class NotCopied(NamedTuple):
    """A later test that was not published, and why."""

    path: Path
    reason: str


def publish_tests(run: Path, copy: Path, find: FindExperiment) -> list[Path | NotCopied]:
    """Copy the later tests of a run to its published copy, each with the saved experiment that it is a test of.

    Args:
        run: The run folder, or the published copy itself, whose own later tests are taken then.
        copy: The published copy, with its weights.
        find: Finds the experiment.

    Returns:
        For each test, the file in the copy, or why there is none.

    Raises:
        RunFolderError: The copy has no weights, or a file is damaged or is a link.
    """
    if not all((copy / name).is_file() for name in WEIGHTS):
        raise RunFolderError(f"{copy} has no weights, so nothing would show that the numbers of later tests are right.")
    if (run / EVALUATIONS).is_symlink():
        raise RunFolderError(f"{run / EVALUATIONS} is a symbolic link, so it was not opened. Replace it by a copy.")
    record = read_record(copy)
    done: list[Path | NotCopied] = []
    own = [kept for kept in evaluations(run, record) if kept.path.parent.name != PUBLISHED_TESTS]
    newest = {_settings(kept.evaluation): kept.path for kept in own}  # the oldest first
    for kept in own:
        why = _why_not(kept.evaluation, record)
        if not why and newest[_settings(kept.evaluation)] != kept.path:
            why = "a newer test differs from it in eval.metrics alone"
        done.append(NotCopied(kept.path, why) if why else _copy(kept, copy, record, find))
    return done


def _settings(test: Evaluation) -> tuple[str, str, bool]:
    """What decides the result of a test; further metrics do not."""
    return test.config_hash, test.episode_bank, bool(test.changed_code)


def _why_not(test: Evaluation, record: RunRecord) -> str:
    """Why a later test is not a row of its own; empty where it is."""
    if test.config_hash == record.config_hash:
        return "it repeats the run's own test"
    if test.trained_classes:
        return f"{test.trained_classes} of its classes were trained on"
    if test.changed_code:
        return f"your own code was edited since the training ({', '.join(test.changed_code)})"
    return ""


def _copy(kept: Kept, copy: Path, record: RunRecord, find: FindExperiment) -> Path:
    tested_episodes(kept.episodes, kept.evaluation.test, kept.evaluation.episodes_sha256)
    target = copy / PUBLISHED_TESTS / kept.path.name
    make_folder(target.parent)
    write_atomically(target.with_suffix(".csv"), read_regular(kept.episodes))
    write_atomically(
        target, encode_text(format_published_test(published_test(kept.evaluation, copy.name, record, find)))
    )
    return target


def published_test(test: Evaluation, name: str, record: RunRecord, find: FindExperiment) -> PublishedTest:
    """Return a later test as it is published, with the saved experiment that it is a test of.

    Args:
        test: The test.
        name: The name of the published run.
        record: The record of the run.
        find: Finds the experiment.
    """
    found = find(record, test)
    config = clean_config(test.config) | {"reference": found.reference if found else None}
    fields = {field.name: getattr(test, field.name) for field in dataclasses.fields(test)}
    fields |= {"run": name, "overrides": clean_overrides(test.overrides), "config": config}
    return PublishedTest(
        **fields,
        experiment=found.name if found else None,
        composed_from=found.overrides if found else [],
        full_steps=found.steps if found else None,
        deviations=found.deviations if found else [],
        departs=_join(_whose_weights(name, record), found.departs if found else ""),
    )


def _whose_weights(name: str, record: RunRecord) -> str:
    if record.tests_last:
        return f"weights of {name}, after its last step."
    return f"weights of {name}, chosen on {format_task(record.task)} validation tasks."


def departs_today(record: RunRecord, stated: str, *, is_later: bool) -> str:
    """Return the departures of a record as they are worded now.

    Args:
        record: The record.
        stated: What its experiment states now; empty where it states nothing.
        is_later: Whether it is of a later test, which also says whose weights were tested.
    """
    if not stated:
        return record.departs
    if not is_later:
        return stated
    whose, _, _ = record.departs.partition(". ")
    return _join(f"{whose.removesuffix('.')}.", stated)


def _join(whose: str, departs: str) -> str:
    """The sentence about the weights, and the departures of the experiment as sentences."""
    return f"{whose} {departs[:1].upper()}{departs[1:]}".rstrip()


def record_of_test(test: PublishedTest, record: RunRecord) -> RunRecord:
    """Return the record of a row for a later test: that of the run, with what was tested and measured, and a verdict.

    Args:
        test: The test.
        record: The record of the run whose weights were tested.
    """
    reference = Reference(**test.config["reference"]) if test.experiment and test.config.get("reference") else None
    made = dataclasses.replace(
        record, dataset=test.dataset, task=test.task, config=test.config, config_hash=test.config_hash,
        experiment=test.experiment, overrides=test.composed_from or [*record.overrides, *test.overrides],
        full_steps=test.full_steps if test.experiment else record.full_steps, deviations=test.deviations,
        departs=test.departs, test=test.test, after_steps=test.after_steps, metrics=test.metrics, domains=test.domains,
        batch_norm=test.batch_norm, reference=reference, verdict=None, data_hash=test.data_hash,
        episode_bank=test.episode_bank, test_episodes_sha256=test.episodes_sha256,
    )  # fmt: skip
    if reference is None:
        return made
    made_up = record.is_stand_in or is_stand_in(test.config.get("dataset"))
    verdict = reproduction_verdict(
        test.test, reference, record.steps, test.full_steps, test.deviations, made_up, departs=test.departs
    )
    return dataclasses.replace(made, verdict=verdict)


def overrides_of(test: Evaluation) -> tuple[str, ...]:
    """Return the overrides of a later test, without those that say where it is computed."""
    return tuple(item for item in test.overrides if not item.lstrip("+~").startswith(_OF_MACHINE))
