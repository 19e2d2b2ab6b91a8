from __future__ import annotations

import pytest

from metaexp.core.errors import ConfigError, called_in_python, first_line, name_option


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


def test_a_choice_is_named_as_the_caller_gave_it_also_after_an_error() -> None:
    @called_in_python()
    def refuse() -> None:
        raise ConfigError(name_option("--config-dir", "conf"))

    assert name_option("--config-dir", "conf") == "--config-dir conf"
    with pytest.raises(ConfigError, match="^config_dir=conf$"):
        refuse()
    assert name_option("--config-dir", "conf") == "--config-dir conf"
