"""What tasks may write because nothing later sees it, and the parameters, tables and paths that are refused."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from pure_tasks import Pure, evaluator, step
from torch import Tensor, nn

from metaexp.core.errors import ConfigError
from metaexp.core.types import Examples
from metaexp.run.state import copy_weights, load_weights


def in_place_and_back(algorithm: Pure, _: Examples) -> None:
    with torch.no_grad():
        kept = algorithm.w.clone()
        algorithm.w.mul_(2.0)
        algorithm.w.copy_(kept)


def other_memory_and_back(algorithm: Pure, _: Examples) -> None:
    kept = algorithm.w.data
    algorithm.w.data = 2 * kept
    algorithm.w.data = kept.clone()


def mode_and_back(algorithm: Pure, _: Examples) -> None:
    was_training = algorithm.layer.training
    algorithm.layer.train(not was_training)
    algorithm.layer.train(was_training)


@pytest.mark.parametrize("act", [in_place_and_back, other_memory_and_back, mode_and_back])
def test_what_is_put_back_is_not_a_side_effect(tiny: ModuleType, act: Callable[[Pure, Examples], object]) -> None:
    """Many fine-tune the weights themselves, and restore them after each task."""
    assert step(tiny, Pure(act)).run(0).losses.isfinite().all()
    result = evaluator(tiny).validate(Pure(act), 10, lambda _: None)
    assert torch.equal(result.per_episode, evaluator(tiny).validate(Pure(), 10, lambda _: None).per_episode)


def replace_by_equal(algorithm: Pure, _: Examples) -> None:
    algorithm.w = nn.Parameter(algorithm.w.detach().clone())


def new_layer(algorithm: Pure, _: Examples) -> None:
    if not hasattr(algorithm, "late"):
        algorithm.late = nn.Linear(1, 1)


def rename(algorithm: Pure, _: Examples) -> None:
    if "w" in algorithm._parameters:
        held = nn.Module()
        held.inner = algorithm._parameters.pop("w")
        algorithm.held = held
        algorithm.__dict__["w"] = held.inner


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (replace_by_equal, "Pure makes the parameter w|Pure changes w"),
        (new_layer, "Pure makes the parameter late.weight while it computes .* Make all layers and parameters in the"),
        (rename, "Pure gives the parameter w the name held.inner while it computes .* as torch.compile does"),
    ],
    ids=["another parameter", "a new layer", "another name"],
)
def test_parameters_that_the_optimiser_does_not_have_are_refused(
    tiny: ModuleType, act: Callable[[Pure, Examples], object], message: str
) -> None:
    """A layer that is made at its first use was not trained, without a word."""
    with pytest.raises(ConfigError, match=message):
        step(tiny, Pure(act)).run(0)
    with pytest.raises(ConfigError, match=message):
        evaluator(tiny).validate(Pure(act), 10, lambda _: None)


def test_a_layer_that_is_compiled_at_first_use_is_allowed(tiny: ModuleType) -> None:
    def act(algorithm: Pure, support: Examples) -> Tensor:
        if not hasattr(algorithm, "compiled"):
            algorithm.compiled = torch.compile(algorithm.layer, backend="eager")
        return 0 * algorithm.compiled(support.y).mean()  # type: ignore[no-any-return]

    algorithm = Pure(act)
    assert step(tiny, algorithm).run(0).losses.isfinite().all()
    assert evaluator(tiny).validate(algorithm, 10, lambda _: None).n_episodes == 10


class Table(Pure):
    """Positions, as many as were needed so far."""

    def __init__(self, persistent: bool, first: int = 0, scale: float | None = 0.1) -> None:
        super().__init__()
        self.register_buffer("table", torch.zeros(first), persistent=persistent)
        self.scale = scale

    def positions(self, n: int) -> Tensor:
        table: Tensor = self.get_buffer("table")
        if len(table) < n:
            self.table = torch.arange(n) * (self.scale or 1.0 / n)
        return self.get_buffer("table")[:n]

    def adapt(self, support: Examples) -> Tensor:
        return super().adapt(support) + self.positions(len(support.y)).sum()

    def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
        return super().predict(adapted, x) + self.positions(len(x))[:, None]


class MappedTable(Table):
    vectorises = True


@pytest.mark.parametrize("kind", [Table, MappedTable])
def test_a_table_that_grows_is_allowed_where_it_is_not_persistent(tiny: ModuleType, kind: type[Table]) -> None:
    algorithm = kind(persistent=False)
    made = step(tiny, algorithm)
    assert all(made.run(number).losses.isfinite().all() for number in range(3))
    first = evaluator(tiny).validate(algorithm, 10, lambda _: None)
    assert len(algorithm.get_buffer("table")) == 6
    assert made.run(3).losses.isfinite().all()
    again = evaluator(tiny).validate(algorithm, 10, lambda _: None)
    assert not torch.equal(first.per_episode, again.per_episode), "trained meanwhile"
    saved = copy_weights(algorithm)
    other = kind(persistent=False)
    load_weights(other, saved)
    assert torch.equal(evaluator(tiny).validate(other, 10, lambda _: None).per_episode, again.per_episode)


def test_a_persistent_table_that_grows_is_refused_with_what_to_do(tiny: ModuleType) -> None:
    advice = r"register_buffer\(\.\.\., persistent=False\)"
    with pytest.raises(
        ConfigError, match=rf"Table gives the buffer table another shape .*\(6,\), not \(0,\)\. .*{advice}"
    ):
        step(tiny, Table(persistent=True)).run(0)
    with pytest.raises(ConfigError, match=rf"Table changes table while it computes val tasks.*{advice}"):
        evaluator(tiny).validate(Table(persistent=True), 10, lambda _: None)
    assert evaluator(tiny).validate(Table(persistent=True, first=6), 10, lambda _: None).n_episodes == 10


def test_a_table_whose_old_values_change_is_found_by_what_it_gives(tiny: ModuleType) -> None:
    with pytest.raises(ConfigError, match="Table gives other predictions for val task 0 after other tasks"):
        evaluator(tiny).validate(Table(persistent=False, scale=None), 10, lambda _: None)


class Path(Pure):
    """States after 0 and 1 steps; ``end`` is the last one."""

    def __init__(self, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.end = end

    def adaptation_path(self, support: Examples) -> list[Tensor]:
        return [self.w, self.end(self.adapt(support))]


@pytest.mark.parametrize("way", ["validate", "evaluate"])
def test_a_path_that_ends_elsewhere_than_adapt_is_refused(tiny: ModuleType, way: str) -> None:
    def measure(algorithm: Pure) -> object:
        made = evaluator(tiny)
        if way == "validate":
            return made.validate(algorithm, 3, lambda _: None)
        return made.evaluate(algorithm, "val", 3, lambda _: None)

    for end in (lambda state: state, lambda state: state * (1 + 1e-7), lambda state: state + 0.1 * torch.randn(1)):
        measure(Path(end))
    with pytest.raises(ConfigError, match=r"the last state of adaptation_path of Path .* than what adapt returns"):
        measure(Path(lambda state: 0.5 * state))


def test_the_path_is_not_blamed_for_what_is_kept_between_tasks(tiny: ModuleType) -> None:
    class Keeps(Path):
        def adapt(self, support: Examples) -> Tensor:
            self.n_tasks += 1
            return super().adapt(support) + self.n_tasks

    with pytest.raises(ConfigError, match="Keeps gives other predictions for val task 0 when it is computed again"):
        evaluator(tiny).validate(Keeps(lambda state: state), 3, lambda _: None)
