"""What other ranks warn of is shown once, by the first of them, with their numbers."""

from __future__ import annotations

import warnings

import pytest

from metaexp.machine.silence import KeptWarnings, keep_warnings


def test_the_first_shows_warnings_of_others_once_and_says_whose(capsys: pytest.CaptureFixture[str]) -> None:
    ranks = [KeptWarnings(rank, 3) for rank in range(3)]
    assert ranks[0].hear("UserWarning", "seen by 0", "a.py:1")
    for number in (1, 2):
        assert not ranks[number].hear("UserWarning", "seen by 1", "a.py:1")
        assert not ranks[number].hear("RuntimeWarning", f"a constant\nclass {number}", "b.py:2")
        assert not ranks[number].hear("RuntimeWarning", f"a constant\nclass {number + 4}", "b.py:9")
    ranks[2].hear("UserWarning", "alone", "c.py:3")
    given = [rank.take() for rank in ranks]
    for rank in ranks:
        rank.show(given)
    assert capsys.readouterr().err.splitlines() == [
        "warning of ranks 1, 2 of 3: b.py:2: RuntimeWarning: a constant class 1",
        "warning of rank 2 of 3: c.py:3: UserWarning: alone",
    ]
    ranks[1].hear("UserWarning", "alone", "c.py:3")
    ranks[0].show([rank.take() for rank in ranks])
    assert capsys.readouterr().err == ""
    assert not ranks[0].hear("UserWarning", "alone", "c.py:3"), "it was shown for rank 2"
    assert ranks[0].hear("UserWarning", "another", "c.py:3")


def test_a_rank_keeps_a_bounded_number_of_warnings() -> None:
    rank = KeptWarnings(1, 2)
    for number in range(100):
        rank.hear("UserWarning", "word " * number, "a.py:1")
    assert len(rank.take()) == 20
    assert rank.take() == []


@pytest.mark.parametrize("rank", [0, 1])
def test_pythons_warnings_are_kept_and_those_of_the_first_rank_shown(rank: int) -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with keep_warnings(rank, 2) as kept:
            warnings.warn("of this rank", stacklevel=1)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.warn("ignored on purpose", stacklevel=1)
        warnings.warn("of later", stacklevel=1)
    assert [str(one.message) for one in shown] == (["of this rank"] if rank == 0 else []) + ["of later"]
    texts = [text for _, text in kept.take()]
    assert [text.partition(": ")[2] for text in texts] == (["UserWarning: of this rank"] if rank else [])
