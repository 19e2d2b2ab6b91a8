"""Whether a configuration's algorithm takes a network. Importing this module does not import torch."""

from __future__ import annotations

from metaexp.config.schema import ClassSpec


def takes_network(algorithm: ClassSpec) -> bool:
    """Return whether the constructor of an algorithm takes a network. Where not, none is made.

    Args:
        algorithm: Its section of the checked configuration.
    """
    return "model" in algorithm.parameters
