"""Finds and hashes the file of ``model.weights``, from which a network starts. Torch is not imported."""

from __future__ import annotations

import hashlib
import json
import re
import stat
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from metaexp.config.schema import ClassSpec
from metaexp.core.checkpoint_names import saved_steps, step_name
from metaexp.core.disk.files import open_tensors, read_regular, refuse_links
from metaexp.core.disk.nearest import format_nearest_path
from metaexp.core.errors import ConfigError, RunFolderError

BEST = "best"
"""The name of a run's selected weights, without suffix."""
SAFETENSORS = ".safetensors"
PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".th", ".tar")
"""Suffixes of files that ``torch.save`` wrote. They are read with ``weights_only=True``, so they run no code."""
_WHAT = f"Give a {SAFETENSORS} or .pt file, or a run folder."
_SHA256 = re.compile(r"[0-9a-f]{64}")


def with_weights(spec: ClassSpec, is_new: bool) -> tuple[ClassSpec, list[str]]:
    """Complete the keys of a network that say where its initial weights come from.

    Args:
        spec: The network, its keys checked one by one.
        is_new: Whether the configuration was composed now, so that the file must be there.

    Returns:
        The network with the absolute path and the SHA-256 of the file, or without these keys where ``weights`` is
        null; and a sentence for each problem.
    """
    options = spec.options
    place, digest = options.get("weights"), options.get("weights_sha256")
    if not isinstance(place, str) and place is not None:
        return spec, []  # the check has reported it
    if place is None:
        extra = [name for name in ("weights_partial", "weights_sha256") if options.get(name)]
        problems = [
            f"model.{name} has no effect without model.weights=FILE_OR_RUN. Give it, or remove it." for name in extra
        ]
        return replace(spec, options={}), problems
    if not place.strip():
        return spec, [f"model.weights= names no file. {_WHAT} To begin without weights, leave it out."]
    if isinstance(digest, str) and not _SHA256.fullmatch(digest):
        return spec, [f"model.weights_sha256={digest} must be 64 hexadecimal digits (0-9, a-f)."]
    path = Path(place).expanduser().absolute()
    if is_new or digest is None:
        try:
            found = digest_of(weights_file(path))
        except ConfigError as error:
            return spec, error.problems
        if digest not in (None, found):
            return spec, [_changed(path, found, digest)]
        digest = found
    kept = {"weights": str(path), "weights_partial": options.get("weights_partial") or None, "weights_sha256": digest}
    return replace(spec, options={name: value for name, value in kept.items() if value is not None}), []


def weights_file(path: Path) -> Path:
    """Return the file of weights that ``model.weights`` names; for a run, that of its selected weights.

    Args:
        path: A file, or a run folder.

    Raises:
        ConfigError: The file is missing, holds no weights, or is of a kind that is not read.
        RunFolderError: The run folder holds links, or weights that the run did not save.
    """
    if path.is_dir():
        return _of_run(path)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        near = format_nearest_path(path, key="model.weights=")
        raise ConfigError(f"model.weights={path} cannot be read ({error.strerror}).{near} {_WHAT}") from error
    if path.suffix != SAFETENSORS and path.suffix not in PICKLED:
        raise ConfigError(
            f"model.weights={path} ends in {path.suffix or 'no suffix'}; a file of weights ends in {SAFETENSORS} or "
            f"{', '.join(PICKLED)}, or is a run folder."
        )
    if not stat.S_ISREG(mode):
        raise ConfigError(f"model.weights={path} is not a regular file. {_WHAT}")
    return path.resolve()


def check_digest(options: Mapping[str, Any], found: str) -> None:
    """Raise ConfigError when a file of weights is not the one whose digest the configuration has.

    Args:
        options: The keys of the network.
        found: The SHA-256 (hex) of the file.
    """
    if found != options["weights_sha256"]:
        raise ConfigError(_changed(Path(options["weights"]), found, options["weights_sha256"]))


def digest_of(path: Path) -> str:
    """Return the SHA-256 (hex) of a file. A file that did not change since is not read again.

    Raises:
        ConfigError: The file cannot be read.
    """
    try:
        status = path.stat()
        return _digest(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise ConfigError(f"model.weights: {path} cannot be read ({error.strerror}).") from error


@lru_cache(maxsize=64)
def _digest(path: Path, _size: int, _time: int) -> str:
    with open_tensors(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _of_run(folder: Path) -> Path:
    """The file in a run folder with its selected weights: ``best``, or without it the newest checkpoint."""
    if not (folder / "config.yaml").is_file():
        files = sorted(path for path in folder.iterdir() if path.suffix in (SAFETENSORS, *PICKLED))
        raise ConfigError(
            f"model.weights={folder} is a folder, and not a run folder: it has no config.yaml. Give a run folder, or a "
            f"file of weights{f', such as {files[0]}' if files else ''}."
        )
    refuse_links(folder)
    checkpoints = folder / "checkpoints"
    try:
        names = list(map(step_name, saved_steps(path.name for path in checkpoints.iterdir())))
        names = [BEST] if (checkpoints / f"{BEST}.json").exists() else names
    except OSError:
        names = []
    if not names:
        raise ConfigError(
            f"model.weights={folder} has no weights: the run was not validated yet, its checkpoints are lost, or this "
            "is a published copy without them. Give a run folder with checkpoints, or a file of weights."
        )
    path = checkpoints / f"{names[-1]}{SAFETENSORS}"
    if not path.is_file():
        raise ConfigError(
            f"model.weights={folder}: {path} is missing, or is not a regular file. Give another run folder."
        )
    _check_run(folder, path)
    return path


def _check_run(folder: Path, path: Path) -> None:
    """Raise RunFolderError when the weights of a run are not those that it saved."""
    from metaexp.results.reading import format_first_difference  # runs from random weights need no records
    from metaexp.results.record import RECORD_FILE, read_record

    manifest = path.with_suffix(".json")
    try:
        content = json.loads(read_regular(manifest))
        values, expected = content["values"], content["sha256"]["tensors"]
        found = {"config_hash": values["config_hash"], "selected_step": values["step"]}
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise RunFolderError(
            f"model.weights={folder}: {manifest} is damaged ({type(error).__name__}: {error}). Restore it, or give "
            "another run folder."
        ) from error
    if digest_of(path) != expected:
        raise RunFolderError(
            f"model.weights={folder}: {path} was changed after the run: {manifest.name} has another SHA-256. Restore "
            "it; to start from changed weights, give a file outside run folders."
        )
    if not (folder / RECORD_FILE).exists():
        return  # a run that was killed at once
    record = read_record(folder)
    compared = found if path.stem == BEST else {"config_hash": found["config_hash"]}
    other = format_first_difference(compared, record, f"in {manifest.name}", f"in {RECORD_FILE}")
    if other:
        raise RunFolderError(
            f"model.weights={folder}: {path} holds weights of another run: {other}. Put the run's own file back."
        )


def _changed(path: Path, found: str, expected: str) -> str:
    return (
        f"model.weights={path} is not the file that the configuration names: its SHA-256 is {found[:12]}, and "
        f"model.weights_sha256 is {expected[:12]}. Put that file back, or start a new run with this one."
    )
