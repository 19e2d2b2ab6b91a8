"""What the tests of searches share."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture
def family(forked_family: Callable[[str, str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module ``search_runs``, trusted; trials are forked, without pictures; the current folder is empty."""
    return forked_family("search_runs", "metaexp.search.run.start")
