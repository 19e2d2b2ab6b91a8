"""Annotations of constructor arguments that say which values are possible.

The configuration is checked against these names before anything is imported, so they are the schema of
every algorithm, model, dataset, optimiser schedule and clip: ``inner_lr: PositiveFloat``.
"""

from __future__ import annotations

PositiveInt = int
"""An integer >= 1."""
NonNegativeInt = int
"""An integer >= 0."""
PositiveFloat = float
"""A finite number > 0."""
NonNegativeFloat = float
"""A finite number >= 0."""
Fraction = float
"""A number in [0, 1]."""
ClassPath = str
"""The dotted path of a class that will be imported. It must be of metaexp, or of a package that the user trusts."""

RANGES: dict[str, tuple[type, str]] = {
    "PositiveInt": (int, ">= 1"),
    "NonNegativeInt": (int, ">= 0"),
    "PositiveFloat": (float, "> 0"),
    "NonNegativeFloat": (float, ">= 0"),
    "Fraction": (float, "between 0 and 1"),
}
"""Name -> (type, the range in words), for messages and for the check itself."""
