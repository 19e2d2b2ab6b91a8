"""The interface of a tracker, which shows scalars and figures outside the run folder."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

_RENAMED = "picture"
"""The earlier name of ``figure``."""

Outcome = Literal["completed", "interrupted", "failed"]
"""How a run ended, in the words of its record."""


@dataclass(frozen=True)
class RunInfo:
    """What a tracker learns about a run when it starts.

    Attributes:
        folder: the run folder, which exists. A tracker that writes files writes them here.
        name: the name of the run.
        config: the resolved configuration as nested dicts.
        group: the group of runs that it belongs to, or None.
        tags: labels of the run.
        notes: what the user says about the run, or None.
        resumed_at: None for a new run, otherwise the number of training steps that were already done. Their scalars
            are in ``metrics.jsonl``.
        choices: the chosen file of each group: ``algorithm`` -> ``maml``.
        facts: what is not configuration but worth searching for: number of parameters, device, digests.
    """

    folder: Path
    name: str
    config: Mapping[str, Any]
    group: str | None = None
    tags: tuple[str, ...] = ()
    notes: str | None = None
    resumed_at: int | None = None
    choices: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


class Tracker(ABC):
    """A view of a run. It may fail at any time: the run goes on without it (see ``Trackers``).

    Constructor arguments are the keys of its YAML file. A tracker changes no number, draws no random
    number, never asks a question, and waits for a network only within a bound of its own.
    """

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Keep the earlier name of :meth:`figure` working, with a warning where a class defines it."""
        super().__init_subclass__(**keywords)
        if _RENAMED in vars(cls) and "figure" not in vars(cls):
            cls.figure = vars(cls)[_RENAMED]  # type: ignore[method-assign]
            warnings.warn(
                f"{cls.__name__} defines {_RENAMED}(), which is called figure() now. The old name still works; "
                "rename the method to figure.",
                FutureWarning,
                stacklevel=3,  # the class statement, past ABCMeta
            )

    @abstractmethod
    def start(self, run: RunInfo) -> None:
        """Open the view. Called once, before anything else."""

    @abstractmethod
    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Show ``values`` (``<split>/<quantity>`` -> number) at training step ``step``.

        Args:
            step: The training step.
            values: Numbers by name ``<split>/<quantity>``.
        """

    @abstractmethod
    def figure(self, name: str, path: Path) -> None:
        """Show the PNG file at ``path`` under ``name``.

        Args:
            name: The name of the figure.
            path: The PNG file.
        """

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:  # noqa: B027 - optional
        """Show a table. A tracker without tables does nothing.

        Args:
            name: The name of the table.
            columns: The names of its columns.
            rows: Numbers and texts, a value for each column.
        """

    @abstractmethod
    def finish(self, outcome: Outcome, summary: Mapping[str, float], artifacts: Mapping[str, Path]) -> None:
        """Close the view. Called once, last; also after a failure.

        Args:
            outcome: how the run ended.
            summary: name -> number, of the selected checkpoint.
            artifacts: name -> file worth keeping with the run.
        """
