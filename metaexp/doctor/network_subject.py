"""The network that is examined, made again for each check."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from metaexp.doctor.subject import fix_noise
from metaexp.models.base import Network
from metaexp.models.checks.inspection import maps_over_tasks, prepare_another, prepare_network
from metaexp.models.checks.trial import size_lazy_layers
from metaexp.models.plain import as_network
from metaexp.models.torch_settings import refuse_changed_settings

N_OUTPUTS = 5
N_EXAMPLES = 10


class MakeNetwork(Protocol):
    """Makes the network from its settings. ``n_outputs`` is None for features."""

    def __call__(self, *, input_shape: tuple[int, ...], n_outputs: int | None) -> nn.Module:
        """Make the network."""


@dataclass(frozen=True)
class NetworkSubject:
    """A network under examination, for examples of one shape."""

    name: str
    make: MakeNetwork
    input_shape: tuple[int, ...] = (1, 28, 28)
    _tried: dict[int | None, bool] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Outputs -> whether gradients of several tasks can be computed at once. This is tried once, for it takes long."""

    def raw(self, n_outputs: int | None = N_OUTPUTS, seed: int = 0) -> nn.Module:
        """Make the network as its class makes it. Global generators stay as they are.

        Args:
            n_outputs: The network's outputs; None for an embedding.
            seed: Decides the initial weights.
        """
        with fix_noise(seed), refuse_changed_settings(self.name):
            module = self.make(input_shape=self.input_shape, n_outputs=n_outputs)
            size_lazy_layers(module, self.input_shape)
        return module

    def build(self, n_outputs: int | None = N_OUTPUTS, seed: int = 0) -> Network:
        """Make the network as a run uses it. Only the first one is tried on examples.

        Args:
            n_outputs: The network's outputs; None for an embedding.
            seed: Decides the initial weights.
        """
        network = as_network(self.raw(n_outputs, seed), n_outputs)
        if n_outputs in self._tried:
            prepare_another(network, self._tried[n_outputs])
        else:
            prepare_network(network, self.input_shape, n_outputs)
            self._tried[n_outputs] = maps_over_tasks(network)
        return network

    def examples(self, seed: int = 0) -> Tensor:
        """Return examples (10, ...)."""
        return torch.randn(N_EXAMPLES, *self.input_shape, generator=torch.Generator().manual_seed(seed))
