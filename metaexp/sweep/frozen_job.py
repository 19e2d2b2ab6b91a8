"""A frozen job: one job of a sweep, composed, checked and saved, so that later edits of files do not change it.

Without Hydra, so that sweeps are listed soon.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from metaexp.config.check import check
from metaexp.config.purpose import Purpose
from metaexp.config.schema import Settings
from metaexp.core.disk.files import read_regular, write_atomically
from metaexp.core.errors import ConfigError, RunFolderError
from metaexp.core.nested import sha256_of
from metaexp.results.beginning import ParentRun
from metaexp.results.reading import ADDED, build, damaged
from metaexp.results.record import FROZEN_FILE

_DIGEST = "sha256"
"""Key of the file's own digest. Files of earlier versions have none and are not checked."""
_ADVICE = "Restore the file; until then this job does not run."


@dataclass(frozen=True)
class FrozenJob:
    """One job of a sweep.

    Attributes:
        number: Position in the sweep, from 0.
        name: Name of its folder inside the sweep's folder.
        what: The overrides that differ between the jobs.
        overrides: All overrides.
        config: The resolved configuration.
        choices: Group -> chosen file.
        config_hash: Hash of the settings that decide its numbers.
        group: Name of the sweep; see :class:`metaexp.run.initial.command.Provenance`.
        full_steps: Steps of the published experiment; see Provenance.
        deviations: Settings that differ from the published experiment; see Provenance.
        files: Hydra's files for the run folder; see Provenance.
        own_code: Digest of the user's own code; None if every class comes from metaexp or torch.
        parent: The run that the job continues; None if it starts at step 0.
        parent_folder: Folder of that run.
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
    parent: ParentRun | None = field(default=None, metadata=ADDED)
    parent_folder: str | None = field(default=None, metadata=ADDED)

    @property
    def identity(self) -> str:
        """SHA-256 (hex) of all settings except paths. Two jobs with the same one would compute the same."""
        rest = {key: value for key, value in self.config.items() if key != "paths"}
        parts: list[Any] = [self.config_hash, rest, *([self.own_code] if self.own_code else [])]
        parts += [self.parent.identity] if self.parent else []
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def steps(self) -> int:
        """Steps of the whole job."""
        steps: int = self.config["train"]["steps"]
        return steps

    @property
    def first_step(self) -> int:
        """The step at which the job starts."""
        return self.parent.step if self.parent else 0

    def settings(self, threads: int | None = None) -> Settings:
        """Check the configuration again and return the settings.

        Args:
            threads: Value of ``device.threads`` if the job leaves it open.

        Raises:
            ConfigError: A package that the job needs is not trusted or has changed, or the file was edited and is
                wrong now.
        """
        device = dict(self.config["device"])
        if device["threads"] is None:
            device["threads"] = threads
        settings = check({**self.config, "device": device}, self.choices, Purpose.CONTINUE)
        now = None if settings.own_code is None else settings.own_code.digest
        if now != self.own_code:
            raise ConfigError(
                f"the code of {', '.join(settings.own_code.places) if settings.own_code else 'your own'} was changed "
                f"after the sweep was made (digest {str(self.own_code)[:12]}, now {str(now)[:12]}). Give the same "
                "command again for a new sweep with the code as it is, or undo the change."
            )
        return settings


def frozen_digest(job: FrozenJob) -> str:
    """Return the SHA-256 (hex) of what ``frozen.json`` says about a job."""
    return sha256_of(asdict(job))


def write_frozen(job: FrozenJob, folder: Path) -> None:
    """Write ``folder/frozen.json`` atomically, with its own digest.

    Args:
        job: The job.
        folder: The folder of the job.
    """
    content = asdict(job)
    content[_DIGEST] = sha256_of(content)
    write_atomically(folder / FROZEN_FILE, (json.dumps(content, indent=1) + "\n").encode())


def read_frozen(folder: Path, expected: str | None = None) -> FrozenJob:
    """Read the frozen job of a folder.

    Args:
        folder: The job's folder.
        expected: The digest that the job must have; None accepts the one that the file names.

    Raises:
        RunFolderError: There is no frozen job, or its file is damaged or was changed.
    """
    path = folder / FROZEN_FILE
    try:
        content = json.loads(read_regular(path))
        named = content.pop(_DIGEST, None)
        job: FrozenJob = build(FrozenJob, content)
        found = sha256_of(content)
    except FileNotFoundError as error:
        if expected is not None:
            raise RunFolderError(f"{path} is missing. {_ADVICE}") from error
        raise RunFolderError(f"{folder} is not the folder of a sweep's job: it has no {FROZEN_FILE}.") from error
    except (ValueError, AttributeError, TypeError, RecursionError) as error:  # a FaultError is a ValueError
        raise damaged(path, error, f" {_ADVICE}") from error
    for digest in (named, expected):
        if digest not in (None, found):
            raise RunFolderError(
                f"{path} was changed after the job was frozen: its digest is {found[:12]}, and {str(digest)[:12]} is "
                f"expected. {_ADVICE}"
            )
    return job
