"""Composes and checks the jobs of a sweep, and freezes them."""

from __future__ import annotations

from collections.abc import Sequence

from metaexp.config.command_line.override_text import is_of_hydra, key_of
from metaexp.config.command_line.section_overrides import continues_run
from metaexp.config.compose import Composer, hydra_files
from metaexp.config.identity import deviations
from metaexp.config.purpose import Purpose
from metaexp.config.schema import Settings
from metaexp.sweep.frozen_job import FrozenJob


class Freezer:
    """Makes frozen jobs from overrides and the configuration files as they are now.

    Args:
        composer: Composes configurations.
        group: Name of the sweep.
        swept: Keys whose values differ between jobs.
        on_this_machine: Whether jobs run on this machine. Their accelerator must then exist here.
        keeps_files: Whether jobs keep Hydra's files. Jobs that are only listed or compared do not need them.
    """

    def __init__(
        self,
        composer: Composer,
        group: str,
        swept: frozenset[str],
        *,
        on_this_machine: bool = True,
        keeps_files: bool = True,
    ) -> None:
        self.composer = composer
        self.group = group
        self.swept = swept
        self.on_this_machine = on_this_machine
        self.keeps_files = keeps_files
        self._published: dict[str, Settings] = {}

    def freeze(self, number: int, overrides: Sequence[str]) -> FrozenJob:
        """Compose and check one job.

        Args:
            number: Position of the job in its sweep.
            overrides: Its overrides.

        Raises:
            ConfigError: The job's configuration is wrong. The message lists all mistakes.
            MachineError: Its accelerator is missing on this machine.
        """
        task = [line for line in overrides if not is_of_hydra(line)]
        if continues_run(overrides):
            self.composer.check_hydra(overrides)
            return self._freeze_further(number, task)
        settings, composed, _ = self.composer.job(overrides, Purpose.TRAIN if self.on_this_machine else Purpose.PLAN)
        files = hydra_files(composed) if self.keeps_files else {}
        published = self._of_experiment(settings.experiment)
        return FrozenJob(
            number=number,
            name=f"{number:03d}-{settings.name}",
            what=self._format_what(task),
            overrides=task,
            config=settings.resolved,
            choices=settings.choices,
            config_hash=settings.config_hash,
            own_code=None if settings.own_code is None else settings.own_code.digest,
            group=self.group,
            full_steps=published.train.steps if published else None,
            deviations=deviations(settings.resolved, published.resolved) if published else [],
            files=files,
        )

    def _freeze_further(self, number: int, task: Sequence[str]) -> FrozenJob:
        """Compose and check a job that continues a run."""
        from metaexp.run.initial.parent import read_further

        purpose = Purpose.CONTINUE if self.on_this_machine else Purpose.PLAN_FURTHER
        further = read_further(task, self.composer.config_dir, purpose)
        settings = further.settings
        return FrozenJob(
            number=number,
            name=f"{number:03d}-{settings.name}",
            what=self._format_what(task),
            overrides=further.overrides,
            config=settings.resolved,
            choices=settings.choices,
            config_hash=settings.config_hash,
            own_code=None if settings.own_code is None else settings.own_code.digest,
            parent=further.parent.run,
            parent_folder=str(further.parent.folder),
            group=self.group,
            full_steps=further.record.full_steps,
            deviations=further.record.deviations,
        )

    def _format_what(self, task: Sequence[str]) -> str:
        return " ".join(line for line in task if key_of(line) in self.swept)

    def _of_experiment(self, experiment: str | None) -> Settings | None:
        if experiment is None:
            return None
        if experiment not in self._published:
            self._published[experiment] = self.composer.published(experiment)
        return self._published[experiment]
