"""The training loop: updates, a line of metrics now and then, validation, checkpoints."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from metaexp.config.classes.values import show
from metaexp.config.schema import Settings
from metaexp.core.errors import NotFiniteError
from metaexp.core.metric import Metric
from metaexp.core.types import EvalResult
from metaexp.machine.device import Compute
from metaexp.machine.signals import StopRequest
from metaexp.results.wording import say_value
from metaexp.run.checkpoint import Checkpoints
from metaexp.run.evaluator import Evaluator
from metaexp.run.progress import Advance, Display
from metaexp.run.state import Best, TrainState, copy_weights
from metaexp.run.step import MetaStep, StepResult
from metaexp.tracking.trackers import Trackers

log = logging.getLogger(__name__)

_UNREAD_STEPS = 256
"""At most so many losses stay on the device: a run that is not finite stops that soon."""


class Stopwatch:
    """Seconds of a run over all its sessions, and those of them spent in training steps.

    before, training_before: seconds of earlier sessions.
    """

    def __init__(self, before: float = 0.0, training_before: float = 0.0) -> None:
        self._start = time.monotonic() - before
        self.training = training_before
        self._resumed: float | None = None

    def total(self) -> float:
        """Seconds since the run began, without the pauses between sessions."""
        return time.monotonic() - self._start

    def begin_training(self) -> None:
        """Training steps begin."""
        self._resumed = time.monotonic()

    def end_training(self) -> None:
        """Training steps pause or end. Without a beginning it does nothing."""
        if self._resumed is not None:
            self.training += time.monotonic() - self._resumed
            self._resumed = None

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Within this block the time is not that of training steps."""
        running = self._resumed is not None
        self.end_training()
        yield
        if running:
            self.begin_training()


