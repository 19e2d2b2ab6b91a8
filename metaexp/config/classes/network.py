"""Whether a configuration's algorithm takes a network. Importing this module does not import torch."""

from __future__ import annotations

from metaexp.config.schema import ClassSpec
from metaexp.results.beginning import NO_NETWORK


def takes_network(algorithm: ClassSpec) -> bool:
    """Return whether the constructor of an algorithm takes a network. Where not, none is made.

    Args:
        algorithm: Its section of the checked configuration.
    """
    return "model" in algorithm.parameters


def network_name(algorithm: ClassSpec, chosen: str) -> str:
    """Return what records call the network: the file or class chosen, or ``none`` where the algorithm takes none.

    Args:
        algorithm: Its section of the checked configuration.
        chosen: The file or class of the network.
    """
    return chosen if takes_network(algorithm) else NO_NETWORK
