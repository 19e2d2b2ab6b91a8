"""The source files of the user's own code that a run used, by name and digest."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from metaexp.core.counted import listed
from metaexp.core.disk.files import read_regular
from metaexp.results.beginning import OwnCodeRecord
from metaexp.results.record import RunRecord

CODE = "code"
"""The folder of copies, in a run folder."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


def source_files(own: OwnCodeRecord | None, folder: Path | None = None) -> dict[str, str]:
    """Return source file -> SHA-256 (hex).

    Args:
        own: What the record of a run says about its own code.
        folder: The run folder, whose copies are read where an older record does not name the files.

    Returns:
        The files; empty where there are none, or nothing is known about them.

    Raises:
        RunFolderError: A copy is a link or another special file.
    """
    if own is None:
        return {}
    if own.files or folder is None or not _DIGEST.fullmatch(own.digest):
        return dict(own.files)
    return copied_files(folder, own.digest[:12])


def copied_files(folder: Path, digest: str) -> dict[str, str]:
    """Return source file -> SHA-256 (hex) of the copies that a run folder has of one version of the user's own code.

    Args:
        folder: The run folder.
        digest: The first 12 digits of the digest of the version.

    Raises:
        RunFolderError: A copy is a link or another special file.
    """
    copies = folder / CODE / digest
    paths = sorted(path for path in copies.rglob("*") if path.is_symlink() or not path.is_dir())
    return {path.relative_to(copies).as_posix(): hashlib.sha256(read_regular(path)).hexdigest() for path in paths}


def codes_used(record: RunRecord) -> list[str]:
    """Return the first 12 digits of the digest of the user's own code; several where a resume had other code."""
    used = [code for resume in record.inexact_resumes for code in (resume.own_code_before, resume.own_code)]
    if not used and record.own_code is not None:
        used = [record.own_code.digest[:12]]
    return list(dict.fromkeys(code for code in used if code is not None))


def inexact_resumes(record: RunRecord) -> dict[str, str]:
    """Return what changed at each resume that was not bit for bit; the key says at which step."""
    return {f"resumed after step {made.step:,}": "; ".join(made.changed) for made in record.inexact_resumes}


def differing_files(first: Mapping[str, str], second: Mapping[str, str]) -> list[str]:
    """Return the names of the files that differ, or that only one side has; none where one side is not known.

    Args:
        first: Digest of each file, by its name.
        second: The same of the other side.
    """
    if not first or not second:
        return []
    return sorted(name for name in {**first, **second} if first.get(name) != second.get(name))


def changed_files(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the names of the files that both sides have and that are not the same.

    Args:
        then: Digest of each file, by its name.
        now: The same of today.
    """
    return sorted(name for name in then if name in now and then[name] != now[name])


def format_edited(files: list[str]) -> str:
    """Return a line that says that a number or a prediction is not of the code that was trained.

    Args:
        files: The files that were edited since.
    """
    return f"not what was trained: your own code was edited since ({listed(files, 3)})"
