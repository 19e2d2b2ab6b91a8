"""Where the W&B client finds and keeps its files. Without the wandb package."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from metaexp.core.errors import RunFolderError
from metaexp.core.files import encode_text, read_regular, write_atomically
from metaexp.tracking.wandb_names import LONGEST_NAME, NOT_IN_IDS, Mode

log = logging.getLogger(__name__)

_OWNERS: dict[str, Path] = {}
"""WANDB_RUN_ID -> the folder of the run that took it in this process."""
_MOST_BYTES = 4 * LONGEST_NAME


def held_by_sweep(config: Mapping[str, Any]) -> dict[str, Any]:
    """Sections that a sweep of W&B varies as a whole (``algorithm: maml``), under a second name.

    Under an agent the client keeps the sweep's value under the first, and drops ours.
    """
    path = Path(os.environ.get("WANDB_SWEEP_PARAM_PATH", ""))
    if not os.environ.get("WANDB_SWEEP_ID") or not path.is_file():
        return {}
    held = yaml.safe_load(path.read_bytes()) or {}
    return {f"{name}_settings": config[name] for name in held if isinstance(config.get(name), Mapping)}


def run_id(folder: Path) -> str:
    """The run's W&B id: chosen once, kept in the run folder, so that a resumed run is the same run.

    It is WANDB_RUN_ID where that is set. That names one run, so a second run of this process has an id of its own.

    Args:
        folder: the run folder.

    Raises:
        RunFolderError: the file of the id is a link, or holds no id.
    """
    path, given = folder / "wandb" / "run-id", os.environ.get("WANDB_RUN_ID")
    if not os.path.lexists(path):
        owner = _OWNERS.setdefault(given, folder.resolve()) if given else None
        if given and owner != folder.resolve():
            log.warning("WANDB_RUN_ID=%s is the id of another run, %s; this one has an id of its own", given, owner)
        made = given if given and owner == folder.resolve() else secrets.token_hex(4)
        write_atomically(path, encode_text(made))
    found = read_regular(path, most=_MOST_BYTES).decode("utf-8", "replace").strip()
    is_odd = not found.isprintable() or set(found) & {*NOT_IN_IDS, "\N{REPLACEMENT CHARACTER}"}
    if not found or len(found) > LONGEST_NAME or is_odd:
        raise RunFolderError(f"{path} holds {found!r}, which is no id of a W&B run. Remove the file.")
    return found


@contextmanager
def files_in(folder: Path, mode: Mode) -> Iterator[None]:
    """Let the client write its caches into ``folder`` instead of the home folder, where the user has not said where.

    The user's own W&B settings are in the home folder, so online they are still read from there.
    """
    wanted = {"WANDB_CACHE_DIR": folder / "cache", "WANDB_DATA_DIR": folder / "data"}
    if mode != "online":
        wanted["WANDB_CONFIG_DIR"] = folder / "config"
    added = {name: str(path) for name, path in wanted.items() if name not in os.environ}
    # Reports about the client itself would hold the end of the process while their server does not answer.
    defaults = {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
    added |= {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
