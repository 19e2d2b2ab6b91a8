"""One step of training: what it computes, and that it depends on nothing but weights, optimiser and step."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.core.optim import ClipNorm, ClipValue, Constant, NoClip, Schedule, Step
from metaexp.core.shapes import Split, TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.data.base import TaskSource
from metaexp.machine.device import Compute
from metaexp.run.step import MetaStep, noise_seed

CPU = Compute(torch.device("cpu"), "test", "float32", 1, True, None)


class Slope(Algorithm):
    """y = w x with w adapted by nothing: the meta-gradient is that of ordinary regression."""

    batch_norm = "none"

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))
        self.unused = nn.Parameter(torch.ones(2))

    def adapt(self, support: Examples) -> Tensor:
        return self.w

    def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
        return adapted * x


class Counting(NoClip):
    """Counts the steps, and keeps the number from checkpoints."""

    count = 0

    def apply(self, module: nn.Module) -> None:
        self.count += 1


def meta_step(
    tiny: ModuleType,
    algorithm: Algorithm | None = None,
    *,
    chunk: int | None = None,
    tasks: int = 5,
    schedule: Schedule | None = None,
    clip: NoClip | ClipNorm | ClipValue | None = None,
    seed: int = 0,
    lr: float = 0.1,
    optimizer: str = "SGD",
) -> MetaStep:
    algorithm = algorithm or Slope()
    source = tiny.LoadedLines(None, "1").tasks(TaskShape(0, 3, 4), seed)
    made = getattr(torch.optim, optimizer)(algorithm.parameters(), lr=lr)
    compute = replace(CPU, task_chunk=chunk)
    return MetaStep(algorithm, source, made, schedule or Constant(), clip or NoClip(), compute, tasks, 20, seed)


def maml(tiny: ModuleType, dropout: float = 0.5) -> Algorithm:
    torch.manual_seed(0)
    algorithm: Algorithm = tiny.TinyMAML(tiny.Net((1,), 1, 8, dropout), 0.1)
    return algorithm


def test_a_step_goes_down_the_mean_loss_over_its_tasks(tiny: ModuleType) -> None:
    step = meta_step(tiny)
    episodes = step.source.episodes("train", torch.arange(10, 15))
    x, y = episodes.query.x, episodes.query.y
    result = step.run(2)
    assert torch.allclose(result.losses, (y**2).mean((1, 2)))
    assert torch.allclose(step.algorithm.w, 0.1 * (2 * x * y).mean(), atol=1e-7)
    assert not torch.allclose(step.algorithm.w, 0.1 * (2 * x * y).mean((1, 2)).sum(), atol=1e-3)  # not the sum


def test_the_same_tasks_twice_give_the_gradient_of_once(tiny: ModuleType) -> None:
    once, twice = meta_step(tiny), meta_step(tiny)
    once.backward(once.source.episodes("train", torch.tensor([0, 1])))
    twice.backward(twice.source.episodes("train", torch.tensor([0, 1, 0, 1])))
    assert torch.allclose(once.algorithm.w.grad, twice.algorithm.w.grad)


def test_parameters_that_no_loss_reaches_are_left_alone(tiny: ModuleType) -> None:
    step = meta_step(tiny, clip=ClipNorm(1.0))
    step.run(0)
    assert torch.equal(step.algorithm.unused, torch.ones(2))


@pytest.mark.parametrize("chunk", [1, 2, 4])
def test_chunks_of_tasks_change_rounding_only(tiny: ModuleType, chunk: int) -> None:
    whole, parts = meta_step(tiny, maml(tiny, 0.0)), meta_step(tiny, maml(tiny, 0.0), chunk=chunk)
    assert torch.allclose(parts.run(0).losses, whole.run(0).losses, atol=1e-5)
    for p, q in zip(whole.parameters, parts.parameters, strict=True):
        assert torch.allclose(p.grad, q.grad, atol=1e-5)
    for name, t in whole.buffers.items():
        assert torch.allclose(parts.buffers[name], t, atol=1e-6), name


class Uneven(TaskSource):
    """Lines of which every other one has fewer queries."""

    varies = True

    def __init__(self, tiny: ModuleType) -> None:
        self.sources = [tiny.LoadedLines(None, "1").tasks(TaskShape(0, 3, n_query), 0) for n_query in (4, 2)]

    def alike(self, split: Split, indices: Tensor) -> list[Tensor]:
        return [torch.nonzero(indices % 2 == odd).flatten() for odd in (0, 1)]

    def episodes(self, split: Split, indices: Tensor) -> Episode:
        found: Episode = self.sources[int(indices[0] % 2)].episodes(split, indices)
        return found

    def bank_hash(self, split: Split, n_episodes: int) -> str:
        raise NotImplementedError


def test_losses_of_tasks_of_unequal_shapes_are_in_the_order_of_the_tasks(tiny: ModuleType) -> None:
    even = meta_step(tiny)
    source = Uneven(tiny)
    step = MetaStep(even.algorithm, source, even.optimizer, Constant(), NoClip(), CPU, 5, 20, 0)
    losses = step.run(0).losses
    alone = [source.episodes("train", torch.tensor([i])).query.y.square().mean() for i in range(5)]
    assert torch.allclose(losses, torch.stack(alone))
    assert not torch.allclose(losses, torch.stack([*alone[::2], *alone[1::2]]))  # one shape after the other


def test_a_step_does_not_depend_on_random_numbers_drawn_before(tiny: ModuleType) -> None:
    def after(draws: int, step: int, seed: int = 0) -> Tensor:
        made = meta_step(tiny, maml(tiny), seed=0)
        made.seed = seed
        torch.rand(draws)
        return made.run(step).losses

    assert torch.equal(after(0, 3), after(100, 3))
    assert not torch.equal(after(0, 3), after(0, 3, seed=1))  # the same tasks, other dropout


def test_noise_of_neighbouring_steps_seeds_and_ranks_differs() -> None:
    seeds = {noise_seed(seed, step, rank) for seed in range(50) for step in range(200) for rank in range(4)}
    assert len(seeds) == 50 * 200 * 4
    assert all(0 <= seed < 1 << 63 for seed in seeds)


def test_running_statistics_become_the_mean_over_tasks(tiny: ModuleType) -> None:
    step = meta_step(tiny, maml(tiny, 0.0), lr=0.0)
    alone = []
    for index in range(5):
        one = meta_step(tiny, maml(tiny, 0.0), lr=0.0)
        one.backward(one.source.episodes("train", torch.tensor([index])))
        alone.append(one.algorithm.model.norm.running_mean.clone())
    step.backward(step.source.episodes("train", torch.arange(5)))
    assert torch.allclose(step.algorithm.model.norm.running_mean, torch.stack(alone).mean(0), atol=1e-6)
    assert not torch.allclose(alone[0], alone[1])


def test_whole_number_buffers_are_not_averaged(tiny: ModuleType) -> None:
    class Counting(Slope):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.tensor(0))

        def adapt(self, support: Examples) -> Tensor:
            self.count = self.count + 1
            return self.w

    step = meta_step(tiny, Counting(), chunk=2)
    step.run(0)
    step.run(1)
    assert step.algorithm.count.item() == 2
    assert step.algorithm.count.dtype == torch.int64


def test_each_group_of_an_optimiser_keeps_its_own_learning_rate(tiny: ModuleType) -> None:
    """As an optimiser of one's own may have, for the head, say."""
    step = meta_step(tiny, schedule=Step(every=1, gamma=0.5), lr=0.4)
    step.optimizer.add_param_group({"params": [torch.zeros(1, requires_grad=True)], "lr": 0.1})
    grouped = MetaStep(step.algorithm, step.source, step.optimizer, step.schedule, NoClip(), CPU, 5, 20, 0)
    grouped.run(1)
    assert [group["lr"] for group in grouped.optimizer.param_groups] == [0.2, 0.05]
    assert grouped.lr(1) == 0.2


