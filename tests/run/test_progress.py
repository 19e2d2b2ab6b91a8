"""What a user sees: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from metaexp.core.terminal_text import make_console
from metaexp.results.progress_file import PROGRESS_FILE, Progress, read_progress, remove_progress, write_progress
from metaexp.run import progress
from metaexp.run.progress import Bar, Lines, Reporting, default_display


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    made = make_console()
    made.file, made.width, made._color_system = text, 140, None
    made._force_terminal = made.is_interactive = terminal
    return made, text


@pytest.fixture
def time_passes(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the test sets."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_lines_come_now_and_then_with_rate_time_left_loss_and_validation(time_passes: list[float]) -> None:
    shown, text = console(terminal=False)
    display = Lines(shown)
    with display.show_progress("train", 1000, done=100) as advance:
        display.show_loss(0.51234)
        display.show_validation(100, "97.1 ± 0.4 %")
        for second in range(1, 21):
            time_passes[0] = 100.0 + second
            advance(100 + 5 * second)
    assert text.getvalue().splitlines() == [
        "validation after 100 steps: 97.1 ± 0.4 %",
        "train 150/1000  5/s  3 min left  loss 0.5123",
        "train 200/1000  5/s  3 min left  loss 0.5123",
    ]


def test_lines_of_other_stretches_do_not_repeat_the_loss(time_passes: list[float]) -> None:
    shown, text = console(terminal=False)
    display = Lines(shown)
    display.show_loss(0.5)
    with display.show_progress("test", 600) as advance:
        time_passes[0] += 11
        advance(60)
    assert text.getvalue() == "test 60/600  5.45/s  99 s left\n"


def test_lines_have_the_status_and_estimate_of_work_that_gives_them_and_none_is_repeated(
    time_passes: list[float],
) -> None:
    shown, text = console(terminal=False)
    display = Lines(shown)
    with display.show_progress("sweep", 600) as advance:
        for seconds in (None, None, 75.0, 75.0, None):
            time_passes[0] += 11
            display.show_status("job 0: train 5/10", seconds)
            advance(60)
    assert text.getvalue().splitlines() == [
        "sweep 60/600  job 0: train 5/10  time left not known yet",
        "sweep 60/600  job 0: train 5/10  about 75 s left",
        "sweep 60/600  job 0: train 5/10  time left not known yet",
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 140])
def test_a_narrow_terminal_cuts_neither_a_number_nor_what_the_work_is_doing(
    time_passes: list[float], width: int
) -> None:
    shown, text = console(terminal=True)
    shown.width = width
    display = Bar(shown)
    with display.show_progress("sweep", 2400) as advance:
        display.show_status("job 0: train 120/[600], job 1: validate 50/200, 12 more", 4000.0)
        time_passes[0] += 100
        advance(1200)
        display._bars.refresh()
    drawn = text.getvalue()[text.getvalue().rindex("sweep ") :]
    assert "1200/2400 12/s" in drawn
    assert "\N{HORIZONTAL ELLIPSIS}" not in drawn
    assert ("━" in drawn) == (width >= 60)
    words = " ".join(drawn.split())
    assert "0 s so far, 67" in words
    assert "min left" in words
    assert "job 0: train 120/[600], job 1: validate 50/200, 12 more" in words


def test_a_narrow_terminal_does_not_cut_the_validation_of_a_run(time_passes: list[float]) -> None:
    shown, text = console(terminal=True)
    shown.width = 60
    display = Bar(shown)
    display.show_loss(0.51234)
    display.show_validation(50, "69.54 ± 1.77 %")
    with display.show_progress("train", 60_000) as advance:
        time_passes[0] += 100
        advance(12_000)
        display._bars.refresh()
    assert "loss 0.5123  val 69.54 ± 1.77 %" in text.getvalue()


def test_how_far_a_run_is_is_written_beside_it_and_removed(tmp_path: Path, time_passes: list[float]) -> None:
    shown, text = console(terminal=False)
    display = Reporting(Lines(shown), tmp_path)
    with display.show_progress("train", 100, done=20) as advance:
        time_passes[0] += 10
        advance(40)
        assert read_progress(tmp_path) == Progress("train", 40, 100, 40, 100, 2.0, 0.0, 10.0)
        time_passes[0] += 0.5
        advance(50)
        assert read_progress(tmp_path) == Progress("train", 40, 100, 40, 100, 2.0, 0.0, 10.0)  # once a second
        with display.show_progress("validate", 30) as inner:
            time_passes[0] += 1.5
            inner(15)
            assert read_progress(tmp_path) == Progress("validate", 15, 30, 50, 100, 30 / 10.5, 10.0, 12.0)
        assert read_progress(tmp_path) == Progress("train", 50, 100, 50, 100, 30 / 10.5, 10.0, 12.0)
    display.print_line("a line")
    display.show_loss(0.1)
    display.show_validation(50, "90 %")
    display.show_status("what", None)
    assert "a line" in text.getvalue()
    remove_progress(tmp_path)
    assert read_progress(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_progress_that_cannot_be_written_ends_no_run(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / PROGRESS_FILE).symlink_to(tmp_path / "elsewhere")
    write_progress(tmp_path / "nowhere", Progress("train", 1, 2, 1, 2, 1.0, 1.0, 1.0))
    assert read_progress(tmp_path / "run") is None  # no link is followed
    write_progress(tmp_path / "run", Progress("train", 1, 2, 1, 2, 1.0, 1.0, 1.0))
    assert (tmp_path / "elsewhere").read_text() == "mine"
    assert read_progress(tmp_path / "run") is not None
    remove_progress(tmp_path / "nowhere")


def test_a_short_stretch_prints_nothing() -> None:
    shown, text = console(terminal=False)
    with Lines(shown).show_progress("validate", 10) as advance:
        for done in range(1, 11):
            advance(done)
    assert text.getvalue() == ""


def test_the_bar_shows_count_rate_and_validation_and_goes_away() -> None:
    shown, text = console(terminal=True)
    display = Bar(shown)
    display.show_loss(0.25)
    display.show_validation(5, "90.0 %")
    with display.show_progress("train", 1000) as advance:
        advance(10)
        with display.show_progress("validate", 50) as inner:
            inner(20)
            display._bars.refresh()
        display.print_line("a [line] of text")
    seen = text.getvalue()
    assert "train" in seen
    assert "10/1000" in seen
    assert re.search(r"[\d.e+]+/s", seen)
    assert "loss 0.25  val 90.0 %" in seen
    assert " 0 s so far, 0 s left" in seen  # in the words of the other messages, and of no clock
    assert not re.search(r"\d:\d\d", seen)
    assert "validate" in seen
    assert "a [line] of text" in seen
    assert not display._bars.tasks
    assert not display._bars.live.is_started


def test_validations_of_a_bar_stay_on_the_terminal() -> None:
    shown, text = console(terminal=True)
    bar = Bar(shown)
    with bar.show_progress("train", 10) as advance:
        bar.show_validation(5, "61.00 %")
        advance(10)
    assert "validation after 5 steps: 61.00 %\n" in text.getvalue()


def test_the_bar_is_not_redrawn_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    display = Bar(console(terminal=True)[0])
    updates: list[int] = []
    monkeypatch.setattr(display._bars, "update", lambda task, completed, **_: updates.append(completed))
    with display.show_progress("train", 10_000) as advance:
        for done in range(10_000):
            advance(done)
    assert 1 <= len(updates) < 1000


def test_the_bar_stops_when_work_fails() -> None:
    display = Bar(console(terminal=True)[0])
    with pytest.raises(ValueError, match="inside"), display.show_progress("train", 10):
        raise ValueError("inside")
    assert not display._bars.live.is_started


def test_the_display_follows_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "make_console", lambda to_errors: console(terminal=True)[0])
    assert isinstance(default_display(), Bar)
    monkeypatch.setattr(progress, "make_console", lambda to_errors: console(terminal=False)[0])
    assert isinstance(default_display(), Lines)


@pytest.mark.parametrize("display", [Lines, Bar])
def test_a_terminal_that_was_closed_ends_no_run(display: type[Lines] | type[Bar]) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    shown = display(Console(file=Closed()))
    shown.print_line("a line")
