"""One session of a run: from its start, or its newest checkpoint, to its end or interruption."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from metaexp.config.classes.make import make
from metaexp.core.checkpoint_names import step_name
from metaexp.core.counted import counted
from metaexp.core.errors import MachineError, RunFolderError, first_line
from metaexp.core.json_lines import METRICS_FILE, scalars_of_split
from metaexp.core.metric import Metric
from metaexp.core.types import EvalResult
from metaexp.machine.environment import changed_environment, environment
from metaexp.machine.failures import explained
from metaexp.machine.signals import AbortedWork, Interrupted, StopRequest, stopped_by
from metaexp.machine.stopwatch import Stopwatch
from metaexp.results.checkpoint_values import format_lost
from metaexp.results.display.wording import format_point
from metaexp.results.episodes import episodes_sha256
from metaexp.results.record import RECORD_FILE, RunRecord, Score, Verdict
from metaexp.results.verdict import reproduction_verdict
from metaexp.run.build import TrainingSetup
from metaexp.run.checkpoint import Checkpoint, explain_misfit
from metaexp.run.evaluation.divergence import doubts, remedies
from metaexp.run.evaluation.own_metrics import try_own_metrics
from metaexp.run.evaluation.scores import check_finite, not_finite_metrics, recorded, scalars, score
from metaexp.run.evaluation.selection import select_best
from metaexp.run.first_record import inexact_resume, utc_now, with_resume
from metaexp.run.folder import read_varied
from metaexp.run.outputs import Outputs
from metaexp.run.own_options import resume_command
from metaexp.run.precision import check_gradient
from metaexp.run.shared_state import SharedCheckpoints, share_state
from metaexp.run.state import Best
from metaexp.run.train import Trainer
from metaexp.tracking.base import Outcome, RunInfo, Tracker

log = logging.getLogger(__name__)


class Session:
    """Runs what is left of a run. Every rank runs the same session; the outputs of all but rank 0 do nothing.

    Args:
        setup: What is trained and measured.
        outputs: Where the run is written and shown.
        record: What is known so far.
        checkpoint: Where to continue; None begins the run. Rank 0 has it, and shares the state.
        stop: Whether the user asked to stop.
    """

    def __init__(
        self,
        setup: TrainingSetup,
        outputs: Outputs,
        record: RunRecord,
        checkpoint: Checkpoint | None,
        stop: StopRequest,
    ) -> None:
        self.setup = setup
        self.settings = setup.settings
        self.ranks = setup.ranks
        self.state = setup.state
        self.outputs = outputs
        self.record = record
        self.checkpoint = checkpoint
        self.stop = stop
        self.metric = Metric.of(self.settings.task.n_way)
        self.environment = environment(setup.compute, setup.settings.own_code)
        self.watch = Stopwatch()

    def run(self) -> RunRecord:
        """Train what is left, test, and complete the record.

        Returns:
            The record as it is in the run folder.

        Raises:
            Interrupted: A signal ended the session, after a clean save.
            Exception: Whatever ended it early is written into the record first. Errors of the machine say what to do.
        """
        with self.record_errors():
            trainer = self.begin()
            trainer.run()
            return self.finish(trainer)

    @contextmanager
    def record_errors(self) -> Iterator[None]:
        """Within this block, write an error into the record before it is raised; raises as :meth:`run` does."""
        try:
            yield
        except BaseException as error:
            self._end_early(error)
            if isinstance(error, KeyboardInterrupt):
                raise self._interrupted("; the steps since its last checkpoint are lost") from error
            better = self._explained(error)
            if better is error:
                raise
            raise better from error

    def begin(self) -> Trainer:
        """Restore the checkpoint, open the outputs, and return what trains."""
        self.ranks.run(self._begin)
        share_state(self.state, self.ranks)
        self.ranks.run(lambda: try_own_metrics(self.settings.eval.metrics, self.settings.task.shape))
        if self.setup.step is not None and self.state.step < self.settings.train.steps:
            step, at = self.setup.step, self.state.step
            self.ranks.run(lambda: check_gradient(step, at))
        saved = self.outputs.checkpoints
        checkpoints = saved if self.ranks.size == 1 else SharedCheckpoints(saved, self.ranks, self.state.algorithm)
        return Trainer(self.setup, self.outputs, checkpoints, self.stop, self.watch, self._identity())

    def finish(self, trainer: Trainer) -> RunRecord:
        """Test the selected weights once training has ended, and complete the record.

        Args:
            trainer: What :meth:`begin` returned.
        """
        if self.stop:
            raise self._interrupted(", and saved")
        if not trainer.is_over():
            return self._pause()
        best = select_best(self.setup, self.outputs, self._identity())
        result = self._test() if self.settings.eval.test else None
        self._complete(best, result)
        return self.record

    def _begin(self) -> None:
        """Restore the checkpoint, and open the record and the metrics, before anything that takes time."""
        if self.setup.parts.optimizer is None and self.settings.train.steps:
            log.warning("%s has no parameters: it is tested as it is, without training.", self.record.algorithm)
        if self.checkpoint is not None:
            self._continue_from(self.checkpoint)
        self.watch = Stopwatch(*self.outputs.seconds_before(self.state.step))
        self._save_record(status="running", finished=None, error=None)
        views = {
            name: make(node, Tracker)  # type: ignore[type-abstract]
            for name, node in self.settings.tracker.items()
        }
        self.outputs.open_trackers(self._run_info(), views, self.checkpoint.values if self.checkpoint else {})

    def _continue_from(self, checkpoint: Checkpoint) -> None:
        """Restore the state of a checkpoint, if it belongs to this run."""
        values, identity = checkpoint.values, self._identity()
        for key, what in (("config_hash", "configuration"), ("data_hash", "data")):
            if values[key] != identity[key]:
                raise RunFolderError(
                    f"the {what} of {self.outputs.path} changed since its checkpoint was saved "
                    f"({key} {values[key][:12]}, now {identity[key][:12]}), so the run cannot be continued."
                )
        changed = [*changed_environment(values["environment"], self.environment), *format_lost(values)]
        resume = inexact_resume(self.outputs.path, checkpoint, changed, self.environment) if changed else None
        if resume is not None:
            log.warning("the run continues, but not bit for bit: %s", "; ".join(resume.changed))
            device = self.setup.compute.recorded()
            self.record = dataclasses.replace(self.record, exact_resume=False, device=device)
        self.record = with_resume(self.record, checkpoint.step, resume)
        with explain_misfit(self.outputs.path / "checkpoints" / step_name(checkpoint.step)):
            self.state.restore(checkpoint.tensors, values)

    def _pause(self) -> RunRecord:
        """End a run that was to stop here. It can be continued, and has not been tested."""
        self._save_record(status="interrupted", steps=self.state.step, **self._costs(), finished=utc_now())
        self.outputs.trackers.finish("interrupted", {}, {})
        return self.record

    def _test(self) -> EvalResult:
        """Open the test split, and measure once."""
        n_episodes = self.settings.eval.episodes
        self.setup.parts.eval_source.open_test()
        with self.outputs.display.show_progress("test", n_episodes) as advance:

            def report(done: int) -> None:
                advance(done)
                if self.stop:
                    raise AbortedWork

            try:
                with self.stop.abort_on_signal():
                    result = self.setup.evaluator.evaluate(self.state.algorithm, "test", n_episodes, report)
            except AbortedWork:  # nothing is lost: the checkpoint of the last step is there
                raise self._interrupted(", and saved") from None
        self.outputs.save_test(result, self.metric.name)
        check_finite(result, self.state.algorithm.only_for_training, remedies(self.settings))
        for line in doubts(result, self.settings) + not_finite_metrics(result):
            log.warning("%s", line)
        self.outputs.trackers.scalars(self.state.step, scalars(result, self.metric.name))
        return result

    def _complete(self, best: Best, result: EvalResult | None) -> None:
        test = None if result is None else score(result, self.metric.name)
        algorithm = self.state.algorithm
        done = dataclasses.replace(
            self.record,
            status="completed",
            steps=self.state.step,
            selected_step=best.step,
            val=Score(self.metric.name, best.mean, best.ci95, best.n_episodes),
            **({} if result is None else recorded(result, self.metric.name)),
            test_episodes_sha256=None if result is None else episodes_sha256(result.per_step.tolist(), result.domains),
            batch_norm=algorithm.batch_norm,
            first_order=algorithm.first_order,
            verdict=self._verdict(test),
            **self._costs(),
            finished=utc_now(),
        )
        figures = self.outputs.draw(self.setup, done)
        self.outputs.metrics_state()  # metrics are on the disk before the record says that all is done
        self.outputs.save_record(done)
        self.record = done
        summary = scalars_of_split("val", self.metric.name, best.mean, best.ci95) | {"selected_step": best.step}
        if test is not None:
            summary |= scalars_of_split("test", self.metric.name, test.mean, test.ci95)
        files = {name: self.outputs.path / name for name in (RECORD_FILE, METRICS_FILE, "config.yaml")}
        self.outputs.trackers.finish("completed", summary, files | figures)

    def _verdict(self, test: Score | None) -> Verdict | None:
        known = self.record
        if test is None or known.reference is None:
            return None
        return reproduction_verdict(
            test, known.reference, self.state.step, known.full_steps, known.deviations, known.is_stand_in,
            departs=known.departs,
        )  # fmt: skip

    def _end_early(self, error: BaseException) -> None:
        """Record how it ended. The error itself matters more than a failure to write it down."""
        interrupted = isinstance(error, (Interrupted, KeyboardInterrupt))
        outcome: Outcome = "interrupted" if interrupted else "failed"
        if not interrupted:
            log.error("the run failed", exc_info=error)
        with suppress(Exception):
            error = self._explained(error)
            text = None if interrupted else f"{type(error).__name__}: {first_line(error)}"
            self._save_record(status=outcome, steps=self.state.step, error=text, **self._costs(), finished=utc_now())
        with suppress(Exception):
            self.outputs.trackers.finish(outcome, {}, {})

    def _explained(self, error: BaseException) -> BaseException:
        """Return an error that says what to do about ``error``, or ``error`` itself."""
        if isinstance(error, FileNotFoundError) and self.outputs.is_gone():
            return MachineError(
                f"the run folder {self.outputs.path} has disappeared while the run was going, so nothing more can be "
                "kept. Something else works there; start the run again in another place (paths.outputs)."
            )
        return explained(error) or error

    def _costs(self) -> dict[str, Any]:
        trained = self.state.step * self.setup.parts.tasks_per_step
        return {
            "seconds": self.watch.total(),
            "episodes_per_second": trained / self.watch.training if self.watch.training > 0 else None,
            "peak_memory_bytes": self.setup.compute.peak_memory(),
        }

    def _save_record(self, **changes: Any) -> None:
        self.record = dataclasses.replace(self.record, **changes)
        self.outputs.save_record(self.record)

    def _interrupted(self, how: str) -> Interrupted:
        steps = f" after {self.state.step:,} of {counted(self.settings.train.steps, 'step')}{how}"
        return stopped_by(self.stop.signal_number, steps, resume_command(self.outputs.path))

    def _run_info(self) -> RunInfo:
        record = self.record
        return RunInfo(
            folder=self.outputs.path,
            name=f"{record.name} {format_point(read_varied(self.outputs.path))}".rstrip(),
            config=self.settings.resolved,
            group=record.group,
            tags=self.settings.tags,
            notes=self.settings.notes,
            resumed_at=None if self.checkpoint is None else self.checkpoint.step,
            choices=self.settings.choices,
            facts={
                **{name: getattr(record, name) for name in ("n_parameters", "batch_norm", "data_hash", "episode_bank")},
                "device": str(self.setup.compute),
            },
        )

    def _identity(self) -> Mapping[str, Any]:
        """What a checkpoint stores about its run."""
        interface = self.setup.parts.interface
        return {
            "config_hash": self.record.config_hash,
            "data_hash": self.record.data_hash,
            "interface": [list(interface.input_shape), interface.n_outputs],
            "environment": self.environment,
        }
