"""Measures how fast a run would be on this machine, with a few of its steps and episodes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

from metaexp.config.schema import Settings
from metaexp.machine.failures import explain_errors
from metaexp.machine.single_rank import SINGLE
from metaexp.run.build import set_up

_SECONDS = 3.0
"""About how long to measure, after one step or batch that is not counted."""
_MOST = 20


class Throughput(NamedTuple):
    """How fast a run is.

    Attributes:
        step: Seconds of one step of training.
        episode: Seconds of one episode of validation or test.
    """

    step: float
    episode: float

    def seconds(self, settings: Settings, steps: int) -> float:
        """An estimate for a run of ``steps`` steps: training, validations and test.

        Args:
            settings: The checked settings.
            steps: Training steps.
        """
        train = settings.train
        validations = math.ceil(steps / train.eval_every) if steps else 1
        return steps * self.step + (validations * train.eval_episodes + settings.eval.episodes) * self.episode


def measure(settings: Settings, progress: Callable[[str], None]) -> Throughput:
    """Build everything that a run needs, and time some of it. Nothing is written.

    The episodes are of the validation split. More adaptation steps at test make no difference, for validation adapts
    as long.

    Args:
        settings: The checked configuration.
        progress: Takes lines about what is done meanwhile, such as a download.

    Returns:
        The seconds of one step and of one episode.

    Raises:
        MetaexpError: The run cannot train, for example because data or the device are missing.
    """
    with explain_errors(), set_up(settings, SINGLE, progress) as setup:
        evaluator, wait = setup.evaluator, setup.compute.wait
        n_episodes = min(evaluator.chunk, settings.train.eval_episodes, 32)

        def validate(_: int) -> None:
            evaluator.validate(setup.state.algorithm, n_episodes, lambda _: None)

        episode = _time(validate, wait) / n_episodes
        return Throughput(0.0 if setup.step is None else _time(setup.step.run, wait), episode)


def _time(work: Callable[[int], object], wait: Callable[[], None]) -> float:
    """Seconds of one call, the mean over some after the first."""
    work(0)
    wait()
    start, done = time.monotonic(), 0
    while done < _MOST and (done == 0 or time.monotonic() - start < _SECONDS):
        done += 1
        work(done)
    wait()
    return (time.monotonic() - start) / done
