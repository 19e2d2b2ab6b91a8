"""How a dataset has scaled the numbers of its file, so that new numbers can be scaled alike. Without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Doubles = npt.NDArray[np.float64]


class Scales(NamedTuple):
    """Means and deviations of the training tasks.

    Attributes:
        x: Mean and deviation of each input (D,); None where inputs are as in the file.
        y: Mean and deviation of each target (D_out,); None where targets are as in the file.
        digest: The digest of the data that they were computed from.
    """

    x: tuple[Doubles, Doubles] | None
    y: tuple[Doubles, Doubles] | None
    digest: str

    def scaled_inputs(self, x: Floats) -> Floats:
        """Return inputs (B, ..., D) as episodes have them."""
        return x if self.x is None else ((x - self.x[0]) / self.x[1]).astype("float32")

    def scaled_targets(self, y: Floats) -> Floats:
        """Return targets (B, D_out) as episodes have them."""
        return y if self.y is None else ((y - self.y[0]) / self.y[1]).astype("float32")

    def in_units(self, outputs: Floats) -> Floats:
        """Return outputs (B, D_out) in the units of the file."""
        return outputs if self.y is None else (outputs * self.y[1] + self.y[0]).astype("float32")

    def widths_in_units(self, width: float, n_outputs: int) -> Floats:
        """Return the width of an interval in the units of the file, for each of the outputs (D_out,).

        Args:
            width: The width as episodes have targets.
            n_outputs: D_out.
        """
        import numpy as np

        widths = np.full(n_outputs, width, np.float32)
        return widths if self.y is None else (widths * self.y[1]).astype("float32")
