"""What the class that a section of a configuration names says of itself. Nothing of it is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metaexp.config.classes.source import class_attribute, find_class


def attribute_of(node: object, name: str) -> Any:
    """Return :func:`class_attribute` of the class that a node of a configuration names; None where there is none.

    Args:
        node: A section of a configuration, as plain values.
        name: The attribute.
    """
    target = node.get("_target_") if isinstance(node, Mapping) else None
    source = find_class(target) if isinstance(target, str) else None
    return None if source is None else class_attribute(source, name)
