"""Make the page of what ``import metaexp as mx`` offers, from the names that the package exports."""

from __future__ import annotations

import metaexp

_SECTIONS = {
    "Train, load and compare": ("metaexp.api", "metaexp.folders", "metaexp.results"),
    "Predict": ("metaexp.run",),
    "Algorithms, networks and data of your own": ("metaexp.core", "metaexp.models", "metaexp.data"),
}
"""Title -> the modules, or the rooms, whose names it has."""


def page() -> str:
    """Return the page in Markdown: each exported name by its own entry, under ``metaexp.NAME``.

    Raises:
        ValueError: A name belongs to no section.
    """
    left = {name: module for module, names in metaexp._PLACES.items() for name in names}
    parts = [
        "# metaexp\n\nWhat `import metaexp as mx` offers. `mx.__version__` is the version.\n",
        "::: metaexp.api\n    options:\n      members: false\n      show_root_heading: false\n",
    ]
    for title, places in _SECTIONS.items():
        parts.append(f"## {title}\n")
        for name in [name for name, module in left.items() if f"{module}.".startswith(tuple(f"{p}." for p in places))]:
            parts.append(f"::: metaexp.{name}\n    options:\n      heading_level: 3\n")
            del left[name]
    if left:
        raise ValueError(
            f"{', '.join(left)}: no section of docs/_site/names.py has {'it' if len(left) == 1 else 'them'}."
        )
    return "\n".join(parts)
