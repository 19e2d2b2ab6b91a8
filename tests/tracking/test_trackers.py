"""The fan-out: files first, views beside them, a view's failure stays its own."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from metaexp.core.json_lines import METRICS_FILE, TIMINGS_FILE, read_lines
from metaexp.results.display.wording import format_point
from metaexp.results.record import FROZEN_FILE
from metaexp.run.folder import read_varied
from metaexp.run.session import Session
from metaexp.tracking.base import Outcome, RunInfo, Tracker
from metaexp.tracking.trackers import Trackers


class Recorder(Tracker):
    """Remembers its calls, and raises in the one named."""

    def __init__(self, fails_in: str = "") -> None:
        self.fails_in = fails_in
        self.calls: list[tuple[object, ...]] = []

    def _note(self, *call: object) -> None:
        self.calls.append(call)
        if call[0] == self.fails_in:
            raise OSError("the network is gone")

    def start(self, run: RunInfo) -> None:
        self._note("start", run.name)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._note("scalars", step, dict(values))

    def figure(self, name: str, path: Path) -> None:
        self._note("figure", name)

    def finish(self, outcome: Outcome, summary: Mapping[str, float], artifacts: Mapping[str, Path]) -> None:
        self._note("finish", outcome, dict(summary))


def _run(folder: Path, views: Mapping[str, Tracker]) -> bytes:
    folder.mkdir()
    trackers = Trackers(RunInfo(folder, "a run", {}), views)
    trackers.start()
    for step in (10, 20):
        trackers.scalars(step, {"train/loss": 1 / step})
        trackers.timings(step, {"time/episodes_per_second": 100.0})
    trackers.figure("plots/curve", folder / "curve.png")
    trackers.finish("completed", {"test/accuracy": 0.9}, {})
    return (folder / METRICS_FILE).read_bytes()


class WithTables(Recorder):
    """A tracker that shows tables, too."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self._note("table", name, list(columns), list(rows))


def test_a_table_goes_to_the_trackers_that_have_tables(tmp_path: Path) -> None:
    without, shows = Recorder(), WithTables()
    trackers = Trackers(
        RunInfo(tmp_path, "a run", {}), {"without": without, "fails": WithTables("table"), "with": shows}
    )
    trackers.start()
    trackers.table("test_episodes", ["episode", "accuracy"], [[0, 0.5]])
    trackers.finish("completed", {}, {})
    assert shows.calls[1] == ("table", "test_episodes", ["episode", "accuracy"], [[0, 0.5]])
    assert [call[0] for call in without.calls] == ["start", "finish"]


def test_every_tracker_gets_everything_in_order(tmp_path: Path) -> None:
    view = Recorder()
    _run(tmp_path / "run", {"view": view})
    assert view.calls == [
        ("start", "a run"),
        ("scalars", 10, {"train/loss": 0.1}),
        ("scalars", 10, {"time/episodes_per_second": 100.0}),
        ("scalars", 20, {"train/loss": 0.05}),
        ("scalars", 20, {"time/episodes_per_second": 100.0}),
        ("figure", "plots/curve"),
        ("finish", "completed", {"test/accuracy": 0.9}),
    ]


@pytest.mark.parametrize("method", ["start", "scalars", "figure", "finish"])
def test_a_view_that_fails_is_named_once_and_changes_nothing(
    method: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken, healthy = Recorder(method), Recorder()
    with caplog.at_level(logging.WARNING):
        metrics = _run(tmp_path / "run", {"broken": broken, "healthy": healthy})
    assert metrics == _run(tmp_path / "alone", {})
    assert healthy.calls[-1] == ("finish", "completed", {"test/accuracy": 0.9})
    assert [call[0] for call in broken.calls].count(method) == 1
    (warning,) = caplog.messages
    assert "tracker broken" in warning
    assert "the network is gone" in warning
    assert METRICS_FILE in warning


def test_an_interrupt_inside_a_view_is_not_swallowed(tmp_path: Path) -> None:
    class Interrupted(Recorder):
        def start(self, run: RunInfo) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trackers(RunInfo(tmp_path, "a run", {}), {"view": Interrupted()}).start()


def test_clocks_are_kept_out_of_the_metrics(tmp_path: Path) -> None:
    metrics = _run(tmp_path / "run", {})
    assert b"time/" not in metrics
    assert [values for _, values in read_lines(tmp_path / "run" / TIMINGS_FILE)] == [
        {"time/episodes_per_second": 100.0}
    ] * 2


def test_a_resumed_run_goes_on_from_the_position_of_its_checkpoint(tmp_path: Path) -> None:
    first = Trackers(RunInfo(tmp_path, "a run", {}), {})
    first.start()
    first.scalars(1, {"train/loss": 1.0})
    position = first.position()
    first.scalars(2, {"train/loss": 0.5})
    second = Trackers(RunInfo(tmp_path, "a run", {}, resumed_at=1), {})
    second.start(position)
    second.scalars(2, {"train/loss": 0.25})
    second.finish("completed", {}, {})
    assert list(read_lines(tmp_path / METRICS_FILE)) == [(1, {"train/loss": 1.0}), (2, {"train/loss": 0.25})]


def test_finishing_twice_closes_views_once(tmp_path: Path) -> None:
    view = Recorder()
    trackers = Trackers(RunInfo(tmp_path, "a run", {}), {"view": view})
    trackers.start()
    trackers.finish("failed", {}, {})
    trackers.finish("failed", {}, {})
    assert [call[0] for call in view.calls] == ["start", "finish"]


def test_the_earlier_name_of_figure_works_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(FutureWarning, match=r"Old defines picture\(\), which is called figure\(\) now"):

        class Old(Recorder):
            def picture(self, name: str, path: Path) -> None:
                self._note("old", name)

    view = Old()
    _run(tmp_path / "run", {"old": view})
    assert [call for call in view.calls if call[0] in ("figure", "old")] == [("old", "plots/curve")]


def test_a_job_is_called_by_its_point_and_a_run_by_its_own_name(tmp_path: Path) -> None:
    assert read_varied(tmp_path) == ""
    for content in ("", "[]", '{"what": 3}', "{}"):
        (tmp_path / FROZEN_FILE).write_text(content)
        assert read_varied(tmp_path) == ""
    what = "algorithm=maml algorithm.inner_lr=0.123456789 model.hidden=[8,16] seed=3 optimizer.lr=0.01"
    (tmp_path / FROZEN_FILE).write_text(json.dumps({"what": what}))
    assert read_varied(tmp_path) == what
    assert format_point(what) == "inner_lr=0.1235 hidden=[8,16] lr=0.01"
    assert format_point("algorithm=maml seed=3") == ""


def test_the_trials_of_a_search_have_names_of_their_own(tmp_path: Path) -> None:
    names = []
    for rate in ("0.1", "0.2"):
        (tmp_path / FROZEN_FILE).write_text(json.dumps({"what": f"algorithm.inner_lr={rate}"}))
        record = SimpleNamespace(
            name="maml-glyphs", group="search", n_parameters=1, batch_norm="none", data_hash="", episode_bank=""
        )
        session = SimpleNamespace(
            record=record, outputs=SimpleNamespace(path=tmp_path), checkpoint=None,
            settings=SimpleNamespace(resolved={}, tags=(), notes=None, choices={}),
            setup=SimpleNamespace(compute="cpu"),
        )  # fmt: skip
        names.append(Session._run_info(session).name)  # type: ignore[arg-type]
    assert names == ["maml-glyphs inner_lr=0.1", "maml-glyphs inner_lr=0.2"]
