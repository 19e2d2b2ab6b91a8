"""The comment at the head of an experiment: paper, expected number, departures."""

from __future__ import annotations

from pathlib import Path

import pytest

from metaexp.config.experiment_header import departures, read_labels, stated_departures

HEADER = "# A line before any label.\n# Paper:    Somebody (2020),\n#           Table 2.\n# Departs:  two things\n"


def test_lines_that_go_on_are_joined_and_the_comment_ends_at_the_first_other_line() -> None:
    assert read_labels(f"{HEADER}defaults:\n# Command: not a part of it\n") == {
        "Paper": "Somebody (2020), Table 2.",
        "Departs": "two things",
    }
    assert read_labels("defaults:\n") == read_labels("# without a label\n") == {}


def test_an_experiment_of_ones_own_comes_before_the_shipped_one(tmp_path: Path) -> None:
    shipped = departures("maml_omniglot_5way_1shot")
    assert shipped is not None
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(HEADER)
    assert departures("mine", tmp_path) == "two things"
    assert departures("maml_omniglot_5way_1shot", tmp_path) == shipped
    with pytest.raises(FileNotFoundError):
        departures("mine")


def test_what_departs_in_nothing_and_what_is_not_an_experiment_state_nothing() -> None:
    assert departures("meta_lstm_mini_imagenet_5way_1shot")
    assert stated_departures("meta_lstm_mini_imagenet_5way_1shot") == ""
    assert stated_departures("mine") == stated_departures(None) == ""
    assert stated_departures("maml_omniglot_5way_1shot") == departures("maml_omniglot_5way_1shot")
