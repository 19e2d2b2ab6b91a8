"""How much memory belongs to this process alone, while something runs."""

from __future__ import annotations

import threading
from pathlib import Path


class Peak:
    """The most memory that belonged to this process alone within a block, in MB, looked at every 20 ms."""

    def __enter__(self) -> Peak:
        """Begin to look."""
        self.before = self.most = own_mb()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Look for the last time."""
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.02):
            self.most = max(self.most, own_mb())


def own_mb() -> float:
    """The memory that belongs to this process alone, in MB; 0 elsewhere than on Linux."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:")) / 1e3
