"""One session of a run: from its start, or its newest checkpoint, to its end or interruption."""

from __future__ import annotations

import dataclasses
import logging
import signal
from contextlib import suppress
from typing import Any

from metaexp.config.classes.make import make
from metaexp.config.schema import Settings
from metaexp.core.errors import RunFolderError
from metaexp.core.json_lines import TIMINGS_FILE, read_lines
from metaexp.core.metric import Metric
from metaexp.core.types import EvalResult
from metaexp.machine.device import Compute
from metaexp.machine.environment import differences, environment
from metaexp.machine.failures import explained
from metaexp.machine.ranks import ALONE, Ranks
from metaexp.machine.signals import Interrupted, StopRequest
from metaexp.results.record import RunRecord, Score, Verdict, write_record
from metaexp.results.verdict import judge
from metaexp.run.build import Parts, workings
from metaexp.run.checkpoint import Checkpoint, Checkpoints
from metaexp.run.evaluator import final_test, score, scores_after_steps
from metaexp.run.first_record import now
from metaexp.run.folder import RunFolder
from metaexp.run.pictures import draw
from metaexp.run.precision import check_precision
from metaexp.run.progress import Display
from metaexp.run.selection import select
from metaexp.run.shared_state import Agreed, share_state
from metaexp.run.state import Best
from metaexp.run.train import Stopwatch, Trainer
from metaexp.tracking.base import Outcome, RunInfo, Tracker
from metaexp.tracking.trackers import Trackers

log = logging.getLogger(__name__)


