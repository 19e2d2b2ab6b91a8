"""The settings of published experiments, composed once for all tests of a process."""

from functools import cache

from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.config.schema import Settings


@cache
def published(name: str) -> Settings:
    """Return the settings of an experiment's file, without overrides."""
    return Composer().settings([f"experiment={name}"], Purpose.PLAN)
