"""The shape of a task, without torch.

Legend of axes, used in every docstring of the project:
T tasks, N ways (classes of a task), K shots (support examples per class), Q queries per class,
S = N * K support examples, M = N * Q query examples. In regression there are no classes: S = K, M = Q.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class TaskShape(NamedTuple):
    """Ways, shots and queries of a task. ``n_way=0`` means regression."""

    n_way: int
    k_shot: int
    n_query: int

    @property
    def n_support(self) -> int:
        """S, the number of support examples."""
        return max(self.n_way, 1) * self.k_shot

    @property
    def n_queries(self) -> int:
        """M, the number of query examples."""
        return max(self.n_way, 1) * self.n_query


def trains_on_batches(training_tasks: str | None, n_way: int) -> bool:
    """Whether training goes over batches of examples of all training classes, and not over tasks.

    Args:
        training_tasks: The algorithm's, see :attr:`metaexp.core.algorithm.Algorithm.training_tasks`.
        n_way: Of the training tasks. In regression there are no classes, so every algorithm trains on tasks.
    """
    return training_tasks == "supervised" and n_way > 0


class Capacity(NamedTuple):
    """What a split can serve: its number of classes and the smallest number of examples in one."""

    n_classes: int
    per_class: int


class FixedBank(NamedTuple):
    """Test episodes that are fixed rather than drawn.

    Attributes:
        shape: Ways, shots and queries per class, which ``task`` must have.
        n_episodes: How many there are, which ``eval.episodes`` must not exceed.
    """

    shape: TaskShape
    n_episodes: int
