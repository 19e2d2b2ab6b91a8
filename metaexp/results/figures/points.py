"""When numbers are drawn as a line."""

from __future__ import annotations

FEWEST_POINTS = 3
"""Two points have no shape. Fewer than these are drawn as points, without a line between them."""
