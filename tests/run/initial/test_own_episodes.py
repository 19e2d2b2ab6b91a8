"""Episodes of own data that do not depend on seed, split and index alone are refused before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from metaexp.core.errors import ConfigError
from metaexp.core.shapes import Split, TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.data.base import TaskSource
from metaexp.run.initial.own_episodes import check_episodes, require_data

SHAPE = TaskShape(0, 3, 4)
Change = Callable[[Tensor], Tensor]


def check(
    tiny: ModuleType,
    change: Change = lambda y: y,
    split: Split | None = None,
    offset: float = 0.0,
    n_episodes: int = 9,
    *,
    val_in_train: bool = False,
) -> None:
    """Check data whose queries are changed (T, 4, 1), or that are always those of one split; with large numbers."""

    class Source(TaskSource):
        def __init__(self, seed: int) -> None:
            self.inner = tiny.LineTasks(SHAPE, seed, None)

        def episodes(self, of: Split, indices: Tensor) -> Episode:
            if int(indices.max()) >= n_episodes:
                raise IndexError("there are no more episodes")
            support, query = self.inner.episodes(split or of, indices)
            support = Examples(support.x + offset, support.y + offset)
            return Episode(support, Examples(query.x + offset, change(query.y) + offset))

        def bank_hash(self, split: Split, n_episodes: int) -> str:
            return ""

    data = tiny.LoadedLines(None, "a")
    data.tasks = lambda shape, seed: Source(seed)
    check_episodes(data, "mine", SHAPE, 5, torch.device("cpu"), n_episodes, val_in_train=val_in_train)


def test_addressed_episodes_are_taken_and_leave_the_generator_as_it_is(tiny: ModuleType) -> None:
    before = torch.get_rng_state()
    check(tiny)
    check(tiny, lambda y: y + 1e-6)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "change", [lambda y: y + torch.randn_like(y), lambda y: y + float(np.random.rand())], ids=["torch", "numpy"]
)
def test_episodes_that_are_drawn_again_each_time_are_refused(tiny: ModuleType, change: Change) -> None:
    with pytest.raises(ConfigError, match=r"^dataset=mine gives other episodes when the same ones are asked for again"):
        check(tiny, change)


def test_targets_that_are_not_finite_are_warned_of(tiny: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    check(tiny)
    assert caplog.text == ""
    check(tiny, lambda y: y.index_fill(1, torch.tensor([2]), float("nan")))
    (line,) = caplog.messages
    assert line.startswith(
        "dataset=mine: 3 of the 21 targets of the first validation episodes are not finite, the first of them nan in "
        "episode 0, at [2, 0] of its query set."
    )


def test_an_episode_that_depends_on_the_others_is_refused(tiny: ModuleType) -> None:
    with pytest.raises(ConfigError, match="gives another episode where it is asked for alone than among others"):
        check(tiny, lambda y: (y - y.mean()) / y.std())


def test_no_more_episodes_are_asked_for_than_the_run_asks_for(tiny: ModuleType) -> None:
    for n_episodes in (1, 2):
        check(tiny, n_episodes=n_episodes)


def test_episodes_of_large_numbers_that_hardly_differ_are_not_the_same(tiny: ModuleType) -> None:
    check(tiny, offset=1e5)
    with pytest.raises(ConfigError, match="gives the same episodes for validation as for training"):
        check(tiny, split="train", offset=1e5)


def test_data_that_pass_over_the_split_are_refused_unless_they_say_that_they_validate_on_it(tiny: ModuleType) -> None:
    with pytest.raises(
        ConfigError, match="gives the same episodes for validation as for .* set val_in_train = True in"
    ):
        check(tiny, split="train")
    check(tiny, split="train", val_in_train=True)
    with pytest.raises(ConfigError, match="gives other episodes when the same ones are asked for again"):
        check(tiny, lambda y: y + torch.randn_like(y), val_in_train=True)


def test_a_source_of_tasks_that_metaexp_cannot_call_is_refused(tiny: ModuleType) -> None:
    class Source(tiny.LineTasks):  # type: ignore[misc, name-defined]
        def episodes(self, split: Split) -> None: ...

    data = tiny.LoadedLines(None, "a")
    data.tasks = lambda shape, seed: Source(shape, seed, None)
    with pytest.raises(
        ConfigError, match=r"^dataset=mine: episodes\(self, split\) cannot be called as episodes\(self, "
    ):
        check_episodes(data, "mine", SHAPE, 5, torch.device("cpu"))


MADE: dict[str, tuple[Callable[[Episode], object], str]] = {
    "nothing": (lambda _: None, "episodes returns nothing; it must return a metaexp.core.types.Episode."),
    "pairs": (lambda e: (tuple(e.support), tuple(e.query)), "episodes returns an object of the class tuple"),
    "a pair in it": (
        lambda e: Episode(e.support, tuple(e.query)),
        "episodes, for the query set, returns an object of ",
    ),  # type: ignore[arg-type]
    "lists": (
        lambda e: Episode(Examples(e.support.x.tolist(), e.support.y), e.query),  # type: ignore[arg-type]
        "episodes, for x of the support set, returns an object of the class list; it must return a torch.Tensor",
    ),
}


@pytest.mark.parametrize("what", MADE)
def test_episodes_of_another_type_are_refused(tiny: ModuleType, what: str) -> None:
    change, message = MADE[what]

    class Source(tiny.LineTasks):  # type: ignore[misc, name-defined]
        def episodes(self, split: Split, indices: Tensor) -> object:
            return change(super().episodes(split, indices))

    data = tiny.LoadedLines(None, "a")
    data.tasks = lambda shape, seed: Source(shape, seed, None)
    with pytest.raises(ConfigError) as caught:
        check_episodes(data, "mine", SHAPE, 5, torch.device("cpu"))
    assert str(caught.value).startswith(f"dataset=mine: {message}")


@pytest.mark.parametrize(("made", "said"), [(None, "nothing"), ([], "an object of the class list")])
def test_tasks_of_another_type_are_refused(tiny: ModuleType, made: object, said: str) -> None:
    data = tiny.LoadedLines(None, "a")
    data.tasks = lambda shape, seed: made
    with pytest.raises(ConfigError, match=f"^dataset=mine: tasks returns {said}; it must return a .*TaskSource"):
        check_episodes(data, "mine", SHAPE, 5, torch.device("cpu"))


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("digest", None, "is not set; it must be a text that other examples change"),
        ("digest", b"ab", "is b'ab'; it must be a text"),
        ("kind", "classificaton", "is 'classificaton'; it must be 'classification' or 'regression'."),
        ("input_shape", (), r"is \(\); it must be the shape of one example, a tuple such as \(1, 28, 28\)"),
        ("input_shape", 5, "is 5; it must be the shape"),
        ("target_size", 1.0, "is 1.0; it must be the outputs of a regression task, and 0 for classification"),
    ],
)
def test_data_that_do_not_say_what_their_examples_are_are_refused(
    tiny: ModuleType, attribute: str, value: object, said: str
) -> None:
    data = tiny.LoadedLines(None, "a")
    assert require_data(data, "mine") is data
    setattr(data, attribute, value)
    with pytest.raises(ConfigError, match=rf"^dataset=mine: LoadedLines\.{attribute} {said}"):
        require_data(data, "mine")
