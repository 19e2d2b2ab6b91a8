"""Tab completion: what a word can become, and that the shells take the scripts."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from metaexp.cli.completion import SCRIPTS, complete
from metaexp.cli.main import VERBS, main

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("metaexp tra", ["train"]),
        ("metaexp w", ["watch", "why", "wandb-sweep"]),
        ("metaexp train algorithm=ma", ["maml", "maml_plus_plus", "matching_net"]),
        ("metaexp train +experiment=oracle_sin", ["oracle_sinusoid"]),
        ("metaexp train -m algorithm=maml,rep", ["maml,reptile"]),
        ("metaexp train algo", ["algorithm="]),
        ("metaexp train train.st", ["train.steps="]),
        ("metaexp train algorithm=maml algorithm.inner_lr", ["algorithm.inner_lr="]),
        ("metaexp train algorithm.inner_l", []),
        ("metaexp ls --so", ["--sort"]),
        ("metaexp compare outputs/x --pa", ["--paper"]),
        ("metaexp report --he", ["--help"]),
        ("metaexp nothing --he", []),
        ("metaexp data --pi", []),
        ("metaexp completion f", ["fish"]),
        ("metaexp show out", []),
        ("metaexp nothing x=", []),
        ("metaexp train 'unfinished", []),
        ("metaexp train ../x=", []),
        ("met", []),
        ("", []),
    ],
)
def test_a_word_becomes_what_fits(line: str, found: list[str]) -> None:
    got = complete(line)
    word = line.rpartition(" ")[2]
    assert sorted(text[text.rfind("=") + 1 :] if word.rstrip(".").count("=") else text for text in got) == sorted(found)


@pytest.mark.parametrize("verb", VERBS)
def test_the_options_of_every_verb_are_those_of_its_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(SystemExit):
        assert main([verb, "--help"]) == 0
    shown = re.findall(r"^  (?:-\w+(?: \S+)?, )?(--[a-z][\w-]*)", capsys.readouterr().out, re.MULTILINE)
    assert shown
    assert complete(f"metaexp {verb} --") == sorted(set(shown))


def test_a_new_word_can_be_any_group_or_key() -> None:
    got = complete("metaexp train ")
    assert {"algorithm=", "experiment=", "seed=", "train.steps=", "eval.episodes="} <= set(got)
    assert "defaults=" not in got
    assert complete("metaexp ") == list(VERBS)


def test_files_of_the_users_own_are_choices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "algorithm").mkdir()
    (tmp_path / "algorithm" / "my_method.yaml").write_text("_target_: a.B\nrate: 0.1\nnested:\n  deep: 5 # words\n")
    assert complete(f"metaexp train --config-dir {tmp_path} algorithm=my") == ["algorithm=my_method"]
    assert complete(f"metaexp train --config-dir={tmp_path} algorithm=my_method algorithm.n") == [
        "algorithm.nested.deep="
    ]
    assert complete("metaexp train algorithm=my") == []
    monkeypatch.setenv("METAEXP_CONFIG_DIR", str(tmp_path))
    assert complete("metaexp train algorithm=my") == ["algorithm=my_method"]
    monkeypatch.setenv("METAEXP_CONFIG_DIR", str(tmp_path / "nowhere"))
    assert complete("metaexp train algorithm=my") == []


def test_the_verb_prints_scripts_and_completions(capsys: pytest.CaptureFixture[str]) -> None:
    for shell, script in SCRIPTS.items():
        assert main(["completion", shell]) == 0
        assert capsys.readouterr().out == script
    assert main(["completion", "--complete", "metaexp train dataset=cifar"]) == 0
    assert capsys.readouterr().out == "dataset=cifar_fs\n"
    with pytest.raises(SystemExit):
        main(["completion"])
    assert "give a shell: bash, zsh, fish" in capsys.readouterr().err


@pytest.mark.parametrize("shell", SCRIPTS)
def test_each_shell_reads_its_script(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(SCRIPTS[shell])
    subprocess.run([shell, "-n", str(script)], check=True)


def test_bash_completes_behind_an_equals_sign(tmp_path: Path) -> None:
    """As bash calls the function, with a command of the name metaexp that is this one."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    (tmp_path / "metaexp").write_text(f'#!/bin/sh\nexec {sys.executable} -m metaexp "$@"\n')
    (tmp_path / "metaexp").chmod(0o755)
    lines = ["metaexp train algorithm=re", "metaexp train tra", "metaexp show out"]
    calls = "\n".join(
        f"COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; compopt() {{ :; }}; _metaexp; echo \"[${{COMPREPLY[*]}}]\""
        for line in lines
    )
    script = f'export PATH="{tmp_path}:$PATH" PYTHONPATH="{ROOT}"\n{SCRIPTS["bash"]}\n{calls}\n'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    replies = done.stdout.splitlines()
    assert replies[0] == "[relation_net reptile]"
    assert "train.steps=" in replies[1]
    assert replies[2] == "[]"


def test_completing_reads_no_yaml_library(tmp_path: Path) -> None:
    code = (
        "import sys; from metaexp.cli.completion import complete; assert complete('metaexp train al')\n"
        "assert not {'yaml', 'hydra', 'torch', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
