"""From settings to objects: weights are a function of the seed, outputs fit data and task."""

from __future__ import annotations

import functools
import json
import logging
import math
import pathlib
import random
import warnings
from collections import defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from metaexp.config.classes import make as make_module
from metaexp.config.schema import ClassSpec, Settings
from metaexp.core.errors import ConfigError, DataError
from metaexp.core.optim import Clip, ClipNorm, Constant
from metaexp.machine.device import Compute
from metaexp.run.build import Parts, build
from metaexp.run.checkpoint import read, write
from metaexp.run.job import resume_job, run_job
from metaexp.run.optimizer import make_optimizer
from metaexp.run.progress import Lines
from metaexp.run.side_effects.unsaved_state import UnsavedState
from metaexp.run.state import TrainState, copy_weights

CPU = Compute(torch.device("cpu"), "test", "float32", 1, True, None)
OUT = pathlib.Path("unused")


def built(settings: Settings) -> Parts:
    return build(settings, CPU, lambda _: None)


def test_weights_are_a_function_of_the_seed_alone(tiny: ModuleType) -> None:
    torch.manual_seed(1)
    first = copy_weights(built(tiny.settings(OUT, seed=3)).algorithm)
    torch.manual_seed(2)
    again = copy_weights(built(tiny.settings(OUT, seed=3, train__steps=99)).algorithm)
    other = copy_weights(built(tiny.settings(OUT, seed=4)).algorithm)
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["model.body.weight"], other["model.body.weight"])


def test_the_seed_decides_what_a_network_and_an_algorithm_draw_from_numpy_and_python(
    tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[float] = []
    for cls in (tiny.Net, tiny.TinyMAML):
        monkeypatch.setattr(cls, "__init__", drawing(cls.__init__, made))
    np.random.seed(5)
    random.seed(5)
    outside = np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]
    built(tiny.settings(OUT, seed=3))
    assert (np.random.get_state()[1].tolist(), random.getstate()) == outside  # type: ignore[index]
    np.random.seed(6)
    random.seed(6)
    built(tiny.settings(OUT, seed=3))
    first, again = made[:8], made[8:16]
    assert first == again
    assert first[0:2] == first[2:4]  # the network that it is compared with
    assert first[4:6] == first[6:8]
    built(tiny.settings(OUT, seed=4))
    assert not set(made[16:]) & set(first)


def drawing(constructor: Callable[..., None], made: list[float]) -> Callable[..., None]:
    """A constructor that also draws a number from numpy and one from Python."""

    @functools.wraps(constructor)
    def draw(self: object, *args: object, **kwargs: object) -> None:
        constructor(self, *args, **kwargs)
        made.extend([float(np.random.rand()), random.random()])

    return draw


