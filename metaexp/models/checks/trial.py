"""Calls a network on made-up examples, and refuses what would give wrong numbers."""

from __future__ import annotations

import itertools
import logging

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from metaexp.core.counted import listed
from metaexp.core.errors import ConfigError, first_line
from metaexp.models.base import call
from metaexp.models.batch_norm import normalise_with
from metaexp.models.checks.made_again import is_foreign
from metaexp.models.checks.returned import refuse_other_features, values_of
from metaexp.models.library_noise import seed_numpy_and_python

log = logging.getLogger(__name__)

_CLOSE = 1e-3
_STEP = 0.01


def size_lazy_layers(network: nn.Module, input_shape: tuple[int, ...]) -> None:
    """Call a network with layers of torch's whose size is not known yet (``nn.LazyLinear``), which they then know.

    Their first weights are drawn from the CPU's generator as it is, and its state comes back.

    Args:
        network: the network, on a CPU. Without such layers it is not called.
        input_shape: the shape of one example.
    """
    if not any(map(is_lazy, network.parameters())):
        return
    was_training = network.training
    with torch.random.fork_rng(devices=[]), torch.no_grad(), normalise_with("stored"):
        network.eval()(made_up_examples(input_shape))
    network.train(was_training)


def refuse_lazy(module: nn.Module, section: str) -> None:
    """Refuse layers whose size is not known yet.

    Args:
        module: A network or an algorithm.
        section: Its section of the configuration, for messages.

    Raises:
        ConfigError: It has such a layer.
    """
    for name, layer in module.named_modules():
        if any(is_lazy(t) for t in itertools.chain(layer.parameters(recurse=False), layer.buffers(recurse=False))):
            raise ConfigError(
                f"{section}: layer {name} of {type(module).__name__} is a {type(layer).__name__} whose size is not "
                "known when the optimiser is made. Give its size in the constructor: torch.nn.Linear(in_features, "
                "out_features) in place of LazyLinear, say. A network may have lazy layers that each call reaches."
            )


def try_network(network: nn.Module, input_shape: tuple[int, ...], n_outputs: int | None) -> bool:
    """Check the outputs of a network. Its weights, buffers and the global random numbers stay as they are.

    Args:
        network: the network, on a CPU.
        input_shape: the shape of one example.
        n_outputs: the number of scores or outputs that it was built for, None for features.

    Returns:
        Whether gradients of several tasks can be computed at once. metaexp's own networks are not tried.

    Raises:
        ConfigError: It does not return a tensor of values, writes into its input or weights, keeps something from one
            call to the next, has another number of outputs, or its output for one example depends on the others.
    """
    before = _Held(network)
    was_training = network.training
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            _check_outputs(network, input_shape, n_outputs)
            for training in (True, False):
                network.train(training)
                _check_calls(network, input_shape, before)
            return _maps(network, input_shape)
    finally:
        network.train(was_training)
        before.put_buffers_back()


