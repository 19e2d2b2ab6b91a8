"""What every algorithm promises, tested on every file of conf/algorithm and on every choice of their keys.

A new YAML is tested by being there. Each case is a file with its own values ("maml"), or with one choice of one key
changed ("maml-batch_norm=episode"), on tiny tasks in float64.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.func import functional_call

import metaexp
from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.core.over_tasks import over_tasks
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode, Examples, one_task
from metaexp.models.base import Network
from metaexp.models.batch_norm import BatchNorm
from metaexp.runner.compose import Composer
from metaexp.runner.make import make

FOLDER = Path(metaexp.__file__).parents[1] / "conf" / "algorithm"
IMAGE = (1, 8, 8)
N_WAY = 7  # no other axis of any tensor has this size: what has it is per class
TRAIN_CLASSES = 11  # of the supervised ones
SHAPE = TaskShape(n_way=N_WAY, k_shot=2, n_query=2)
Change = tuple[str, Any] | None


class TinyConv(Network):
    """One convolution with batch norm and a smooth nonlinearity; features are maps (B, 3, 4, 4)."""

    def __init__(self, n_outputs: int | None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.norm = BatchNorm(3)
        self.head = nn.Identity() if n_outputs is None else nn.Sequential(nn.Flatten(), nn.Linear(48, n_outputs))

    def features(self, x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(nn.functional.softplus(self.norm(self.conv(x))), 2)


@dataclass(frozen=True)
class Case:
    """One way to build an algorithm."""

    path: Path
    change: Change

    def __str__(self) -> str:
        name = str(self.path.relative_to(FOLDER).with_suffix(""))
        return name if self.change is None else f"{name}-{self.change[0]}={self.change[1]}"


@cache
def node_of(path: Path) -> dict[str, Any]:
    """The algorithm's part of the configuration that chooses the file."""
    choice = path.relative_to(FOLDER).with_suffix("").as_posix()
    node = OmegaConf.to_container(Composer().compose([f"algorithm={choice}"]).config.algorithm)
    assert isinstance(node, dict)
    return {str(key): value for key, value in node.items()}


def class_of(path: Path) -> type[Algorithm]:
    module, _, name = node_of(path)["_target_"].rpartition(".")
    cls: type[Algorithm] = getattr(importlib.import_module(module), name)
    return cls


def choices(path: Path) -> Iterator[tuple[str, Any]]:
    """Every value of a true-or-false or named key that is not the file's own."""
    node = node_of(path)
    for key, kind in get_type_hints(class_of(path).__init__).items():
        options = (False, True) if kind is bool else get_args(kind) if get_origin(kind) is Literal else ()
        yield from ((key, option) for option in options if key in node and node[key] != option)


def cases() -> list[Case]:
    paths = sorted(FOLDER.rglob("*.yaml"))
    return [Case(path, change) for path in paths for change in (None, *choices(path))]


def build(case: Case, shape: TaskShape = SHAPE, seed: int = 0, most_steps: int = 3) -> Algorithm:
    """The algorithm in float64, with weights from ``seed`` and at most so many inner steps or epochs."""
    cls = class_of(case.path)
    node = node_of(case.path) | (dict([case.change]) if case.change else {})
    for key, value in node.items():
        if ("_steps" in key or "inner_epochs" in key) and isinstance(value, int):
            node[key] = min(value, most_steps)
    n_outputs = TRAIN_CLASSES if cls.training_tasks == "supervised" and shape.n_way else shape.n_way or 1
    torch.manual_seed(seed)
    try:
        algorithm: Algorithm = make(
            node,
            Algorithm,  # type: ignore[type-abstract]
            model=TinyConv(None if cls.model_output == "embedding" else n_outputs),
            input_shape=IMAGE,
            n_outputs=n_outputs,
            train_shape=shape,
        )
    except ModuleNotFoundError as error:
        pytest.skip(f"needs {error.name}")
    return algorithm.double()