def test_an_algorithm_with_parameters_in_a_list_is_refused(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    constructor = tiny.TinyMAML.__init__

    @functools.wraps(constructor)
    def hide(self: Any, *args: object, **kwargs: object) -> None:
        constructor(self, *args, **kwargs)
        self.rates = [nn.Parameter(torch.ones(1))]

    built(tiny.settings(OUT))
    monkeypatch.setattr(tiny.TinyMAML, "__init__", hide)
    with pytest.raises(ConfigError, match="algorithm: rates of TinyMAML is a plain list .* torch.nn.ParameterList"):
        built(tiny.settings(OUT))


def test_training_tasks_follow_the_seed_and_test_tasks_the_seed_of_the_evaluation(tiny: ModuleType) -> None:
    def inputs(**changes: Any) -> tuple[torch.Tensor, torch.Tensor]:
        parts = built(tiny.settings(OUT, **changes))
        index = torch.tensor([0])
        return parts.train_source.episodes("train", index).query.x, parts.eval_source.episodes("val", index).query.x

    usual, other_seed, other_bank = inputs(), inputs(seed=1), inputs(eval__seed=1)
    assert not torch.equal(usual[0], other_seed[0])
    assert torch.equal(usual[1], other_seed[1])
    assert torch.equal(usual[0], other_bank[0])
    assert not torch.equal(usual[1], other_bank[1])


def test_a_network_for_regression_has_the_targets_outputs(tiny: ModuleType) -> None:
    parts = built(tiny.settings(OUT))
    assert parts.interface == ((1,), 1)
    assert parts.algorithm.model.head.out_features == 1
    assert parts.tasks_per_step == 3


def test_a_classifier_has_one_output_for_each_class_of_a_training_task(tiny: ModuleType) -> None:
    maml = {
        "_target_": "metaexp.algorithms.maml.MAML", "inner_lr": 0.1, "inner_steps": 1, "inner_steps_test": 1,
        "first_order": False, "inner_loss_reduction": "mean", "adapt": "all", "batch_norm": "transductive",
    }  # fmt: skip
    parts = built(tiny.blobs(OUT, algorithm=maml))
    assert parts.interface == ((2,), 3)
    assert parts.algorithm.model.head.out_features == 3


def test_an_algorithm_that_wants_features_gets_a_network_without_a_head(tiny: ModuleType) -> None:
    parts = built(tiny.blobs(OUT, train__n_way=4))
    assert isinstance(parts.algorithm.model.head, torch.nn.Identity)
    assert parts.algorithm.n_outputs == 4
    assert parts.algorithm.train_shape == (4, 2, 4)


def test_supervised_training_gets_all_training_classes_in_batches(tiny: ModuleType) -> None:
    settings = tiny.blobs(
        OUT,
        algorithm={"_target_": "tiny_runs.Pretrained"},
        dataset={"_target_": "tiny_runs.Blobs", "n_classes": 9},
        train__meta_batch_size=16,
    )
    parts = built(settings)
    assert parts.algorithm.classifier.out_features == 9
    assert parts.tasks_per_step == 1
    batch = parts.train_source.episodes("train", torch.tensor([0]))
    assert batch.query.x.shape == (1, 16, 2)
    assert parts.eval_source.episodes("val", torch.tensor([0])).support.x.shape == (1, 6, 2)


def test_test_episodes_come_sealed(tiny: ModuleType) -> None:
    with pytest.raises(RuntimeError, match="before the final evaluation"):
        built(tiny.settings(OUT)).eval_source.episodes("test", torch.tensor([0]))


def test_an_algorithm_without_parameters_has_no_optimiser(tiny: ModuleType) -> None:
    assert built(tiny.settings(OUT, algorithm={"_target_": "tiny_runs.SupportMean"})).optimizer is None
    assert built(tiny.settings(OUT)).optimizer is not None


def test_frozen_parameters_are_not_given_to_the_optimiser(tiny: ModuleType) -> None:
    parts = built(tiny.settings(OUT, algorithm={"_target_": "tiny_runs.HeadOnly", "inner_lr": 0.1}))
    assert parts.optimizer is not None
    (group,) = parts.optimizer.param_groups
    assert [tuple(p.shape) for p in group["params"]] == [(1, 8), (1,)]


def test_another_number_of_classes_at_test_needs_an_algorithm_that_takes_it(tiny: ModuleType) -> None:
    settings = tiny.blobs(OUT, train__n_way=5)
    assert built(settings).algorithm.train_shape.n_way == 5
    fixed = {"_target_": "tiny_runs.TinyMAML", "inner_lr": 0.1}
    with pytest.raises(ConfigError, match=r"train\.n_way=5 and task\.n_way=3 differ, but TinyMAML can only be"):
        tiny.blobs(OUT, train__n_way=5, algorithm=fixed)


def test_regression_data_and_classification_tasks_do_not_meet(tiny: ModuleType) -> None:
    import dataclasses

    lines, blobs = tiny.settings(OUT), tiny.blobs(OUT)
    with pytest.raises(ConfigError, match=r"task.n_way=3 asks for classes, but dataset=blobs is a regression"):
        built(dataclasses.replace(blobs, dataset=lines.dataset))
    with pytest.raises(ConfigError, match=r"task.n_way=0 means regression, but dataset=lines is for"):
        built(dataclasses.replace(lines, dataset=blobs.dataset))


def test_missing_data_are_reported_by_the_dataset(tiny: ModuleType) -> None:
    with pytest.raises(DataError, match="nowhere to be found"):
        built(tiny.settings(OUT, dataset={"_target_": "tiny_runs.Missing"}))


class Pair(NamedTuple):
    one: float
    other: float


UNKNOWN: dict[str, object] = {
    "a set": [{0.5}],
    "a named tuple": (Pair(0.5, 1.0),),
    "a default": {"of": defaultdict(list, a=[1])},
    "a sparse tensor in a list": [torch.eye(2).to_sparse()],
    "a sparse tensor": torch.eye(2).to_sparse(),
}
"""What a checkpoint cannot hold, or not so that a resumed run has it again."""


class Own(torch.optim.SGD):
    """Its step is that of SGD, and changes something beside it."""

    def __init__(self, params: Any, kind: str) -> None:
        super().__init__(params, lr=0.1)
        self.kind = kind
        self.count, self.history, self.mean = 0, deque(maxlen=3), torch.zeros(2)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step()
        (parameter,) = self.param_groups[0]["params"]
        slots = self.state[parameter]
        if self.kind == "count":
            self.count += 1
        elif self.kind == "history":
            self.history.append(1.0)
        elif self.kind == "mean":
            self.mean.add_(1)
        elif self.kind in UNKNOWN:
            slots["last"] = UNKNOWN[self.kind]
        elif self.kind == "saved":
            slots["count"] = slots.get("count", 0) + 1
            slots["mean"] = parameter.detach().clone()
            self.param_groups[0]["rate"] = 0.5
        elif self.kind == "of all parameters":
            self.state["total"] = 1  # type: ignore[index, assignment]
        elif self.kind == "tensors of all parameters":
            self.state["total"] = {"mean": torch.zeros(2)}  # type: ignore[index]


class Adaptive(Clip):
    """Remembers the norms of gradients, as AutoClip does."""

    def __init__(self) -> None:
        self.norms: list[float] = []

    def apply(self, module: nn.Module) -> None:
        self.norms.append(1.0)


def stepped(optimizer: torch.optim.Optimizer, clip: Clip | None = None) -> UnsavedState:
    clip = clip or ClipNorm(1.0)
    unsaved = UnsavedState(optimizer, clip=clip, schedule=Constant())
    for parameter in optimizer.param_groups[0]["params"]:
        parameter.grad = torch.ones_like(parameter)
    clip.apply(nn.Module())
    optimizer.step()
    return unsaved


def parameters() -> list[Tensor]:
    return [nn.Parameter(torch.ones(2))]


@pytest.mark.parametrize("name", ["count", "history", "mean"])
def test_what_an_optimiser_keeps_beside_its_state_is_named(name: str, caplog: pytest.LogCaptureFixture) -> None:
    stepped(Own(parameters(), name)).check()
    assert f"a step of training changes {name} of optimizer Own, which checkpoints do not hold" in caplog.text


class Kept:
    """An object of a user's, with a count or with what counts for it."""

    def __init__(self, held: Any) -> None:
        self.held = held


class Hiding(torch.optim.SGD):
    """Keeps ``kept``, and ``change`` changes it at each step."""

    def __init__(self, params: Any, kept: Any, change: Callable[[Any], object]) -> None:
        super().__init__(params, lr=0.1)
        self.kept, self.change = kept, change

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step()
        self.change(self.kept)


def inner_adam() -> torch.optim.Optimizer:
    own = nn.Parameter(torch.ones(2))
    own.grad = torch.ones(2)
    return torch.optim.Adam([own])


HIDDEN: dict[str, tuple[Any, Callable[[Any], object]]] = {
    "an object": (Kept(0), lambda kept: setattr(kept, "held", kept.held + 1)),
    "an object in a list in an object": (Kept([Kept(0)]), lambda kept: setattr(kept.held[0], "held", 1)),
    "a namespace": (SimpleNamespace(n=0), lambda kept: setattr(kept, "n", 1)),
    "a set": (set(), lambda kept: kept.add(1)),
    "a list iterator": (iter([1, 2, 3]), next),
    "a generator function": ((i for i in range(3)), next),
    "a generator of torch": (torch.Generator(), lambda kept: torch.rand(2, generator=kept)),
    "a generator of numpy": (np.random.default_rng(0), lambda kept: kept.random()),
    "an old generator of numpy": (np.random.RandomState(0), lambda kept: kept.rand()),
    "a generator of Python": (random.Random(0), lambda kept: kept.random()),
    "an optimiser inside": (inner_adam(), lambda kept: kept.step()),
}


@pytest.mark.parametrize("what", HIDDEN)
def test_what_an_optimiser_hides_in_objects_and_generators_is_named(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    kept, change = HIDDEN[what]
    stepped(Hiding(parameters(), kept, lambda _: None)).check()
    assert not caplog.records
    stepped(Hiding(parameters(), kept, change)).check()
    assert "changes kept of optimizer Hiding, which checkpoints do not hold" in caplog.text


def test_nothing_is_said_of_an_inner_optimiser_that_shares_what_is_saved(caplog: pytest.LogCaptureFixture) -> None:
    optimizer = Hiding(parameters(), None, lambda _: None)
    optimizer.kept = inner = torch.optim.Adam(parameters())
    inner.param_groups, inner.state = optimizer.param_groups, optimizer.state
    inner.param_groups[0] |= {**inner.defaults, "lr": 0.1}
    optimizer.change = lambda kept: kept.step()
    stepped(optimizer).check()
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "draw"), [("numpy", lambda _: np.random.rand()), ("Python", lambda _: random.random())]
)
def test_random_numbers_that_no_seed_fixes_are_named(
    name: str, draw: Callable[[Any], object], caplog: pytest.LogCaptureFixture
) -> None:
    stepped(Hiding(parameters(), None, draw)).check()
    assert f"draws random numbers of {name}, which no seed of the run fixes" in caplog.text


