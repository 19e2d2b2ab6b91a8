"""Makes a network fit for tasks, and refuses what would give wrong numbers."""

from __future__ import annotations

import itertools
import logging

from torch import nn
from torch.nn.modules.batchnorm import _LazyNormBase, _NormBase

from metaexp.core.counted import counted
from metaexp.core.errors import ConfigError
from metaexp.models.base import Network
from metaexp.models.batch_norm import BatchNorm
from metaexp.models.checks.hidden import refuse_hidden
from metaexp.models.checks.trial import refuse_lazy, size_lazy_layers, try_network
from metaexp.models.nodes.mapped_conv import Conv2d
from metaexp.models.timm_network import replace_norms

log = logging.getLogger(__name__)

_CONVERTED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
_REPLACEMENT = "Use metaexp.models.batch_norm.BatchNorm in its place."


def prepare_network(network: nn.Module, input_shape: tuple[int, ...], n_outputs: int | None) -> None:
    """Convert torch's batch norm and convolutions, in place, and check what algorithms and records rely on.

    A network that :func:`torch.vmap` cannot map over tasks gets ``maps_over_tasks = False``, and its tasks are taken
    one at a time. Only networks that are not metaexp's are tried. The network is called on random inputs; its weights,
    buffers and the global random numbers stay as they are.

    Args:
        network: the network, on a CPU.
        input_shape: the shape of one example.
        n_outputs: the number of scores or outputs that it was built for, None for features.

    Raises:
        ConfigError: A layer keeps statistics in a way that an algorithm could not choose, has two names, has no size,
            or is hidden in a list; there is no head; an example's output depends on the rest of its batch or on earlier
            calls; the network writes into its input or weights, or does not give ``n_outputs`` numbers.
    """
    _refuse_shared_layers(network)
    _refuse_without_head(network)
    refuse_hidden(network, "model")
    size_lazy_layers(network, input_shape)
    refuse_lazy(network, "model")
    _convert_layers(network)
    if not try_network(network, input_shape, n_outputs):
        _take_tasks_one_by_one(network)


def prepare_another(network: nn.Module, maps_over_tasks: bool) -> None:
    """Prepare a network like one that :func:`prepare_network` has checked, without trying it.

    Args:
        network: changed in place.
        maps_over_tasks: Whether several tasks of the first one can be computed at once, see :func:`maps_over_tasks`.

    Raises:
        ConfigError: A layer cannot be converted.
    """
    _convert_layers(network)
    if not maps_over_tasks:
        _take_tasks_one_by_one(network)


def maps_over_tasks(network: nn.Module) -> bool:
    """Whether several tasks can be computed at once, as far as :func:`prepare_network` found."""
    return getattr(network, "maps_over_tasks", True) is not False


def _take_tasks_one_by_one(network: nn.Module) -> None:
    vars(network)["maps_over_tasks"] = False


def _convert_layers(network: nn.Module) -> None:
    """Convert torch's batch norm and convolutions. The weights stay."""
    convert_batch_norm(network)
    convert_convolutions(network)


def convert_batch_norm(network: nn.Module) -> list[str]:
    """Put :class:`BatchNorm`, with the same weights, in the place of the batch-norm layers of torch and timm.

    Their layers write into their buffers, follow ``training`` alone, and cannot be mapped over tasks.

    Args:
        network: changed in place.

    Returns:
        The names of the layers that were converted.

    Raises:
        ConfigError: A layer cannot be converted.
    """
    names = replace_norms(network)
    found = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, _NormBase)]
    for name, layer in found:
        if (
            isinstance(layer, _INSTANCE_NORMS)
            and not isinstance(layer, _LazyNormBase)
            and not layer.track_running_stats
        ):
            continue  # each example by itself
        parent, _, last = name.rpartition(".")
        setattr(network.get_submodule(parent), last, _converted(network, name, layer))
        names.append(name)
    if names:
        log.info(
            "%s: %s of batch norm became metaexp's, whose statistics the algorithm chooses: %s",
            type(network).__name__, counted(len(names), "layer"), ", ".join(names),
        )  # fmt: skip
    return names


def convert_convolutions(network: nn.Module) -> None:
    """Make metaexp's convolutions, which a GPU computes faster for many tasks, of torch's. The weights stay.

    Args:
        network: changed in place.
    """
    for layer in network.modules():
        if type(layer) is nn.Conv2d:
            layer.__class__ = Conv2d


def _converted(network: nn.Module, name: str, layer: _NormBase) -> BatchNorm:
    kind = type(layer)
    where = f"model: layer {name} of {type(network).__name__} is a {kind.__module__.split('.')[0]} {kind.__name__}"
    if isinstance(layer, _LazyNormBase):
        raise ConfigError(f"{where}, whose size is not known yet. {_REPLACEMENT}")
    if kind not in _CONVERTED:
        raise ConfigError(f"{where}, which keeps statistics that an algorithm cannot choose. {_REPLACEMENT}")
    if layer.momentum is None:
        raise ConfigError(f"{where} with momentum=None, which algorithms cannot map over tasks. Give a momentum.")
    ours = BatchNorm(layer.num_features, scale=layer.affine, shift=layer.affine, eps=layer.eps, momentum=layer.momentum)
    if layer.affine:
        ours.weight, ours.bias = layer.weight, layer.bias
    if layer.running_mean is not None and layer.running_var is not None:
        ours.running_mean, ours.running_var = layer.running_mean, layer.running_var
    ours.train(layer.training)
    return ours


def _refuse_shared_layers(network: nn.Module) -> None:
    """Refuse a layer that is registered twice: after a functional call, torch leaves other weights than its own in it.

    Layers that share a parameter are put right.
    """
    first: dict[nn.Module, str] = {}
    for name, layer in network.named_modules(remove_duplicate=False):
        has_own = next(itertools.chain(layer.parameters(recurse=False), layer.buffers(recurse=False)), None) is not None
        if has_own and first.setdefault(layer, name) != name:
            raise ConfigError(
                f"model: layer {name} of {type(network).__name__} is layer {first[layer]} once more, and torch cannot "
                "call such a network with other weights. Register the layer under one name, and call it twice."
            )


def _refuse_without_head(network: nn.Module) -> None:
    """Refuse a network whose class calls a head that is not there."""
    if isinstance(network, Network) and type(network).forward is Network.forward and not hasattr(network, "head"):
        raise ConfigError(
            f"model: {type(network).__name__} has no head, which its scores or features pass through. Set self.head in "
            "the constructor; torch.nn.Identity() where n_outputs is None."
        )
