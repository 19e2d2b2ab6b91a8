"""Trains several runs step by step together. Each has its own session, and fails, waits or ends by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress

from metaexp.machine.collector import collect_as_usual
from metaexp.machine.signals import ABORT_SECONDS, AbortedWork, Interrupted, StopRequest
from metaexp.results.record import RunRecord
from metaexp.run.build import TrainingSetup
from metaexp.run.chunk_size import training_chunk
from metaexp.run.progress import Advance, Display
from metaexp.run.session import Session
from metaexp.run.step import MetaStep
from metaexp.run.together.gradient import StackedGradient
from metaexp.run.train import Trainer


class Member:
    """One of the runs.

    Args:
        session: Its session.

    Attributes:
        error: What ended it early; None while it goes on, and after a good end.
        record: Its completed record.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.error: Exception | None = None
        self.record: RunRecord | None = None
        self._trainer: Trainer | None = None
        self._is_ready = False

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Within this block, send messages to this run's log, and let an error end this run and no other.

        Raises:
            KeyboardInterrupt: The user wants to end everything at once.
        """
        try:
            with self.session.outputs.log_to_this_run(), self.session.record_errors():
                yield
        except Exception as error:
            self.error = error
            if isinstance(error, Interrupted) and isinstance(error.__cause__, KeyboardInterrupt):
                raise KeyboardInterrupt from error

    @property
    def trainer(self) -> Trainer:
        """What trains it, once it has begun."""
        assert self._trainer is not None
        return self._trainer

    @property
    def step(self) -> MetaStep:
        """What makes its steps."""
        assert self.session.setup.step is not None
        return self.session.setup.step

    def begin(self) -> None:
        """Restore the checkpoint, open the outputs, and make what was left of the step before."""
        with self.guard():
            self._trainer = self.session.begin()
            self._is_ready = self._trainer.prepare()

    def show_progress(self) -> AbstractContextManager[Advance]:
        """Show the progress of its training."""
        trainer = self.trainer
        return trainer.display.show_progress("train", trainer.total, trainer.state.step)

    def goes_on(self) -> bool:
        """Whether another step is to be made now."""
        return self.error is None and self._is_ready and self.trainer.goes_on()

    def end(self) -> None:
        """Save, test, and complete the record."""
        with self.guard():
            if self._is_ready:
                self.trainer.save_rest()
            self.record = self.session.finish(self.trainer)


def run_members(members: Sequence[Member], stop: StopRequest, display: Display) -> None:
    """Train and test all runs. What ended a run early is in :attr:`Member.error`.

    Args:
        members: The runs. Those behind are trained first, until they are as far as the others.
        stop: Whether the user asked to stop. All runs then save.
        display: Shows the progress of all.
    """
    try:
        for member in members:
            member.begin()
        _train(members, stop, display)
        for member in members:
            if member.error is None:
                member.end()
    except BaseException as error:
        for member in members:
            if member.error is None and member.record is None:
                with suppress(KeyboardInterrupt), member.guard():
                    raise error
        if not isinstance(error, Exception | KeyboardInterrupt):
            raise


def _train(members: Sequence[Member], stop: StopRequest, display: Display) -> None:
    """Train until no run goes on. The gradient is computed for all runs that are at the same step."""
    total = max((member.trainer.total for member in members if member.error is None), default=0)
    done = min((member.trainer.state.step for member in members if member.error is None), default=0)
    gradient: StackedGradient | None = None
    with display.show_progress("train", total, done) as advance, ExitStack() as stack, suppress(AbortedWork):
        own = {member: stack.enter_context(member.show_progress()) for member in members if member.error is None}
        while now := _lowest(members):
            if gradient is None or gradient.steps != [member.step for member in now]:
                gradient = stacked_gradient([member.session.setup for member in now])
                gradient.check(now[0].trainer.state.step)
            with _count_training_time(now):
                with stop.abort_on_signal(ABORT_SECONDS):
                    means = gradient.compute(now[0].trainer.state.step)
                for member, mean in zip(now, means, strict=True):
                    with member.guard():
                        member.trainer.apply(mean)
            for member in now:
                if member.error is None:
                    with member.guard():
                        member.trainer.after_step(own[member])
            advance(min(member.trainer.state.step for member in now))


def stacked_gradient(setups: Sequence[TrainingSetup]) -> StackedGradient:
    """Return the gradient of several runs, of so many tasks at once as fit the memory that one run may take.

    Args:
        setups: The runs, each of which has steps to make.
    """
    setup, steps = setups[0], [setup.step for setup in setups if setup.step is not None]
    tasks = sum(step.tasks for step in steps)
    chunk = training_chunk(
        setup.settings.train.shape, setup.parts.dataset.input_shape, setup.parts.algorithm, setup.compute, tasks
    )
    return StackedGradient(steps, chunk)


def _lowest(members: Sequence[Member]) -> list[Member]:
    """The runs that go on and have made the fewest steps; none if none goes on."""
    left = [member for member in members if member.goes_on()]
    lowest = min((member.trainer.state.step for member in left), default=0)
    return [member for member in left if member.trainer.state.step == lowest]


@contextmanager
def _count_training_time(members: Sequence[Member]) -> Iterator[None]:
    """Count the time of this block as that of training steps, for each run."""
    for member in members:
        member.trainer.watch.begin_training()
    collect_as_usual()
    try:
        yield
    finally:
        for member in members:
            member.trainer.watch.end_training()
