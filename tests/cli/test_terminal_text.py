"""No verb hands a terminal what it would obey: neither from the command line, nor from files that others wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from metaexp.cli.main import VERBS, main

HOSTILE = "a\x1b[31mb\x1b]0;owned\x07c\u202ed"


def output_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """All that a command prints; it must be plain."""
    try:
        code = main(list(words))
    except SystemExit as error:  # argparse ends so
        code = int(error.code or 0)
    printed = capsys.readouterr()
    text = f"{code}\n{printed.out}{printed.err}"
    assert not [c for c in text if not (c.isprintable() or c in "\n\t")], repr(text)
    return text


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("word", [HOSTILE, f"--{HOSTILE}", f"{HOSTILE}=1"])
def test_what_a_verb_refuses_is_shown_plain(capsys: pytest.CaptureFixture[str], verb: str, word: str) -> None:
    words = [word, word] if verb == "why" else [word]
    code, _, text = output_of(capsys, verb, *words).partition("\n")
    assert code != "0"
    assert text


def test_an_unknown_verb_is_shown_plain(capsys: pytest.CaptureFixture[str]) -> None:
    assert "2\nmetaexp a\ufffd[31mb" in output_of(capsys, HOSTILE)


def test_a_path_that_is_hostile_is_shown_plain(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    run = here / HOSTILE
    run.mkdir()
    (run / "config.yaml").write_text(f"{HOSTILE!r}: [")
    for verb in ("evaluate", "reproduce", "compare", "report"):
        output_of(capsys, verb, HOSTILE)
    assert "a\ufffd[31mb" in output_of(capsys, "train", f"resume={HOSTILE}")


def test_a_configuration_file_of_others_is_shown_plain(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "conf" / "experiment").mkdir(parents=True)
    key = HOSTILE.encode("unicode_escape").decode().replace("\\x1b", "\\e").replace("\\x07", "\\a")
    (here / "conf" / "experiment" / "mine.yaml").write_text(f'# @package _global_\ntrain: {{"{key}": 1}}\n')
    assert "a\ufffd[31mb" in output_of(capsys, "train", "-cd", "conf", "experiment=mine")


def test_names_of_jobs_in_the_table_of_a_sweep_are_plain(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["dataset=sinusoid", "task=regression_5shot", "model=mlp", "tracker.wandb.group='\x1b[31ma','b\u202e'"]
    output_of(capsys, "plan", *words)
    output_of(capsys, "plan", "seed=0,1", f"tracker.wandb.project='{HOSTILE}'", *words[:3])


def test_names_of_files_of_data_are_plain(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    small = ["task.n_way=2", "task.k_shot=1", "task.n_query=1", "train.n_way=2", "train.k_shot=1", "train.n_query=1"]
    words = ["dataset=image_folder", f"dataset.folder={here / 'mine'}", "dataset.image_size=4", *small]
    for split in ("train", "val", "test"):
        for name in ("1", HOSTILE):
            folder = here / "mine" / split / f"{split}{name}"
            folder.mkdir(parents=True)
            for number in range(3):
                Image.new("L", (4, 4), len(str(folder)) + number).save(folder / f"{number}.png")
    (here / "mine" / "train" / "train1" / f"{HOSTILE}.png").write_text("no picture")
    assert "a\ufffd[31mb" in output_of(capsys, "data", *words)
