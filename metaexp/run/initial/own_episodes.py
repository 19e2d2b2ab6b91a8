"""Checks whether the episodes of a dataset of one's own depend on their address alone, and on their split."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor

from metaexp.config.classes.methods import refuse_wrong_methods
from metaexp.core.counted import shortened
from metaexp.core.errors import ConfigError
from metaexp.core.own_imports import require_returned
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.data.base import MetaDataset, TaskSource
from metaexp.data.values.refused_values import format_missing
from metaexp.models.checks.made_again import is_foreign

log = logging.getLogger(__name__)

_N_EPISODES: Final = 3
_ROUNDING: Final = 1e-4
"""The part of the largest number that rounding may change."""


def require_data(found: object, name: str) -> MetaDataset:
    """Return what a dataset has loaded.

    Args:
        found: What its ``load`` returned.
        name: What messages call it.

    Raises:
        ConfigError: It is not a MetaDataset, metaexp cannot call its methods, or it does not say what its examples are.
    """
    data = require_returned(found, MetaDataset, f"dataset={name}: load")  # type: ignore[type-abstract]
    refuse_wrong_methods(type(data), f"dataset={name}")
    problems = [
        f"dataset={name}: {type(data).__name__}.{attribute} "
        f"{'is not set' if value is None else f'is {shortened(repr(value))}'}; it must be {wanted}."
        for attribute, (is_right, wanted) in _ATTRIBUTES.items()
        if not is_right(value := getattr(data, attribute, None))
    ]
    if problems:
        raise ConfigError(problems)
    return data


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


_ATTRIBUTES: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "kind": (lambda value: value in ("classification", "regression"), "'classification' or 'regression'"),
    "input_shape": (
        lambda value: isinstance(value, (tuple, list)) and bool(value) and all(_is_count(size, 1) for size in value),
        "the shape of one example, a tuple such as (1, 28, 28)",
    ),
    "target_size": (lambda value: _is_count(value, 0), "the outputs of a regression task, and 0 for classification"),
    "digest": (
        lambda value: isinstance(value, str) and bool(value),
        "a text that other examples change, such as the SHA-256 of all of them, in hexadecimal digits",
    ),
}
"""What loaded data say of their examples: what is right, and a name for it."""


def check_episodes(
    dataset: MetaDataset,
    name: str,
    shape: TaskShape,
    seed: int,
    device: torch.device,
    n_episodes: int = _N_EPISODES,
    *,
    val_in_train: bool = False,
) -> None:
    """Refuse own data whose episodes are others when they are asked for again or alone, or the same in two splits.

    No test episode is looked at. Data that say so may train on their validation episodes.

    Args:
        dataset: The data, loaded.
        name: What messages call it.
        shape: The shape of validation tasks.
        seed: Their seed.
        device: Where the data are.
        n_episodes: How many validation episodes the run asks for. Data may have no more.
        val_in_train: Whether the data say that they train on validation episodes, see :class:`Dataset`.

    Raises:
        ConfigError: The episodes are not functions of seed, split and index, or metaexp cannot call what makes them.
    """
    made = dataset.tasks(shape, seed)
    source = require_returned(made, TaskSource, f"dataset={name}: tasks")  # type: ignore[type-abstract]
    refuse_wrong_methods(type(source), f"dataset={name}")
    if source.varies or not (is_foreign(type(dataset)) or is_foreign(type(source))):
        return
    indices = torch.arange(min(_N_EPISODES, n_episodes), device=device)
    with torch.random.fork_rng(devices=[]):
        found, again = source.episodes("val", indices), source.episodes("val", indices)
        alone = source.episodes("val", indices[-1:])
        train = _training_episodes(source, indices)
    _require_episodes(found, f"dataset={name}: episodes")
    for missing in _missing(found):
        log.warning("dataset=%s: %s", name, missing)
    last = [tensor[-1:] for tensor in _tensors(found)]
    if not _agree(_tensors(found), _tensors(again)):
        raise ConfigError(
            f"dataset={name} gives other episodes when the same ones are asked for again, so algorithms would be "
            f"tested on different tasks, and a run could not be repeated or resumed. {_ADVICE}"
        )
    if not _agree(last, _tensors(alone)):
        raise ConfigError(
            f"dataset={name} gives another episode where it is asked for alone than among others, so that "
            f"device.task_chunk would decide what is tested. {_ADVICE}"
        )
    if train is not None and not val_in_train and all(map(_are_equal, _tensors(found), _tensors(train))):
        raise ConfigError(
            f"dataset={name} gives the same episodes for validation as for training where their seed is the same, so "
            f"it passes over the split: the test tasks would be those that chose the weights. {_ADVICE} If validation "
            "is to be on training data, set val_in_train = True in the class of the dataset; then validation chooses "
            "nothing (eval.weights=last)."
        )


_ADVICE: Final = (
    "Let an episode depend on the seed, the split and its own index alone (metaexp.core.addressing has random numbers "
    "for these), not on torch's or numpy's generators or on other episodes. `metaexp check` examines a dataset."
)


def _training_episodes(source: TaskSource, indices: Tensor) -> Episode | None:
    """Training episodes of this shape; None where there are none, since classes for training have fewer examples."""
    try:
        return source.episodes("train", indices)
    except Exception as error:  # code of users
        log.debug("training has no such episodes: %s: %s", type(error).__name__, error)
        return None


def _require_episodes(found: object, what: str) -> None:
    """Raise ConfigError unless ``found`` is a batch of tasks with tensors."""
    episode = require_returned(found, Episode, what)
    for part, name in zip(episode, Episode._fields, strict=True):
        examples = require_returned(part, Examples, f"{what}, for the {name} set,")
        for tensor, letter in ((examples.x, "x"), (examples.y, "y")):
            require_returned(tensor, Tensor, f"{what}, for {letter} of the {name} set,")


def _missing(episodes: Episode) -> list[str]:
    """Warnings that inputs or targets of the validation episodes are not finite."""
    found = []
    for letter, what in (("x", "inputs"), ("y", "targets")):
        parts = {name: getattr(part, letter).cpu() for name, part in zip(Episode._fields, episodes, strict=True)}
        wrong = {name: ~values.isfinite() for name, values in parts.items()}
        n_wrong = sum(int(w.sum()) for w in wrong.values())
        if n_wrong:
            n_values = sum(values.numel() for values in parts.values())
            name = next(name for name, w in wrong.items() if w.any())
            place = tuple(int(i) for i in wrong[name].nonzero()[0])
            where = f"episode {place[0]}, at {list(place[1:])} of its {name} set"
            whole = f"{what} of the first validation episodes"
            found.append(format_missing(n_wrong, n_values, whole, float(parts[name][place]), where))
    return found


def _tensors(episodes: Episode) -> list[Tensor]:
    """Inputs and labels of support and query, with a leading T."""
    return [tensor for part in episodes for tensor in (part.x, part.y)]


def _agree(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(map(_are_alike, first, second))


def _are_equal(first: Tensor, second: Tensor) -> bool:
    """Whether all numbers are equal: those of a barometer hardly differ between episodes."""
    return first.shape == second.shape and torch.equal(first.nan_to_num(), second.nan_to_num())


def _are_alike(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape:
        return False
    one, other = first.cpu().double(), second.cpu().double()
    size = float(one.nan_to_num(0, 0, 0).abs().max()) if one.numel() else 0.0
    return torch.allclose(one, other, rtol=0.0, atol=_ROUNDING * size, equal_nan=True)
