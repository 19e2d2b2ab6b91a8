"""The first training task, before and after others: hidden weights are refused, state and own noise are warned of."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.core.optim import Constant, NoClip
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Examples
from metaexp.doctor.subject import random_states
from metaexp.machine.device import Compute
from metaexp.run.side_effects.own_generators import keep_generators
from metaexp.run.step import MetaStep

CPU = Compute(torch.device("cpu"), "test", "float32", 1, True, None)
Act = Callable[["Shift", Tensor], Tensor]


class Shift(Algorithm):
    """y = w x plus what ``act`` makes of the mean of the support's targets."""

    batch_norm = "none"
    vectorises = False

    def __init__(self, act: Act | None = None) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(1))
        self.dropout = nn.Dropout(0.5)
        self.register_buffer("mean", torch.zeros(1))
        self.act = act
        self.count = 0
        self.kept = torch.zeros(1)
        self.generator, self.numpy = torch.Generator().manual_seed(0), np.random.default_rng(0)
        self.python = random.Random(0)

    def adapt(self, support: Examples) -> Tensor:
        mean = support.y.mean(0)
        return mean if self.act is None else self.act(self, mean)

    def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
        return self.w * x + adapted


class Mapped(Shift):
    """The same for several tasks at once."""

    vectorises = True


def step(tiny: ModuleType, algorithm: Algorithm) -> MetaStep:
    source = tiny.LoadedLines(None, "1").tasks(TaskShape(0, 3, 6), 7)
    return MetaStep(algorithm, source, torch.optim.SGD(algorithm.parameters(), 0.1), Constant(), NoClip(), CPU, 4, 9, 0)


LAYER = nn.Linear(1, 1)
FROZEN = nn.Linear(1, 1).requires_grad_(False)
HOLDER = SimpleNamespace(layer=nn.Linear(1, 1), weight=torch.ones(1, requires_grad=True))


@pytest.mark.parametrize("kind", [Shift, Mapped])
@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda _, mean: LAYER(mean), r"trainable parameters of shape \(1, 1\), \(1,\).*Make each layer an attribute"),
        (lambda _, mean: HOLDER.layer(mean), "trainable parameters"),
        (lambda _, mean: mean * HOLDER.weight, r"trainable tensors of shape \(1,\).*Make each tensor an attribute"),
    ],
    ids=["a global layer", "a layer in an object", "a tensor that is not a parameter"],
)
def test_weights_that_torch_does_not_find_are_refused(
    tiny: ModuleType, kind: type[Shift], act: Act, message: str
) -> None:
    """They were not trained, without a word."""
    with pytest.raises(ConfigError, match=f"the meta-loss of {kind.__name__} depends on {message}"):
        step(tiny, kind(act)).run(0)


def own_leaf(_: Shift, mean: Tensor) -> Tensor:
    start = torch.zeros(1, requires_grad=True)
    (gradient,) = torch.autograd.grad((start - mean).square().sum(), start, create_graph=True)
    return start - 0.1 * gradient


def unused(_: Shift, mean: Tensor) -> Tensor:
    with torch.no_grad():
        return mean + 0 * LAYER(mean)


@pytest.mark.parametrize("act", [None, own_leaf, unused, lambda _, mean: FROZEN(mean)])
def test_other_leaves_are_not_hidden_weights(tiny: ModuleType, act: Act | None) -> None:
    assert step(tiny, Shift(act)).run(0).losses.isfinite().all()


def count(algorithm: Shift, mean: Tensor) -> Tensor:
    algorithm.count += 1
    return mean * algorithm.count


def average(algorithm: Shift, mean: Tensor) -> Tensor:
    algorithm.kept = 0.9 * algorithm.kept + 0.1 * mean.detach()
    return mean + algorithm.kept


def into_buffer(algorithm: Shift, mean: Tensor) -> Tensor:
    algorithm.get_buffer("mean").mul_(0.9).add_(0.1 * mean.detach())
    return mean + algorithm.get_buffer("mean").clone()


def another_buffer(algorithm: Shift, mean: Tensor) -> Tensor:
    algorithm.mean = 0.9 * algorithm.get_buffer("mean") + 0.1 * mean.detach()
    return mean + algorithm.get_buffer("mean")


def only_counts(algorithm: Shift, mean: Tensor) -> Tensor:
    algorithm.count += 1
    return mean


def caches(algorithm: Shift, mean: Tensor) -> Tensor:
    algorithm.kept = torch.ones(algorithm.count)
    algorithm.count += 1
    return mean + (algorithm.kept - 1).sum()


