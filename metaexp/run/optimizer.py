"""The optimiser of a run, and whether checkpoints hold all that it changes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from numbers import Real
from typing import Any, Final

import torch
from torch import Tensor, nn

from metaexp.config.classes.make import make
from metaexp.config.classes.methods import call_problem, called_signature
from metaexp.config.schema import ClassSpec
from metaexp.core.errors import ConfigError
from metaexp.core.nested import to_json
from metaexp.machine.device import Compute

_NEEDS_CLOSURE: Final = (
    "optimizer={} computes the loss several times in a step (step needs a closure), and metaexp computes it once. "
    "Choose another one, such as optimizer=adam."
)


def make_optimizer(spec: ClassSpec, named: Mapping[str, nn.Parameter], compute: Compute) -> torch.optim.Optimizer:
    """Make the optimiser. On a GPU it takes its step in one operation where it can, unless the settings say how.

    One of the user's own whose constructor has ``named_params`` gets pairs of a name and a parameter there, as torch's
    ``named_parameters`` gives them.

    Args:
        spec: The class and its checked arguments.
        named: Name -> a parameter that it trains.
        compute: The device.

    Raises:
        ConfigError: Its step computes the loss by itself or needs other arguments, it has no learning rate or leaves
            parameters out, or no checkpoint can hold its state.
    """
    chosen = {"fused", "foreach", "capturable", "differentiable"} & set(spec.arguments)
    how = {"fused": True} if compute.device.type == "cuda" and not chosen else {}
    parameters = list(named.values())
    made = make(spec, torch.optim.Optimizer, params=parameters, named_params=list(named.items()), **how)
    signature = called_signature(made.step)
    closure = None if signature is None else signature.parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ConfigError(_NEEDS_CLOSURE.format(spec.target))
    if problem := call_problem(made.step, ()):
        raise ConfigError(f"optimizer={spec.target}: {problem}, as metaexp calls it. Let it take no more arguments.")
    _check_groups(made, spec.target, parameters)
    refuse_unwritable(made)
    return made


def take_step(optimizer: torch.optim.Optimizer) -> None:
    """Take a step without a closure.

    Args:
        optimizer: Made by :func:`make_optimizer`.

    Raises:
        ConfigError: It needs a closure, which a decorator that takes any arguments has hidden.
    """
    try:
        optimizer.step()
    except TypeError as error:
        if "'closure'" not in str(error) or "missing" not in str(error):
            raise
        cls = type(optimizer)
        raise ConfigError(_NEEDS_CLOSURE.format(f"{cls.__module__}.{cls.__qualname__}")) from error


def _check_groups(optimizer: torch.optim.Optimizer, target: str, parameters: list[nn.Parameter]) -> None:
    """Raise ConfigError unless the optimiser's groups hold all parameters, each with a learning rate."""
    groups = vars(optimizer).get("param_groups")
    if groups is None:
        raise ConfigError(
            f"optimizer={target} has no param_groups. Let its __init__ call super().__init__(params, {{'lr': lr}})."
        )
    if any(not isinstance(group.get("lr"), (Real, Tensor)) for group in groups):
        raise ConfigError(
            f"optimizer={target} has no number 'lr' in its param_groups, by which the schedule sets the learning rate "
            "of each step. Let its __init__ call super().__init__(params, {'lr': lr}), and its step use group['lr']."
        )
    held = {id(parameter) for group in groups for parameter in group["params"]}
    left_out = sum(id(parameter) not in held for parameter in parameters)
    if left_out:
        raise ConfigError(
            f"optimizer={target} leaves out {left_out:,} of the {len(parameters):,} parameters that it was given; they "
            "would not be trained. Give all of params to super().__init__. What is not to be trained needs "
            "requires_grad_(False) in the network or the algorithm."
        )


def refuse_unwritable(optimizer: torch.optim.Optimizer) -> None:
    """Refuse an optimiser whose state no checkpoint can hold.

    Args:
        optimizer: The optimiser, with its state of now.

    Raises:
        ConfigError: It keeps an object, or something that is not of a parameter.
    """
    whole = optimizer.state_dict()
    if whole.keys() != {"state", "param_groups"}:
        keys = ", ".join(sorted(map(str, whole)))
        raise ConfigError(
            f"optimizer: state_dict() of {type(optimizer).__name__} has {keys}; a checkpoint holds state and "
            "param_groups, and nothing else. Keep everything in self.state and self.param_groups, and leave "
            "state_dict() and load_state_dict() as they are in torch."
        )
    slots = whole["state"]
    bad = [str(key) for key, values in slots.items() if not (isinstance(key, int) and isinstance(values, dict))]
    if not bad:
        found = [*whole["param_groups"], *slots.values()]
        bad = sorted({str(key) for values in found for key, value in values.items() if not _is_writable(key, value)})
    if bad:
        raise ConfigError(
            f"optimizer: {type(optimizer).__name__} keeps {bad[0]} in its state, which no checkpoint can "
            "hold. Keep tensors, numbers and texts there, and lists, tuples and dicts of them, for each parameter and "
            "under names of their own."
        )


def _is_writable(key: Any, value: Any) -> bool:
    """Whether a checkpoint can hold a value, and a resumed run has exactly that."""
    if not isinstance(key, str):
        return False
    try:
        to_json(value, lambda item: "" if isinstance(item, Tensor) and item.layout == torch.strided else None)
    except (TypeError, RecursionError):
        return False
    return True
