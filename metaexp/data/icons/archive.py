"""The published archive of icon sets: where it is, how it is fetched, and what is read from it.

It is the npm package @iconify/json in one version, pinned by its SHA-512, so that all see the same drawings. Importing
this module does not import torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from metaexp.core.errors import ConfigError, DataError
from metaexp.data.base import Progress
from metaexp.data.files.archives import open_source
from metaexp.data.files.download import Remote, download
from metaexp.data.inventory.sources import places_of
from metaexp.data.stand_in.benchmark import UNTIL_THEN

VERSION: Final = "2.2.535"
FILE: Final = f"json-{VERSION}.tgz"
SHA512: Final = (
    "9c057ad00094487c27b1be9fb29fa57ad1e5364af03b8bf306d702e81e040c71"
    "2b4107dece4ec4de725d9f0263bdee8e09f30d3b4b954f956b8276bdfcd0a65f"
)
_BYTES: Final = 104_043_282
_ADDRESSES: Final = ("npm_config_registry", "NPM_CONFIG_REGISTRY")
_MOST_BYTES: Final = 250_000_000
"""The most bytes of the JSON file of a set. The largest, fluent-emoji, has 140 MB."""


def registry() -> str:
    """Return the address of the npm registry: npm's own environment variable, or what the npm on this machine uses.

    Raises:
        ConfigError: The environment variable is not a plain web address.
        DataError: npm is not installed.
    """
    name = next((name for name in _ADDRESSES if os.environ.get(name)), None)
    address = _npms_own() if name is None else os.environ[name]
    parts = urlsplit(address)
    if parts.scheme not in ("https", "http") or not parts.hostname or "@" in parts.netloc:
        where = "npm's setting registry" if name is None else f"The environment variable {name}"
        raise ConfigError(
            f"{where} must be an address that begins with https:// or http://, without a user name or password. "
            "Correct it."
        )
    return address.rstrip("/")


def _npms_own() -> str:
    """The address that npm itself would ask."""
    npm = shutil.which("npm")
    if npm is None:
        raise DataError("npm, which knows where its packages are, is not installed.")
    try:
        asked = subprocess.run(
            [npm, "config", "get", "registry"], capture_output=True, text=True, timeout=60, check=True, cwd=os.sep
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise DataError(f"npm, which knows where its packages are, did not answer: {error}.") from error
    return asked.stdout.strip()


def find_archive(folder: Path, progress: Progress) -> Path:
    """Return the archive, fetched where it is not there.

    Every ``*.tgz`` in ``icons`` in ``paths.data``, in ``paths.data`` itself and in the user's cache folder is looked
    at, under any name.

    Args:
        folder: ``paths.data``; nothing is fetched into it where it is missing or cannot be written.
        progress: Receives a line now and then.

    Raises:
        DataError: The archive is missing and cannot be downloaded.
    """
    from metaexp.core.disk.user_cache import user_cache
    from metaexp.data.cache.place import can_write

    fetched = user_cache() / "icons"
    others = []
    for path in _candidates(folder):
        if path.stat().st_size == _BYTES and _sha512(path) == SHA512:
            return path
        others += [path] if path.parent.name == "icons" else []
    if others:
        progress(
            f"{others[0]} is not version {VERSION} of @iconify/json (SHA-512 {SHA512[:12]}...), so it is not used."
        )
    target = (folder / "icons" if can_write(folder) else fetched) / FILE
    target = target.with_stem(f"published-{target.stem}") if target.exists() else target
    try:
        download(published()._replace(url=f"{registry()}/@iconify/json/-/{FILE}"), target, progress)
    except DataError as error:
        raise DataError(
            f"The icon sets are not in {folder.absolute()}, and {error} Where the network is, npm pack "
            f"@iconify/json@{VERSION} fetches the file (104 MB); put it into {folder.absolute() / 'icons'}, or point "
            "paths.data (METAEXP_DATA) to where it is. Without npm here, set npm_config_registry to the address of a "
            f"registry. {UNTIL_THEN}"
        ) from error
    return target


def published() -> Remote:
    """Return the published archive, without its address, which is the registry's."""
    return Remote("", "", _BYTES, SHA512)


def archive_here(folder: Path) -> Path | None:
    """Return the first file that has the size of the archive, unread; None if there is none.

    Args:
        folder: ``paths.data``.
    """
    return next((path for path in _candidates(folder) if path.stat().st_size == _BYTES), None)


def _candidates(folder: Path) -> list[Path]:
    places = places_of(folder, ("icons", "."), "icons")
    return [path for place in places for path in sorted(place.glob("*.tgz")) if path.is_file()]


def read_sets(path: Path, wanted: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """Return the JSON of sets, by the names of the sets.

    Args:
        path: The archive.
        wanted: The sets to read.

    Raises:
        DataError: A set is missing, or is not an icon set.
    """
    files = {f"package/json/{name}.json": name for name in wanted}
    sets: dict[str, Mapping[str, Any]] = {}
    with open_source(path) as source:
        for file, content in source.items(files, _MOST_BYTES):
            sets[files[file]] = _parsed(content, path, file)
    missing = sorted(set(wanted) - set(sets))
    if missing:
        raise DataError(f"{path} lacks {len(missing)} of {len(wanted)} icon sets; the first is {missing[0]}.")
    return sets


def _parsed(content: bytes, path: Path, file: str) -> Mapping[str, Any]:
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: {file} is not JSON: {error}. Replace the archive by the published one.") from error
    if not isinstance(parsed, dict) or not isinstance(parsed.get("icons"), dict):
        raise DataError(f"{path}: {file} is not an icon set. Replace the archive by the published one.")
    return parsed


def _sha512(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()
