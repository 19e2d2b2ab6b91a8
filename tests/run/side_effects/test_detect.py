"""Side effects of a task: the run that would compute later tasks from them is refused, and says what they are."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from changed_settings import CALLS, unchanged_settings
from pure_tasks import Mapped, Pure, evaluator, step
from torch import Tensor

from metaexp.core.errors import ConfigError
from metaexp.core.types import Episode, Examples
from metaexp.run.side_effects import detect
from metaexp.run.side_effects.detect import SideEffects


def decay(algorithm: Pure, _: Examples) -> None:
    with torch.no_grad():
        algorithm.w.mul_(0.9)


def other_memory(algorithm: Pure, _: Examples) -> None:
    algorithm.w.data = algorithm.w.data * 0.9


def past_the_counter(algorithm: Pure, _: Examples) -> None:
    algorithm.w.data.mul_(0.9)


def remember(algorithm: Pure, support: Examples) -> Tensor | None:
    before, algorithm.before = algorithm.before, support.y.mean()
    return before


def count(algorithm: Pure, _: Examples) -> float:
    algorithm.n_tasks += 1
    return 0.1 * algorithm.n_tasks


def seeded_noise() -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        return torch.rand(())


GENERATOR = torch.Generator()

SEEN_AT_ONCE = {
    "inputs": (lambda _, support: support.x.sub_(1.0), "the inputs of tasks"),
    "labels": (lambda _, support: support.y.zero_(), "the labels of tasks"),
    "weights": (decay, "w"),
    "other memory": (other_memory, "w"),
    "frozen": (lambda algorithm, _: algorithm.offset.requires_grad_(False), "offset"),
    "mode": (lambda algorithm, _: algorithm.layer.train(not algorithm.training), "layer training mode"),
    "seed": (lambda *_: torch.manual_seed(11), "torch's seed"),
    **{name: ((lambda *_, call=call: call()), named) for name, (call, named) in CALLS.items() if name != "device"},
}
SEEN_LATER = {
    "weights past the counter": past_the_counter,
    "a tensor": remember,
    "a number": count,
    "numpy": lambda *_: float(np.random.rand()),
    "Python": lambda *_: random.random(),
    "a generator": lambda *_: torch.rand((), generator=GENERATOR),
}


@pytest.mark.parametrize(("act", "named"), SEEN_AT_ONCE.values(), ids=SEEN_AT_ONCE)
def test_what_a_task_writes_is_refused_in_training_and_in_tests(
    tiny: ModuleType, act: Callable[[Pure, Examples], object], named: str
) -> None:
    def quiet(algorithm: Pure, support: Examples) -> None:
        act(algorithm, support)

    with unchanged_settings(), pytest.raises(ConfigError, match=f"Pure changes {named} while it computes training tas"):
        step(tiny, Pure(quiet)).run(0)
    with unchanged_settings(), pytest.raises(ConfigError, match=f"Pure changes {named} while it computes val tasks"):
        evaluator(tiny).validate(Pure(quiet), 10, lambda _: None)


def test_tasks_that_are_computed_at_once_are_watched_too(tiny: ModuleType) -> None:
    with pytest.raises(ConfigError, match="Mapped changes the inputs of tasks"):
        step(tiny, Mapped(lambda _, support: support.x.sub_(1.0).mean())).run(0)


def test_a_query_that_is_written_to_is_named(tiny: ModuleType) -> None:
    class Scales(Pure):
        def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
            return adapted * x.mul_(2.0)

    with pytest.raises(ConfigError, match="Scales changes the inputs of tasks"):
        evaluator(tiny).evaluate(Scales(), "val", 3, lambda _: None)


@pytest.mark.parametrize("act", SEEN_LATER.values(), ids=SEEN_LATER)
def test_a_task_that_is_another_one_after_others_is_refused(
    tiny: ModuleType, act: Callable[[Pure, Examples], object]
) -> None:
    with pytest.raises(ConfigError, match="Pure gives other predictions for val task 0 after other tasks"):
        evaluator(tiny).validate(Pure(act), 10, lambda _: None)


@pytest.mark.parametrize(
    "act",
    [
        None,
        lambda *_: torch.rand(()),  # of torch's own generator, which is seeded
        lambda *_: seeded_noise(),
        lambda _, support: support.x.clone().sub_(1.0).mean(),
        lambda *_: float("nan"),  # in each, as long as it is the same
    ],
    ids=["nothing", "torch's noise", "a seed for a block", "a copy", "nan"],
)
def test_what_has_no_side_effect_is_measured(tiny: ModuleType, act: Callable[[Pure, Examples], object] | None) -> None:
    result = evaluator(tiny).validate(Pure(act), 10, lambda _: None)
    again = evaluator(tiny).validate(Pure(act), 10, lambda _: None)
    assert result.n_episodes == 10
    assert torch.equal(result.per_episode.nan_to_num(7.0), again.per_episode.nan_to_num(7.0))


def test_a_step_without_side_effects_is_made_and_only_the_first_is_looked_at(tiny: ModuleType) -> None:
    algorithm = Pure()
    made = step(tiny, algorithm)
    made.run(0)
    algorithm.act = lambda _, support: (support.x.sub_(0.0), None)[1]
    assert made.run(1).losses.isfinite().all()


@pytest.mark.parametrize(
    ("act", "library"),
    [
        (lambda *_: float(np.random.rand()), "numpy"),
        (lambda *_: random.random(), "Python"),
        (lambda *_: torch.rand(()), ""),
        (lambda *_: float(np.random.default_rng(0).random()), ""),
    ],
    ids=["numpy", "Python", "torch", "a generator with a seed"],
)
def test_numbers_that_training_draws_without_a_seed_are_warned_of(
    tiny: ModuleType, act: Callable[[Pure, Examples], object], library: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No test shows it: there, nothing may be drawn."""
    algorithm = Pure(lambda algorithm, support: act(algorithm, support) if algorithm.training else None)
    made = step(tiny, algorithm)
    for number in range(3):
        made.run(number)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == bool(library)
    assert not library or f"Pure draws random numbers of {library} while it computes training tasks" in said[0]
    assert evaluator(tiny).validate(algorithm, 10, lambda _: None).n_episodes == 10


