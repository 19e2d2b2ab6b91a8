"""What the tests of sweeps share."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture
def family(forked_family: Callable[[str, str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module ``sweep_runs``, trusted; workers are forked, without pictures; the current folder is empty."""
    return forked_family("sweep_runs", "metaexp.sweep.run.start")
