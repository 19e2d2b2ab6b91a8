"""Tiny runs that many tests begin with: each is trained once in a process, and every test gets a copy of its own."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Hashable
from pathlib import Path

NAME_PLACES = ("config.yaml", "hydra.yaml", "run.log")
"""The files that name the folder of the outputs. The record, which has a digest, names it in what decides nothing."""


class KeptRuns:
    """Runs that were trained here.

    Args:
        place: A folder for them.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self._kept: dict[Hashable, Path] = {}

    def copy(self, what: Hashable, outputs: Path, train: Callable[[Path], Path]) -> Path:
        """Return the folder of a run, or of several, in ``outputs``, as if they had been trained there.

        Args:
            what: What decides the runs.
            outputs: Where they are to be.
            train: Trains them below the folder that it is given, and returns their folder.
        """
        if what not in self._kept:
            first = self.place / str(len(self._kept))
            first.mkdir()
            self._kept[what] = train(first)
        made = self._kept[what]
        first = self.place / made.relative_to(self.place).parts[0]
        folder = outputs / made.relative_to(first)
        shutil.copytree(made, folder)
        for path in itertools.chain.from_iterable(map(folder.rglob, NAME_PLACES)):
            path.write_bytes(path.read_bytes().replace(str(first).encode(), str(outputs).encode()))
        return folder
