"""What is said of images that were read: how some were changed, what was left out, and where values look wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from metaexp.core.counted import agreeing, counted
from metaexp.data.files.images import Read, Reading
from metaexp.data.pixels.stored_values import ValueCheck


class ReadingLog:
    """Collects what happened to the images of one dataset, or of one set of new ones.

    Args:
        place: The folder or archive of the images, for messages.
        reading: How they are read.

    Attributes:
        values: Their stored values.
    """

    def __init__(self, place: str, reading: Reading) -> None:
        self.values = ValueCheck(place, reading.value_range)
        self._treatments: Counter[str] = Counter()
        self._n_with_frames = 0

    def add(self, read: Read, name: str) -> None:
        """Count an image.

        Args:
            read: The image.
            name: The name of its file.
        """
        self.values.add(read.values, name)
        self._treatments[read.treatment] += 1
        self._n_with_frames += read.has_frames

    def lines(self) -> Iterator[str]:
        """Yield a line for each change of images, and one for files with several images."""
        total = self._treatments.total()
        for treatment, n in sorted(self._treatments.items()):
            if treatment:
                yield f"  {n} of {counted(total, 'image')} {agreeing(n, 'was')} {treatment}"
        if self._n_with_frames:
            files = counted(self._n_with_frames, "file")
            yield f"  of {files} with several images, such as animations, the first image is used"