def draw(generator: torch.Generator, centres: Tensor, per_class: int, noise: float = 0.5) -> Examples:
    """Shuffled noisy images of classes with the given centres (N, 1, 8, 8)."""
    y = torch.randperm(len(centres) * per_class, generator=generator) % len(centres)
    x = centres[y] + noise * torch.randn(len(y), *IMAGE, generator=generator, dtype=torch.float64)
    return Examples(x, y, len(centres))


@cache
def task(seed: int = 0, n_way: int = N_WAY, k_shot: int = 2, n_query: int = 2) -> Episode:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(n_way, *IMAGE, generator=generator, dtype=torch.float64)
    return Episode(draw(generator, centres, k_shot), draw(generator, centres, n_query))


@cache
def training_task(supervised: bool, seed: int = 0) -> Episode:
    """A task to train on: for supervised algorithms a batch under fixed labels, as support and as query."""
    if not supervised:
        return task(seed)
    centres = torch.randn(TRAIN_CLASSES, *IMAGE, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    batch = draw(torch.Generator().manual_seed(seed), centres, 3)
    return Episode(batch, batch)


def batch_of(tasks: list[Episode]) -> Episode:
    """Tasks stacked along a leading T."""
    stacked = [
        Examples(torch.stack([e.x for e in parts]), torch.stack([e.y for e in parts]), parts[0].n_way)
        for parts in zip(*tasks, strict=True)
    ]
    return Episode(*stacked)


def training_batch(algorithm: Algorithm, n_tasks: int = 3, start: int = 0) -> Episode:
    return batch_of([training_task(algorithm.training_tasks == "supervised", start + i) for i in range(n_tasks)])


def losses_of(algorithm: Algorithm, batch: Episode, chunk_size: int | None = None) -> Tensor:
    """Meta-losses (T,), with the buffers as values so that collecting statistics leaves no trace."""

    def loss(episode: Episode) -> Tensor:
        value: Tensor = functional_call(algorithm, dict(algorithm.named_buffers()), (episode,))
        return value

    out: Tensor = over_tasks(loss, batch, chunk_size)
    return out


def gradient_of(algorithm: Algorithm, batch: Episode, chunk_size: int | None = None) -> list[Tensor]:
    """The gradient of the mean meta-loss; zeros for parameters that it does not reach."""
    parameters = list(algorithm.parameters())
    loss = losses_of(algorithm, batch, chunk_size).mean()
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return list(gradients)


def predictions(algorithm: Algorithm, support: Examples, x: Tensor) -> Tensor:
    with torch.no_grad():
        scores: Tensor = algorithm.predict(algorithm.adapt(support), x)
    return scores


def gap(a: Tensor, b: Tensor) -> float:
    """The largest difference between predictions, in units of how much ``b`` varies at all (scores may be squashed)."""
    return float((a - b).abs().max() / b.std())


SAME, OTHER = 1e-6, 1e-4
"""A gap below the first is rounding; above the second, it is a difference."""


def shuffled(examples: Examples, seed: int = 5) -> Examples:
    order = torch.randperm(len(examples.x), generator=torch.Generator().manual_seed(seed))
    return Examples(examples.x[order], examples.y[order], examples.n_way)


every_case = pytest.mark.parametrize("case", cases(), ids=str)
every_file = pytest.mark.parametrize("case", [case for case in cases() if case.change is None], ids=str)


def test_files_are_found_and_their_choices_with_them() -> None:
    names = {str(case) for case in cases()}
    assert {"maml", "maml-first_order=True", "proto_net", "proto_net-batch_norm=transductive"} <= names


@every_case
def test_vectorised_losses_and_gradients_equal_a_loop(case: Case) -> None:
    algorithm = build(case)
    batch = training_batch(algorithm)
    together, apart = losses_of(algorithm, batch), losses_of(algorithm, batch, 1)
    assert torch.allclose(together, apart, rtol=1e-8, atol=1e-10)
    if not list(algorithm.parameters()):
        return
    assert not torch.allclose(together, together.roll(1), rtol=1e-6)
    vectorised, loop = gradient_of(algorithm, batch), gradient_of(algorithm, batch, 1)
    assert all(torch.allclose(a, b, rtol=1e-6, atol=1e-9) for a, b in zip(vectorised, loop, strict=True))
    assert any(a.abs().max() > 1e-6 for a in loop)


@every_case
def test_vectorised_predictions_equal_a_loop(case: Case) -> None:
    algorithm = build(case).eval()
    batch = batch_of([task(seed) for seed in range(3)])

    def scores(episode: Episode) -> Tensor:
        return predictions(algorithm, episode.support, episode.query.x)

    together, apart = over_tasks(scores, batch), over_tasks(scores, batch, 1)
    assert together.shape == (3, SHAPE.n_queries, N_WAY)
    assert gap(together, apart) < SAME
    assert gap(together, apart.roll(1, 0)) > OTHER


@every_case
def test_the_gradient_is_of_the_order_it_says(case: Case) -> None:
    """Along a random direction, finite differences of the meta-loss equal the gradient only if it is exact."""
    algorithm = build(case)
    parameters = list(algorithm.parameters())
    if not parameters:
        assert not losses_of(algorithm, training_batch(algorithm)).requires_grad
        return
    batch = training_batch(algorithm, 1)
    generator = torch.Generator().manual_seed(1)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    slope = sum((g * d).sum() for g, d in zip(gradient_of(algorithm, batch, 1), direction, strict=True))
    measured = [slope_by_differences(algorithm, batch, direction, step) for step in (1e-6, 1e-7)]
    error = min(float((slope / m - 1).abs()) for m in measured)  # one of them may step over a kink
    assert error > 1e-3 if algorithm.first_order else error < 1e-6


def slope_by_differences(algorithm: Algorithm, batch: Episode, direction: list[Tensor], step: float) -> Tensor:
    """The derivative () of the mean meta-loss along ``direction`` in the parameters."""
    values = []
    with torch.no_grad():
        for sign in (1, -2):  # to +step, then to -step
            for p, d in zip(algorithm.parameters(), direction, strict=True):
                p.add_(sign * step * d)
            values.append(losses_of(algorithm, batch, 1).mean())
        for p, d in zip(algorithm.parameters(), direction, strict=True):
            p.add_(step * d)
    return (values[0] - values[1]) / (2 * step)


@every_case
def test_every_parameter_is_reached_by_the_gradient(case: Case) -> None:
    algorithm = build(case)
    if not list(algorithm.parameters()):
        return
    gradients = gradient_of(algorithm, training_batch(algorithm))
    names = [name for name, _ in algorithm.named_parameters()]
    unreached = {name for name, g in zip(names, gradients, strict=True) if not g.any()}
    assert not unreached


@every_case
def test_the_order_of_the_support_matters_only_where_declared(case: Case) -> None:
    algorithm = build(case).eval()
    support, query = task()
    moved = predictions(algorithm, shuffled(support), query.x)
    same = gap(moved, predictions(algorithm, support, query.x)) < SAME
    assert same == (not algorithm.depends_on_support_order)
    relabelled = Examples(support.x, support.y.roll(1), N_WAY)
    assert gap(moved, predictions(algorithm, relabelled, query.x)) > OTHER


@every_case
def test_the_order_of_the_queries_does_not_matter(case: Case) -> None:
    algorithm = build(case).eval()
    support, query = task()
    order = torch.randperm(len(query.x), generator=torch.Generator().manual_seed(3))
    scores = predictions(algorithm, support, query.x)
    assert gap(predictions(algorithm, support, query.x[order]), scores[order]) < SAME
    assert gap(scores[order], scores) > OTHER


@every_case
def test_predictions_depend_on_other_queries_only_when_transductive(case: Case) -> None:
    algorithm = build(case).eval()
    support, query = task()
    together = predictions(algorithm, support, query.x)[:3]
    apart = predictions(algorithm, support, query.x[:3])
    depends = gap(together, apart) > SAME
    assert depends == (algorithm.batch_norm == "transductive")


@every_case
def test_relabelling_the_classes_relabels_the_scores(case: Case) -> None:
    """For a network with an output per class, its outputs have to be relabelled with the classes."""
    algorithm = build(case).eval()
    support, query = task()
    order = torch.randperm(N_WAY, generator=torch.Generator().manual_seed(2))  # new label -> old label
    relabelled = Examples(support.x, order.argsort()[support.y], N_WAY)
    scores = predictions(algorithm, support, query.x)
    assert gap(scores[:, order], scores) > OTHER
    if algorithm.fixed_way:
        assert gap(predictions(algorithm, relabelled, query.x), scores[:, order]) > OTHER
        permute_classes(algorithm, order)
    assert gap(predictions(algorithm, relabelled, query.x), scores[:, order]) < SAME


def permute_classes(algorithm: Algorithm, order: Tensor) -> None:
    """Reorder every tensor of the algorithm along the axes that stand for classes."""
    with torch.no_grad():
        for tensor in itertools.chain(algorithm.parameters(), algorithm.buffers()):
            for axis, size in enumerate(tensor.shape):
                if size == N_WAY:
                    tensor.copy_(tensor.index_select(axis, order))


@every_case
def test_adapting_and_predicting_leave_no_trace_and_draw_no_random_number(case: Case) -> None:
    algorithm = build(case).eval()
    support, query = task()
    before, tensors = attributes(algorithm), {name: t.clone() for name, t in algorithm.state_dict().items()}
    noise = torch.get_rng_state()
    first = predictions(algorithm, support, query.x)
    predictions(algorithm, task(1).support, task(1).query.x)
    assert attributes(algorithm) == before
    assert all(torch.equal(t, tensors[name]) for name, t in algorithm.state_dict().items())
    assert torch.equal(torch.get_rng_state(), noise)
    assert torch.equal(predictions(algorithm, support, query.x), first)
    algorithm.a_trace = first
    assert attributes(algorithm) != before


def attributes(module: nn.Module) -> dict[str, int]:
    """Name -> identity of everything that a module and those inside it hold."""
    holders = {f"{path}.{name}": held for path, part in module.named_modules() for name, held in vars(part).items()}
    groups = {name: held for name, held in holders.items() if isinstance(held, dict)}  # parameters, buffers, modules
    nested = {f"{name}.{key}": item for name, held in groups.items() for key, item in held.items()}
    return {name: id(item) for name, item in (holders | nested).items()}


@every_case
def test_a_meta_loss_leaves_the_own_buffers_alone(case: Case) -> None:
    algorithm = build(case).train()
    before = {name: t.clone() for name, t in algorithm.named_buffers()}
    losses_of(algorithm, training_batch(algorithm))
    assert all(torch.equal(t, before[name]) for name, t in algorithm.named_buffers())


@every_case
def test_the_trajectory_ends_at_the_adapted_state(case: Case) -> None:
    algorithm = build(case).eval()
    support, query = task()
    with torch.no_grad():
        path = list(algorithm.trajectory(support))
        ends = algorithm.predict(path[-1], query.x)
        assert gap(ends, predictions(algorithm, support, query.x)) < SAME
        if len(path) > 1:
            assert gap(algorithm.predict(path[0], query.x), ends) > OTHER


@every_file
@pytest.mark.parametrize(("n_way", "k_shot", "n_query"), [(N_WAY, 1, 1), (N_WAY, 4, 3), (2, 1, 5), (13, 3, 1)])
def test_any_shape_that_it_claims_works(case: Case, n_way: int, k_shot: int, n_query: int) -> None:
    algorithm = build(case).eval()
    support, query = task(0, n_way, k_shot, n_query)
    if algorithm.fixed_way and n_way != N_WAY:
        algorithm = build(case, TaskShape(n_way, k_shot, n_query)).eval()
    scores = predictions(algorithm, support, query.x)
    assert scores.shape == (n_way * n_query, n_way)
    assert scores.isfinite().all()


@every_case
def test_saved_weights_are_all_there_is_to_it(case: Case) -> None:
    """Learning happens in parameters and buffers: another copy that loads them predicts the same."""
    algorithm = build(case).eval()
    support, query = task()
    copy = build(case, seed=1).eval()
    expected = predictions(algorithm, support, query.x)
    if list(algorithm.parameters()):
        assert gap(predictions(copy, support, query.x), expected) > OTHER
    copy.load_state_dict(algorithm.state_dict())
    assert torch.equal(predictions(copy, support, query.x), expected)


@every_case
def test_regression_is_learned_or_refused_at_construction(case: Case) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(12, *IMAGE, generator=generator, dtype=torch.float64)
    y = x.mean((1, 2, 3)).unsqueeze(1)
    episode = Episode(Examples(x[:8], y[:8]), Examples(x[8:], y[8:]))
    problems = []
    try:
        algorithm = build(case, TaskShape(0, 8, 4))
    except ConfigError as error:
        problems = error.problems
    if problems:
        assert "n_way=0" in problems[0]
        return
    algorithm.train()
    assert losses_of(algorithm, batch_of([episode, episode])).isfinite().all()
    algorithm.eval()
    outputs = predictions(algorithm, episode.support, episode.query.x)
    assert outputs.shape[0] == 4
    assert outputs.isfinite().all()


@every_file
def test_it_learns_far_above_chance(case: Case) -> None:
    algorithm = build(case, most_steps=50).float()
    parameters = list(algorithm.parameters())
    optimizer = torch.optim.Adam(parameters, lr=0.01) if parameters else None
    accuracy = 0.0 if optimizer else accuracy_of(algorithm.eval())
    step, most, wanted = 0, 60, 0.4
    while optimizer and accuracy < wanted and step < most:
        algorithm.train().begin_step(step, most)
        batch, state = single(training_batch(algorithm, 4, 4 * step)), dict(algorithm.named_buffers())
        for p, g in zip(parameters, gradient_of(algorithm, batch), strict=True):
            p.grad = g
        optimizer.step()
        move_buffers(algorithm, batch, state)
        step += 1
        accuracy = accuracy_of(algorithm.eval()) if step % 10 == 0 else 0.0
    assert accuracy >= wanted, f"{accuracy:.3f} where chance is {1 / N_WAY:.3f}"


def single(batch: Episode) -> Episode:
    """The same in float32."""
    return Episode(*(Examples(e.x.float(), e.y, e.n_way) for e in batch))


def move_buffers(algorithm: Algorithm, batch: Episode, state: dict[str, Tensor]) -> None:
    """Collect what one training task moves, as the runner does with all of them."""
    if state:
        with torch.no_grad():
            functional_call(algorithm, state, (one_task(batch, 0),))
            for name, buffer in algorithm.named_buffers():
                buffer.copy_(state[name])


def accuracy_of(algorithm: Algorithm, n_tasks: int = 20) -> float:
    batch = single(batch_of([task(10_000 + i) for i in range(n_tasks)]))

    def right(episode: Episode) -> Tensor:
        scores = algorithm.predict(algorithm.adapt(episode.support), episode.query.x)
        return (scores.argmax(-1) == episode.query.y).double().mean()

    with torch.no_grad():
        return float(over_tasks(right, batch).mean())


def test_the_accuracy_of_labels_without_meaning_is_chance() -> None:
    """The control of the test above: the same tasks with support labels shuffled."""
    algorithm = build(Case(FOLDER / "proto_net.yaml", None)).float().eval()
    adapt: Callable[[Examples], Any] = algorithm.adapt

    def misled(support: Examples) -> Any:
        return adapt(Examples(support.x.flip(0), support.y, support.n_way))

    object.__setattr__(algorithm, "adapt", misled)
    assert accuracy_of(algorithm) < 0.3
