"""What the ranks of a run other than the first do: the same work. They write nothing and say nothing."""

from __future__ import annotations

import logging
import signal
import sys
import traceback
import warnings
from collections.abc import Mapping
from typing import Any

from metaexp.config.check import check
from metaexp.config.classes.targets import trust, trusted
from metaexp.config.schema import Settings
from metaexp.core.errors import MachineError, MetaexpError, NotFiniteError
from metaexp.machine.failures import explaining
from metaexp.machine.launch import Launch
from metaexp.machine.ranks import Group, PeerError, Ranks, joined
from metaexp.machine.signals import Interrupted, StopRequest, stop_on_signals
from metaexp.run.build import Parts, Workings, started, workings
from metaexp.run.evaluator import check_finite
from metaexp.run.progress import Silent
from metaexp.run.selection import best_of, take
from metaexp.run.shared_state import Agreed, share_state
from metaexp.run.train import Stopwatch, Trainer
from metaexp.tracking.trackers import NoTrackers

_OF_ALL = (NotFiniteError, Interrupted)
"""What every rank meets at the same place, so that the first one says it."""


def follow(launch: Launch) -> int:
    """Do what the first rank orders; returns the exit code of the process.

    An error that the first rank does not know of is said here, for nobody else can.
    """
    logging.getLogger("metaexp").addHandler(logging.NullHandler())
    warnings.simplefilter("ignore")  # the first rank has the same
    try:
        with joined(launch) as group:
            return _obey(group)
    except MachineError as error:
        print(f"metaexp train: {error}", file=sys.stderr)
        return error.exit_code


def call(settings: Settings, ranks: Ranks) -> None:
    """On the first rank: tell the others to take part in a run with ``settings``."""
    ranks.order({"config": settings.resolved, "choices": settings.choices, "trusted": list(trusted())})
    ranks.together(lambda: None)  # they check the settings on their machine


def _obey(ranks: Group) -> int:
    """Receive the order and carry it out; returns the exit code."""
    try:
        order = ranks.order(None)
        if "leave" in order:
            if order["leave"]:
                ranks.let_first_end()
            return int(order["leave"])
        _work(order, ranks)
    except MetaexpError as error:
        if ranks.knows_failure or isinstance(error, _OF_ALL):
            ranks.let_first_end()
        elif not isinstance(error, PeerError):  # whose cause the first rank meets as well
            print(f"metaexp train, rank {ranks.rank} of {ranks.size}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except Exception:
        print(f"metaexp train, rank {ranks.rank} of {ranks.size}:", file=sys.stderr)
        traceback.print_exc()
        return 1
    return 0


def _work(order: Mapping[str, Any], ranks: Group) -> None:
    found: list[Settings] = []

    def understand() -> None:
        for package in order["trusted"]:
            trust(package)
        found.append(check(order["config"], order["choices"]))

    ranks.together(understand)
    (settings,) = found
    with (
        explaining(),
        started(settings, ranks, lambda _: None) as (compute, parts),
        stop_on_signals(ranks.stop_request()) as stop,
    ):
        _train_and_test(settings, parts, workings(settings, parts, compute, ranks), ranks, stop)


def _train_and_test(settings: Settings, parts: Parts, works: Workings, ranks: Ranks, stop: StopRequest) -> None:
    """As :class:`metaexp.run.session.Session`, statement by statement, but for what is written."""
    state, step, evaluator = works

    def report(_: int) -> None:
        if stop:
            raise Interrupted("stopped with the first rank", int(stop.signal_number or signal.SIGINT))

    share_state(state, ranks)
    checkpoints = Agreed(None, ranks)
    Trainer(settings, state, step, evaluator, checkpoints, NoTrackers(), Silent(), stop, Stopwatch(), {}).run()
    report(0)
    best = best_of(state)
    take(state, settings, best.step, best.weights)
    if not settings.eval.test:
        return
    parts.eval_source.open_test()
    check_finite(evaluator.evaluate(state.algorithm, "test", settings.eval.episodes, report))