def test_the_repetition_is_made_once(tiny: ModuleType) -> None:
    class Counted(Pure):
        def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
            calls.append(len(x))
            return super().predict(adapted, x)

    calls: list[int] = []
    algorithm, made = Counted(), evaluator(tiny)
    numbers = []
    for _ in range(2):
        made.validate(algorithm, 10, lambda _: None)
        numbers.append(len(calls))
        calls.clear()
    assert numbers == [16, 10]


def test_a_meta_loss_that_writes_is_named(tiny: ModuleType) -> None:
    class Normalises(Pure):
        def meta_loss(self, episode: Episode) -> Tensor:
            episode.query.y.sub_(episode.query.y.mean())
            return super().meta_loss(episode)

    with pytest.raises(ConfigError, match="Normalises changes the labels of tasks while it computes training tas"):
        step(tiny, Normalises()).run(0)


@pytest.mark.parametrize(
    ("loss", "what"),
    [(lambda loss: torch.stack([loss, loss]), r"shape \(2,\)"), (lambda loss: 3.0, "type float")],
    ids=["two numbers", "no tensor"],
)
@pytest.mark.parametrize("kind", [Pure, Mapped])
def test_a_meta_loss_that_is_not_one_number_is_refused(
    tiny: ModuleType, kind: type[Pure], loss: Callable[[Tensor], Tensor], what: str
) -> None:
    class Odd(kind):  # type: ignore[valid-type,misc]
        def meta_loss(self, episode: Episode) -> Tensor:
            return loss(super().meta_loss(episode))

    with pytest.raises(ConfigError, match=f"the meta-loss of Odd has the {what}"):
        step(tiny, Odd()).run(0)


def test_a_path_of_adaptation_without_states_is_refused(tiny: ModuleType) -> None:
    class Empty(Pure):
        def adaptation_path(self, support: Examples) -> list[Tensor]:
            return []

    with pytest.raises(ConfigError, match="adaptation_path of Empty gives no state"):
        evaluator(tiny).evaluate(Empty(), "val", 3, lambda _: None)


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_a_sparse_buffer_is_allowed_and_a_write_to_it_is_refused(layout: torch.layout) -> None:
    algorithm = Pure()
    algorithm.register_buffer("graph", torch.eye(3).to_sparse(layout=layout))
    algorithm.eval()
    examples = Examples(torch.ones(1, 2, 1), torch.ones(1, 2, 1))
    effects = SideEffects(algorithm, Episode(examples, examples))
    effects.check("test tasks")
    algorithm.get_buffer("graph").mul_(2)
    with pytest.raises(ConfigError, match="changes graph"):
        effects.check("test tasks")


def test_weights_are_copied_once_for_all_groups_of_an_evaluation(
    tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[int] = []
    of = detect._Weight.of
    monkeypatch.setattr(detect._Weight, "of", lambda tensor: copied.append(tensor.numel()) or of(tensor))
    measure, algorithm = evaluator(tiny), Pure()
    measure.validate(algorithm, 3, lambda _: None)  # the first task is also compared, before and after the others
    copied.clear()
    measure.validate(algorithm, 100 * measure.chunk, lambda _: None)
    assert len(copied) == len([*algorithm.parameters(), *algorithm.buffers()])


def test_a_change_in_the_last_group_of_an_evaluation_is_refused(tiny: ModuleType) -> None:
    calls: list[int] = []

    def late(algorithm: Pure, support: Examples) -> None:
        calls.append(1)
        if len(calls) == last:
            decay(algorithm, support)

    last = 10**9
    evaluator(tiny).validate(Pure(late), 10, lambda _: None)
    last, calls = len(calls) - 2, []  # the two calls after it look at the first task
    with pytest.raises(ConfigError, match="Pure changes w while it computes val tasks"):
        evaluator(tiny).validate(Pure(late), 10, lambda _: None)
    assert len(calls) == last
