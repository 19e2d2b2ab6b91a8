"""What other ranks warn of is shown once, by the first of them, with their numbers."""

from __future__ import annotations

import logging
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import pytest
import torch

from metaexp.machine.silence import KeptWarnings, keep_warnings, show_each_warning_once


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


def test_what_differs_in_numbers_is_the_same_and_what_differs_in_names_is_not() -> None:
    process = KeptWarnings(0, 1)

    def are_new(*texts: str) -> list[bool]:
        return [process.hear("UserWarning", text, "a.py:1") for text in texts]

    assert are_new("no rule for conv1d", "no rule for conv2d", "no rule for conv1d") == [True, True, False]
    assert are_new("blocks.0.bias has no gradient", "blocks.1.bias has no gradient") == [True, True]
    assert are_new("loss of 0.5", "loss of -1e-3", "loss of .25,") == [True, False, False]
    assert are_new("at step=1 of (10)", "at step=2 of (11)", "at step=x of (11)") == [True, False, True]
    assert are_new("/tmp/a1 is new", "/tmp/a2 is new", "seen by conv2d") == [True, True, True]


def test_names_that_come_from_a_count_are_shown_a_few_times() -> None:
    process = KeptWarnings(0, 1)
    shown = [process.hear("UserWarning", f"task{number} is odd", "a.py:1") for number in range(100)]
    assert shown == [True] * 6 + [False] * 94
    assert not process.hear("UserWarning", "task3 is odd", "a.py:1")
    assert process.hear("UserWarning", "task3 is even", "a.py:1")


def test_a_rank_keeps_a_bounded_number_of_warnings() -> None:
    rank = KeptWarnings(1, 2)
    for number in range(100):
        rank.hear("UserWarning", "word " * number, "a.py:1")
    assert len(rank.take()) == 20
    assert rank.take() == []


def warn_in_each_step() -> None:
    """As own code does that ignores some warnings, which lets Python forget what it has shown."""
    for step in range(3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
        torch.vmap(lambda x: torch.histc(x, 4))(torch.ones(2, 3))
        torch.vmap(lambda x: torch.histc(x, 5))(torch.ones(2, 3))
        torch.vmap(lambda x: torch.renorm(x, 2, 0, 1.0))(torch.ones(2, 3, 3))
        for kind in (UserWarning, RuntimeWarning):
            warnings.warn(f"the loss is {step}", kind, stacklevel=1)


@pytest.mark.parametrize(("block", "times"), [(show_each_warning_once, 1), (nullcontext, 3)])
def test_one_process_shows_each_kind_of_warning_once(block: Callable[[], Any], times: int) -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        with block():
            warn_in_each_step()
    said = Counter((one.category, str(one.message).partition(". Please")[0][-13:]) for one in shown)
    lines_each = 2 if times == 3 else 1
    assert said[UserWarning, "r aten::histc"] == times * lines_each
    assert said[UserWarning, " aten::renorm"] == times
    assert said[UserWarning, "the loss is 0"] == said[RuntimeWarning, "the loss is 0"] == 1
    assert said[UserWarning, "the loss is 2"] == (times == 3)


def test_a_new_block_shows_its_warnings_again_and_errors_stay_errors() -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        for _ in range(2):
            with show_each_warning_once():
                warnings.warn("of a run", stacklevel=1)
    assert len(shown) == 2
    with show_each_warning_once(), warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with pytest.raises(UserWarning, match="an error"):
                warnings.warn("an error", stacklevel=1)


@pytest.mark.parametrize("ends_by_error", [False, True])
def test_what_a_module_ignores_since_it_was_imported_in_a_block_stays_ignored(ends_by_error: bool) -> None:
    """Its second run in the same process does not import it again."""
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with suppress(ZeroDivisionError), show_each_warning_once():
            warnings.filterwarnings("ignore", message="an old function")
            warnings.warn("an old function", stacklevel=1)
            assert 1 / (not ends_by_error)
        with show_each_warning_once():
            warnings.warn("an old function", stacklevel=1)
            warnings.warn("another function", stacklevel=1)
    assert [str(warning.message) for warning in shown] == ["another function"]


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
    texts = [text for _, _, text in kept.take()]
    assert [text.partition(": ")[2] for text in texts] == (["UserWarning: of this rank"] if rank else [])


@contextmanager
def no_handlers() -> Iterator[None]:
    """Within this block, loggers are those of a process in which nobody has set a handler."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (None, "metaexp"):
            patch.setattr(logging.getLogger(name), "handlers", [])
        yield
        assert [logging.getLogger(name).handlers for name in (None, "metaexp")] == [[], []], "none is left behind"


def test_what_is_logged_is_kept_and_shown_by_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    with no_handlers(), keep_warnings(1, 2) as kept:
        for name in ("metaexp.data.files", "lab"):
            logging.getLogger(name).warning("%d images\nare black", 3)
            logging.getLogger(name).warning("%d images\nare black", 5)
            logging.getLogger(name).info("all is well")
        logging.getLogger("metaexp").error("a file is lost")
        try:
            raise ValueError
        except ValueError:
            logging.getLogger("metaexp").exception("the run failed")
    given = kept.take()
    assert [pair[1:] for pair in given] == [
        ["warning", "3 images are black"],
        ["warning", "lab: 3 images are black"],
        ["error", "a file is lost"],
    ]
    capsys.readouterr()
    first = KeptWarnings(0, 2)
    first.show([[], given])
    assert capsys.readouterr().err.splitlines() == [
        "warning of rank 1 of 2: 3 images are black",
        "warning of rank 1 of 2: lab: 3 images are black",
        "error of rank 1 of 2: a file is lost",
    ]
    first.show([[], given])
    assert capsys.readouterr().err == ""


def test_the_first_logs_as_before_and_does_not_repeat_it_for_others(capsys: pytest.CaptureFixture[str]) -> None:
    others = KeptWarnings(1, 2)
    for name in ("metaexp.run", "lab"):
        others.hear_log(logging.LogRecord(name, logging.WARNING, "", 0, "4 tasks are odd", None, None))
    with no_handlers(), keep_warnings(0, 2) as kept:
        logging.getLogger("metaexp.run").warning("2 tasks are odd")
        logging.getLogger("lab").warning("3 tasks are odd")
        kept.show([[], others.take()])
        logging.getLogger("lab").addHandler(quiet := logging.NullHandler())
        logging.getLogger("lab").warning("somebody else takes this")
        logging.getLogger("lab").removeHandler(quiet)
    assert capsys.readouterr().err.splitlines() == ["2 tasks are odd", "3 tasks are odd"]


def test_what_was_not_taken_is_shown_by_the_rank_itself(capsys: pytest.CaptureFixture[str]) -> None:
    rank = KeptWarnings(3, 4)
    rank.hear("UserWarning", "told", "a.py:1")
    rank.take()
    rank.hear("UserWarning", "untold", "b.py:2")
    rank.show_rest(sys.stderr)
    rank.show_rest(sys.stderr)
    assert capsys.readouterr().err == "warning of rank 3 of 4: b.py:2: UserWarning: untold\n"
