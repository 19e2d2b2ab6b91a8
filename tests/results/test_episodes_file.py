"""The file of test episodes reads back exactly, and damage is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from metaexp.core.errors import RunFolderError
from metaexp.results.episodes import read_episodes, write_episodes

VALUES = [[0.2, 1 / 3, 1e-300], [0.9866666793823242, 1.0, float("inf")]]


def test_numbers_read_back_as_the_same_float64(tmp_path: Path) -> None:
    write_episodes(tmp_path / "e.csv", VALUES)
    assert read_episodes(tmp_path / "e.csv") == VALUES
    assert (tmp_path / "e.csv").read_text().splitlines()[:2] == ["episode,after_0,after_1", "0,0.2,0.9866666793823242"]


@pytest.mark.parametrize(
    "damage", ["", "episode,other\n0,1\n", "episode,after_0\n1,0.5\n", "episode,after_0\n0,x\n", "episode,after_0\n0\n"]
)
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    (tmp_path / "e.csv").write_text(damage)
    with pytest.raises(RunFolderError, match=r"e\.csv is damaged"):
        read_episodes(tmp_path / "e.csv")


def test_a_missing_file_means_that_the_run_was_not_tested(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="was not tested"):
        read_episodes(tmp_path / "e.csv")


def test_results_of_different_length_are_a_bug(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="zip"):
        write_episodes(tmp_path / "e.csv", [[0.1], [0.1, 0.2]])
