"""A bias that batch norm takes away counts as reached, and one that nothing uses does not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from metaexp.algorithms.proto_net import ProtoNet
from metaexp.core.shapes import TaskShape
from metaexp.doctor.gradients import parameters_reached
from metaexp.doctor.subject import Subject, connected_gradient, gradient_of
from metaexp.models.base import Network
from metaexp.models.conv4 import Conv4


class WithSpareBias(Conv4):
    """Has a bias that nothing uses, and one whose gradient is cut."""

    def __init__(self, input_shape: tuple[int, ...], has_spare: bool) -> None:
        super().__init__(input_shape, None, 4, True, "ones", 1e-5, 0.1, "default")
        if has_spare:
            self.spare_bias = nn.Parameter(torch.zeros(4))
            self.cut_bias = nn.Parameter(torch.zeros(4))

    def features(self, x: Tensor) -> Tensor:
        found = super().features(nn.functional.pad(x, (4, 4, 4, 4)))
        return found + self.cut_bias.detach() if hasattr(self, "cut_bias") else found


def subject(has_spare: bool) -> Subject:
    def make(most_steps: int, *, model: Network, train_shape: TaskShape, **_: Any) -> ProtoNet:
        return ProtoNet(WithSpareBias((1, 16, 16), has_spare), train_shape, "squared_euclidean", "running")

    return Subject("conv4 with biases", ProtoNet, make)


def test_a_bias_before_batch_norm_is_reached_though_its_gradient_is_zero() -> None:
    examined = subject(has_spare=False)
    algorithm, batch = examined.build(), examined.training_batch(3)
    assert not gradient_of(algorithm, batch, 1)["model.blocks.0.conv.bias"].any()
    assert "model.blocks.0.conv.bias" in connected_gradient(algorithm, batch)
    assert parameters_reached(examined).verdict == "ok"


def test_a_bias_that_nothing_uses_is_not() -> None:
    finding = parameters_reached(subject(has_spare=True))
    assert finding.verdict == "wrong"
    assert "model.spare_bias, model.cut_bias" in finding.sentence
    assert finding.measured["unreached"] == 2
