"""``metaexp bench NAME``: run a script of the repository's ``benchmarks`` folder."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from metaexp.core.errors import ConfigError

SUPPORT = {"timing"}
"""Modules of the folder that benchmarks share, none themselves."""


def benchmarks_folder() -> Path:
    """The folder beside the package. Raises ConfigError for an installation without the repository."""
    folder = Path(__file__).resolve().parents[2] / "benchmarks"
    if not folder.is_dir():
        raise ConfigError(
            "metaexp bench needs the repository: benchmarks are not part of the installed package. "
            "Clone it and run `metaexp bench` from an editable install."
        )
    return folder


def names() -> list[str]:
    """The benchmarks there are."""
    return sorted(p.stem for p in benchmarks_folder().glob("*.py") if p.stem not in SUPPORT)


def run(name: str, arguments: list[str]) -> int:
    """Run benchmark ``name`` with its own command-line ``arguments`` and return its exit code."""
    known = names()
    if name not in known:
        raise ConfigError(f"{name}: there is no such benchmark. Known: {', '.join(known)}.")
    folder = benchmarks_folder()
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location(f"metaexp_benchmark_{name}", folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return int(module.main(arguments) or 0)
