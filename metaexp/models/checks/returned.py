"""What a network returns has to be one tensor of values. Networks of other packages often return more than that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from metaexp.core.errors import ConfigError
from metaexp.models.base import Network

_AT_MOST = 4  # parts of a result that a message names


def values_of(network: nn.Module, batch: Tensor) -> Tensor:
    """Call a network and return its values (B, ...).

    Args:
        network: the network.
        batch: the examples (B, ...).

    Raises:
        ConfigError: It does not return a tensor of floats, or returns one that has no row of values for each example.
    """
    try:
        returned = network(batch)
    except Exception as error:
        error.add_note(
            f"metaexp called {type(network).__name__} with random examples of the shape {tuple(batch.shape)}."
        )
        raise
    return _checked(returned, network, "forward", batch)


def refuse_other_features(network: nn.Module, batch: Tensor) -> None:
    """Refuse features that are not a tensor of values, where a head is called with them.

    Args:
        network: the network. Its features are looked at if it has left ``forward`` as it is in ``Network``.
        batch: the examples (B, ...).

    Raises:
        ConfigError: ``features`` returns something else.
    """
    if isinstance(network, Network) and type(network).forward is Network.forward:
        _checked(network.features(batch), network, "features", batch)


def _checked(returned: object, network: nn.Module, method: str, batch: Tensor) -> Tensor:
    if not isinstance(returned, Tensor):
        what = _described(returned)
        advice = "Return the part of it that is meant." if _parts(returned) else "Return a tensor of torch."
    elif not returned.is_floating_point():
        what, advice = f"a tensor of {str(returned.dtype).removeprefix('torch.')}", "Return floats."
    elif returned.dim() < 2 or len(returned) != len(batch):
        what = f"a tensor of the shape {tuple(returned.shape)}"
        advice = "Keep the first dimension, and a second one even if it is 1."
    else:
        return returned
    mode = "training" if network.training else "evaluation"
    wanted = (
        "scores (B, n_outputs), or features where n_outputs is None" if method == "forward" else "features (B, ...)"
    )
    raise ConfigError(
        f"model: {type(network).__name__}.{method} returns {what} in {mode} mode, for a batch of the shape "
        f"{tuple(batch.shape)}. It must return one tensor of floats: {wanted}. {advice}"
    )


def _described(returned: object) -> str:
    """Name what is returned in place of a tensor, with the shapes of its parts."""
    if returned is None:
        return "None"
    cls = type(returned)
    parts = _parts(returned)
    name = cls.__name__ if cls.__module__ == "builtins" else f"{cls.__module__.partition('.')[0]}.{cls.__name__}"
    if not parts:
        return f"a value of the type {name}"
    more = ", ..." if len(parts) > _AT_MOST else ""
    shown = [f"{part} {_shape(value)}" for part, value in list(parts.items())[:_AT_MOST]]
    return f"a value of the type {name} with {', '.join(shown)}{more}"


def _parts(returned: object) -> dict[str, object]:
    """Name -> part of a dictionary, a named tuple, a tuple or a list."""
    if isinstance(returned, Mapping):
        return {repr(key): value for key, value in returned.items()}
    if isinstance(returned, Sequence) and not isinstance(returned, str):
        fields = getattr(returned, "_fields", None) or [f"[{place}]" for place in range(len(returned))]
        return dict(zip(fields, returned, strict=False))
    return {}


def _shape(part: object) -> str:
    return str(tuple(part.shape)) if isinstance(part, Tensor) else type(part).__name__