class _Held:
    """The weights and buffers of a network as they are now."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._buffers = [
            (layer, name, tensor, None if tensor is None else tensor.clone())
            for layer in network.modules()
            for name, tensor in layer._buffers.items()
        ]
        self._parameters = {name: (p, p.detach().clone(), p.requires_grad) for name, p in network.named_parameters()}

    def put_buffers_back(self) -> None:
        """Put all buffers back, also those that were replaced by others, of another shape perhaps."""
        for layer, name, tensor, value in self._buffers:
            layer._buffers[name] = tensor
            if tensor is not None and value is not None:
                if tensor.shape == value.shape:
                    tensor.copy_(value)
                else:
                    tensor.data = value.clone()

    def changed_parameters(self) -> list[str]:
        """The names of parameters that have another value, or are trained where they were not, or the other way."""
        now = dict(self._network.named_parameters())
        return [
            name
            for name, (parameter, value, is_trained) in self._parameters.items()
            if now.get(name) is not parameter
            or parameter.requires_grad != is_trained
            or not torch.equal(parameter.nan_to_num(), value.nan_to_num())
        ]


def _maps(network: nn.Module, input_shape: tuple[int, ...]) -> bool:
    """Find out whether gradients of two tasks can be computed at once, each with its own weights."""
    if not is_foreign(type(network)):
        return True
    params = {name: p.detach() for name, p in network.named_parameters()}
    buffers = dict(network.named_buffers())

    def two_steps(x: Tensor) -> dict[str, Tensor]:
        def loss(own: dict[str, Tensor]) -> Tensor:
            return call(network, own, dict(buffers), x, "batch").values.square().sum()

        first = torch.func.grad(loss)(params)
        second: dict[str, Tensor] = torch.func.grad(loss)({name: p - _STEP * first[name] for name, p in params.items()})
        return second

    network.train()
    try:
        torch.vmap(two_steps, randomness="different")(torch.stack([made_up_examples(input_shape)] * 2))
    except Exception as error:  # also of torch.compile, which has its own
        log.info(
            "%s cannot be computed for several tasks at once, so tasks are taken one at a time, as with "
            "device.task_chunk=1: %s: %s",
            type(network).__name__, type(error).__name__, first_line(error)[:150],
        )  # fmt: skip
        return False
    return True


def made_up_examples(input_shape: tuple[int, ...]) -> Tensor:
    """Return three examples of random numbers, the same each time.

    Args:
        input_shape: the shape of one example.
    """
    return torch.randn(3, *input_shape, generator=torch.Generator().manual_seed(0))


def _check_outputs(network: nn.Module, input_shape: tuple[int, ...], n_outputs: int | None) -> None:
    """Refuse a network that has another number of outputs than it was asked for, or features that are not values."""
    with normalise_with("batch"):
        refuse_other_features(network, made_up_examples(input_shape))
    if n_outputs is None:
        return
    with normalise_with("batch"):
        shape = tuple(values_of(network, made_up_examples(input_shape)).shape)
    if shape != (3, n_outputs):
        raise ConfigError(
            f"model: {type(network).__name__} was built with n_outputs={n_outputs} and gives {shape[1:]} per example. "
            "Make its last layer as wide as the argument n_outputs."
        )


def _check_calls(network: nn.Module, input_shape: tuple[int, ...], before: _Held) -> None:
    """Refuse a network that writes into its input or weights, or gives something else for other reasons than its input.

    The batch norm of this package may make it depend on the batch. Random numbers in evaluation mode are warned of.
    """
    name = type(network).__name__
    x = made_up_examples(input_shape)
    others = torch.cat([x[:1], 3 * x[1:].flip(0) + 1])
    outputs, noise = zip(*(_first_output(network, batch, before) for batch in (x, others, x)), strict=True)
    if not torch.equal(x, made_up_examples(input_shape)):
        raise ConfigError(
            f"model: {name} writes into its input, and inner steps need it as it was. "
            "Let it make a new tensor (x = x - mean), without inplace=True in its first layers."
        )
    if changed := before.changed_parameters():
        raise ConfigError(
            f"model: a call of {name} changes {listed(changed, 3)}, so that each task would change the weights "
            "that the next one starts from. Let forward compute from new tensors (w = w / w.norm(), not w /= w.norm(); "
            "nn.Embedding without max_norm), and freeze weights in the constructor."
        )
    if _differ(outputs[0], outputs[2]):
        raise ConfigError(
            f"model: {name} gives something else when it is called with the same examples again. It keeps something "
            "from one call to the next in an attribute, or draws random numbers from a generator of its own. Keep what "
            "training collects in a buffer (register_buffer), and draw noise from torch's own generator."
        )
    if _differ(outputs[0], outputs[1]):
        raise ConfigError(
            f"model: what {name} gives for an example depends on the others in its batch, and "
            "not through metaexp.models.batch_norm.BatchNorm, so a record would name the wrong batch norm. Use "
            "that layer, or normalise each example by itself."
        )
    if any(noise) and not network.training:
        log.warning(
            "%s draws random numbers in evaluation mode, too, so that tests are made with noise. If that is not "
            "meant: torch.nn.functional.dropout needs training=self.training.",
            type(network).__name__,
        )


def _first_output(network: nn.Module, batch: Tensor, before: _Held) -> tuple[Tensor, bool]:
    """What the network gives for the first example, from the same buffers and seeds, and whether it draws numbers."""
    before.put_buffers_back()
    with normalise_with("stored"), seed_numpy_and_python(0):
        torch.default_generator.manual_seed(0)  # dropout draws the same
        state = torch.get_rng_state()
        output = values_of(network, batch)[0]
    return output, not torch.equal(torch.get_rng_state(), state)


def _differ(first: Tensor, second: Tensor) -> bool:
    return float((first - second).abs().max()) > _CLOSE * float(first.abs().max())
