"""The state of a run: everything that changes while it trains, and that a checkpoint must contain."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from metaexp.core.algorithm import Algorithm
from metaexp.core.counted import listed
from metaexp.core.errors import RunFolderError
from metaexp.core.nested import from_json, to_json
from metaexp.models.base import not_persistent, weights_of
from metaexp.run.side_effects.not_saved import not_saved, note_not_saved

Weights = dict[str, Tensor]
"""Name -> tensor of every parameter and buffer of an algorithm."""


class Best(NamedTuple):
    """The weights that did best on validation, and how well."""

    step: int
    mean: float
    ci95: float
    n_episodes: int
    weights: Weights


@dataclass
class TrainState:
    """The state of a run between two steps.

    Attributes:
        algorithm: The algorithm, with its current weights.
        optimizer: None if nothing is trained.
        step: How many steps are done.
        best: The weights that did best on validation so far.
        losses: The losses of the steps since the last line in the metrics.
        gradient_norms: The same for the norms of gradients.
        unvalidated: Whether the validation after ``step`` is still to be made, because a signal came meanwhile.
    """

    algorithm: Algorithm
    optimizer: torch.optim.Optimizer | None
    step: int = 0
    best: Best | None = None
    losses: list[float] = field(default_factory=list)
    gradient_norms: list[float] = field(default_factory=list)
    unvalidated: bool = False

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by name: ``weights/...``, ``best/...``, ``optimizer/<parameter>/...``, ``nested/...``."""
        named = {f"weights/{name}": t for name, t in weights_of(self.algorithm).items()}
        if self.best is not None:
            named |= {f"best/{name}": t for name, t in self.best.weights.items()}
        if self.optimizer is not None:
            for index, slots in self.optimizer.state_dict()["state"].items():
                named |= {f"optimizer/{index}/{key}": t for key, t in slots.items() if isinstance(t, Tensor)}
            plain_state(self.optimizer, named)
        return named

    def values(self) -> dict[str, Any]:
        """Return all that is not a tensor."""
        best = self.best
        return {
            "step": self.step,
            "losses": self.losses,
            "gradient_norms": self.gradient_norms,
            "best": None if best is None else [best.step, best.mean, best.ci95, best.n_episodes],
            "optimizer": None if self.optimizer is None else plain_state(self.optimizer),
            "unvalidated": self.unvalidated,
            "not_saved": not_saved(self.algorithm),
        }

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Restore the state that :meth:`tensors` and :meth:`values` returned.

        Args:
            tensors: All tensors by name.
            values: All that is not a tensor.

        Raises:
            RunFolderError: The checkpoint is of another algorithm, model or optimiser.
        """
        device = next(iter(weights_of(self.algorithm).values())).device if weights_of(self.algorithm) else None
        load_weights(self.algorithm, _under("weights/", tensors))
        if self.optimizer is not None:
            _restore_optimizer(self.optimizer, tensors, values["optimizer"])
        self.step = values["step"]
        self.losses = list(values["losses"])
        self.gradient_norms = list(values["gradient_norms"])
        self.unvalidated = values.get("unvalidated", False)  # absent from older checkpoints
        note_not_saved(self.algorithm, values.get("not_saved", []))
        if values["best"] is not None:
            step, mean, ci95, n_episodes = values["best"]
            weights = {name: t.to(device) for name, t in _under("best/", tensors).items()}
            self.best = Best(step, mean, ci95, n_episodes, weights)


def copy_weights(algorithm: Algorithm) -> Weights:
    """Copy all parameters and buffers, on their device."""
    return {name: t.detach().clone() for name, t in weights_of(algorithm).items()}


def gradients_of(algorithm: Algorithm) -> Weights:
    """Copy the gradient of each trained parameter, to the CPU in float64; zeros where there is none."""
    found = {}
    for name, parameter in algorithm.named_parameters():
        if parameter.requires_grad:
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            found[name] = gradient.detach().cpu().to(torch.float64, copy=True)  # an Apple GPU has no float64
    return found


def load_weights(algorithm: Algorithm, weights: Weights) -> None:
    """Copy ``weights`` into the algorithm.

    Args:
        algorithm: The algorithm, changed in place. A buffer that is not persistent stays where ``weights`` has none, or
            one of another shape: it may grow with the tasks.
        weights: Tensors by name, on any device.

    Raises:
        RunFolderError: A tensor is missing, is not the algorithm's, or has another shape.
    """
    own = weights_of(algorithm)
    free = {name for name in not_persistent(algorithm) if name not in own or not _fits(own[name], weights.get(name))}
    own = {name: t for name, t in own.items() if name not in free}
    weights = {name: t for name, t in weights.items() if name not in free}
    problems = [f"{name} is missing" for name in own if name not in weights]
    problems += [f"{name} is not in this algorithm" for name in weights if name not in own]
    problems += [
        f"{name} has shape {tuple(weights[name].shape)}, not {tuple(t.shape)}"
        for name, t in own.items()
        if name in weights and weights[name].shape != t.shape
    ]
    if problems:
        raise RunFolderError(f"the saved weights do not fit the algorithm: {listed(problems, 3, mark='; ')}.")
    with torch.no_grad():
        for name, t in own.items():
            t.copy_(weights[name])


def _fits(own: Tensor, saved: Tensor | None) -> bool:
    return saved is not None and saved.shape == own.shape


_NESTED = "nested/"
"""How the names of those tensors of an optimiser begin that are in containers or groups."""
_OF_ONE_MACHINE = ("params", "fused")
"""What a group of parameters has from this process: its parameters, and how its device computes the step."""


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def plain_state(optimizer: torch.optim.Optimizer, nested: dict[str, Tensor] | None = None) -> dict[str, Any]:
    """Return the state of an optimiser that is not a tensor of a parameter: some have counters, or lists of tensors.

    Args:
        optimizer: The optimiser.
        nested: Gets the tensors in lists, tuples, dicts and groups, under names that the result refers to.

    Raises:
        TypeError: It keeps what no checkpoint can hold; see :func:`metaexp.core.nested.to_json`.
        RecursionError: It keeps a container that contains itself.
    """
    found: dict[str, Tensor] = {}

    def name(value: Any) -> str | None:
        if not isinstance(value, Tensor):
            return None
        key = f"{_NESTED}{len(found)}"
        found[key] = value
        return key

    state = optimizer.state_dict()
    plain = {
        "groups": [
            {key: to_json(v, name) for key, v in group.items() if key != "params"} for group in state["param_groups"]
        ],
        "slots": {
            str(index): {key: to_json(v, name) for key, v in slots.items() if not isinstance(v, Tensor)}
            for index, slots in state["state"].items()
        },
    }
    if nested is not None:
        nested |= found
    return plain


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
    """Restore an optimiser from the tensors of a checkpoint and what :func:`plain_state` returned."""
    state = optimizer.state_dict()
    slots: dict[int, dict[str, Any]] = {
        int(index): {key: from_json(v, tensors.__getitem__) for key, v in values.items()}
        for index, values in plain["slots"].items()
    }
    for name, tensor in _under("optimizer/", tensors).items():
        index, _, key = name.partition("/")
        slots[int(index)][key] = tensor
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if len(plain["groups"]) != len(state["param_groups"]) or any(i >= len(parameters) for i in slots):
        raise RunFolderError("the saved state of the optimiser does not fit: it is of other parameters.")
    groups = [
        {key: _of_group(from_json(v, tensors.__getitem__), group.get(key)) for key, v in saved.items()}
        | {key: group[key] for key in _OF_ONE_MACHINE if key in group}
        for saved, group in zip(plain["groups"], state["param_groups"], strict=True)
    ]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Casting complex values to real", UserWarning)  # they are put back below
        optimizer.load_state_dict({"state": slots, "param_groups": groups})
    for number, values in slots.items():
        _put_exactly(optimizer.state[parameters[number]], values, parameters[number].device)


def _of_group(value: Any, now: Any) -> Any:
    """A value of a group: on the device of that of now. Older checkpoints have tuples as lists."""
    if isinstance(value, list) and isinstance(now, tuple):
        return tuple(value)
    return _on(value, now.device) if isinstance(now, Tensor) else value


def _put_exactly(held: dict[Any, Any], saved: dict[str, Any], device: torch.device) -> None:
    """Put back what torch has changed in the state of a parameter: texts, and the types of tensors.

    Args:
        held: The state of the parameter as torch has loaded it.
        saved: The state as it was saved.
        device: That of the parameter.
    """
    for key, value in saved.items():
        loaded = held.get(key)
        if not isinstance(value, Tensor):
            if not isinstance(loaded, Tensor):  # of a number torch's own optimisers may have made a tensor
                held[key] = _on(value, device)
        elif key != "step" and isinstance(loaded, Tensor) and loaded.dtype != value.dtype:
            held[key] = value.to(loaded.device)


def _on(value: Any, device: torch.device) -> Any:
    """A nest with its tensors, of any shape, on a device."""
    return tree_map_only(Tensor, lambda tensor: tensor.to(device), value)
