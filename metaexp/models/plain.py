"""Networks that are plain ``nn.Module``s, without the interface of :class:`metaexp.models.base.Network`."""

from __future__ import annotations

from torch import Tensor, nn

from metaexp.core.errors import ConfigError
from metaexp.models.base import Network


def as_network(module: nn.Module, n_outputs: int | None) -> Network:
    """Give a module the interface of a network, in place. A network is returned as it is.

    Names and values of parameters stay what they are, so saved weights of the module fit.

    Args:
        module: What maps examples (B, ...) to outputs (B, n_outputs), or to features where ``n_outputs`` is None.
        n_outputs: The number that the module was built for. Such a module has no features: to ask for them raises
            ConfigError.
    """
    if isinstance(module, Network):
        return module
    cls = type(module)

    def features(self: nn.Module, x: Tensor) -> Tensor:
        if n_outputs is not None:
            raise ConfigError(
                f"model: {cls.__name__} is a plain nn.Module, which has no features apart from its outputs, and this "
                "algorithm treats body and head differently. Derive the class from metaexp.models.base.Network, and "
                "give it features(x) and head."
            )
        out: Tensor = cls.forward(self, x)
        return out

    module.__class__ = type(cls.__name__, (cls, Network), {"features": features, "__module__": cls.__module__})
    assert isinstance(module, Network)
    return module