def test_what_a_clip_keeps_is_named(caplog: pytest.LogCaptureFixture) -> None:
    stepped(torch.optim.SGD(parameters()), Adaptive()).check()
    assert "changes norms of clip Adaptive" in caplog.text


NOT_WRITABLE = [
    ("a set", "last"),
    ("a named tuple", "last"),
    ("a default", "last"),
    ("a sparse tensor in a list", "last"),
    ("a sparse tensor", "last"),
    ("of all parameters", "total"),
    ("tensors of all parameters", "total"),
]


@pytest.mark.parametrize(("kind", "name"), NOT_WRITABLE)
def test_a_state_that_cannot_be_written_is_refused_at_the_first_step(kind: str, name: str) -> None:
    with pytest.raises(ConfigError, match=f"Own keeps {name} in its state, which no checkpoint can hold"):
        stepped(Own(parameters(), kind)).check()


TORCHS = ["SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adagrad", "Adadelta", "Adamax", "ASGD", "Rprop", "RMSprop"]


@pytest.mark.parametrize("name", [*TORCHS, "Adafactor"])
def test_nothing_is_said_of_optimisers_whose_state_is_saved(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        stepped(getattr(torch.optim, name)(parameters())).check()
        stepped(Own(parameters(), "saved")).check()
    assert not caplog.records


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "Adagrad"])
def test_nothing_is_said_of_a_fused_step(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is the default on a GPU."""
    stepped(getattr(torch.optim, name)(parameters(), fused=True)).check()
    assert not caplog.records


@pytest.mark.parametrize(
    "value",
    [math.nan, torch.eye(2).to_sparse(), torch.empty(2, device="meta"), torch.ones(2, dtype=torch.cfloat).conj()],
)
def test_nothing_is_said_of_what_stays_as_it_is(value: object, caplog: pytest.LogCaptureFixture) -> None:
    optimizer = Own(parameters(), "saved")
    optimizer.kept = value  # type: ignore[attr-defined]
    stepped(optimizer).check()
    assert not caplog.records


def circle(kind: str) -> object:
    """A container that contains itself."""
    held: dict[str, object] = {"one": 1}
    listed: list[object] = [held, 2]
    held["again"] = listed
    return held if kind == "dict" else listed


def deep() -> object:
    """Containers in one another, more than Python calls functions."""
    held: list[object] = []
    for _ in range(100_000):
        held = [held]
    return held


@pytest.mark.parametrize("value", [circle("dict"), circle("list"), deep()], ids=["dict", "list", "deep"])
def test_what_contains_itself_is_looked_at_once(value: object, caplog: pytest.LogCaptureFixture) -> None:
    optimizer = Own(parameters(), "count")
    optimizer.kept = value  # type: ignore[attr-defined]
    stepped(optimizer).check()
    assert "a step of training changes count of optimizer Own" in caplog.text  # and nothing of what is kept


def test_a_state_that_contains_itself_is_refused() -> None:
    optimizer = Own(parameters(), "saved")
    unsaved = stepped(optimizer)
    optimizer.state[optimizer.param_groups[0]["params"][0]]["loop"] = circle("dict")
    with pytest.raises(ConfigError, match="Own keeps loop in its state, which no checkpoint can hold"):
        unsaved.check()


def numbered(given: list[nn.Parameter]) -> dict[str, nn.Parameter]:
    return {str(number): parameter for number, parameter in enumerate(given)}


def test_an_own_optimiser_that_asks_for_names_gets_them(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {name: nn.Parameter(torch.ones(2)) for name in ("head.weight", "head.bias")}
    for cls, taken in ((tiny.DecayingWeights, "named_params"), (torch.optim.SGD, "params")):
        monkeypatch.setattr(make_module, "_import", lambda _, cls=cls: cls)
        made = make_optimizer(ClassSpec("mine.Own", "mine.Own", {"lr": 0.5}, frozenset({taken, "lr"})), given, CPU)
        names = [(group.get("param_names"), group["weight_decay"]) for group in made.param_groups]
        of_own = [(["head.weight"], 1.0), (["head.bias"], 0)]
        assert names == (of_own if taken == "named_params" else [(None, 0)])


def test_a_run_in_which_weights_alone_decay_can_be_resumed(tiny: ModuleType, tmp_path: Path, silent: Lines) -> None:
    optimizer = {"_target_": "tiny_runs.DecayingWeights", "lr": 0.1}
    whole = run_job(tiny.settings(tmp_path / "whole", optimizer=optimizer), display=silent)
    stopped = run_job(tiny.settings(tmp_path / "stopped", optimizer=optimizer), display=silent, stop_after=3)
    assert stopped.record.status == "interrupted"
    resumed = resume_job(stopped.folder, silent)
    assert (resumed.record.exact_resume, resumed.record.test) == (True, whole.record.test)
    usual = run_job(
        tiny.settings(tmp_path / "usual", optimizer={"_target_": "torch.optim.SGD", "lr": 0.1}), display=silent
    )
    assert usual.record.test != whole.record.test


def test_an_optimiser_that_computes_the_loss_itself_is_refused() -> None:
    spec = ClassSpec("torch.optim.LBFGS", "torch.optim.LBFGS", {"lr": 1.0}, frozenset({"params", "lr"}))
    with pytest.raises(ConfigError, match=r"computes the loss several times in a step .* such as optimizer=adam"):
        make_optimizer(spec, numbered(parameters()), CPU)


def without_a_loss(step: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that gives a step the closure that it asks for."""

    @functools.wraps(step)
    def called(self: Any) -> Any:
        return step(self, None)

    return called


class AsksForClosure(torch.optim.SGD):
    """An optimiser whose step must be given a closure."""

    def step(self, closure: Any) -> Any:  # type: ignore[override]
        return super().step(closure)


class IsGivenClosure(AsksForClosure):
    """The same, with a decorator that gives it."""

    step = without_a_loss(AsksForClosure.step)  # type: ignore[assignment]


def test_a_decorator_that_gives_an_optimiser_its_closure_counts_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ClassSpec("mine.Own", "mine.Own", {"lr": 1.0}, frozenset({"params", "lr"}))
    monkeypatch.setattr(make_module, "_import", lambda _: IsGivenClosure)
    (parameter,) = given = [nn.Parameter(torch.ones(2))]
    parameter.grad = torch.ones(2)
    make_optimizer(spec, numbered(given), CPU).step()
    assert parameter.tolist() == [0.0, 0.0]
    monkeypatch.setattr(make_module, "_import", lambda _: AsksForClosure)
    with pytest.raises(ConfigError, match="computes the loss several times in a step"):
        make_optimizer(spec, numbered(given), CPU)


class Faulty(torch.optim.SGD):
    """An optimiser as somebody may write it."""

    def __init__(self, params: list[nn.Parameter], kind: str) -> None:
        self.kind = kind
        if kind == "no super":
            return
        super().__init__(params[:1] if kind == "one parameter" else params, lr=0.1)
        if kind == "no rate":
            self.param_groups[0].pop("lr")
        if kind == "rate is None":
            self.param_groups[0]["lr"] = None

        if kind == "another step":
            self.step = lambda gradient: None  # type: ignore[assignment, misc]

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | ({"inner": {}} if self.kind == "more state" else {})


FAULTS = [
    ("no super", "has no param_groups. Let its __init__ call"),
    ("no rate", "has no number 'lr' in its param_groups"),
    ("rate is None", "has no number 'lr' in its param_groups"),
    ("one parameter", "leaves out 1 of the 2 parameters that it was given"),
    ("another step", r"optimizer=mine.Faulty: <lambda>\(gradient\) cannot be called as <lambda>\(\)"),
    ("more state", r"state_dict\(\) of Faulty has inner, param_groups, state"),
]


@pytest.mark.parametrize(("kind", "message"), FAULTS)
def test_an_optimiser_that_a_run_cannot_use_is_refused(
    kind: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_module, "_import", lambda _: Faulty)
    given = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))]

    def make(kind: str) -> torch.optim.Optimizer:
        spec = ClassSpec("mine.Faulty", "mine.Faulty", {"kind": kind}, frozenset({"params", "kind"}))
        return make_optimizer(spec, numbered(given), CPU)

    with pytest.raises(ConfigError, match=message):
        make(kind)
    assert isinstance(make("none"), Faulty)


