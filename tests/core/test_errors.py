from __future__ import annotations

import pytest

from metaexp.core.errors import ConfigError, first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one. Two.\nthree"), "one. Two."),
        (ConfigError(["first problem", "second problem"]), "first problem"),
        (RuntimeError("\n  after an empty line\nmore"), "after an empty line"),
        (RuntimeError(), "RuntimeError"),
        (AssertionError("\n"), "AssertionError"),
    ],
)
def test_an_error_is_named_by_its_first_line_or_its_class(error: Exception, line: str) -> None:
    assert first_line(error) == line