def test_the_learning_rate_follows_the_schedule_from_the_optimisers_own(tiny: ModuleType) -> None:
    step = meta_step(tiny, schedule=Step(every=2, gamma=0.5), lr=0.4)
    assert [step.lr(s) for s in range(5)] == [0.4, 0.4, 0.2, 0.2, 0.1]
    for s in range(5):
        step.run(s)
        assert step.optimizer.param_groups[0]["lr"] == step.lr(s)


def test_the_norm_reported_is_the_one_before_clipping(tiny: ModuleType) -> None:
    free, clipped = meta_step(tiny), meta_step(tiny, clip=ClipNorm(0.01))
    assert torch.equal(free.run(0).gradient_norm, clipped.run(0).gradient_norm)
    assert clipped.algorithm.w.abs().item() == pytest.approx(0.1 * 0.01, rel=1e-3)
    assert free.algorithm.w.abs().item() > 0.1 * 0.02


def test_set_progress_is_called_before_each_step(tiny: ModuleType) -> None:
    told: list[tuple[int, int]] = []

    class Told(Slope):
        def set_progress(self, step: int, total: int) -> None:
            if self is algorithm:  # and not a copy of it, on which it is tried
                told.append((step, total))

    algorithm = Told()
    step = meta_step(tiny, algorithm)
    step.run(0)
    step.run(1)
    assert told == [(0, 20), (1, 20)]