def test_an_optimiser_has_exactly_its_state_after_a_resume(tmp_path: Path) -> None:
    def nest(scale: float) -> list[Any]:
        long = torch.full((2,), scale / 3, dtype=torch.float64)
        return [(long, [torch.tensor(7)], {"a": (1, 2.5), 3: None}), "text", ({}, [], ()), {"(tuple)": [scale]}]

    first, again = Own(parameters(), "saved"), Own(parameters(), "saved")
    same = torch.ones(2)
    for optimizer, scale in ((first, 1.0), (again, 9.0)):
        slots = optimizer.state[optimizer.param_groups[0]["params"][0]]
        slots |= {"nest": nest(scale), "text": f"at {scale}", "long": torch.full((2,), scale / 3, dtype=torch.float64)}
        slots |= {
            "count": torch.tensor(int(scale)),
            "step": torch.tensor(scale),
            "pair": (scale, 2),
            "twice": [same, same],
        }
        optimizer.param_groups[0] |= {"rates": (torch.tensor(scale), [scale]), "names": {"a": (scale,)}}
    state = TrainState(nn.Linear(1, 1), first)  # type: ignore[arg-type]
    write(tmp_path / "step", state.tensors(), state.values())
    TrainState(nn.Linear(1, 1), again).restore(*read(tmp_path / "step"))  # type: ignore[arg-type]
    found, wanted = (comparable_state(optimizer) for optimizer in (again, first))
    assert found == wanted
    first.state[first.param_groups[0]["params"][0]]["nest"][0][1][0] += 1
    assert found != comparable_state(first)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.bool, torch.int64, torch.float64, torch.float16])
