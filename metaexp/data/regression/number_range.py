"""Ranges given as two numbers in a configuration. Importing this module does not import torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from metaexp.core.errors import ConfigError


def number_range(key: str, value: Sequence[float], above: float = -math.inf) -> tuple[float, float]:
    """Check a range that is given as two numbers.

    Args:
        key: The key in the dataset's section, for messages.
        value: [lowest, highest].
        above: What both must be greater than.

    Returns:
        (lowest, highest).

    Raises:
        ConfigError: The range is not two finite numbers, the smaller first.
    """
    numbers = tuple(float(number) for number in value)
    if len(numbers) == 2 and all(map(math.isfinite, numbers)) and above < numbers[0] <= numbers[1]:
        return numbers[0], numbers[1]
    limit = "" if above == -math.inf else f", both greater than {above:g}"
    raise ConfigError(
        f"dataset.{key}={list(value)} must be [lowest, highest]: two finite numbers in that order{limit}."
    )
