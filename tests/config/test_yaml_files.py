"""Files of YAML hold what OmegaConf reads in them, although a faster reader reads them."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf
from sampling import size

from metaexp.config import yaml_files
from metaexp.config.command_line.verb_options import read_verb_options
from metaexp.config.compose import Composer
from metaexp.config.yaml_files import read_mapping, read_yaml, to_yaml
from metaexp.core.errors import ConfigError, RunFolderError

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = sorted([*(ROOT / "conf").rglob("*.yaml"), *(ROOT / "docs" / "results").rglob("*.yaml")])
EVERY = size(40, 8)
TEXTS = {
    "nothing": "",
    "one text": "only",
    "a list": "[1, {a: 2}]",
    "numbers": "[1e3, 1e-5, .5, 1., 1_000, 0x1f, 0o7, 010, 1:30, -.inf, .nan, '1', 1.5e+3, .5e1, +1]",
    "truths": "{a: yes, b: 'no', c: on, d: ~, e: null, f: , g: True}",
    "keys": "{1: a, true: b, 1.5: c}",
    "dates": "a: 2001-01-01\nb: !!binary aGk=",
    "interpolations": "{a: 1, b: '${a}', c: '\\${a}', d: ???}",
    "an escaped interpolation": '{a: 1, b: "\\x24{a}"}',
    "an alias": "a: &a {b: [1]}\nc: *a\nd: {<<: *a, e: 2}",
    "an anchor in a text": "a: x & y",
    "blocks": "a: |\n  two\n  lines\nb: >-\n  one\n  line\nc: 'it''s'\n",
    "other letters": 'a: é\nü: "\\u263a \\U0001F600"\n"b c": 中\n',
    "a mark of the byte order": "\ufeffa: 1\n",
    "two documents": "a: 1\n---\nb: 2\n",
    "a key twice": "a: 1\nb: {c: 1, c: 2}\n",
    "a key that is a list": "[a, b]: 4",
    "a key that is nothing": "null: 3",
    "a set": "a: !!set {x, y}",
    "an object": "a: !!python/object/apply:os.getcwd []",
    "a name": "a: !!python/name:os.system",
    "a path": "a: !!python/object/apply:pathlib.PosixPath [b]",
    "one number": "3",
    "an alias of nothing": "a: *b",
    "an alias of itself": "a: &a [*a]",
    "an open bracket": "a: [1, 2",
    "a tab": "a:\n\t- b",
    "control characters": "a: \x07",
    "an interpolation without end": "a: ${b",
    "too deep": "a: " + "[" * 1_000 + "]" * 1_000,
}


def outcome(read: Callable[[Path], object], path: Path) -> str:
    """What a reader returns, types included, or the kind of its error."""
    try:
        return repr(read(path))
    except (OSError, ValueError):  # there is nothing to read a configuration from
        return "no configuration"
    except Exception as error:
        return type(error).__name__


def slow(path: Path) -> object:
    return OmegaConf.to_container(OmegaConf.load(path))


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_text_is_read_as_omegaconf_reads_it_or_refused_as_it_does(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    assert outcome(read_yaml, path) == outcome(slow, path)


def test_committed_files_are_read_as_omegaconf_reads_them() -> None:
    assert len(COMMITTED) > 300
    for path in COMMITTED[::EVERY]:
        assert repr(read_yaml(path)) == repr(slow(path)), path


class Level(IntEnum):
    LOW = 1


SHARED = [1, {"a": "b"}]
VALUES = {
    "scalars": {"a": 1, "b": 1e-5, "c": float("inf"), "d": True, "e": None, "f": "", "g": 10**30},
    "texts": {"a": "1e3", "b": "yes", "c": "x " * 80, "d": "two\nlines\n", "e": "\u4e2d \U0001f600", "f": "'\"", "": 1},
    "empty": {"a": {}, "b": []},
    "the same part twice": {"a": SHARED, "b": SHARED},
    "an interpolation": {"a": 1, "b": "${a}"},
    "other types": {"a": Level.LOW, "b": (1, 2), "c": Path("x"), 3: b"d"},
}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_values_are_written_as_omegaconf_writes_them(values: dict[str, Any]) -> None:
    assert to_yaml(values) == OmegaConf.to_yaml(OmegaConf.create(values))


def test_parts_that_an_alias_repeats_are_not_one_object(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(TEXTS["an alias"])
    found = read_yaml(path)
    assert isinstance(found, dict)
    assert found["a"] == found["c"]
    assert found["a"] is not found["c"]


def test_half_a_megabyte_of_brackets_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: " + "[" * 499_000)
    with pytest.raises(RecursionError):
        read_yaml(path)


def test_without_the_parser_in_c_files_are_read_by_the_one_in_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(yaml, "CSafeLoader")
    loader = yaml_files._yaml_loader()
    assert issubclass(loader, yaml.SafeLoader)
    assert yaml.load("{a: 1e3}", Loader=loader) == {"a": 1000.0}


TABS = {
    "a:\n\tb: 1\n": "2 is indented with a tab",
    "a:\n  b: 1\n \tc: 2\n": "3 is indented with a tab",
    "a: [1,\n\t2]\n": "2 is indented with a tab",
    "- a\n\t- b\n": "2 is indented with a tab",
    "a: |\n  x\n\ty\nb: 2\n": "3 is indented with a tab",
    "lr:\t0.4\n": "1 has a tab at column 4, where YAML allows only blanks",
}
READ_IN_C = ("a: [1,\n\t2]\n", "lr:\t0.4\n")
"""What the parser in C, which reads run folders, takes, and Hydra's does not."""


