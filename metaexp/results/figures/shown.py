"""A figure that a notebook shows."""

from __future__ import annotations

from pathlib import Path


class ShownFigure:
    """A figure as PNG. A notebook shows it.

    Args:
        name: Its name, such as ``learning_curve``.
        png: The content of the PNG file.

    Attributes:
        name: Its name.
        png: The content of the PNG file.
    """

    def __init__(self, name: str, png: bytes) -> None:
        self.name = name
        self.png = png

    def __repr__(self) -> str:
        """Name and size."""
        return f"<figure {self.name}, {len(self.png) / 1000:.0f} kB>"

    def _repr_png_(self) -> bytes:
        return self.png

    def save(self, path: str | Path) -> Path:
        """Write the PNG file.

        Args:
            path: The file, or a folder that gets ``<name>.png``.
        """
        place = Path(path) / f"{self.name}.png" if Path(path).is_dir() else Path(path)
        place.write_bytes(self.png)
        return place
