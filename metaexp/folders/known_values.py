"""Says of the value of a filter that no run has whether it can be meant, and which name is nearest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metaexp.config.classes.values import format_nearest, format_setting
from metaexp.core.counted import listed
from metaexp.core.errors import ConfigError

_MOST_NAMED = 8
_OWN = "A file of your own counts if METAEXP_CONFIG_DIR or metaexp.toml names its folder."


def known_names() -> Mapping[str, Sequence[str]]:
    """Return group, such as ``algorithm`` -> the files that it has, with those of the user's own folder."""
    from metaexp.config.compose import Composer  # imports Hydra
    from metaexp.config.project import own_files

    try:
        config_dir = own_files(None, ()).config_dir
    except ConfigError:  # which every command that needs it says
        config_dir = None
    return Composer(config_dir).groups()


def format_unknown(key: str, value: Any, present: Sequence[Any], names: Mapping[str, Sequence[str]]) -> str:
    """Return a sentence about a value that no run has; empty if a run could have it.

    Names of files, such as those of algorithms, are known, so that another one is probably a mistake. It may also be
    one of the user's own, in a folder that only their call of ``train`` names. Other text, such as the name of a run,
    may be anything, but a number is not a text.

    Args:
        key: The key of the filter.
        value: The value of the filter.
        present: What the runs have, which is not the value.
        names: What :func:`known_names` returns.
    """
    there = [item for item in present if item is not None and not isinstance(item, Mapping)]
    shown = list(dict.fromkeys(map(format_setting, there)))
    have = f"The runs have {listed(shown, _MOST_NAMED)}." if shown else "No run has any."
    if key in names:
        if value is None or value in names[key]:
            return ""
        near = format_nearest(str(value), dict.fromkeys([*shown, *names[key]]))
        return f"{key}={format_setting(value)}: no run has it, and there is no such file of {key}.{near} {have} {_OWN}"
    is_text = isinstance(value, (str, Path))
    is_usual = any(isinstance(item, list) or isinstance(item, (str, Path)) == is_text for item in there)
    if value is None or is_usual or not there:
        return ""
    return f"{key}={value!r} is {'a text' if is_text else 'not a text'}, so no run has it. {have}"
