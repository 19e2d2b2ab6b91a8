"""What a masked array of numpy is, in whatever it comes."""

from __future__ import annotations

import numpy as np
import pytest

from metaexp.data.files.refused_values import has_masked

PAIRS = np.zeros(2, [("x", "f4"), ("y", "i8")])


@pytest.mark.parametrize(
    ("values", "masks_some"),
    [
        (np.ma.array([1, 2], mask=[False, True]), True),
        (np.ma.array([1, 2]), False),
        (np.ma.array(PAIRS, mask=[(False, False), (False, True)]), True),
        (np.ma.array(PAIRS), False),
        (np.ma.array(3.0, mask=True), True),
        ([[1.0, 2.0], [np.ma.masked, 3.0]], True),
        (([1], np.ma.array([2])), False),
        (np.ones(3), False),
        ("text", False),
        (None, False),
    ],
)
def test_masked_values_are_found(values: object, masks_some: bool) -> None:
    assert has_masked(values) is masks_some
