"""Configuration files that would read secrets or never end are refused, in one line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from metaexp.config.compose import Composer
from metaexp.config.interpolation_check import Reference, Resolver, expansion_problem, interpolations
from metaexp.config.purpose import Purpose
from metaexp.config.yaml_files import read_yaml, yaml_problems
from metaexp.core.errors import ConfigError

GLOBAL = "# @package _global_\n"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder, and a secret in the environment."""
    monkeypatch.setenv("SECRET_KEY", "the-secret")
    (tmp_path / "experiment").mkdir()
    return tmp_path


def problems(own: Path, text: str | bytes) -> list[str]:
    """What is said of an experiment with this text."""
    path = own / "experiment" / "mine.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as caught:
        Composer(own).settings(["experiment=mine"], Purpose.PLAN)
    assert "the-secret" not in str(caught.value)
    return caught.value.problems


SECRETS = {
    "another section": ("tracker: {wandb: {project: '${oc.env:SECRET_KEY}'}}", "only paths.* may do"),
    "a resolver by name": ("tracker: {wandb: {project: '${oc.${tracker.wandb.mode}:SECRET_KEY}'}}", "of a resolver"),
    "paths": ("paths: {data: '${oc.env:SECRET_KEY}'}", "other than METAEXP_"),
    "quotes": ("paths: {data: \"${oc.env:'SECRET_KEY'}\"}", "other than METAEXP_"),
    "spaces": ("paths: {data: '${ oc.env : SECRET_KEY }'}", "other than METAEXP_"),
    "a default": ("paths: {data: '${oc.env:METAEXP_NOT_SET,${oc.env:SECRET_KEY}}'}", "other than METAEXP_"),
    "a variable by name": ("paths: {data: '${oc.env:${paths.outputs}}'}", "other than METAEXP_"),
    "decoding": ("tracker: {wandb: {project: \"${oc.decode:'\\\\${oc.env:SECRET_KEY}'}\"}}", "oc.decode"),
    "making": ("tracker: {wandb: {project: '${oc.create:{a:b}}'}}", "oc.create, which is not allowed"),
    "a list": ("tracker: {wandb: {tags: ['${oc.env:SECRET_KEY}']}}", "only paths.* may do"),
    "inside another": ("seed: '${for_dataset:Glyphs,${oc.env:SECRET_KEY},1}'", "only paths.* may do"),
}  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_the_environment_cannot_be_read_by_a_detour(own: Path, name: str) -> None:
    text, said = SECRETS[name]
    assert said in " ".join(problems(own, f"{GLOBAL}{text}\n"))


def test_variables_of_metaexp_may_be_read_for_paths(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAEXP_SCRATCH", "here")
    (own / "experiment" / "mine.yaml").write_text(f"{GLOBAL}paths: {{outputs: '${{oc.env:METAEXP_SCRATCH}}/x'}}\n")
    settings = Composer(own).settings(["experiment=mine"], Purpose.PLAN)
    assert settings.paths.outputs == Path("here/x")


def test_an_experiment_must_apply_to_the_whole_configuration(own: Path) -> None:
    for text in ("seed: 5\n", "# a comment\n# @package _global_\nseed: 5\n".replace("# @package _global_\n", "")):
        assert "its first line must be `# @package _global_`" in problems(own, text)[0]
    assert "byte-order mark" in problems(own, b"\xef\xbb\xbf" + f"{GLOBAL}seed: 5\n".encode())[0]


def bomb(levels: int, width: int) -> str:
    """YAML of a list whose aliases expand to ``width ** levels`` items."""
    lines = ["a0: &a0 x"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * width)}]" for i in range(1, levels + 1)]
    return "\n".join(lines) + "\n"


def test_aliases_that_expand_without_end_are_refused(own: Path) -> None:
    (said,) = problems(own, GLOBAL + bomb(9, 10))
    assert "mine.yaml expands to more than 100,000 values through its aliases" in said
    path = own / "run.yaml"
    path.write_text(bomb(9, 10))
    with pytest.raises(ValueError, match="through its aliases"):
        read_yaml(path)
    path.write_text(bomb(2, 10))
    assert yaml_problems(path) == []


def test_an_alias_of_itself_is_not_a_hang(own: Path) -> None:
    path = own / "loop.yaml"
    path.write_text("a: &a [*a, *a]\n")
    assert yaml_problems(path) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
