"""Where a learner comes from, for what is said of it."""

from __future__ import annotations

from typing import NamedTuple


class LearnerOrigin(NamedTuple):
    """Where a learner comes from.

    Attributes:
        algorithm: The file of the algorithm, such as ``maml``.
        model: The file of the network, such as ``conv4``; ``none`` where the algorithm takes none.
        weights: What the weights are called, such as ``outputs/RUN after 400 steps``.
        weights_sha256: Their SHA-256, hex.
    """

    algorithm: str
    model: str
    weights: str
    weights_sha256: str
