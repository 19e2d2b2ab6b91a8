"""The record of a run when it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from metaexp.config.classes.network import network_name
from metaexp.config.experiment_header import stated_departures
from metaexp.config.schema import Settings
from metaexp.core.shapes import trains_on_batches
from metaexp.data.classification.trained_classes import classes_trained_on, training_class_ids
from metaexp.machine.environment import OWN_CODE
from metaexp.results.beginning import InexactResume, OwnCodeRecord
from metaexp.results.own_code import copied_files, differing_files
from metaexp.results.provenance import git_state, loaded_state, sources_digest, versions
from metaexp.results.record import Reference, RunRecord, Task, read_record
from metaexp.run.build import Parts, TrainingSetup
from metaexp.run.checkpoint import Checkpoint
from metaexp.run.initial.command import Provenance
from metaexp.run.initial.differences import with_differences


def first_record(setup: TrainingSetup, provenance: Provenance) -> RunRecord:
    """Return the record of a run that has begun.

    Args:
        setup: What the run trains and measures with.
        provenance: Where its settings came from.
    """
    settings, parts = setup.settings, setup.parts
    parent = provenance.parent
    before = None if parent is None else read_record(parent.folder)
    trained = sorted({*training_class_ids(parts.dataset), *parts.trained_before})
    return RunRecord(
        status="running",
        name=settings.name,
        algorithm=settings.chosen_file("algorithm"),
        dataset=settings.dataset_name,
        model=network_name(settings.algorithm, settings.chosen_file("model")),
        task=Task(*settings.task.shape),
        seed=settings.seed,
        config=settings.resolved,
        config_hash=settings.config_hash,
        experiment=settings.experiment,
        overrides=provenance.overrides,
        group=provenance.group,
        full_steps=provenance.full_steps,
        deviations=provenance.deviations,
        departs="" if settings.reference is None else stated_departures(settings.experiment),
        parent=None if parent is None else with_differences(parent, setup),
        initial_weights=parts.initial_weights if before is None else before.initial_weights,
        exact_resume=before is None or before.exact_resume,
        inexact_resumes=[] if before is None else before.inexact_resumes,
        batch_norm=parts.algorithm.batch_norm,
        first_order=parts.algorithm.first_order,
        reference=None if settings.reference is None else Reference(**settings.reference),
        data_hash=parts.dataset.digest,
        training_classes=trained,
        val_in_train=parts.val_in_train,
        val_classes_trained=len(classes_trained_on(parts.dataset.class_ids("val"), trained)),
        episode_bank=parts.eval_source.bank_hash("test", settings.eval.episodes),
        training_tasks=_training_tasks(settings, parts),
        n_parameters=sum(p.numel() for p in parts.algorithm.parameters() if p.requires_grad),
        device=setup.compute.recorded(),
        git=loaded_state(),
        sources=sources_digest(),
        own_code=_own_code(settings),
        versions=versions(),
        started=utc_now(),
    )


def _training_tasks(settings: Settings, parts: Parts) -> Literal["episodes", "supervised"]:
    on_batches = trains_on_batches(parts.algorithm.training_tasks, settings.train.shape.n_way)
    return "supervised" if on_batches else "episodes"


def _own_code(settings: Settings) -> OwnCodeRecord | None:
    if settings.own_code is None:
        return None
    places = settings.own_code.places
    git = {name: git_state(path.parent, path.name) for name, path in sorted(places.items())}
    return OwnCodeRecord(settings.own_code.digest, git, settings.own_code.digests)


def inexact_resume(
    folder: Path, checkpoint: Checkpoint, changed: Sequence[str], environment: Mapping[str, Any]
) -> InexactResume:
    """Return what is recorded about a resume that cannot be bit for bit.

    Args:
        folder: The run folder.
        checkpoint: Where the run goes on.
        changed: What changed, such as ``threads was 2 and is 1``.
        environment: The environment now.
    """
    before, now = checkpoint.values["environment"].get(OWN_CODE), environment[OWN_CODE]
    said = list(changed)
    if before is not None and now is not None and before != now:
        files = differing_files(copied_files(folder, before), copied_files(folder, now))
        said += [f"own code differs in {', '.join(files)}"] if files else []
    return InexactResume(checkpoint.step, said, before, now)


def with_resume(record: RunRecord, step: int, resume: InexactResume | None) -> RunRecord:
    """Return the record of a run that goes on at a step. Inexact resumes at later steps are undone, and left out.

    Args:
        record: The record of the run so far.
        step: The step of the checkpoint.
        resume: What changed; None if nothing did.
    """
    earlier = [made for made in record.inexact_resumes if made.step < step]
    return replace(record, inexact_resumes=[*earlier, *([resume] if resume is not None else [])])


def utc_now() -> str:
    """Return the time now: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