WARNED: dict[str, Act] = {
    "a counter": count,
    "an average": average,
    "torch": lambda a, mean: mean + torch.rand(1, generator=a.generator),
    "numpy": lambda a, mean: mean + float(a.numpy.random()),
    "Python": lambda a, mean: mean + a.python.random(),
}
SILENT: dict[str, Act | None] = {
    "nothing": None,
    "a buffer written into": into_buffer,
    "a buffer replaced": another_buffer,
    "a number that nothing is computed from": only_counts,
    "a cache": caches,
    "dropout": lambda a, mean: a.dropout(mean),
}


@pytest.mark.parametrize("name", [*WARNED, *SILENT])
def test_what_no_checkpoint_holds_is_warned_of_once(
    tiny: ModuleType, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = step(tiny, Shift(WARNED.get(name) or SILENT.get(name)))
    for number in range(3):
        made.run(number)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (name in WARNED)
    assert name in SILENT or "a run that is stopped and resumed will differ from one that is not" in said[0]


@pytest.mark.parametrize("act", [into_buffer, another_buffer, lambda a, mean: a.dropout(mean)])
def test_the_first_step_is_what_it_would_be_without_the_look_at_its_first_task(tiny: ModuleType, act: Act) -> None:
    results = []
    for looks in (True, False):
        made = step(tiny, Shift(act))
        made._is_first = looks
        losses = made.run(0).losses
        results.append((losses, made.algorithm.get_parameter("w").detach(), made.algorithm.get_buffer("mean")))
    assert all(torch.equal(first, second) for first, second in zip(*results, strict=True))
    assert not torch.equal(results[0][0], step(tiny, Shift()).run(0).losses) or act is into_buffer


GLOBALS = (torch.Generator().manual_seed(1), np.random.default_rng(1), np.random.RandomState(1), random.Random(1))
NUMPY = {"first": [np.random.default_rng(2)]}
HIDDEN = SimpleNamespace(rng=np.random.default_rng(3))


class HoldsOne(Shift):
    of_class = np.random.default_rng(4)


DRAWS: dict[str, Act] = {
    "torch's, an attribute": lambda me, mean: mean + torch.rand(1, generator=me.generator),
    "numpy's, an attribute": lambda me, mean: mean + me.numpy.normal(),
    "Python's, an attribute": lambda me, mean: mean + me.python.random(),
    "torch's, of a module": lambda _, mean: mean + torch.rand(1, generator=GLOBALS[0]),
    "numpy's, of a module": lambda _, mean: mean + GLOBALS[1].normal(),
    "numpy's old kind": lambda _, mean: mean + GLOBALS[2].normal(),
    "Python's, of a module": lambda _, mean: mean + GLOBALS[3].random(),
    "in containers": lambda _, mean: mean + NUMPY["first"][0].normal(),
    "of a class": lambda _, mean: mean + HoldsOne.of_class.normal(),
}


def losses_after(act: Act, tiny: ModuleType, *, looks: bool) -> list[float]:
    """The losses of two steps, the first with or without the looks at its first task."""
    algorithm = HoldsOne(act)
    with keep_generators(algorithm):  # each call begins where the other one began
        made = step(tiny, algorithm)
        made._is_first = looks
        return [loss for number in range(2) for loss in made.run(number).losses.tolist()]


@pytest.mark.parametrize("act", DRAWS.values(), ids=DRAWS.keys())
def test_looks_do_not_move_generators_of_own_code_on(
    tiny: ModuleType, act: Act, caplog: pytest.LogCaptureFixture
) -> None:
    looked_at = losses_after(act, tiny, looks=True)
    assert "draws from a random generator of its own" in caplog.text
    assert looked_at == losses_after(act, tiny, looks=False)
    assert len(set(looked_at)) == len(looked_at), "each task draws"


def test_a_generator_that_an_object_hides_is_moved_on(tiny: ModuleType) -> None:
    """This is documented. It shows that the losses above would tell."""

    def hidden(_: Shift, mean: Tensor) -> Tensor:
        return mean + HIDDEN.rng.normal()

    state = HIDDEN.rng.bit_generator.state
    looked_at = losses_after(hidden, tiny, looks=True)
    HIDDEN.rng.bit_generator.state = state
    assert looked_at != losses_after(hidden, tiny, looks=False)


def test_global_generators_stay_where_they_are() -> None:
    before = random_states()
    with keep_generators(Shift()):
        np.random.normal()
        random.random()
    assert {name: state for name, state in random_states().items() if before[name] != state} == {}
    np.random.normal()
    assert random_states() != before
