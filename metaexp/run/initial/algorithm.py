"""Makes the algorithm of a run, with its initial weights."""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Callable

from metaexp.config.classes.make import make
from metaexp.config.schema import ClassSpec, Settings
from metaexp.core.algorithm import Algorithm
from metaexp.models.base import Network
from metaexp.models.checks.half_precision import refuse_half_precision
from metaexp.models.checks.hidden import refuse_hidden
from metaexp.models.checks.made_again import is_foreign, make_twice
from metaexp.models.checks.trial import refuse_lazy
from metaexp.run.initial.network import Interface, build_network
from metaexp.run.initial.own_class import constructing, import_own, warn_of_seeds

log = logging.getLogger(__name__)


def build_algorithm(
    settings: Settings, interface: Interface, model: Network | None = None, *, begins: bool = False
) -> Algorithm:
    """Make the algorithm on the CPU.

    Args:
        settings: The checked configuration.
        interface: The shapes that it is built for.
        model: Its network; None for a new one, if it takes one, initialised from ``settings.seed``.
        begins: Whether a run begins with its initial weights. Then one of your own is made twice, and compared.
    """
    if model is None:
        model = build_network(settings, interface)

    def make_it(network: Network | None, seed: int = settings.seed) -> Algorithm:
        with constructing(f"algorithm={settings.chosen_file('algorithm')}", seed):
            return make(
                settings.algorithm,
                Algorithm,  # type: ignore[type-abstract]
                model=network,
                input_shape=interface.input_shape,
                n_outputs=interface.n_outputs,
                train_shape=settings.train.shape,
            )

    with warn_of_seeds(f"algorithm={settings.chosen_file('algorithm')}"):
        if begins and is_foreign(algorithm_class(settings.algorithm)):
            algorithm = _make_twice(make_it, model, settings.seed)
        else:
            algorithm = make_it(model)
    refuse_hidden(algorithm, "algorithm")
    refuse_lazy(algorithm, "algorithm")
    if begins:  # runs of before are tested as they are
        refuse_half_precision(algorithm, "algorithm")
    return algorithm


def _make_twice(make_it: Callable[..., Algorithm], network: Network | None, seed: int) -> Algorithm:
    """Make an algorithm twice, with a network and a copy of it, and compare. Once where its layers cannot be copied."""
    try:
        again = copy.deepcopy(network)
    except Exception as error:  # code of users
        log.debug("%s cannot be copied: %s: %s", type(network).__name__, type(error).__name__, error)
        return make_it(network)
    other_seed = functools.partial(make_it, again, seed + 1)
    return make_twice(lambda: make_it(network), lambda: make_it(again), "algorithm", other_seed)


def algorithm_class(spec: ClassSpec) -> type[Algorithm]:
    """Import the class of an algorithm, whose attributes are needed before an object is made."""
    return import_own(spec, Algorithm)  # type: ignore[type-abstract]
