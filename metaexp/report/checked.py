"""What was tested again before a row is shown, and how a page says it. Without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from metaexp.core.counted import agreeing, counted

ALL, FIRST = "all episodes", "the first episodes"
"""How a row is found by its check."""


class Checked(NamedTuple):
    """A test of weights that gave the recorded number.

    Attributes:
        n_tested: How many episodes were tested, from the first one on.
        n_episodes: How many episodes the number is the mean of.
        finished: When, UTC, ISO 8601.
        version: The version of metaexp.
        sources: The SHA-256 (hex) of its source files.
        torch: The version of torch.
    """

    n_tested: int
    n_episodes: int
    finished: str
    version: str
    sources: str
    torch: str

    @property
    def is_whole(self) -> bool:
        """Whether all episodes were tested."""
        return self.n_tested == self.n_episodes


def format_checked(checks: Sequence[Checked]) -> str:
    """Return how many episodes were tested: for all seeds of a row, or for each number of episodes.

    Args:
        checks: The check of each seed.
    """
    said: dict[str, int] = {}
    for check in checks:
        n = check.n_tested
        first = f"first {n:,} of {counted(check.n_episodes, 'episode')} {agreeing(n, 'agrees')}"
        text = f"{counted(n, 'episode')} tested again" if check.is_whole else first
        said[text] = said.get(text, 0) + 1
    if len(said) == 1:
        return next(iter(said)) + (", for each seed" if len(checks) > 1 else "")
    return "; ".join(f"{counted(n, 'seed')}: {text}" for text, n in said.items())


def format_when(checks: Sequence[Checked]) -> str:
    """Return when, and by which versions, the seeds of a row were tested again.

    Args:
        checks: The check of each seed.
    """
    days = sorted(f"{check.finished[:10]} {check.finished[11:16]}" for check in checks)
    span = days[0] if days[0] == days[-1] else f"from {days[0]} to {days[-1]}"
    versions = dict.fromkeys(
        f"metaexp {check.version} (sources {check.sources[:12]}) and torch {check.torch}" for check in checks
    )
    return f"tested again {span} UTC by {'; '.join(versions)}"


def found_by(checks: Sequence[Checked]) -> list[str]:
    """Return the values of the filter by which a row is found.

    Args:
        checks: The check of each seed.
    """
    return [ALL if all(check.is_whole for check in checks) else FIRST] if checks else []
