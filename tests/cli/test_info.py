"""``metaexp train --info`` lists the files of a configuration, and samplers of Hydra are answered with a search."""

from __future__ import annotations

from pathlib import Path

import pytest

from metaexp.cli.main import main


def test_info_lists_files_in_their_order_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "wide.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /dataset: sinusoid\ntrain: {steps: 3}\n"
    )
    given = ["experiment=wide", "debug=fast", "seed=3"]
    assert main(["train", "--config-dir", "mine", "--info", *given]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "files, looked for in mine, then metaexp; each is applied on top of those above it:"
    files = [tuple(line.split()) for line in lines if line.startswith("  ")]
    assert files[0] == ("config.yaml", "metaexp")
    assert ("dataset/sinusoid.yaml", "metaexp") in files
    assert files[-2:] == [("experiment/wide.yaml", "mine"), ("debug/fast.yaml", "metaexp")]
    assert "then the command line: experiment=wide debug=fast seed=3" in lines
    assert list(tmp_path.iterdir()) == [tmp_path / "mine"]
    assert main(["train", "--config-dir", "mine", "--info", "train.stepps=3"]) == 2


@pytest.mark.parametrize("words", [["hydra/sweeper=optuna"], ["-m", "hydra/sweeper=optuna"], ["hydra.sweeper=optuna"]])
def test_a_sampler_of_hydra_is_answered_with_a_search(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *words]) == 2
    assert "`metaexp search` lets a sampler choose values" in capsys.readouterr().err
    assert main(["train", "hydra/sweeper=basic", "--cfg", "job"]) == 0
