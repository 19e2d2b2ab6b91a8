"""The commit of the source and the versions of packages that a run was made with. Without torch."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import metaexp
from metaexp.results.beginning import Git

PACKAGES = (
    "torch", "numpy", "pillow", "hydra-core", "omegaconf", "safetensors", "wandb", "matplotlib", "learn2learn",
)  # fmt: skip
"""Packages whose versions are recorded where they are installed."""

_WRITTEN_VERSION = re.compile(r"""^__version__\s*=\s*["']([^"']+)["']""", re.MULTILINE)


def versions() -> dict[str, str]:
    """Return name -> version of metaexp, Python, the operating system and the packages that numbers could depend on."""
    found = {
        "metaexp": metaexp.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    return found | _installed(PACKAGES)


@lru_cache(maxsize=1)
def _installed(packages: Sequence[str]) -> dict[str, str]:
    """Name -> version, for those that are there. Read once: what is imported stays what it is."""
    found = {}
    for package in packages:
        try:
            found[package] = _version(metadata.distribution(package))
        except metadata.PackageNotFoundError:
            continue
    return found


def _version(package: metadata.Distribution) -> str:
    """The version of a package; of torch with its build (``+cpu``, ``+cu130``), which its metadata may leave out."""
    try:
        own = Path(str(package.locate_file(f"{package.name}/version.py"))).read_text(encoding="utf-8")
    except OSError:
        return package.version
    written = _WRITTEN_VERSION.search(own)
    return written[1] if written is not None and written[1].startswith(f"{package.version}+") else package.version


def changed_values(then: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return a line such as ``threads was 2 and is 1`` for every value that changed, ordered by key.

    Args:
        then: The values of the run.
        here: The values of today.
    """
    keys = sorted({*then, *here})
    return [f"{key} was {then.get(key)} and is {here.get(key)}" for key in keys if then.get(key) != here.get(key)]


@lru_cache(maxsize=1)
def sources_digest() -> str:
    """Return the SHA-256 (hex) of metaexp's own source files, names and contents."""
    root = Path(metaexp.__file__).parent
    total = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        total.update(f"{path.relative_to(root).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def git_state(package: Path | None = None, tracked: str = "__init__.py") -> Git | None:
    """Return the commit of the checkout that tracks a package.

    An installed copy inside some other project's repository is not tracked there, and gives None. Dirty means:
    a tracked file differs from the commit, or a file beside the sources is not tracked.

    Args:
        package: The folder of the package; metaexp's own by default.
        tracked: A file in it that must be tracked.

    Returns:
        The commit; None where there is none.
    """
    folder = package or Path(metaexp.__file__).parent
    commit = git_commit(folder, tracked)
    if commit is None:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    beside = changed or _git(folder, "ls-files", "--others", "--exclude-standard", "--", ".")
    return Git(commit, dirty=bool(beside))


@lru_cache(maxsize=1)
def loaded_state() -> Git | None:
    """Return :func:`git_state` of metaexp's own checkout. Read once: modules in memory stay what they are.

    After a fresh clone git compares all files with the commit again at each question, which takes half a second.
    """
    return git_state()


def git_commit(package: Path | None = None, tracked: str = "__init__.py") -> str | None:
    """Return the commit alone, without a look for changes, which takes longer.

    Args:
        package: The folder of the package; metaexp's own by default.
        tracked: A file in it that must be tracked.

    Returns:
        The commit; None where there is none.
    """
    folder = package or Path(metaexp.__file__).parent
    if _git(folder, "ls-files", "--error-unmatch", "--", tracked) is None:
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    return None if commit is None else commit.strip()


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command, None where git is missing, slow or refuses."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    clean["GIT_OPTIONAL_LOCKS"] = "0"  # asking must not write to the checkout
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, env=clean, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None
