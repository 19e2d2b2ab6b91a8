"""One job of a sweep, composed and checked, and kept as it was: later edits of files change nothing. Without torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from metaexp.config.check import check
from metaexp.config.compose import Composer, deviations, hydra_files
from metaexp.config.schema import Settings
from metaexp.config.section_overrides import key_of
from metaexp.core.errors import ConfigError
from metaexp.core.files import write_atomically
from metaexp.results.beginning import ParentRun
from metaexp.results.reading import ADDED, read_part
from metaexp.run.initial.parent import goes_on, read_further

FROZEN_FILE = "frozen.json"


@dataclass(frozen=True)
class FrozenJob:
    """One job of a sweep.

    number: from 0, in the order of the sweep. name: of its folder inside the sweep's. what: the overrides that tell
    it from the others. overrides: all of them. config, choices: the resolved configuration, and group -> file.
    config_hash: of what decides its numbers. group, full_steps, deviations, files: see
    :class:`metaexp.run.first_record.Provenance`.
    """

    number: int
    name: str
    what: str
    overrides: list[str]
    config: dict[str, Any]
    choices: dict[str, str]
    config_hash: str
    group: str | None = None
    full_steps: int | None = None
    deviations: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    own_code: str | None = field(default=None, metadata=ADDED)
    """Digest of the user's own code; None where every class is of metaexp or torch."""
    parent: ParentRun | None = field(default=None, metadata=ADDED)
    """The run that the job goes on from; None where it begins at step 0."""
    parent_folder: str | None = field(default=None, metadata=ADDED)
    """Its folder."""

    @property
    def identity(self) -> str:
        """SHA-256 (hex) of everything but paths: two jobs that share it would do the same twice."""
        rest = {key: value for key, value in self.config.items() if key != "paths"}
        parts: list[Any] = [self.config_hash, rest, *([self.own_code] if self.own_code else [])]
        parts += [self.parent.identity] if self.parent else []
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def steps(self) -> int:
        """Meta-updates of the whole job."""
        steps: int = self.config["train"]["steps"]
        return steps

    @property
    def first_step(self) -> int:
        """The step that the job begins at."""
        return self.parent.step if self.parent else 0

    def settings(self, threads: int | None = None) -> Settings:
        """The settings of the job, checked again. threads: for ``device.threads`` where the job leaves it open.

        Raises ConfigError when a package that it needs is not trusted or was changed since, or its file was edited into
        nonsense.
        """
        device = dict(self.config["device"])
        if device["threads"] is None:
            device["threads"] = threads
        settings = check({**self.config, "device": device}, self.choices)
        now = None if settings.own_code is None else settings.own_code.digest
        if now != self.own_code:
            raise ConfigError(
                f"the code of {', '.join(settings.own_code.places) if settings.own_code else 'your own'} was changed "
                f"after the sweep was made (digest {str(self.own_code)[:12]}, now {str(now)[:12]}). Give the same "
                "command again for a new sweep with the code as it is, or take the change back."
            )
        return settings


class Freezer:
    """Makes frozen jobs from overrides, all with the files as they are now.

    group: the sweep's name. swept: keys whose values tell jobs from each other. on_this_machine: whether jobs run
    here, so that the accelerator must be here.
    """

    def __init__(self, composer: Composer, group: str, swept: frozenset[str], *, on_this_machine: bool = True) -> None:
        self.composer = composer
        self.group = group
        self.swept = swept
        self.on_this_machine = on_this_machine
        self._published: dict[str, Settings] = {}

    def freeze(self, number: int, overrides: Sequence[str]) -> FrozenJob:
        """Compose and check one job. Raises ConfigError with all its problems, MachineError for its accelerator."""
        task = [line for line in overrides if not line.startswith("hydra")]
        if goes_on(overrides):
            return self._freeze_further(number, task)
        settings, composed = self.composer.job(overrides, on_this_machine=self.on_this_machine)
        files = hydra_files(composed)
        published = self._of_experiment(settings.experiment)
        return FrozenJob(
            number=number,
            name=f"{number:03d}-{settings.name}",
            what=self._what(task),
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
        """Compose and check a job that goes on from a run."""
        further = read_further(task, self.composer.config_dir, on_this_machine=self.on_this_machine)
        settings = further.settings
        return FrozenJob(
            number=number,
            name=f"{number:03d}-{settings.name}",
            what=self._what(task),
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

    def _what(self, task: Sequence[str]) -> str:
        return " ".join(line for line in task if key_of(line) in self.swept)

    def _of_experiment(self, experiment: str | None) -> Settings | None:
        if experiment is None:
            return None
        if experiment not in self._published:
            self._published[experiment] = self.composer.published(experiment)
        return self._published[experiment]


def write_frozen(job: FrozenJob, folder: Path) -> None:
    """Write ``folder/frozen.json``, all of it or nothing."""
    write_atomically(folder / FROZEN_FILE, (json.dumps(asdict(job), indent=1) + "\n").encode())


def read_frozen(folder: Path) -> FrozenJob:
    """The job frozen in ``folder``. Raises RunFolderError when there is none, or it is damaged."""
    job: FrozenJob = read_part(FrozenJob, folder / FROZEN_FILE, "the folder of a sweep's job")
    return job