def test_state_of_any_type_comes_back_without_a_warning(dtype: torch.dtype, tmp_path: Path) -> None:
    first, again = (torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1) for _ in range(2))
    kept = torch.tensor([0.0, 3.0j if dtype.is_complex else 3.0]).to(dtype)
    first.state[first.param_groups[0]["params"][0]]["kept"] = kept
    state = TrainState(nn.Linear(1, 1), first)  # type: ignore[arg-type]
    write(tmp_path / "step", state.tensors(), state.values())
    was_always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings(record=True) as caught:
            TrainState(nn.Linear(1, 1), again).restore(*read(tmp_path / "step"))  # type: ignore[arg-type]
    finally:
        torch.set_warn_always(was_always)
    found = again.state[again.param_groups[0]["params"][0]]["kept"]
    assert (found.dtype, found.tolist(), [str(w.message) for w in caught]) == (dtype, kept.tolist(), [])


def comparable_state(optimizer: torch.optim.Optimizer) -> str:
    """All that an optimiser keeps, with the types, as a text; the order of the keys does not count."""

    def plain(value: Any) -> Any:
        if isinstance(value, Tensor):
            return (str(value.dtype), value.tolist())
        if isinstance(value, dict):
            return sorted((repr(key), plain(item)) for key, item in value.items())
        return (type(value).__name__, list(map(plain, value))) if isinstance(value, (list, tuple)) else repr(value)

    (group,) = optimizer.param_groups
    return repr((plain(optimizer.state[group["params"][0]]), plain({k: v for k, v in group.items() if k != "params"})))


