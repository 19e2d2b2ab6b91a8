"""Imports and makes classes, which may be a user's own, and keeps them from changing torch for the whole run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from metaexp.config.classes.make import import_class
from metaexp.config.schema import ClassSpec
from metaexp.core.errors import ConfigError
from metaexp.models.library_noise import hear_seeds, seed_numpy_and_python
from metaexp.models.torch_settings import put_back_with_warning, refuse_changed_settings, standard_settings

log = logging.getLogger(__name__)

T = TypeVar("T")


def import_own(spec: ClassSpec, expected_type: type[T]) -> type[T]:
    """Import a class. What its module sets in torch is put back, with a warning.

    Args:
        spec: The class.
        expected_type: What the class derives from.

    Raises:
        ConfigError: The class is not of the expected type.
    """
    with put_back_with_warning(f"the import of {spec.target}"):
        return import_class(spec, expected_type)


@contextmanager
def constructing(what: str, seed: int) -> Iterator[None]:
    """Seed the generators of numpy and Python for this block, and refuse a block that changes torch or seeds it.

    Args:
        what: What the block makes, for messages.
        seed: The seed of the run.

    Raises:
        ConfigError: A setting of torch has changed, or its seed.
    """
    seed_of_torch = torch.initial_seed()
    with standard_settings(), refuse_changed_settings(what), seed_numpy_and_python(seed):
        yield
    if torch.initial_seed() != seed_of_torch:
        raise ConfigError(
            f"{what} calls torch.manual_seed, so that its initial values would be the same with every seed. The run "
            "seeds torch before it makes the network. Remove that, or draw what is to be the same from a generator of "
            "your own (torch.Generator().manual_seed(0))."
        )


@contextmanager
def warn_of_seeds(what: str) -> Iterator[None]:
    """Warn of a block that seeds the generators of numpy and Python. It disturbs nothing else: they are put back.

    Args:
        what: What the block makes, for the message.
    """
    with hear_seeds() as heard:
        yield
    if heard:
        log.warning(
            "%s calls %s, so what it draws from there is the same with every seed. The run seeds that generator. "
            "Remove that, or draw what is to be the same from a generator of your own (numpy.random.default_rng(0)).",
            what, heard[0],
        )  # fmt: skip
