"""What may stand in a mixture of datasets, as far as it is known before anything is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metaexp.config.classes.attributes import attribute_of
from metaexp.config.classes.source import derives_from, find_class
from metaexp.config.classes.values import format_nearest, format_setting

MIXTURE = "metaexp.data.mixture.dataset.Mixture"
HOW_TO_ADD = (
    "A mixture is of classification datasets whose examples have one shape. Name each in the defaults of a file of "
    "your own, such as glyphs@domains.NAME; docs/mixtures.md shows one."
)


def wrong_domains(dataset: Any) -> dict[str, str]:
    """Find the domains of a mixture that are not classification datasets.

    A name that is nearly that of another domain is left out: it is taken for a mistyped one.

    Args:
        dataset: The section ``dataset`` of a configuration, as plain values.

    Returns:
        The name of each -> a sentence on what is wrong, and what is allowed; empty if ``dataset`` is not a mixture.
    """
    domains = dataset.get("domains") if isinstance(dataset, Mapping) else None
    if not isinstance(domains, Mapping) or not _is_mixture(dataset):
        return {}
    named = [name for name, node in domains.items() if isinstance(node, Mapping) and "_target_" in node]
    found = {name: _problem(f"dataset.domains.{name}", str(name), node, named) for name, node in domains.items()}
    return {name: f"{problem} {HOW_TO_ADD}" for name, problem in found.items() if problem}


def _problem(key: str, name: str, node: Any, named: list[str]) -> str:
    if not isinstance(node, Mapping):
        return f"{key}={format_setting(node)} is not a dataset."
    if "_target_" not in node:
        return "" if format_nearest(name, named) else f"{key}={format_setting(node)} has no _target_ of a dataset."
    if _is_mixture(node):
        return f"{key} is a mixture itself."
    kind = attribute_of(node, "kind")
    return f"{key} is for {kind}." if kind not in (None, "classification") else ""


def _is_mixture(node: Mapping[Any, Any]) -> bool:
    target = node.get("_target_")
    source = find_class(target) if isinstance(target, str) else None
    return source is not None and derives_from(source, MIXTURE)
