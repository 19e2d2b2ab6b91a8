"""The interface of a network, and how an algorithm calls one with other parameters than its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metaexp.models.batch_norm import BatchNorm, Statistics, normalise_with

Params = dict[str, Tensor]
"""Name -> tensor, as ``dict(network.named_parameters())``."""
Buffers = dict[str, Tensor]
"""Name -> tensor, as ``dict(network.named_buffers())``: the stored batch-norm statistics."""


class Network(nn.Module, ABC):
    """A network with a body and a head.

    Its constructor takes ``input_shape`` and ``n_outputs`` first, which come from the data and the task; the
    rest are hyper-parameters and stand in its YAML file. ``n_outputs=None`` builds it without a head, to
    return features. The parameters of the head are those whose names start with ``head.``.
    """

    head: nn.Module
    has_frozen_features: bool = False
    """Whether :meth:`features` never changes, and returns vectors unchanged, so that they can be computed once."""
    holds_foreign_code: ClassVar[bool] = False
    """Whether layers are from another package, so that metaexp has to try whether tasks can be computed at once."""

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Features (B, F), or feature maps (B, C, H, W) for networks that keep them, of examples ``x`` (B, ...)."""

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, n_outputs) of ``x`` (B, ...), or features when the network has no head."""
        out: Tensor = self.head(self.features(x))
        return out

    def feature_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the features of one example, by a pass over an empty image with batch statistics off."""
        device = next(self.parameters()).device
        with torch.no_grad(), normalise_with("stored"):
            return tuple(self.features(torch.zeros(1, *input_shape, device=device)).shape[1:])


class Output(NamedTuple):
    """The result of a functional call: values (B, ...), and the buffers after it."""

    values: Tensor
    buffers: Buffers


def call(network: nn.Module, params: Params, buffers: Buffers, x: Tensor, statistics: Statistics) -> Output:
    """``network(x)`` under ``params`` and ``buffers``, with no trace left on the network.

    Args:
        network: the network to call.
        params: name -> parameter, used in place of the network's own. Names that are left out keep the network's own.
        buffers: name -> buffer, used in place of the network's own.
        x: the batch (B, ...).
        statistics: which batch-norm statistics to use.

    Returns:
        The values (B, ...), and the buffers after the call, which differ with ``collect`` and ``replace``.
    """
    state = {**params, **buffers}
    with normalise_with(statistics):
        values = functional_call(network, state, (x,))
    return Output(values, {name: state[name] for name in buffers})


def call_features(network: Network, params: Params, buffers: Buffers, x: Tensor, statistics: Statistics) -> Output:
    """Like :func:`call`, but up to the features: ``network.features(x)``. The head's parameters may be left out."""
    state = {f"network.{name}": tensor for name, tensor in {**params, **buffers}.items()}
    with normalise_with(statistics):
        values = functional_call(_Body(network), state, (x,))
    return Output(values, {name: state[f"network.{name}"] for name in buffers})


class _Body(nn.Module):
    """A network without its head, for as long as a functional call."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network.features(x)


def parameters_of(network: nn.Module) -> Params:
    """The network's own parameters by name, but those with ``requires_grad=False``: no inner loop changes these.

    Parameters that are left out here stay as they are in :func:`call`.
    """
    # What a functional call has put in their place is not an nn.Parameter, and may need no gradient.
    return {name: p for name, p in network.named_parameters() if p.requires_grad or not isinstance(p, nn.Parameter)}


def buffers_of(network: nn.Module) -> Buffers:
    """The network's own buffers by name."""
    return dict(network.named_buffers())


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of an algorithm or a network by name, of any shape, not copied."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def unknown_like(t: Tensor) -> Tensor:
    """Return a tensor of the shape of ``t`` in place of lost values: NaN, so that whoever reads it notices.

    Args:
        t: Of any shape and type. In types that have no NaN it becomes zero.
    """
    return torch.full_like(t, torch.nan) if t.is_floating_point() else torch.zeros_like(t)


def not_persistent(module: nn.Module) -> frozenset[str]:
    """Return the names of buffers that torch keeps out of a ``state_dict``: what is computed from shapes, say.

    Args:
        module: An algorithm or a network.
    """
    return frozenset(
        f"{path}.{name}".lstrip(".")
        for path, layer in module.named_modules()
        for name in layer._non_persistent_buffers_set
    )


def has_batch_norm(network: nn.Module) -> bool:
    """Whether any layer normalises by batch statistics."""
    return any(isinstance(layer, BatchNorm) for layer in network.modules())


def batch_norm_parameters(network: nn.Module) -> frozenset[str]:
    """Return the names of the gammas and betas of all batch-norm layers."""
    layers = {name for name, layer in network.named_modules() if isinstance(layer, BatchNorm)}
    return frozenset(name for name, _ in network.named_parameters() if name.rpartition(".")[0] in layers)


def never_collected(network: nn.Module) -> bool:
    """Whether there is batch norm whose stored statistics are all where they start, mean 0 and variance 1."""
    layers = [layer for layer in network.modules() if isinstance(layer, BatchNorm)]
    moved = any(bool(layer.running_mean.any()) or bool((layer.running_var != 1).any()) for layer in layers)
    return bool(layers) and not moved
