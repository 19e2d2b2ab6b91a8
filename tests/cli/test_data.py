"""``metaexp data``: what it prints and writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from metaexp.cli.main import main


@pytest.mark.parametrize("option", ["--figure", "--picture"])  # the name of version 0.1 goes on working
def test_examples_are_drawn_into_the_file_that_is_named(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = tmp_path / "glyphs.png"
    small = ["dataset.train_classes=8", "dataset.val_classes=5", "dataset.test_classes=5"]
    assert main(["data", "dataset=glyphs", *small, "task.n_way=5", option, str(path), f"paths.data={tmp_path}"]) == 0
    assert f"  figure: {path}" in capsys.readouterr().out.splitlines()
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_help_names_the_figure_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--figure FILE.png" in text
    assert "--picture" not in text
