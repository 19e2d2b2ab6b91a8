"""Parameters of own code that no gradient reaches are named."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from pure_tasks import Pure, step
from torch import Tensor, nn

from metaexp.algorithms.proto_net import ProtoNet
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Examples
from metaexp.run.side_effects.untrained import warn_of_untrained


class Spare(Pure):
    """Has a layer that it does not use, and one whose output it detaches, as far as ``uses`` names them."""

    def __init__(self, *unused: str) -> None:
        super().__init__()
        for name in unused:
            self.register_parameter(name, nn.Parameter(torch.ones(1)))
        self.detached = nn.Parameter(torch.ones(1))
        self.is_detached = bool(unused)

    def adapt(self, support: Examples) -> Tensor:
        found = self.detached.detach() if self.is_detached else self.detached
        return super().adapt(support) + found


def test_what_no_gradient_reaches_is_named_once(tiny: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    for algorithm, names in ((Spare(), ""), (Spare("spare"), "spare, detached"), (Pure(), "")):
        caplog.clear()
        made = step(tiny, algorithm)
        for number in range(2):
            made.run(number)
        assert caplog.text.count("does not depend on") == bool(names)
        assert f"does not depend on {names}" in caplog.text or not names


def test_what_is_not_to_be_trained_and_what_is_of_metaexp_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    algorithm = Spare("spare")
    algorithm.requires_grad_(False)
    warn_of_untrained(algorithm)
    network = nn.Linear(2, 2)
    warn_of_untrained(ProtoNet(network, TaskShape(2, 1, 1), "cosine", "running"))
    assert not caplog.records
    algorithm.requires_grad_()
    warn_of_untrained(algorithm)
    assert len(caplog.records) == 1
