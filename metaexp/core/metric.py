"""What tasks are judged by. Without torch."""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """What tasks are judged by."""

    name: str
    larger_is_better: bool

    @classmethod
    def of(cls, n_way: int) -> Metric:
        """Accuracy for classification, mean squared error for regression (``n_way`` 0)."""
        return cls("accuracy", True) if n_way else cls("mse", False)

    def is_better(self, new: float, old: float) -> bool:
        """Strictly, so that of equals the earlier one stays."""
        return new > old if self.larger_is_better else new < old

    @property
    def validation(self) -> str:
        """Its name among the scalars of a run, measured on validation tasks."""
        return f"val/{self.name}"