@pytest.mark.parametrize("where", ["experiment/waits.yaml", "waits.yaml", "model/deep/waits.yaml"])
def test_a_fifo_in_the_folder_is_refused_unread(own: Path, where: str) -> None:
    path = own / where
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    assert problems(own, GLOBAL) == [f"{path} is not a regular file. Remove it, or give it another name than *.yaml."]
    path.unlink()
    path.symlink_to("/dev/zero")
    assert problems(own, GLOBAL) == [f"{path} is not a regular file. Remove it, or give it another name than *.yaml."]
    path.unlink()
    Composer(own).settings(["experiment=mine"], Purpose.PLAN)


def test_a_file_of_megabytes_is_refused_unread(own: Path) -> None:
    (said,) = problems(own, GLOBAL + "# " + "x" * 40_000_000)
    assert "has 40,000,0" in said
    assert "at most 500,000" in said


@pytest.mark.parametrize("levels", [150, 300, 1_000])
def test_a_file_that_is_nested_too_deeply_is_refused(own: Path, levels: int) -> None:
    """OmegaConf refuses them somewhere between these numbers, with no word on the file; the parser somewhat later."""
    (said,) = problems(own, f"{GLOBAL}x: {'[' * levels}{']' * levels}\n")
    assert said.startswith(f"{own / 'experiment' / 'mine.yaml'} has lists or mappings inside each other too deeply.")
    assert "at most 100 levels" in said


def test_a_file_with_two_levels_less_than_may_be_is_read(own: Path) -> None:
    (said,) = problems(own, f"{GLOBAL}x: {'[' * 98}{']' * 98}\n")
    assert said.startswith("x is not a key of the configuration.")


@pytest.mark.parametrize(("encoding", "byte"), [("utf-16", "1 is 0xff"), ("latin-1", "23 is 0xe9")])
def test_a_file_that_is_not_utf_8_is_named(own: Path, encoding: str, byte: str) -> None:
    (own / "experiment" / "a.yaml").write_text(f"{GLOBAL}seed: 1\n")
    (said,) = problems(own, f"{GLOBAL}# \xe9t\xe9\nseed: 3\n".encode(encoding))
    assert said == f"{own / 'experiment' / 'mine.yaml'} is not UTF-8 text: its byte {byte}. Save it as UTF-8."


def doubling(levels: int) -> dict[str, Any]:
    return {"b0": "x"} | {f"b{i}": f"${{b{i - 1}}}${{b{i - 1}}}" for i in range(1, levels)}


BOMBS: dict[str, dict[str, Any]] = {
    "doubling": doubling(40),
    "relative": {"n": {"b0": "x"} | {f"b{i}": f"${{.b{i - 1}}}${{.b{i - 1}}}" for i in range(1, 40)}},
    "by name": {"n": {"b0": "x"} | {f"b{i}": f"${{n.${{k{i}}}}}${{n.b{i - 1}}}" for i in range(1, 40)}},
    "sections": {"c0": {"x": "y"}} | {f"c{i}": {"l": f"${{c{i - 1}}}", "r": f"${{c{i - 1}}}"} for i in range(1, 40)},
    "many": {"x": "${y}" * 2_500, "y": "1"},
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_interpolations_that_expand_without_end_are_refused(name: str) -> None:
    assert "${...}" in (expansion_problem(BOMBS[name]) or "")


def test_ordinary_interpolations_are_not() -> None:
    assert expansion_problem(doubling(8)) is None
    assert expansion_problem({"lrs": {"a": 1, "b": 2}, "lr": "${lrs.${name}}", "name": "a"}) is None


def test_a_bomb_in_an_experiment_is_refused_before_it_is_resolved(own: Path) -> None:
    lines = "\n".join(f"{key}: '{value}'" for key, value in doubling(60).items())
    assert "expands to more than 100,000 values" in problems(own, f"{GLOBAL}{lines}\n")[0]


def test_interpolations_are_read_from_the_grammar() -> None:
    assert interpolations("${a.b}/${.c}") == [Reference(0, ("a", "b")), Reference(1, ("c",))]
    assert interpolations("${oc.env:X,'y'}") == [Resolver("oc.env", ("X", "y"))]
    assert interpolations("${f.${g}}") == [Reference(0, ("f", None)), Reference(0, ("g",))]
    assert interpolations("no $ {x}") == []
