"""``metaexp data list``, ``show``, ``verify`` and ``prepare``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from metaexp.cli.completion import complete
from metaexp.cli.main import main

CONF = Path(__file__).parents[2] / "conf" / "dataset"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml"))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("METAEXP_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def rows(text: str) -> dict[str, str]:
    return {line.split()[0]: line for line in text.splitlines()[1:] if line and line.split()[0] in NAMES}


def without_time(text: str) -> list[str]:
    """The lines, those of the commands to go on with by their words."""
    lines = [line for line in text.splitlines() if not line.startswith("  loaded in")]
    return [" ".join(sorted(line.split())) if line.startswith("  metaexp") else line for line in lines]


def test_the_list_has_every_dataset_and_says_where_its_files_are_or_what_to_do(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(data / "arrays.npz", x=np.zeros((6, 3), np.float32), y=np.arange(6) // 2)
    assert main(["data", "list"]) == 0
    text = capsys.readouterr().out
    found = rows(text)
    assert sorted(found) == NAMES
    assert str(data / "arrays.npz") in found["arrays"]
    assert "metaexp data prepare omniglot fetches it: 14 MB" in found["omniglot"]
    assert "by hand" in found["mini_imagenet"]
    assert "computed" in found["glyphs"]
    assert found["learn2learn"].endswith("metaexp data show learn2learn")
    assert found["cub"].endswith("until then dataset.stand_in=true")
    assert "regression" in found["sinusoid"]
    assert "can be fetched" in found["mixture"]
    assert "metaexp data prepare mixture fetches omniglot (14 MB)" in found["mixture"]
    assert "fixed test episodes" in found["omniglot_challenge"]
    assert f"paths.data is {data}." in text


@pytest.mark.parametrize("width", [80, 100, 200])
def test_on_a_terminal_no_line_of_the_list_is_wider_than_it_and_a_dataset_takes_few_lines(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr("metaexp.core.terminal_text.terminal_width", lambda: width)
    assert main(["data", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = lines[: lines.index("")]
    assert [line for line in table if len(line) > width] == []
    assert table[0].split()[:4] == ["dataset", "kind", "files", "size"]
    assert len(table) <= 2 * (len(NAMES) + 1) + 2 * (width < 200)  # a mixture may need one line more


def test_the_list_makes_nothing_and_imports_no_torch_and_opens_no_connection(data: Path) -> None:
    script = (
        "import socket, sys\n"
        "def refuse(*_): raise AssertionError('a connection')\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse\n"
        "from metaexp.cli.main import main\n"
        "code = main(['data', 'list'])\n"
        "print(code, sorted({'torch', 'PIL', 'matplotlib', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.splitlines()[-1] == "0 []"
    assert list(data.iterdir()) == []


def test_a_dataset_of_ones_own_that_is_not_trusted_is_listed_with_the_reason(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "conf" / "dataset").mkdir(parents=True)
    (tmp_path / "conf" / "dataset" / "mine.yaml").write_text("_target_: somebodys.Code\n")
    assert main(["data", "list", "--config-dir", str(tmp_path / "conf")]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("mine"))
    assert "somebodys.Code" in line


@pytest.mark.parametrize("name", ["icons", "omniglot", "cifar_fs"])
def test_what_fetches_a_dataset_is_said_once_and_with_its_name(
    data: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["data", "show", name]) == 0
    out = capsys.readouterr().out
    assert f"Its files are not here. metaexp data prepare {name} fetches it: " in out
    assert out.count("metaexp data prepare") == 1
    assert main(["data", "verify", name]) == 3
    assert f"metaexp data prepare {name} fetches it: " in capsys.readouterr().err


def test_show_says_source_licence_and_what_to_do_without_fetching(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "show", "omniglot"]) == 0
    text = capsys.readouterr().out
    assert "source:  Lake, Salakhutdinov & Tenenbaum, 2015" in text
    assert "licence: MIT" in text
    assert "train:   1,100 classes, 20 examples in the smallest" in text
    assert "Its files are not here. metaexp data prepare omniglot fetches it" in text
    assert "dataset.stand_in=true" in text
    assert list(data.iterdir()) == []


def test_show_describes_and_draws_what_is_here(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = ["dataset.train_classes=6", "dataset.val_classes=5", "dataset.test_classes=5"]
    assert main(["data", "show", "glyphs", *overrides, "--figure", str(tmp_path / "g.png")]) == 0
    text = capsys.readouterr().out
    assert "licence: That of metaexp (MIT)." in text
    assert "digest:" in text
    assert (tmp_path / "g.png").read_bytes().startswith(b"\x89PNG")


def test_every_shipped_dataset_has_a_card_and_says_which_files_it_reads(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "list"]) == 0
    for name, line in rows(capsys.readouterr().out).items():
        assert " ? " not in line, line
        if "computed" in line or name == "fonts":
            continue
        assert main(["data", "show", name]) == 0
        assert "source:" in capsys.readouterr().out


def test_prepare_does_what_data_does_and_notes_digests_that_verify_compares(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = np.arange(90, dtype=np.float32).reshape(30, 3), np.arange(30) // 2
    np.savez(data / "mine.npz", x=x, y=y)
    chosen = ["dataset.file=mine.npz", "task.n_way=2", "task.n_query=1", "model=mlp"]
    assert main(["data", "dataset=arrays", *chosen]) == 0
    before = without_time(capsys.readouterr().out)
    assert main(["data", "prepare", "arrays", *chosen]) == 0
    printed = capsys.readouterr()
    assert without_time(printed.out) == before
    assert "next:" in printed.out
    assert "arrays.sha256, for `metaexp data verify arrays`" in printed.err
    assert main(["data", "verify", "arrays", *chosen]) == 0
    assert "1 file is as noted" in capsys.readouterr().out
    np.savez(data / "mine.npz", x=x + 1, y=y)
    assert main(["data", "verify", "arrays", *chosen]) == 3
    assert f"{data / 'mine.npz'} changed since" in capsys.readouterr().err


def test_a_mixture_is_described_and_drawn_domain_by_domain(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    glyphs = [f"dataset.domains.glyphs.{key}=6" for key in ("train_classes", "val_classes", "test_classes")]
    made_up = ["dataset.stand_in=true", "dataset.domains.omniglot.stand_in_images=2"]
    assert main(["data", "dataset=mixture", *made_up, *glyphs, "--figure", str(tmp_path / "m.png")]) == 0
    text = capsys.readouterr().out
    assert "glyphs:   6 / 6 / 6 classes, 20 or more examples each" in text
    assert "omniglot: 1100 / 100 / 423 classes, 2 or more examples each" in text
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")


def test_verify_of_a_damaged_cache_names_it_and_ends_with_code_3(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["dataset.train_classes=6", "dataset.val_classes=5", "dataset.test_classes=5"]
    assert main(["data", "prepare", "glyphs", *chosen]) == 0
    assert main(["data", "verify", "glyphs", *chosen]) == 0
    assert "glyphs: nothing is damaged." in capsys.readouterr().out
    (file,) = (data / "cache").glob("glyphs-*.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 255
    file.write_bytes(content)
    assert main(["data", "verify", "glyphs", *chosen]) == 3
    assert str(file) in capsys.readouterr().err


def test_verify_of_missing_files_says_what_to_do(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "verify", "cub"]) == 3
    assert "files of cub are not here. CUB is not in" in capsys.readouterr().err


def test_verify_of_what_is_computed_says_so(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "verify", "sinusoid"]) == 0
    assert "sinusoid: there are no files, since it is computed." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show"], "show: which dataset? Write `metaexp data show NAME`. Known: arrays"),
        (["verify", "omniglt"], "verify: there is no dataset omniglt. Did you mean omniglot?"),
    ],
)
def test_a_word_without_a_known_dataset_is_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", *words]) == 2
    assert message in capsys.readouterr().err


def test_words_and_names_are_completed() -> None:
    assert complete("metaexp data ver") == ["verify"]
    assert "prepare" in complete("metaexp data ")
    assert complete("metaexp data show omniglot_") == ["omniglot_challenge"]
    assert "dataset=" in complete("metaexp data da")
