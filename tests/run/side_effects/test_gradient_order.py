"""An algorithm of one's own whose meta-gradient is not of the order that it says is warned of at its first step."""

from __future__ import annotations

import math
import random
from types import ModuleType

import numpy as np
import pytest
import torch
from pure_tasks import Pure, step
from torch import Tensor, nn

from metaexp.algorithms.proto_net import ProtoNet
from metaexp.core.algorithm import Algorithm
from metaexp.core.inner import gradient_step
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.doctor.subject import random_states
from metaexp.run.side_effects.gradient_order import warn_of_order


class Descends(Algorithm):
    """A network of one hidden layer (ReLU) that takes ``steps`` inner steps, and says what it is told to say."""

    batch_norm = "none"
    first_order = None

    def __init__(self, steps: int, is_first_order: bool, says: bool | None, size: int = 40) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(3)
        self.hidden = nn.Parameter(torch.randn(2, size, generator=draw))
        self.out = nn.Parameter(torch.randn(size, 1, generator=draw) / size)
        self.steps, self.is_first_order = steps, is_first_order
        self.first_order = says  # type: ignore[assignment]

    def outputs(self, params: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.cat([x, torch.ones_like(x)], 1).matmul(params["hidden"]).relu().matmul(params["out"])

    def adapt(self, support: Examples) -> dict[str, Tensor]:
        params = {"hidden": self.hidden, "out": self.out}
        for _ in range(self.steps):
            params = gradient_step(
                lambda p: self.loss(self.outputs(p, support.x), support.y), params, 0.01, self.is_first_order
            )
        return params

    def predict(self, adapted: dict[str, Tensor], x: Tensor) -> Tensor:
        return self.outputs(adapted, x)


class ByAutograd(Descends):
    """The same with gradients of torch.autograd, one task at a time."""

    vectorises = False

    def adapt(self, support: Examples) -> dict[str, Tensor]:
        params = {"hidden": self.hidden * 1, "out": self.out * 1}
        with torch.enable_grad():
            for _ in range(self.steps):
                if not params["hidden"].requires_grad:
                    params = {name: p.detach().requires_grad_() for name, p in params.items()}
                loss = self.loss(self.outputs(params, support.x), support.y)
                found = torch.autograd.grad(loss, list(params.values()), create_graph=not self.is_first_order)
                params = {name: p - 0.01 * g for (name, p), g in zip(params.items(), found, strict=True)}
        return params


class Anneals(Descends):
    def set_progress(self, step: int, total: int) -> None:
        """Perhaps it changes the order later."""


class ForFloat32(Descends):
    def outputs(self, params: dict[str, Tensor], x: Tensor) -> Tensor:
        return super().outputs(params, x) + torch.zeros(1, dtype=torch.float32).matmul(x[:1, 0])


class Rounds(Descends):
    def outputs(self, params: dict[str, Tensor], x: Tensor) -> Tensor:
        return (super().outputs(params, x) + 1000).float().to(x.dtype) - 1000


class DrawsByItself(Descends):
    """Its generator is none that is seeded, so that each computation of a task has other noise."""

    def predict(self, adapted: dict[str, Tensor], x: Tensor) -> Tensor:
        if not hasattr(self, "rng"):
            self.rng = np.random.default_rng(0)
        return self.outputs(adapted, x) + self.rng.normal()


class Scaled(Descends):
    """The loss is near a number that does not depend on the weights, or is not finite."""

    factor, offset = 1e-9, 1.0

    def predict(self, adapted: dict[str, Tensor], x: Tensor) -> Tensor:
        return self.factor * self.outputs(adapted, x) + self.offset


class GivesNan(Scaled):
    factor = math.nan


class GivesInfinity(Scaled):
    factor = math.inf


class Rounded(Descends):
    """A straight-through estimator beside the second derivatives, which it keeps."""

    def predict(self, adapted: dict[str, Tensor], x: Tensor) -> Tensor:
        out = self.outputs(adapted, x)
        return out + ((out * 4).round() / 4 - out).detach()


class LearnsRates(Descends):
    """Its learning rates begin at zero, where the first inner steps have no second derivatives."""

    def __init__(self, steps: int, is_first_order: bool, says: bool | None) -> None:
        super().__init__(steps, is_first_order, says)
        self.lr = nn.Parameter(torch.zeros(()))

    def adapt(self, support: Examples) -> dict[str, Tensor]:
        params = {"hidden": self.hidden, "out": self.out}
        for _ in range(self.steps):
            params = gradient_step(
                lambda p: self.loss(self.outputs(p, support.x), support.y),
                params,
                dict.fromkeys(params, self.lr),
                self.is_first_order,
            )
        return params


class Noisy(Descends):
    def outputs(self, params: dict[str, Tensor], x: Tensor) -> Tensor:
        return nn.functional.dropout(super().outputs(params, x), 0.3, training=self.training)


def said(algorithm: Algorithm, caplog: pytest.LogCaptureFixture, tiny: ModuleType) -> str:
    """What the first step says of the order; nothing is said by the second."""
    made = step(tiny, algorithm)
    caplog.clear()
    for number in range(2):
        made.run(number)
    lines = [record.getMessage() for record in caplog.records if "first_order" in record.getMessage()]
    assert len(lines) < 2
    return "".join(lines)


@pytest.mark.parametrize("cls", [Descends, ByAutograd, Noisy])
@pytest.mark.parametrize(
    ("steps", "is_first_order", "truth", "words"),
    [
        (2, True, True, "it leaves second derivatives out, or detaches something else. To keep them, take inner"),
        (2, False, False, "it has second derivatives. If that is meant, let first_order return False"),
        (
            0,
            True,
            None,
            "no derivative is left out, and torch takes no inner gradient. If the code computes an inner gradient by",
        ),
    ],
)
def test_a_false_claim_is_warned_of_and_a_true_one_is_not(
    tiny: ModuleType,
    caplog: pytest.LogCaptureFixture,
    cls: type[Descends],
    steps: int,
    is_first_order: bool,
    truth: bool | None,
    words: str,
) -> None:
    for claim in (True, False, None) if steps else (True, None):
        line = said(cls(steps, is_first_order, claim), caplog, tiny)
        assert (line == "") == (claim is truth), line
        assert claim is truth or (words in line and f"the property first_order of {cls.__name__} is {claim}" in line)


class WritesItsGradient(Descends):
    """One inner step on the outer weights, whose gradient of the mean squared error is written out."""

    constant = False

    def adapt(self, support: Examples) -> dict[str, Tensor]:
        features = torch.cat([support.x, torch.ones_like(support.x)], 1).matmul(self.hidden).relu()
        error = features.matmul(self.out) - support.y
        gradient = 2 * features.T.matmul(error) / len(error)
        return {"hidden": self.hidden, "out": self.out - 0.01 * (gradient.detach() if self.constant else gradient)}


class WritesAConstant(WritesItsGradient):
    constant = True


def test_an_inner_gradient_that_is_written_out_may_be_said_to_have_second_derivatives(
    tiny: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    assert said(WritesItsGradient(1, False, False), caplog, tiny) == ""
    line = said(WritesItsGradient(1, False, True), caplog, tiny)
    assert "If the code computes an inner gradient by itself, let first_order return False" in line
    assert said(WritesAConstant(1, False, True), caplog, tiny) == ""


class DetachesHidden(Descends):
    """The hidden layer is trained by one of its two uses alone."""

    def outputs(self, params: dict[str, Tensor], x: Tensor) -> Tensor:
        return super().outputs(params, x) + super().outputs({**params, "hidden": params["hidden"].detach()}, 2 * x)


class StraightThrough(Descends):
    """The gradient passes through a rounding."""

    def outputs(self, params: dict[str, Tensor], x: Tensor) -> Tensor:
        out = super().outputs(params, x)
        return out + ((out * 4).round() / 4 - out).detach()


@pytest.mark.parametrize("cls", [DetachesHidden, StraightThrough])
def test_a_gradient_that_is_not_that_of_the_meta_loss_is_warned_of_unless_it_says_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, cls: type[Descends]
) -> None:
    x = torch.linspace(-1, 1, 6).reshape(1, 6, 1)
    task = Episode(Examples(x, x, 0), Examples(x, x, 0))
    warn_of_order(Descends(0, False, None), lambda: task)
    warn_of_order(cls(0, False, True), lambda: task)  # an inner gradient that is written out may leave something out
    assert caplog.text == ""
    warn_of_order(cls(0, False, None), lambda: task)
    assert f"the meta-gradient of {cls.__name__} in the first training task is not the gradient of its" in caplog.text
    assert "write approximates_gradient = True into the class" in caplog.text
    caplog.clear()
    monkeypatch.setattr(cls, "approximates_gradient", True)
    warn_of_order(cls(0, False, None), lambda: task)
    warn_of_order(cls(2, True, False), lambda: task)
    assert caplog.text == ""


def test_what_is_not_certain_is_not_said(tiny: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    assert said(Descends(2, False, True), caplog, tiny)
    assert said(Anneals(2, False, True), caplog, tiny) == ""
    assert said(Rounds(2, False, False), caplog, tiny) == ""
    assert said(Pure(), caplog, tiny) == ""


@pytest.mark.parametrize("cls", [DrawsByItself, Scaled, GivesNan, GivesInfinity, Rounded, LearnsRates])
def test_a_true_claim_is_not_warned_of_where_finite_differences_tell_nothing(
    caplog: pytest.LogCaptureFixture, cls: type[Descends]
) -> None:
    x = torch.linspace(-1, 1, 6).reshape(1, 6, 1)
    task = Episode(Examples(x, x, 0), Examples(x, x, 0))
    for is_first_order in (True, False):
        warn_of_order(cls(2, is_first_order, is_first_order), lambda: task)
        assert caplog.text == ""
    warn_of_order(Descends(2, True, False), lambda: task)
    assert "it leaves second derivatives out" in caplog.text


def test_global_generators_stay_where_they_are_if_making_a_task_draws() -> None:
    def drawing() -> Episode:
        x = torch.rand(1, 6, 1) * float(np.random.rand()) * random.random()
        return Episode(Examples(x, x, 0), Examples(x, x, 0))

    before = random_states()
    warn_of_order(Noisy(2, True, False), drawing)
    assert random_states() == before


def test_code_that_takes_float32_only_is_not_judged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    x = torch.linspace(-1, 1, 6).reshape(1, 6, 1)
    task = Episode(Examples(x, x, 0), Examples(x, x, 0))
    warn_of_order(ForFloat32(1, False, True), lambda: task)
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert "the order of the meta-gradient was not measured: RuntimeError" in caplog.text


def test_an_algorithm_of_metaexp_is_not_looked_at() -> None:
    algorithm = ProtoNet(nn.Linear(2, 2), TaskShape(2, 1, 1), "cosine", "running")

    def no_task() -> Episode:
        raise AssertionError("a task was made")

    warn_of_order(algorithm, no_task)


def test_weights_and_gradients_stay_as_they_are(tiny: ModuleType) -> None:
    algorithm = Descends(2, True, False)
    before = {name: p.detach().clone() for name, p in algorithm.named_parameters()}
    x = torch.linspace(-1, 1, 6).reshape(1, 6, 1)
    warn_of_order(algorithm, lambda: Episode(Examples(x, x, 0), Examples(x, x, 0)))
    for name, p in algorithm.named_parameters():
        assert torch.equal(p, before[name])
        assert p.grad is None
        assert p.dtype == torch.float32