def test_a_tuple_of_a_group_in_an_older_checkpoint_is_a_tuple_after_a_resume() -> None:
    first, again = Own(parameters(), "saved"), Own(parameters(), "saved")
    again.param_groups[0]["betas"] = (0.5, 0.5)
    state = TrainState(nn.Module(), first)  # type: ignore[arg-type]
    values = state.values()
    values["optimizer"]["groups"][0]["betas"] = [0.9, 0.99]
    TrainState(nn.Module(), again).restore(state.tensors(), values)  # type: ignore[arg-type]
    assert again.param_groups[0]["betas"] == (0.9, 0.99)


def test_a_list_of_a_group_is_a_list_after_a_resume() -> None:
    """An optimiser may append to it."""
    first, again = Own(parameters(), "saved"), Own(parameters(), "saved")
    for optimizer in (first, again):
        optimizer.param_groups[0] |= {"window": [0.5], "betas": (0.9, 0.99)}
    state = TrainState(nn.Module(), first)  # type: ignore[arg-type]
    TrainState(nn.Module(), again).restore(state.tensors(), json.loads(json.dumps(state.values())))  # type: ignore[arg-type]
    assert again.param_groups[0]["window"] == [0.5]
    assert again.param_groups[0]["betas"] == (0.9, 0.99)


def test_loaded_data_that_metaexp_cannot_call_are_refused(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny.LoadedLines, "batches", lambda self, size: None)
    with pytest.raises(ConfigError, match=r"\(self, size\) cannot be called as .*\(self, batch_size, seed\)"):
        built(tiny.settings(OUT))


def test_data_of_another_type_are_refused(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = {"nothing": None, "an object of the class dict": {}, "the class LoadedLines itself": tiny.LoadedLines}
    for said, made in cases.items():
        monkeypatch.setattr(tiny.Lines, "load", lambda self, folder, progress, made=made: made)
        with pytest.raises(ConfigError, match=f"load returns {said}; it must return a metaexp.data.base.MetaDataset"):
            built(tiny.settings(OUT))
