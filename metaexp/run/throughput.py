"""How fast a run would go on this machine, from a few updates and episodes of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

from metaexp.config.schema import Settings
from metaexp.machine.device import prepared
from metaexp.machine.failures import explaining
from metaexp.machine.ranks import ALONE
from metaexp.run.build import build, workings

_SECONDS = 3.0
"""About so long is measured, after one update or batch that is not counted."""
_MOST = 20


class Rate(NamedTuple):
    """Seconds of one meta-update, and of one episode of validation or test."""

    update: float
    episode: float

    def seconds(self, settings: Settings, steps: int) -> float:
        """An estimate of a run of ``steps`` updates: training, validations and test."""
        train = settings.train
        validations = math.ceil(steps / train.eval_every) if steps else 1
        return steps * self.update + (validations * train.eval_episodes + settings.eval.episodes) * self.episode


def measure(settings: Settings, say: Callable[[str], None]) -> Rate:
    """Make everything that a run needs, time some of it, and forget it. Nothing is written.

    The episodes are of the validation split; adaptation with more steps at test makes no difference, for
    validation adapts as long. Raises as a run does where the data or the device are not there.
    """
    with explaining(), prepared(settings.device) as compute:
        parts = build(settings, compute, say)
        _, step, evaluator = workings(settings, parts, compute, ALONE)
        n_episodes = min(evaluator.chunk, settings.train.eval_episodes, 32)

        def validate(_: int) -> None:
            evaluator.validate(parts.algorithm, n_episodes, lambda done: None)

        episode = _time(validate, compute.wait) / n_episodes
        if step is None:
            return Rate(0.0, episode)
        return Rate(_time(step.update, compute.wait), episode)


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