def test_a_loss_without_parameters_is_explained(tiny: ModuleType) -> None:
    class Deaf(Slope):
        def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
            return x

    with pytest.raises(ConfigError, match=r"Deaf does not depend on any of its parameters.*train\.steps=0"):
        meta_step(tiny, Deaf()).run(0)


def test_a_step_never_waits_for_the_device(tiny: ModuleType) -> None:
    """On the meta device there are no numbers, so whatever reads one back raises."""
    step = meta_step(tiny, maml(tiny, 0.0))
    step.algorithm.to("meta")
    step.buffers = dict(step.algorithm.named_buffers())
    step.parameters = list(step.algorithm.parameters())
    episodes = step.source.episodes("train", torch.arange(5))
    meta = type(episodes)(*(Examples(e.x.to("meta"), e.y.to("meta"), e.n_way) for e in episodes))
    losses = step.backward(meta)
    assert losses.device.type == step.gradient_norm().device.type == "meta"
    with pytest.raises(RuntimeError):
        losses.sum().item()  # what a read would do


def test_no_source_file_names_a_device_in_the_step() -> None:
    """``.cuda()`` and ``.cpu()`` calls stay out of everything that a step runs through."""
    found = subprocess.run([sys.executable, "-c", _SEARCH], capture_output=True, text=True, check=True).stdout
    assert found == "[]\n"


_SEARCH = """
import pathlib, re, metaexp
root = pathlib.Path(metaexp.__file__).parent
files = [*root.glob("algorithms/*.py"), *root.glob("models/*.py"), *root.glob("core/*.py"), root / "run/step.py"]
print([str(f) for f in files if re.search(r"\\.(cuda|cpu|item|tolist|numpy)\\(\\)", f.read_text())])
"""


@pytest.mark.parametrize("name", ["Adafactor", "SGD"])
def test_a_resumed_optimiser_is_looked_at_once_it_has_its_state(
    name: str, tiny: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    """To load the state of Adafactor completes its defaults, which no step does."""
    first, resumed = meta_step(tiny, optimizer=name), meta_step(tiny, optimizer=name)
    first.run(0)
    resumed.optimizer.load_state_dict(first.optimizer.state_dict())
    resumed.run(1)
    assert "changes" not in caplog.text  # no count of its own
    meta_step(tiny, clip=Counting()).run(0)
    assert "changes count of clip Counting" in caplog.text
