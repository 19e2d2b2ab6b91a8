"""Makes a network fit for tasks, and refuses what would give wrong numbers."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _LazyNormBase, _NormBase
from torch.nn.modules.dropout import _DropoutNd

from metaexp.core.errors import ConfigError
from metaexp.models.base import Network, call
from metaexp.models.batch_norm import BatchNorm, normalise_with
from metaexp.models.mapped_conv import Conv2d

log = logging.getLogger(__name__)

_CONVERTED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
_REPLACEMENT = "Use metaexp.models.batch_norm.BatchNorm in its place."
_CLOSE = 1e-3
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_CONTAINERS = (list, tuple, dict)


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
        ConfigError: A layer keeps statistics in a way that an algorithm could not choose, has two names, or is hidden
            in a list; there is no head; an example's output depends on the rest of its batch; the network writes into
            its input, or does not give ``n_outputs`` numbers.
    """
    _refuse_shared_layers(network)
    _refuse_without_head(network)
    refuse_hidden(network, "model")
    _convert_layers(network)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        buffers = {name: tensor.clone() for name, tensor in network.named_buffers()}
        was_training = network.training
        try:
            _check_outputs(network, input_shape, n_outputs)
            _check_batches(network, input_shape)
            _try_mapping(network, input_shape)
        finally:
            network.train(was_training)
            for name, tensor in network.named_buffers():
                if name in buffers:
                    tensor.copy_(buffers[name])


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
    """Put :class:`BatchNorm`, with the same weights, in the place of torch's batch-norm layers.

    torch's layers write into their buffers, follow ``training`` alone, and cannot be mapped over tasks.

    Args:
        network: changed in place.

    Returns:
        The names of the layers that were converted.

    Raises:
        ConfigError: A layer cannot be converted.
    """
    found = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, _NormBase)]
    names = []
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
            "%s: %d layers of torch's batch norm were converted to metaexp's, whose statistics the algorithm "
            "chooses: %s",
            type(network).__name__, len(names), ", ".join(names),
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


def refuse_hidden(module: nn.Module, section: str) -> None:
    """Refuse trainable weights and dropout in plain lists, tuples and dicts, where torch does not find them.

    Args:
        module: A network or an algorithm.
        section: Its section of the configuration, for messages.

    Raises:
        ConfigError: A container has some.
    """
    known = {id(part) for part in itertools.chain(module.modules(), module.parameters())}
    for path, layer in module.named_modules():
        for name, held in vars(layer).items():
            if name in _OF_EVERY_MODULE or not isinstance(held, _CONTAINERS):
                continue
            lost = [item for item in _items(held) if id(item) not in known and _is_lost(item)]
            if lost:
                kind = "Parameter" if isinstance(lost[0], nn.Parameter) else "Module"
                raise ConfigError(
                    f"{section}: {f'{path}.{name}'.lstrip('.')} of {type(module).__name__} is a plain "
                    f"{type(held).__name__} with layers or parameters, which torch does not find there: they would not "
                    "be trained, saved, or put into evaluation mode. Use "
                    f"torch.nn.{kind}{'Dict' if isinstance(held, dict) else 'List'}."
                )


def _items(held: object, levels: int = 4) -> Iterator[object]:
    """What a container holds, also in containers in it."""
    for item in held.values() if isinstance(held, dict) else held:  # type: ignore[attr-defined]
        if isinstance(item, _CONTAINERS) and levels:
            yield from _items(item, levels - 1)
        else:
            yield item


def _is_lost(item: object) -> bool:
    """Whether something does its work only where torch finds it. A frozen network may be hidden on purpose."""
    if isinstance(item, nn.Module):
        return any(map(_is_lost, item.parameters())) or any(isinstance(m, _DropoutNd) for m in item.modules())
    return isinstance(item, nn.Parameter) and item.requires_grad


def _try_mapping(network: nn.Module, input_shape: tuple[int, ...]) -> None:
    """Find out whether gradients of two tasks can be computed at once, where nobody knows it."""
    if type(network).__module__.startswith("metaexp.") and not getattr(network, "holds_foreign_code", False):
        return
    params = {name: p.detach() for name, p in network.named_parameters()}
    buffers = dict(network.named_buffers())

    def gradient(x: Tensor) -> dict[str, Tensor]:
        def loss(own: dict[str, Tensor]) -> Tensor:
            return call(network, own, dict(buffers), x, "batch").values.square().sum()

        gradients: dict[str, Tensor] = torch.func.grad(loss)(params)
        return gradients

    network.train()

    try:
        torch.vmap(gradient, randomness="different")(torch.stack([_inputs(input_shape)] * 2))
    except (RuntimeError, NotImplementedError) as error:
        _take_tasks_one_by_one(network)
        log.info(
            "%s cannot be computed for several tasks at once, so tasks are taken one at a time, as with "
            "device.task_chunk=1: %s",
            type(network).__name__, (str(error).splitlines() or ["?"])[0][:150],
        )  # fmt: skip


def _inputs(input_shape: tuple[int, ...]) -> Tensor:
    return torch.randn(3, *input_shape, generator=torch.Generator().manual_seed(0))


def _check_outputs(network: nn.Module, input_shape: tuple[int, ...], n_outputs: int | None) -> None:
    """Refuse a network that has another number of outputs than it was asked for."""
    if n_outputs is None:
        return
    with normalise_with("batch"):
        shape = tuple(network(_inputs(input_shape)).shape)
    if shape != (3, n_outputs):
        raise ConfigError(
            f"model: {type(network).__name__} was built with n_outputs={n_outputs} and gives {shape[1:]} per example. "
            "Make its last layer as wide as the argument n_outputs."
        )


def _check_batches(network: nn.Module, input_shape: tuple[int, ...]) -> None:
    """Refuse a network that writes into its input, or whose output for one example depends on the others.

    The batch norm of this package may make it depend on them. Random numbers in evaluation mode are warned of.
    """
    x = _inputs(input_shape)
    others = torch.cat([x[:1], 3 * x[1:].flip(0) + 1])
    for training in (True, False):
        network.train(training)
        outputs = []
        for batch in (x, others):
            torch.default_generator.manual_seed(0)  # dropout draws the same
            before = torch.get_rng_state()
            with normalise_with("stored"):
                outputs.append(network(batch)[0])
        if not training and not torch.equal(torch.get_rng_state(), before):
            log.warning(
                "%s draws random numbers in evaluation mode, too, so that tests are made with noise. If that is not "
                "meant: torch.nn.functional.dropout needs training=self.training.",
                type(network).__name__,
            )
        if not torch.equal(x, _inputs(input_shape)):
            raise ConfigError(
                f"model: {type(network).__name__} writes into its input, and inner steps need it as it was. "
                "Let it make a new tensor (x = x - mean), without inplace=True in its first layers."
            )
        first, second = outputs
        if float((first - second).abs().max()) > _CLOSE * float(first.abs().max()):
            raise ConfigError(
                f"model: what {type(network).__name__} gives for an example depends on the others in its batch, and "
                "not through metaexp.models.batch_norm.BatchNorm, so a record would name the wrong batch norm. Use "
                "that layer, or normalise each example by itself."
            )
