"""The file of test episodes reads back exactly, and damage is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from metaexp.core.errors import RunFolderError
from metaexp.results import episodes
from metaexp.results.episodes import episodes_sha256, read_episodes, write_episodes
from metaexp.results.record import Score

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


FOUND = [[0.25, 0.75]]
SCORE = Score("accuracy", 0.5, 0.1, 2)


@pytest.mark.parametrize("domains", [[], ["omniglot", "fonts"]])
def test_the_file_as_written_is_not_encoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, domains: list[str]
) -> None:
    write_episodes(tmp_path / "e.csv", FOUND, domains)
    sha256 = episodes_sha256(FOUND, domains)
    monkeypatch.delattr(episodes, "episodes_sha256")
    assert episodes.tested_episodes(tmp_path / "e.csv", SCORE, sha256) == FOUND


@pytest.mark.parametrize("domains", [[], ["omniglot", "fonts"]])
def test_other_line_ends_change_no_number(tmp_path: Path, domains: list[str]) -> None:
    """As Git makes them on some systems."""
    write_episodes(tmp_path / "e.csv", FOUND, domains)
    (tmp_path / "e.csv").write_bytes((tmp_path / "e.csv").read_bytes().replace(b"\n", b"\r\n"))
    assert episodes.tested_episodes(tmp_path / "e.csv", SCORE, episodes_sha256(FOUND, domains)) == FOUND


def test_episodes_that_have_changed_places_are_refused(tmp_path: Path) -> None:
    write_episodes(tmp_path / "e.csv", [FOUND[0][::-1]])  # their mean is the same
    with pytest.raises(RunFolderError, match=r"e\.csv was changed after the test"):
        episodes.tested_episodes(tmp_path / "e.csv", SCORE, episodes_sha256(FOUND))