class Session:
    """Runs ``settings`` in ``folder``, which this process holds.

    record: as far as it is known. checkpoint: where to go on from, None to begin. ranks: that share the run; this
    process is the first of them, and the others follow (:mod:`metaexp.run.follower`).
    """

    def __init__(
        self,
        settings: Settings,
        parts: Parts,
        compute: Compute,
        folder: RunFolder,
        record: RunRecord,
        checkpoint: Checkpoint | None,
        display: Display,
        stop: StopRequest,
        ranks: Ranks = ALONE,
    ) -> None:
        self.settings = settings
        self.parts = parts
        self.folder = folder
        self.record = record
        self.display = display
        self.stop = stop
        self.compute = compute
        self.metric = Metric.of(settings.task.n_way)
        self.environment = environment(compute)
        self.ranks = ranks
        self.checkpoints = Checkpoints(folder.checkpoints) if ranks.size == 1 else Agreed(folder.checkpoints, ranks)
        self.state, self.step, self.evaluator = workings(settings, parts, compute, ranks)
        if parts.optimizer is None and settings.train.steps:
            log.warning("%s has no parameters: it is tested as it is, without training.", record.algorithm)
        position = 0
        if checkpoint is not None:
            self._continue_from(checkpoint)
            position = checkpoint.values["metrics_position"]
        self.watch = Stopwatch(*seconds_before(folder, self.state.step if checkpoint else 0))
        self.position = position
        self.trackers = Trackers(self._run_info(checkpoint), self._views())

    def run(self) -> RunRecord:
        """Train what is left, test, and complete the record.

        Whatever ends it early is written into the record before it is raised again, the machine's errors in
        words that say what to do. Raises Interrupted after a clean save on SIGINT or SIGTERM.
        """
        try:
            return self._run()
        except BaseException as error:
            self._end_early(error)
            if isinstance(error, KeyboardInterrupt):
                raise self._interrupted("at once, without saving") from error
            better = explained(error)
            if better is None or better is error:
                raise
            raise better from error

    def _run(self) -> RunRecord:
        self._write(status="running", finished=None, error=None)  # before what may take its time, or be killed
        self.trackers.start(self.position)
        share_state(self.state, self.ranks)
        if self.step is not None and self.state.step < self.settings.train.steps:
            check_precision(self.step, self.state.step)
        trainer = Trainer(
            self.settings,
            self.state,
            self.step,
            self.evaluator,
            self.checkpoints,
            self.trackers,
            self.display,
            self.stop,
            self.watch,
            self._identity(),
        )
        trainer.run()
        if self.stop:
            raise self._interrupted("and saved")
        if self.state.step < trainer.total:
            return self._pause()
        best = select(self.state, self.settings, self.folder, self._identity())
        result = self._test() if self.settings.eval.test else None
        self._complete(best, result)
        return self.record

    def _pause(self) -> RunRecord:
        """What a run leaves that was to go so far only: it can be continued, and has not been tested."""
        self._write(status="interrupted", steps=self.state.step, **self._costs(), finished=now())
        self.trackers.finish("interrupted", {}, {})
        return self.record

    def _test(self) -> EvalResult:
        n_episodes = self.settings.eval.episodes
        with self.display.stretch("test", n_episodes) as advance:

            def report(done: int) -> None:
                advance(done)
                if self.stop:  # nothing is lost: the checkpoint of the last update is there
                    raise self._interrupted("and saved")

            result = final_test(
                self.state, self.evaluator, self.parts.eval_source, n_episodes, self.folder.test_episodes, report
            )
        values = {f"test/{self.metric.name}": result.mean, "test/ci95": result.ci95}
        for steps, after in enumerate(scores_after_steps(result, self.metric.name)):
            values[f"test/{self.metric.name}_after_{steps}"] = after.mean
        self.trackers.scalars(self.state.step, values)
        return result

    def _complete(self, best: Best, result: EvalResult | None) -> None:
        test = None if result is None else score(result, self.metric.name)
        done = dataclasses.replace(
            self.record,
            status="completed",
            steps=self.state.step,
            selected_step=best.step,
            val=Score(self.metric.name, best.mean, best.ci95, best.n_episodes),
            test=test,
            after_steps=[] if result is None else scores_after_steps(result, self.metric.name),
            batch_norm=self.parts.algorithm.batch_norm,
            first_order=self.parts.algorithm.first_order,
            verdict=self._verdict(test),
            **self._costs(),
            finished=now(),
        )
        pictures = draw(self.folder, self.settings, self.parts, self.compute, done)
        for name, path in pictures.items():
            self.trackers.picture(name, path)
        self.trackers.position()  # metrics are on the disk before the record says that all is done
        write_record(done, self.folder.path)
        self.record = done
        summary = {f"val/{self.metric.name}": best.mean, "val/ci95": best.ci95, "selected_step": best.step}
        summary |= {f"test/{self.metric.name}": test.mean, "test/ci95": test.ci95} if test is not None else {}
        files = {name: self.folder.path / name for name in ("record.json", "metrics.jsonl", "config.yaml")}
        self.trackers.finish("completed", summary, files | pictures)

    def _verdict(self, test: Score | None) -> Verdict | None:
        known = self.record
        if test is None or known.reference is None:
            return None
        return judge(test, known.reference, self.state.step, known.full_steps, known.deviations)

    def _end_early(self, error: BaseException) -> None:
        """Record how it ended. The error itself matters more than a failure to write it down."""
        interrupted = isinstance(error, (Interrupted, KeyboardInterrupt))
        outcome: Outcome = "interrupted" if interrupted else "failed"
        if not interrupted:
            log.error("the run failed", exc_info=error)
        with suppress(Exception):
            first = (str(explained(error) or error).strip() or type(error).__name__).splitlines()[0]
            text = None if interrupted else f"{type(error).__name__}: {first}"
            self._write(status=outcome, steps=self.state.step, error=text, **self._costs(), finished=now())
        with suppress(Exception):
            self.trackers.finish(outcome, {}, {})

    def _costs(self) -> dict[str, Any]:
        trained = self.state.step * self.parts.tasks_per_step
        return {
            "seconds": self.watch.total(),
            "episodes_per_second": trained / self.watch.training if self.watch.training > 0 else None,
            "peak_memory_bytes": self.compute.peak_memory(),
        }

    def _write(self, **changes: Any) -> None:
        self.record = dataclasses.replace(self.record, **changes)
        write_record(self.record, self.folder.path)

    def _interrupted(self, how: str) -> Interrupted:
        number = self.stop.signal_number or signal.SIGINT
        return Interrupted(
            f"stopped by {signal.Signals(number).name} after {self.state.step} of {self.settings.train.steps} "
            f"meta-updates, {how}. Continue with: metaexp train resume={self.folder.path}",
            int(number),
        )

    def _views(self) -> dict[str, Tracker]:
        return {
            name: make(node, Tracker)  # type: ignore[type-abstract]
            for name, node in self.settings.tracker.items()
        }

    def _run_info(self, checkpoint: Checkpoint | None) -> RunInfo:
        record = self.record
        return RunInfo(
            folder=self.folder.path,
            name=record.name,
            config=self.settings.resolved,
            group=record.group,
            resumed_at=None if checkpoint is None else checkpoint.step,
            facts={
                "n_parameters": record.n_parameters,
                "batch_norm": record.batch_norm,
                "device": str(self.compute),
                "data_hash": record.data_hash,
                "episode_bank": record.episode_bank,
            },
        )

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint says about the run that it belongs to."""
        return {
            "config_hash": self.record.config_hash,
            "data_hash": self.record.data_hash,
            "interface": [list(self.parts.interface.input_shape), self.parts.interface.n_outputs],
            "environment": self.environment,
        }

    def _continue_from(self, checkpoint: Checkpoint) -> None:
        values = checkpoint.values
        for key, what in (("config_hash", "configuration"), ("data_hash", "data")):
            if values[key] != self._identity()[key]:
                raise RunFolderError(
                    f"the {what} of {self.folder.path} changed since its checkpoint was saved "
                    f"({key} {values[key][:12]}, now {self._identity()[key][:12]}), so the run cannot be continued."
                )
        changed = differences(values["environment"], self.environment)
        if changed:
            log.warning("the run continues, but not bit for bit: %s", "; ".join(changed))
            self.record = dataclasses.replace(self.record, exact_resume=False, device=self.compute.recorded())
        self.state.restore(checkpoint.tensors, values)


def seconds_before(folder: RunFolder, step: int) -> tuple[float, float]:
    """Seconds, and of them seconds of training, that earlier sessions took up to meta-update ``step``."""
    found = (0.0, 0.0)
    for at, values in read_lines(folder.path / TIMINGS_FILE):
        if at <= step and "time/seconds" in values:
            found = (values["time/seconds"], values["time/training_seconds"])
    return found
