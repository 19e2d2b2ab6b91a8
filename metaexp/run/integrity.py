"""Whether the files of a run folder are what the run wrote: they carry digests of one another."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metaexp.config.identity import config_hash
from metaexp.core.errors import MachineError, RunFolderError
from metaexp.core.files import open_regular
from metaexp.results.record import RECORD_FILE, read_record

_PIECE = 1 << 20
_TAIL = 256
"""So many bytes before a position are looked at again, to notice that a file was cut and written on."""


class MetricsDigest:
    """The digest of what a run has written to its metrics, extended as the file grows.

    Args:
        path: The file of metrics.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0
        self._sha256 = hashlib.sha256()
        self._tail = b""

    def of(self, position: int) -> str:
        """Return the SHA-256 (hex) of the first ``position`` bytes. Positions must not decrease.

        Raises:
            MachineError: The file is gone or shorter.
        """
        try:
            with open_regular(self.path) as file:
                file.seek(self._position - len(self._tail))
                intact = position >= self._position and file.read(len(self._tail)) == self._tail
                while (
                    intact
                    and self._position < position
                    and (piece := file.read(min(_PIECE, position - self._position)))
                ):
                    self._sha256.update(piece)
                    self._position += len(piece)
                    self._tail = (self._tail + piece)[-_TAIL:]
        except FileNotFoundError as error:
            raise MachineError(
                f"{self.path} has disappeared while the run was writing to it, so the run was ended. Something else "
                "works in the run folder; start the run again in another place (paths.outputs)."
            ) from error
        if not intact or self._position < position:
            raise MachineError(
                f"{self.path} has lost lines while the run was writing to it, so the run was ended. Something else "
                "works in the run folder; start the run again in another place (paths.outputs)."
            )
        return self._sha256.hexdigest()


def check_metrics(path: Path, position: int, expected: str | None) -> None:
    """Raise RunFolderError when the metrics before a checkpoint were changed.

    Args:
        path: The file of metrics.
        position: How many bytes it had when the checkpoint was saved.
        expected: Their SHA-256 (hex); None in checkpoints of older versions, which are not checked.
    """
    if expected is None or not path.exists() or path.stat().st_size < position:
        return  # a file that is too short is refused where it is opened
    if MetricsDigest(path).of(position) != expected:
        raise RunFolderError(
            f"the first {position} bytes of {path} are not those that the run wrote: the file was changed after the "
            "checkpoint was saved, so the run cannot be continued. Restore the file, or start a new run."
        )


def check_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise RunFolderError when ``config.yaml`` is not the configuration that the record names.

    Args:
        folder: The run folder. Without a record (a run that was killed at once) nothing is compared.
        config: What its ``config.yaml`` holds.
    """
    if not (folder / RECORD_FILE).exists():
        return
    expected, found = read_record(folder).config_hash, config_hash(config)
    if found != expected:
        raise RunFolderError(
            f"the configuration of {folder} changed since the run began: config.yaml has the hash {found[:12]}, and "
            f"record.json names {expected[:12]}. Restore config.yaml; to test with other settings, give them as "
            "overrides of metaexp evaluate."
        )


def check_weights(base: Path, values: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Raise RunFolderError when a file of weights belongs to a run with another configuration.

    Args:
        base: The file, without suffix.
        values: What the file says about its run.
        config: The configuration of the run folder.
    """
    expected, found = config_hash(config), values.get("config_hash", "none")
    if found != expected:
        raise RunFolderError(
            f"{base}.json holds weights of another run: its config_hash is {str(found)[:12]}, and this run's is "
            f"{expected[:12]}. Put the run's own file back."
        )
