"""The training loop: steps, a line of metrics now and then, validation, checkpoints."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import torch

from metaexp.core.checkpoint_names import step_name
from metaexp.core.json_lines import (
    GRADIENT_NORM,
    LEARNING_RATE,
    SECONDS,
    TRAIN_LOSS,
    TRAINING_SECONDS,
    scalars_of_split,
)
from metaexp.core.metric import Metric
from metaexp.core.types import EvalResult
from metaexp.machine.all_reduce import Partial
from metaexp.machine.collector import collect_as_usual
from metaexp.machine.device import Compute
from metaexp.machine.profile import profile_steps
from metaexp.machine.signals import ABORT_SECONDS, AbortedWork, StopRequest
from metaexp.machine.stopwatch import Stopwatch
from metaexp.results.display.wording import format_score
from metaexp.run.build import TrainingSetup
from metaexp.run.checkpoint import Checkpoints, explain_misfit
from metaexp.run.evaluation.scores import score
from metaexp.run.outputs import Outputs
from metaexp.run.progress import Advance
from metaexp.run.side_effects.buffers import set_progress
from metaexp.run.state import Best, copy_weights
from metaexp.run.step import StepResult, not_finite

log = logging.getLogger(__name__)

_UNREAD_STEPS = 256
"""At most this many losses stay on the device: a run that is not finite stops that soon."""


class Trainer:
    """Trains up to ``settings.train.steps`` steps, or until it is asked to stop.

    After a step it logs, validates and saves, in this order, if each is due; after the last step all three are. So
    a checkpoint is always taken between two steps, with nothing left to do.

    Args:
        setup: What is trained and measured.
        outputs: Where metrics and messages go.
        checkpoints: Where the state is saved.
        stop: Whether the user asked to stop.
        watch: Takes the time.
        identity: What a checkpoint stores about its run.
    """

    def __init__(
        self,
        setup: TrainingSetup,
        outputs: Outputs,
        checkpoints: Checkpoints,
        stop: StopRequest,
        watch: Stopwatch,
        identity: Mapping[str, Any],
    ) -> None:
        self.settings = setup.settings
        self.train = self.settings.train
        self.state = setup.state
        self.step = setup.step
        self.evaluator = setup.evaluator
        self.on_training_tasks = setup.on_training_tasks
        self.checkpoints = checkpoints
        self.outputs = outputs
        self.trackers = outputs.trackers
        self.display = outputs.display
        self.stop = stop
        self.watch = watch
        self.identity = dict(identity)
        self.metric = Metric.of(self.settings.task.n_way)
        self.total = 0 if self.step is None else self.train.steps
        self._unread: list[StepResult] = []
        self._saved_step = self._first_step = self.state.step
        self.device = setup.compute.device
        self._at_once = _reads_at_once(setup.compute)
        self._base = outputs.path / "checkpoints" / step_name(self._first_step)

    def run(self) -> None:
        """Train until the last step, or until a signal or :attr:`StopRequest.after` stops it, and save.

        Raises:
            NotFiniteError: A loss or a gradient is not finite. The last good checkpoint is kept.
        """
        if not self.prepare():
            return
        with self.display.show_progress("train", self.total, self.state.step) as advance:
            self.watch.begin_training()
            collect_as_usual()
            with suppress(AbortedWork), self._profile_steps() as made_step:
                while self.goes_on():
                    self.apply(self._compute_mean())
                    made_step()
                    self.after_step(advance)
            self.watch.end_training()
        self.save_rest()

    def _profile_steps(self) -> AbstractContextManager[Callable[[], None]]:
        """Profile the steps that ``train.profile`` asks for, on one rank."""
        n_steps = self.train.profile if self.outputs.path.is_dir() else 0  # other ranks have no folder
        return profile_steps(n_steps, self.outputs.path, self.device)

    def prepare(self) -> bool:
        """Make the validation that a resumed run still owes, and return whether there are steps to train."""
        if self.state.unvalidated or (self.total == 0 and self.state.best is None) or self._lacks_last():
            if not self._validate():
                return False  # it is made after the resume
            self._save()
        return self.step is not None and not self.is_over()

    def goes_on(self) -> bool:
        """Whether another step is to be made now."""
        return not self.is_over() and not self.stop.due(self.state.step)

    def save_rest(self) -> None:
        """Save the steps after the last checkpoint, of a run that was asked to stop."""
        if self._saved_step != self.state.step:
            self._save()

    def is_over(self) -> bool:
        """Whether training has ended: all steps are made, or ``train.patience`` validations gave no better one.

        The state alone decides it, so a resumed run ends where an undisturbed one does.
        """
        return self.state.step >= self.total or self._is_out_of_patience()

    def _is_out_of_patience(self) -> bool:
        every, state = self.train.eval_every, self.state
        if self.train.patience is None or state.unvalidated:
            return False
        best = 0 if state.best is None else state.best.step
        return state.step // every - best // every >= self.train.patience

    def _lacks_last(self) -> bool:
        """Whether a run that is done has kept weights of before, as its parent chose them, and is to test the last."""
        state = self.state
        is_done = state.step == self.total
        return (
            self.settings.eval.weights == "last" and is_done and state.best is not None and state.best.step < state.step
        )

    def _compute_mean(self) -> Partial:
        """Compute the gradient of a step, which changes nothing. Raises AbortedWork some seconds after a signal."""
        assert self.step is not None
        with self.stop.abort_on_signal(ABORT_SECONDS):
            return self.step.compute_mean(self.state.step)

    def apply(self, mean: Partial) -> None:
        """Make a step with the gradient that was computed.

        Args:
            mean: What :meth:`MetaStep.compute_mean` returned.
        """
        assert self.step is not None
        with explain_misfit(self._base) if self.state.step == self._first_step > 0 else nullcontext():
            self._unread.append(self.step.apply(self.state.step, mean))
        self.state.step += 1

    def after_step(self, advance: Advance) -> None:
        """Log, validate and save, as far as each is due after the step that was made.

        Args:
            advance: Takes the number of steps that are done.
        """
        if self._at_once or len(self._unread) >= _UNREAD_STEPS:
            self._read()
        done, train = self.state.step, self.train
        last = done == self.total
        if last or done % train.log_every == 0:
            self._log()
        if (last or done % train.eval_every == 0) and not self._validate():
            return  # a signal came; the checkpoint says that the validation is still to be made
        if not last and self._is_out_of_patience():
            last = True
            if self.state.losses:
                self._log()
            log.info("training ends after %d of %d steps: train.patience=%s", done, self.total, self.train.patience)
        if last or done % train.checkpoint_every == 0:
            self._save()
        advance(done)

    def _read(self) -> None:
        """Bring losses and gradient norms from the device, and check them."""
        if not self._unread:
            return
        one = len(self._unread) == 1  # losses are steps x T, norms steps
        losses, norms = ([t[0].tolist()] if one else torch.stack(t).tolist() for t in zip(*self._unread, strict=True))
        first = self.state.step - len(self._unread)
        self._unread.clear()
        for offset, (per_task, norm) in enumerate(zip(losses, norms, strict=True)):
            if not all(map(math.isfinite, [*per_task, norm])):
                self.state.step = first + offset + 1  # the record says the step that the error names
                raise not_finite(self.settings, self.total, first + offset, per_task, self.checkpoints.steps())
            self.state.losses.append(math.fsum(per_task) / len(per_task))
            self.state.gradient_norms.append(norm)

    def _log(self) -> None:
        """Write a line of metrics: means over the steps since the last one."""
        assert self.step is not None
        self._read()
        with self.watch.pause():
            losses, norms = self.state.losses, self.state.gradient_norms
            values = {
                TRAIN_LOSS: math.fsum(losses) / len(losses),
                GRADIENT_NORM: math.fsum(norms) / len(norms),
                LEARNING_RATE: self.step.lr(self.state.step - 1),
            }
            losses.clear()
            norms.clear()
            self.trackers.scalars(self.state.step, values)
            self._time()
            self.display.show_loss(values[TRAIN_LOSS])

    def _validate(self) -> bool:
        """Measure on the validation bank, and keep the weights if they are the best so far.

        Returns:
            False if a signal came, so that the validation is still to be made.
        """
        self._read()
        state, algorithm = self.state, self.state.algorithm
        with self.watch.pause():
            state.unvalidated = True
            set_progress(algorithm, state.step, max(self.train.steps, 1))
            try:
                result = self._measure()
                fit = self._measure_training_tasks()
            except AbortedWork:
                return False
            state.unvalidated = False
            values = scalars_of_split("val", self.metric.name, result.mean, result.ci95)
            text = format_score(score(result, self.metric.name))
            if fit is not None:
                values[f"train/{self.metric.name}"] = fit.mean
                of_training = format_score(score(fit, self.metric.name))
                text += f"; on the training tasks themselves {of_training}"
            self.trackers.scalars(state.step, values)
            self.display.show_validation(state.step, text)
            log.info("validation after %d of %d steps: %s", state.step, self.total, text)
            if self._is_best(result):
                state.best = Best(state.step, result.mean, result.ci95, result.n_episodes, copy_weights(algorithm))
        return True

    def _measure(self) -> EvalResult:
        """Validate. Raises AbortedWork when a signal comes."""
        with self.display.show_progress("validate", self.train.eval_episodes) as advance:

            def report(done: int) -> None:
                advance(done)
                if self.stop:
                    raise AbortedWork

            with self.stop.abort_on_signal():
                return self.evaluator.validate(self.state.algorithm, self.train.eval_episodes, report)

    def _measure_training_tasks(self) -> EvalResult | None:
        """Measure on the tasks of ``train.n_tasks``, if it is given. Raises AbortedWork when a signal comes."""
        evaluator, n_tasks = self.on_training_tasks, self.train.n_tasks
        if evaluator is None or n_tasks is None:
            return None
        with self.stop.abort_on_signal():
            return evaluator.evaluate(self.state.algorithm, "train", n_tasks, lambda _: None)

    def _is_best(self, result: EvalResult) -> bool:
        """Whether these weights are to be tested as things stand: the best so far, or with eval.weights=last these."""
        if not math.isfinite(result.mean):
            return False
        if self.settings.eval.weights == "last":
            return True
        return self.state.best is None or self.metric.is_better(result.mean, self.state.best.mean)

    def _save(self) -> None:
        """Write a checkpoint, from checked numbers only."""
        self._read()
        with self.watch.pause():
            self._time()
            values = self.state.values() | self.outputs.metrics_state() | self.identity
            self.checkpoints.save(self.state.step, self.state.tensors(), values)
            self._saved_step = self.state.step

    def _time(self) -> None:
        values = {SECONDS: self.watch.total(), TRAINING_SECONDS: self.watch.training}
        self.trackers.timings(self.state.step, values)


def _reads_at_once(compute: Compute) -> bool:
    """Whether reading a number needs no waiting: on the CPU it is there as soon as the step is."""
    return compute.device.type == "cpu"
