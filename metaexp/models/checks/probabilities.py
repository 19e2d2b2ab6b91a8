"""Warns of a network that gives probabilities where a loss takes the softmax of scores."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from metaexp.models.base import call
from metaexp.models.checks.trial import made_up_examples

log = logging.getLogger(__name__)

_SIZES = (1.0, 10.0, 100.0)
_ROUNDING = 1e-4


def warn_of_probabilities(network: nn.Module, input_shape: tuple[int, ...]) -> None:
    """Warn of a network whose scores lie between 0 and 1 whatever its weights and examples are.

    Cross-entropy takes the softmax of scores, and the softmax of probabilities hardly differs from class to class. The
    network is called on random examples with other weights than its own; it stays as it is.

    Args:
        network: the network, on a CPU, built for the scores of at least two classes.
        input_shape: the shape of one example.
    """
    try:
        scores = _scores(network, input_shape)
    except Exception as error:  # code of users: what other weights lead to
        log.debug("%s was not called with other weights: %s: %s", type(network).__name__, type(error).__name__, error)
        return
    modes = [mode for mode, found in scores.items() if _are_probabilities(found)]
    if not modes:
        return
    do_sum = bool((scores[modes[0]].sum(-1) - 1).abs().max() < _ROUNDING)
    log.warning(
        "the scores of %s%s %s. Cross-entropy takes the softmax of scores itself, so that training with these would be "
        "slow, and could not become sure of a class. If that is not meant, return the scores as the last linear layer "
        "gives them.",
        type(network).__name__,
        f" in {modes[0]} mode" if len(modes) < len(scores) else "",
        "are probabilities: they sum to 1, as after softmax" if do_sum else "lie between 0 and 1, as after sigmoid",
    )


def _scores(network: nn.Module, input_shape: tuple[int, ...]) -> dict[str, Tensor]:
    """Mode -> the scores (B, N) of examples of several sizes, with random weights."""
    x = torch.cat([size * made_up_examples(input_shape) for size in _SIZES])
    was_training = network.training
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(0)
        params = {name: p + torch.randn_like(p) for name, p in network.named_parameters() if p.is_floating_point()}
        buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
        try:
            return {
                mode: call(network.train(mode == "training"), params, dict(buffers), x, "batch").values
                for mode in ("training", "evaluation")
            }
        finally:
            network.train(was_training)


def _are_probabilities(scores: Tensor) -> bool:
    """Whether scores lie between 0 and 1 and are not one number, as where the examples are not looked at."""
    lie_between = bool(((scores > -_ROUNDING) & (scores < 1 + _ROUNDING)).all())
    return lie_between and bool((scores - scores.flatten()[0]).abs().max() > _ROUNDING)
