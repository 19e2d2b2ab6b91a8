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
        self._with_bytes_left: list[str] = []

    def add(self, read: Read, name: str) -> None:
        """Count an image.

        Args:
            read: The image.
            name: The name of its file.
        """
        self.values.add(read.values, name)
        self._treatments[read.treatment] += 1
        self._n_with_frames += read.has_frames
        if read.has_bytes_left:
            self._with_bytes_left.append(name)

    def lines(self) -> Iterator[str]:
        """Yield a line for each change of images, one for files with several, and one for those that may be damaged."""
        total = self._treatments.total()
        for treatment, n in sorted(self._treatments.items()):
            if treatment:
                yield f"  {n} of {counted(total, 'image')} {agreeing(n, 'was')} {treatment}"
        if self._n_with_frames:
            files = counted(self._n_with_frames, "file")
            yield f"  of {files} with several images, such as animations, the first image is used"
        if self._with_bytes_left:
            files = counted(len(self._with_bytes_left), "JPEG file")
            have = agreeing(len(self._with_bytes_left), "has")
            yield (
                f"  Warning: {files} {have} more data than the image needs. A damaged file can be like that. "
                f"The first is {self._with_bytes_left[0]}: look whether it shows what it should."
            )
