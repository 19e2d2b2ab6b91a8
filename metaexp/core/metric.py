"""The metric of a kind of task. Without torch."""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """The metric of a kind of task.

    Attributes:
        name: ``accuracy`` or ``mse``.
        larger_is_better: Whether a larger value is better.
    """

    name: str
    larger_is_better: bool

    @classmethod
    def of(cls, n_way: int) -> Metric:
        """Return accuracy for classification, mean squared error for regression (``n_way`` 0)."""
        return cls("accuracy", True) if n_way else cls("mse", False)

    def is_better(self, new: float, old: float) -> bool:
        """Whether ``new`` is strictly better than ``old``, so that the earlier one of two equal values stays."""
        return new > old if self.larger_is_better else new < old

    @property
    def validation(self) -> str:
        """Its name among the scalars of a run, measured on validation tasks."""
        return f"val/{self.name}"
