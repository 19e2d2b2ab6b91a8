"""TensorBoard event files as a view of a run. Needs the package tensorboard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from metaexp.core.errors import ConfigError
from metaexp.core.extras import install_command
from metaexp.core.fields import PositiveInt
from metaexp.core.json_lines import METRICS_FILE, read_lines
from metaexp.tracking.base import Outcome, RunInfo, Tracker

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter


class TensorBoardTracker(Tracker):
    """Event files in ``<run folder>/tensorboard``.

    A resumed run writes a further file there, which hides what the earlier ones hold beyond the checkpoint.

    Args:
        config: whether to show the resolved configuration as a text page.
        flush_seconds: seconds between writes to disk.

    Raises:
        ConfigError: The package tensorboard is not installed. This is found before anything runs.
    """

    def __init__(self, config: bool, flush_seconds: PositiveInt) -> None:
        if find_spec("tensorboard") is None:
            raise ConfigError(
                "tracker=tensorboard needs the package tensorboard, which is not installed. "
                f"Install it with: {install_command('tensorboard')}, or choose tracker=wandb or tracker=files."
            )
        self.config = config
        self.flush_seconds = flush_seconds
        self._writer: SummaryWriter | None = None
        self._last_step = 0

    def start(self, run: RunInfo) -> None:
        """Open the event file; on resume, drop what earlier files hold after the checkpoint."""
        from torch.utils.tensorboard.writer import SummaryWriter

        is_first = not (run.folder / "tensorboard").exists()
        purge = None if run.resumed_at is None or is_first else run.resumed_at + 1
        self._writer = SummaryWriter(str(run.folder / "tensorboard"), purge_step=purge, flush_secs=self.flush_seconds)
        if is_first and run.resumed_at is not None:  # it continues another run, whose metrics it has
            for step, values in read_lines(run.folder / METRICS_FILE):
                self.scalars(step, values)
        if self.config and is_first:
            text = json.dumps(run.config, indent=2, default=str)
            self._writer.add_text("config", "".join(f"    {line}\n" for line in text.splitlines()))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One scalar chart per metric, grouped by split."""
        self._last_step = step
        for name, value in values.items():
            self._opened().add_scalar(name, value, step)

    def figure(self, name: str, path: Path) -> None:
        """Show the figure at the last step that was logged."""
        import numpy as np
        from PIL import Image

        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        self._opened().add_image(name, pixels, self._last_step, dataformats="HWC")

    def finish(self, outcome: Outcome, summary: Mapping[str, float], artifacts: Mapping[str, Path]) -> None:
        """Write the summary as ``summary/<name>`` at the last step, and close the file."""
        if self._writer is None:
            return
        for name, value in summary.items():
            self._writer.add_scalar(f"summary/{name}", value, self._last_step)
        self._writer.add_text("outcome", outcome, self._last_step)
        self._writer.close()
        self._writer = None

    def _opened(self) -> SummaryWriter:
        if self._writer is None:
            raise RuntimeError("the TensorBoard tracker is used before start() or after finish()")
        return self._writer
