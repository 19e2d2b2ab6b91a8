"""What to do about labels, or names of tasks and splits, that are neither whole numbers nor text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

FOR_CLASSES: Final = "Give each class a whole number. To predict numbers, use dataset=regression_table."
FOR_NAMES: Final = "Text always works."


def label_advice(labels: Array, name: str, otherwise: str = FOR_CLASSES) -> str:
    """Return a sentence that says what to do about an array of labels that is refused.

    Args:
        labels: The array, of any shape and type.
        name: Its name.
        otherwise: What to say if no conversion is known.
    """
    import numpy as np

    kind, is_row = labels.dtype.kind, labels.ndim == 1
    if kind == "f" and not np.isfinite(labels).all():
        return f"Leave out examples where {name} is NaN or infinite."
    if is_row and (kind == "b" or (kind == "f" and np.equal(labels, np.round(labels)).all())):
        return f"Convert them: {name}.astype(int)."
    if is_row and kind == "S":
        return f"Convert them: numpy.char.decode({name})."
    if labels.ndim == 2 and labels.shape[1] == 1:
        return f"Take its only column: {name}[:, 0]."
    if labels.ndim == 2 and kind in "fbiu" and _is_one_hot(labels):
        return f"Convert its one-hot rows: {name}.argmax(1)."
    return otherwise


def _is_one_hot(labels: Array) -> bool:
    import numpy as np

    ones = np.equal(labels, 1)
    return bool((ones | np.equal(labels, 0)).all() and (ones.sum(1) == 1).all())
