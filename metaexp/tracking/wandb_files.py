"""Where the W&B client finds and keeps its files. Without the wandb package."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from metaexp.core.disk.files import encode_text, read_regular, write_atomically
from metaexp.core.disk.locks import RUN_LOCK, hold_lock, is_locked
from metaexp.core.disk.user_cache import user_cache
from metaexp.core.errors import MetaexpError, RunFolderError
from metaexp.tracking.base import RunInfo
from metaexp.tracking.wandb_names import LONGEST_NAME, NOT_IN_IDS, Mode

log = logging.getLogger(__name__)

_OWNERS: dict[str, Path] = {}
"""WANDB_RUN_ID -> the folder of the run that took it in this process."""
_MOST_BYTES = 4 * LONGEST_NAME
_LONGEST_PATH = 1 << 16


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

    It is WANDB_RUN_ID where that is set and no other run has it. Two runs with one id would be written into one.

    Raises:
        RunFolderError: The file of the id is a link, or holds no id.
    """
    path, given = folder / "wandb" / "run-id", os.environ.get("WANDB_RUN_ID")
    if not os.path.lexists(path):
        is_ours = bool(given) and _claim(str(given), folder.resolve())
        _write_id(path, str(given) if is_ours else secrets.token_hex(4))
    found = read_regular(path, most=_MOST_BYTES).decode("utf-8", "replace").strip()
    is_odd = not found.isprintable() or set(found) & {*NOT_IN_IDS, "\N{REPLACEMENT CHARACTER}"}
    if not found or len(found) > LONGEST_NAME or is_odd:
        raise RunFolderError(f"{path} holds {found!r}, which is not an id of a W&B run. Remove the file.")
    return found


def is_new_id_of_environment(run: RunInfo) -> bool:
    """Whether a run has the id of WANDB_RUN_ID, and nothing says that the server may have that run already."""
    given = os.environ.get("WANDB_RUN_ID")
    return given == run_id(run.folder) and run.resumed_at is None and not _goes_on_with_others()


def take_own_id(folder: Path) -> None:
    """Give the run an id of its own, because the server has a run with its id."""
    log.warning(
        "WANDB_RUN_ID=%s is the id of a run that W&B has already; this one has an id of its own (WANDB_RESUME=allow: "
        "write into that run)", os.environ.get("WANDB_RUN_ID"),
    )  # fmt: skip
    _write_id(folder / "wandb" / "run-id", secrets.token_hex(4))


def _write_id(path: Path, value: str) -> None:
    write_atomically(path, encode_text(value))


def _goes_on_with_others() -> bool:
    """Whether the user, or an agent that starts a stopped run again, lets a new run write into a W&B run."""
    return os.environ.get("WANDB_RESUME", "") not in ("", "never") or bool(os.environ.get("WANDB_SWEEP_ID"))


def _claim(given: str, folder: Path) -> bool:
    """Take an id for a run folder, if no other run of this user has it; the user's cache folder keeps who has."""
    name = hashlib.sha256(given.encode("utf-8", "surrogateescape")).hexdigest()
    note = user_cache() / "wandb-ids" / name
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        with hold_lock(note.with_suffix(".lock"), wait=True):
            owner = _owner(given, note) or _OWNERS.get(given)
            is_free = owner in (None, folder) or (_goes_on_with_others() and not is_locked(Path(owner) / RUN_LOCK))
            if is_free:
                write_atomically(note, os.fsencode(folder))
    except (OSError, MetaexpError):  # nothing can be kept there: other processes are not known
        owner = _OWNERS.get(given)
        is_free = owner in (None, folder)
    if is_free:
        _OWNERS[given] = folder
    else:
        log.warning("WANDB_RUN_ID=%s is the id of another run, %s; this one has an id of its own", given, owner)
    return is_free


def _owner(given: str, note: Path) -> Path | None:
    """The run folder that has an id, if it is still there."""
    if not note.is_file():
        return None
    owner = Path(os.fsdecode(read_regular(note, most=_LONGEST_PATH)))
    has_it = owner / "wandb" / "run-id"
    if not os.path.lexists(has_it):
        return owner if is_locked(owner / RUN_LOCK) else None
    return owner if read_regular(has_it, most=_MOST_BYTES).decode("utf-8", "replace").strip() == given else None


@contextmanager
def write_files_in(folder: Path, mode: Mode) -> Iterator[None]:
    """Let the client write its caches into ``folder`` instead of the home folder, unless the user has named another.

    The user's own W&B settings are in the home folder, so online they are still read from there.

    Args:
        folder: A folder that may be written to.
        mode: ``online``, ``offline`` or ``disabled``.
    """
    wanted = {"WANDB_CACHE_DIR": folder / "cache", "WANDB_DATA_DIR": folder / "data"}
    if mode != "online":
        wanted["WANDB_CONFIG_DIR"] = folder / "config"
    added = {name: str(path) for name, path in wanted.items() if name not in os.environ}
    # Reports about the client itself would delay the end of the process while their server does not answer.
    defaults = {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
    added |= {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def mend_links(folder: Path) -> None:
    """Let the links of the client in a run folder lead nowhere else, also where the folder is moved or copied later.

    Where several runs are open in one process, the client links the log that they share into the folder of each. Such
    links are removed. Those to files in the folder become relative; the client writes the whole path.
    """
    for path in list((folder / "wandb").rglob("*")):
        if not path.is_symlink():
            continue
        target = path.resolve()
        if not target.is_relative_to(folder.resolve()):
            path.unlink(missing_ok=True)
        elif path.readlink().is_absolute():
            path.unlink()
            path.symlink_to(os.path.relpath(target, path.parent.resolve()))
