"""The record of a run when it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from metaexp.config.compose import Job, deviations, hydra_files
from metaexp.config.schema import Settings
from metaexp.data.classification.trained_classes import all_class_ids
from metaexp.results.provenance import git_state, sources_digest, versions
from metaexp.results.record import OwnCodeRecord, Reference, RunRecord, Task, read_record
from metaexp.run.build import TrainingSetup
from metaexp.run.initial.differences import with_differences
from metaexp.run.initial.parent import Further, Parent


@dataclass(frozen=True)
class Provenance:
    """Where the settings of a run came from.

    Attributes:
        overrides: As given on the command line.
        group: The sweep that the run belongs to.
        full_steps: The steps of the experiment file.
        deviations: Settings that differ from the experiment file's, except steps and seeds.
        files: Path inside the run folder -> text, kept with the run (what Hydra composed).
        data_hash: The digest that the data must have; None for any.
        parent: The run whose checkpoint the run goes on from; None where it begins at step 0.
    """

    overrides: list[str] = field(default_factory=list)
    group: str | None = None
    full_steps: int | None = None
    deviations: list[str] = field(default_factory=list)
    files: Mapping[str, str] = field(default_factory=dict)
    data_hash: str | None = None
    parent: Parent | None = None

    @classmethod
    def of_job(cls, job: Job, published: Settings | None, overrides: Sequence[str]) -> Provenance:
        """Return the provenance of a job that was composed now.

        Args:
            job: The job.
            published: The settings of its experiment without overrides; None where it has no experiment.
            overrides: As given.
        """
        return cls(
            overrides=list(overrides),
            full_steps=published.train.steps if published else None,
            deviations=deviations(job.settings.resolved, published.resolved) if published else [],
            files=hydra_files(job.composed),
        )

    @classmethod
    def of_further(cls, further: Further) -> Provenance:
        """Return the provenance of a run that goes on from another one."""
        record = further.record
        return cls(
            overrides=further.overrides,
            full_steps=record.full_steps,
            deviations=record.deviations,
            data_hash=record.data_hash,
            parent=further.parent,
        )


def first_record(setup: TrainingSetup, provenance: Provenance) -> RunRecord:
    """The record of a run that has begun."""
    settings, parts = setup.settings, setup.parts
    parent = provenance.parent
    before = None if parent is None else read_record(parent.folder)
    return RunRecord(
        status="running",
        name=settings.name,
        algorithm=settings.chosen_file("algorithm"),
        dataset=settings.dataset_name,
        model=settings.chosen_file("model"),
        task=Task(*settings.task.shape),
        seed=settings.seed,
        config=settings.resolved,
        config_hash=settings.config_hash,
        experiment=settings.experiment,
        overrides=provenance.overrides,
        group=provenance.group,
        full_steps=provenance.full_steps,
        deviations=provenance.deviations,
        parent=None if parent is None else with_differences(parent, setup),
        initial_weights=parts.initial_weights if before is None else before.initial_weights,
        exact_resume=before is None or before.exact_resume,
        batch_norm=parts.algorithm.batch_norm,
        first_order=parts.algorithm.first_order,
        reference=None if settings.reference is None else Reference(**settings.reference),
        data_hash=parts.dataset.digest,
        training_classes=all_class_ids(parts.dataset, "train"),
        episode_bank=parts.eval_source.bank_hash("test", settings.eval.episodes),
        n_parameters=sum(p.numel() for p in parts.algorithm.parameters() if p.requires_grad),
        device=setup.compute.recorded(),
        git=git_state(),
        sources=sources_digest(),
        own_code=_own_code(settings),
        versions=versions(),
        started=utc_now(),
    )


def _own_code(settings: Settings) -> OwnCodeRecord | None:
    if settings.own_code is None:
        return None
    places = settings.own_code.places
    git = {name: git_state(path.parent, path.name) for name, path in sorted(places.items())}
    return OwnCodeRecord(settings.own_code.digest, git, settings.own_code.digests)


def utc_now() -> str:
    """The time, UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
