"""Makes the network of a run, with its initial weights."""

from __future__ import annotations

import functools
import logging
from typing import NamedTuple

import torch
from torch import nn

from metaexp.config.classes.make import make
from metaexp.config.classes.network import takes_network
from metaexp.config.schema import Settings
from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.core.shapes import TaskShape, trains_on_batches
from metaexp.data.base import MetaDataset
from metaexp.models.base import Network
from metaexp.models.checks.half_precision import refuse_half_precision
from metaexp.models.checks.inspection import prepare_network
from metaexp.models.checks.made_again import is_foreign, make_twice
from metaexp.models.checks.probabilities import warn_of_probabilities
from metaexp.models.plain import as_network
from metaexp.run.initial.own_class import constructing, import_own, warn_of_seeds

log = logging.getLogger(__name__)


class Interface(NamedTuple):
    """What an algorithm and its network are built for.

    Attributes:
        input_shape: Shape of one example.
        n_outputs: Classes of a training task, outputs of a regression task, or, in supervised training, all training
            classes.
    """

    input_shape: tuple[int, ...]
    n_outputs: int


def build_network(settings: Settings, interface: Interface, *, begins: bool = False) -> Network | None:
    """Make the network on the CPU, initialised from ``settings.seed``.

    The algorithm draws its own initial weights after the network's, from the seed that is set here.

    Args:
        settings: The checked settings.
        interface: Shapes that the data give the network.
        begins: Whether a run begins with its initial weights. Then one of your own is made twice, and compared, and
            its scores are looked at.

    Returns:
        The network; None where the algorithm takes none.

    Raises:
        ConfigError: It cannot be made, its initial weights do not follow from the seed, or it is not fit for tasks.
    """
    cls = import_own(settings.algorithm, Algorithm)  # type: ignore[type-abstract]
    if not takes_network(settings.algorithm):
        if begins:
            warn_of_no_network(settings.chosen_file("algorithm"), settings.chosen_file("model"))
        torch.default_generator.manual_seed(settings.seed)
        return None
    own = import_own(settings.model, nn.Module)  # before the seed, so that it draws none of the network's numbers
    torch.default_generator.manual_seed(settings.seed)  # the CPU's, where network and algorithm are made
    outputs = None if cls.model_output == "embedding" else interface.n_outputs

    def make_it(seed: int = settings.seed) -> Network:
        with constructing(f"model={settings.chosen_file('model')}", seed):
            return as_network(_make_module(settings, interface, outputs), outputs)

    with warn_of_seeds(f"model={settings.chosen_file('model')}"):
        if begins and is_foreign(own):
            model = make_twice(make_it, make_it, "model", functools.partial(make_it, settings.seed + 1))
        else:
            model = make_it()
    with constructing(f"model={settings.chosen_file('model')}", settings.seed):
        prepare_network(model, interface.input_shape, outputs)
    takes_softmax = settings.train.shape.n_way > 0 and (outputs or 0) > 1 and cls.loss is Algorithm.loss
    if begins and is_foreign(own) and takes_softmax:
        warn_of_probabilities(model, interface.input_shape)
    if begins:  # runs of before are tested as they are
        refuse_half_precision(model, "model")
    return model


def warn_of_no_network(algorithm: str, model: str) -> None:
    """Warn of an algorithm that takes no network: nothing that is set of one changes a number.

    Args:
        algorithm: As chosen by ``algorithm=NAME``.
        model: As chosen by ``model=NAME``.
    """
    log.warning(
        "the constructor of algorithm=%s has no argument `model`, so model=%s is not made, and nothing that you "
        "set of it changes a number. Is the argument forgotten?",
        algorithm, model,
    )  # fmt: skip


def n_outputs(cls: type[Algorithm], dataset: MetaDataset, shape: TaskShape) -> int:
    """Return the outputs of a network: the classes of a task (or all training classes), or numbers of a target.

    Args:
        cls: The algorithm's class.
        dataset: The loaded dataset.
        shape: The shape of a training task.
    """
    labels = dataset.n_labels() if trains_on_batches(cls.training_tasks, shape.n_way) else None
    if labels is not None:
        return labels
    return shape.n_way or dataset.target_size


def _make_module(settings: Settings, interface: Interface, outputs: int | None) -> nn.Module:
    try:
        return make(settings.model, nn.Module, input_shape=interface.input_shape, n_outputs=outputs)
    except ConfigError as error:  # the class does not know by which file it was chosen
        chosen = f"model={settings.chosen_file('model')}"
        raise ConfigError([p if p.startswith("model") else f"{chosen}: {p}" for p in error.problems]) from error
    except TypeError as error:
        if outputs is not None:
            raise
        raise ConfigError(
            f"model: {settings.chosen_file('model')} could not be made with n_outputs=None, with which "
            f"{settings.chosen_file('algorithm')} asks for features in place of scores ({error}). Leave out the last "
            "layer where n_outputs is None."
        ) from error