@pytest.mark.parametrize("text", TABS)
def test_a_tab_is_called_a_tab_wherever_a_file_is_read(text: str, tmp_path: Path) -> None:
    own = tmp_path / "conf"
    path = own / "algorithm" / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        Composer(own).settings(["algorithm=mine"])
    assert str(raised.value).startswith(f"{path}, line {TABS[text]}")
    assert "token" not in str(raised.value)
    if text not in READ_IN_C:
        with pytest.raises(RunFolderError) as damaged:
            read_mapping(path)
        assert str(damaged.value) == f"{raised.value} Restore it."
    path.write_text("a: @b\n")
    with pytest.raises(ConfigError) as other:
        Composer(own).settings(["algorithm=mine"])
    assert str(other.value).startswith(f"{path} cannot be read: "), "the control: another mistake is not called a tab"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"params:\n\tseed: [1, 2]\n", ", line 2 is indented with a tab. YAML forbids tabs for indentation"),
        (b"params: @x\n", " cannot be read: while scanning for the next token, found character"),
        (b"params: \xff\n", " is not UTF-8 text: its byte 9 is 0xff. Save it as UTF-8."),
        (b"[" * 200 + b"]" * 200, " has lists or mappings inside each other too deeply."),
    ],
)
@pytest.mark.parametrize("verb", ["sweep", "search"])
def test_the_file_of_a_verb_that_cannot_be_read_is_named(verb: str, content: bytes, said: str, tmp_path: Path) -> None:
    own = tmp_path / "conf"
    path = own / verb / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        read_verb_options(verb, [f"{verb}=mine"], Composer(own), [])
    assert str(raised.value).startswith(f"{path}{said}")


def test_a_root_file_of_ones_own_is_told_to_begin_with_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("train:\n  steps: 3\n")
    with pytest.raises(ConfigError) as raised:
        Composer(tmp_path, "mine").settings([])
    (problem,) = raised.value.problems
    assert problem.startswith("the configuration has none of the parts algorithm, clip, dataset, device, model")
    assert problem.endswith("begin it with the lines `defaults:`, `  - config` and `  - _self_`.")
    (tmp_path / "mine.yaml").write_text("defaults:\n  - config\n  - _self_\ntrain:\n  steps: 3\n")
    assert Composer(tmp_path, "mine").settings([]).train.steps == 3