class Trainer:
    """Trains ``state`` up to ``settings.train.steps`` meta-updates, or until it is asked to stop.

    After update s it logs, validates and saves, in this order, where s is due; all three happen at the last one.
    So a checkpoint is always taken between two updates with nothing left to do.
    """

    def __init__(
        self,
        settings: Settings,
        state: TrainState,
        step: MetaStep | None,
        evaluator: Evaluator,
        checkpoints: Checkpoints,
        trackers: Trackers,
        display: Display,
        stop: StopRequest,
        watch: Stopwatch,
        identity: Mapping[str, Any],
    ) -> None:
        self.settings = settings
        self.train = settings.train
        self.state = state
        self.step = step
        self.evaluator = evaluator
        self.checkpoints = checkpoints
        self.trackers = trackers
        self.display = display
        self.stop = stop
        self.watch = watch
        self.identity = dict(identity)
        self.metric = Metric.of(settings.task.n_way)
        self.total = 0 if step is None else self.train.steps
        self._unread: list[StepResult] = []
        self._saved_step = state.step

    def run(self) -> None:
        """Train. Raises NotFiniteError when a loss or gradient is not finite, with the last good checkpoint kept."""
        if self.total == 0 and self.state.best is None:
            self._validate()
            self._save()
        if self.step is None or self.state.step >= self.total:
            return
        at_once = _reads_at_once(self.step.compute)
        with self.display.stretch("train", self.total, self.state.step) as advance:
            self.watch.begin_training()
            while self.state.step < self.total and not self.stop.due(self.state.step):
                self._unread.append(self.step.update(self.state.step))
                self.state.step += 1
                if at_once or len(self._unread) >= _UNREAD_STEPS:
                    self._read()
                self._after_update(advance)
            self.watch.end_training()
        if self._saved_step != self.state.step:  # asked to stop
            self._save()

    def _after_update(self, advance: Advance) -> None:
        done, train = self.state.step, self.train
        last = done == self.total
        if last or done % train.log_every == 0:
            self._log()
        if last or done % train.eval_every == 0:
            self._validate()
        if last or done % train.checkpoint_every == 0:
            self._save()
        advance(done)

    def _read(self) -> None:
        """Bring losses and gradient norms from the device, and check them."""
        if not self._unread:
            return
        losses = torch.stack([result.losses for result in self._unread]).tolist()  # steps x T
        norms = torch.stack([result.gradient_norm for result in self._unread]).tolist()
        first = self.state.step - len(self._unread)
        self._unread.clear()
        for offset, (per_task, norm) in enumerate(zip(losses, norms, strict=True)):
            if not all(map(math.isfinite, [*per_task, norm])):
                raise self._not_finite(first + offset, per_task)
            self.state.losses.append(math.fsum(per_task) / len(per_task))
            self.state.gradient_norms.append(norm)

    def _not_finite(self, step: int, per_task: list[float]) -> NotFiniteError:
        first = step * len(per_task)
        bad = [str(first + i) for i, loss in enumerate(per_task) if not math.isfinite(loss)]
        if bad:
            what = f"the loss of training task{'s' if len(bad) > 1 else ''} {', '.join(bad)}"
        else:
            what = f"the gradient over training tasks {first} to {first + len(per_task) - 1}"
        saved = self.checkpoints.steps()
        kept = f"The checkpoint after {saved[-1]} meta-updates is kept" if saved else "There is no checkpoint yet"
        return NotFiniteError(
            f"{what} is not finite in meta-update {step + 1} of {self.total} (seed {self.settings.seed}). {kept}. "
            f"Lower {' or '.join(self._rates())}, or bound gradients with clip=norm."
        )

    def _rates(self) -> list[str]:
        """The learning rates of the settings, as ``key=value``."""
        nodes = {"optimizer": self.settings.optimizer, "algorithm": self.settings.algorithm}
        rates = [f"{section}.{key}" for section, node in nodes.items() for key in node if f"_{key}".endswith("_lr")]
        return [f"{rate}={show(nodes[rate.partition('.')[0]][rate.partition('.')[2]])}" for rate in rates]

    def _log(self) -> None:
        """One line of metrics: means over the updates since the last one."""
        assert self.step is not None
        self._read()
        with self.watch.pause():
            losses, norms = self.state.losses, self.state.gradient_norms
            values = {
                "train/loss": math.fsum(losses) / len(losses),
                "train/gradient_norm": math.fsum(norms) / len(norms),
                "train/lr": self.step.lr(self.state.step - 1),
            }
            losses.clear()
            norms.clear()
            self.trackers.scalars(self.state.step, values)
            self._time()
            self.display.note(values["train/loss"])

    def _validate(self) -> None:
        """Measure on the validation bank, and keep the weights if they are the best so far."""
        self._read()
        state, algorithm = self.state, self.state.algorithm
        with self.watch.pause():
            algorithm.set_progress(state.step, max(self.train.steps, 1))
            with self.display.stretch("validate", self.train.eval_episodes) as advance:
                result = self.evaluator.validate(algorithm, self.train.eval_episodes, advance)
            self.trackers.scalars(state.step, {f"val/{self.metric.name}": result.mean, "val/ci95": result.ci95})
            text = say_value(self.metric.name, result.mean, result.ci95)
            self.display.validated(state.step, text)
            log.info("validation after %d of %d meta-updates: %s", state.step, self.total, text)
            if self._is_best(result):
                state.best = Best(state.step, result.mean, result.ci95, result.n_episodes, copy_weights(algorithm))

    def _is_best(self, result: EvalResult) -> bool:
        if not math.isfinite(result.mean):
            return False
        return self.state.best is None or self.metric.is_better(result.mean, self.state.best.mean)

    def _save(self) -> None:
        """Write a checkpoint, from checked numbers only."""
        self._read()
        with self.watch.pause():
            self._time()
            values = self.state.values() | {"metrics_position": self.trackers.position()} | self.identity
            self.checkpoints.save(self.state.step, self.state.tensors(), values)
            self._saved_step = self.state.step

    def _time(self) -> None:
        values = {"time/seconds": self.watch.total(), "time/training_seconds": self.watch.training}
        self.trackers.timings(self.state.step, values)


def _reads_at_once(compute: Compute) -> bool:
    """Whether reading a number waits for nothing: on the CPU it is there when the step is."""
    return compute.device.type == "cpu"
