"""Turns the overrides of a command into a new run: its settings, their provenance and its folder. Without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from metaexp.config.command_line.hydra_dirs import check_hydra_keys
from metaexp.config.command_line.section_overrides import continues_run
from metaexp.config.compose import Composer, Job, hydra_files
from metaexp.config.identity import deviations
from metaexp.config.schema import Settings
from metaexp.core.errors import ConfigError

if TYPE_CHECKING:
    from metaexp.run.initial.parent import Further, Parent


@dataclass(frozen=True)
class Provenance:
    """Where the settings of a run came from.

    Attributes:
        overrides: The overrides, as given on the command line.
        group: The sweep that the run belongs to.
        full_steps: The steps of the experiment file.
        deviations: Settings that differ from the experiment file's, except steps and seeds.
        files: Path inside the run folder -> text, kept with the run (what Hydra composed).
        data_hash: The digest that the data must have; None for any.
        parent: The run whose checkpoint the run continues from; None if it begins at step 0.
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
            overrides: The overrides, as given.
        """
        return cls(
            overrides=list(overrides),
            full_steps=published.train.steps if published else None,
            deviations=deviations(job.settings.resolved, published.resolved) if published else [],
            files=hydra_files(job.composed),
        )

    @classmethod
    def of_further(cls, further: Further) -> Provenance:
        """Return the provenance of a run that continues another one."""
        record = further.record
        return cls(
            overrides=further.overrides,
            full_steps=record.full_steps,
            deviations=further.deviations,
            data_hash=record.data_hash,
            parent=further.parent,
        )


class NewRun(NamedTuple):
    """A run that is checked and can start.

    Attributes:
        settings: The checked settings.
        provenance: Where they came from.
        run_dir: The folder that ``hydra.run.dir`` names; None if it is not given.
    """

    settings: Settings
    provenance: Provenance
    run_dir: Path | None


def compose_run(overrides: Sequence[str], config_dir: Path | None = None, config_name: str = "config") -> NewRun:
    """Compose and check the run that a command asks for, from step 0 or, with ``from=RUN``, from another run.

    Args:
        overrides: The overrides, as given on the command line.
        config_dir: The user's folder of groups and files.
        config_name: The root file.

    Raises:
        ConfigError: The configuration is wrong. The message lists all mistakes. Or it is to be tested on classes that
            its initial weights were trained on, as far as this is known before the data are loaded.
        MachineError: The accelerator is not here.
        RunFolderError: The run that ``from=RUN`` names cannot be continued.
    """
    composer = Composer(config_dir, config_name)
    check_hydra_keys(overrides, "run", composer.parse)
    if continues_run(overrides):
        from metaexp.run.initial.parent import read_further

        further = read_further(overrides, config_dir)
        _refuse_trained_classes(further.settings, further.parent.folder)
        return NewRun(further.settings, Provenance.of_further(further), further.run_dir)
    job = composer.job(overrides)
    _refuse_trained_classes(job.settings, None)
    experiment = job.settings.experiment
    published = composer.published(experiment) if experiment else None
    return NewRun(job.settings, Provenance.of_job(job, published, overrides), job.run_dir)


def _refuse_trained_classes(settings: Settings, parent: Path | None) -> None:
    """Raise ConfigError if names of classes tell that it trains on classes of its test, or its weights did."""
    if not settings.eval.test or (
        parent is None and not settings.model.options and "domains" not in settings.dataset.arguments
    ):
        return  # only mixtures and weights of another run can
    from metaexp.run.initial.trained_before import find_early, format_refusal

    if known := [known for known in find_early(settings.resolved, settings.choices, parent) if known.test]:
        raise ConfigError([format_refusal(one) for one in known])
