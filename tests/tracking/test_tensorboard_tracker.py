"""TensorBoard event files, read back with TensorBoard's own reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from metaexp.core.errors import ConfigError
from metaexp.core.json_lines import encode
from metaexp.tracking import tensorboard as module
from metaexp.tracking.base import RunInfo
from metaexp.tracking.tensorboard import TensorBoardTracker

pytest.importorskip("tensorboard")


def _events(folder: Path) -> list[tuple[str, int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    reader.Reload()
    return sorted((tag, e.step, round(e.value, 6)) for tag in reader.Tags()["scalars"] for e in reader.Scalars(tag))


def _log(folder: Path, steps: range, resumed_at: int | None = None) -> None:
    tracker = TensorBoardTracker(config=True, flush_seconds=1)
    tracker.start(RunInfo(folder, "a run", {"algorithm": {"inner_lr": 0.4}}, resumed_at=resumed_at))
    for step in steps:
        tracker.scalars(step, {"train/loss": step / 8})
    tracker.finish("completed", {}, {})


def test_scalars_are_read_back_at_their_steps(tmp_path: Path) -> None:
    _log(tmp_path, range(3))
    assert _events(tmp_path) == [("train/loss", 0, 0.0), ("train/loss", 1, 0.125), ("train/loss", 2, 0.25)]


def test_steps_beyond_the_checkpoint_are_dropped_on_resume(tmp_path: Path) -> None:
    _log(tmp_path, range(1, 6))
    _log(tmp_path, range(4, 7), resumed_at=3)
    assert [step for _, step, _ in _events(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_a_run_that_goes_on_from_another_one_shows_that_ones_metrics_too(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(b"".join(encode(step, {"train/loss": step / 8}) for step in (1, 2, 3)))
    _log(tmp_path, range(4, 6), resumed_at=3)
    assert [step for _, step, _ in _events(tmp_path)] == [1, 2, 3, 4, 5]


def test_pictures_and_the_summary_are_shown(tmp_path: Path) -> None:
    from PIL import Image
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    Image.new("RGB", (8, 6), "red").save(tmp_path / "a.png")
    tracker = TensorBoardTracker(config=False, flush_seconds=1)
    tracker.start(RunInfo(tmp_path, "a run", {}))
    tracker.scalars(7, {"train/loss": 1.0})
    tracker.figure("plots/a", tmp_path / "a.png")
    tracker.finish("completed", {"test/accuracy": 0.75}, {})
    reader = EventAccumulator(str(tmp_path / "tensorboard"))
    reader.Reload()
    (image,) = reader.Images("plots/a")
    assert (image.width, image.height, image.step) == (8, 6, 7)
    assert ("summary/test/accuracy", 7, 0.75) in _events(tmp_path)


def test_a_missing_package_is_a_configuration_error_that_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'tensorboard>=2\.16'"):
        TensorBoardTracker(config=True, flush_seconds=1)
