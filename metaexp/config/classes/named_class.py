"""The kind of a value that names a class by its path. Importing this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from metaexp.config.classes.values import Kind


@dataclass(frozen=True)
class NamedClass(Kind):
    """The dotted path of a class that is imported later, so that its package must be trusted."""

    def format_allowed(self) -> str:
        """Format the allowed values."""
        return "the dotted path of a class, such as my_package.my_module.MyClass"

    def accepts(self, value: Any) -> bool:
        """Whether ``value`` is one of them."""
        return isinstance(value, str) and "." in value and all(part.isidentifier() for part in value.split("."))
