"""The gradients of several runs at once are those of each run alone, and what cannot be stacked is refused."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from metaexp.config.compose import Composer
from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.core.optim import ClipNorm, Constant
from metaexp.core.shapes import Split, TaskShape
from metaexp.core.types import Episode, map_tensors
from metaexp.data.base import TaskSource
from metaexp.machine.device import Compute, use_device
from metaexp.machine.single_rank import SINGLE
from metaexp.run.build import build, make_step
from metaexp.run.state import copy_weights
from metaexp.run.step import MetaStep
from metaexp.run.together import gradient as gradient_module
from metaexp.run.together.gradient import StackedGradient

CPU = Compute(torch.device("cpu"), "test", "float32", 1, True, None)
TASKS, STEPS, SEEDS = 5, 4, (0, 3, 7)


class Double(TaskSource):
    """The tasks of another source in float64."""

    def __init__(self, source: TaskSource) -> None:
        self.source = source

    def episodes(self, split: Split, indices: Tensor) -> Episode:
        episodes: Episode = map_tensors(
            lambda t: t.double() if t.is_floating_point() else t, self.source.episodes(split, indices)
        )
        return episodes

    def bank_hash(self, split: Split, n_episodes: int) -> str:
        return self.source.bank_hash(split, n_episodes)


def in_double(step: MetaStep) -> MetaStep:
    """The same steps in float64."""
    step.source = Double(step.source)
    step.algorithm.double()
    step.buffers = dict(step.algorithm.named_buffers())  # others than before
    return step


def tiny_step(tiny: ModuleType, seed: int, dropout: float = 0.0, kind: str = "TinyMAML") -> MetaStep:
    """Steps with running batch norm, clipping and momentum; the learning rate depends on the seed too."""
    torch.manual_seed(seed)
    algorithm: Algorithm = getattr(tiny, kind)(tiny.Net((1,), 1, 8, dropout), 0.1)
    source = tiny.LoadedLines(None, "1").tasks(TaskShape(0, 3, 4), seed)
    optimizer = torch.optim.SGD(algorithm.parameters(), lr=0.05 + 0.01 * seed, momentum=0.9)
    return MetaStep(algorithm, source, optimizer, Constant(), ClipNorm(0.5), CPU, TASKS, 20, seed)


def train(steps: list[MetaStep], gradient: StackedGradient | None) -> list[dict[str, Tensor]]:
    """The weights of each run after some steps, by ``gradient`` or each alone; losses and norms beside them."""
    found: list[dict[str, Tensor]] = [{} for _ in steps]
    for number in range(STEPS):
        means = gradient.compute(number) if gradient else [step.compute_mean(number) for step in steps]
        for step, mean, values in zip(steps, means, found, strict=True):
            result = step.apply(number, mean)
            values |= {f"losses {number}": result.losses, f"norm {number}": result.gradient_norm}
    return [values | copy_weights(step.algorithm) for step, values in zip(steps, found, strict=True)]


def difference(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """The largest difference of any number."""
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.mark.parametrize("at_once", [None, 1, 6])
def test_runs_trained_together_are_those_trained_alone(tiny: ModuleType, at_once: int | None) -> None:
    together = [in_double(tiny_step(tiny, seed)) for seed in SEEDS]
    alone = [in_double(tiny_step(tiny, seed)) for seed in SEEDS]
    found, expected = train(together, StackedGradient(together, at_once)), train(alone, None)
    assert max(map(difference, found, expected)) < 1e-12
    assert difference(found[0], expected[1]) > 1e-3, "another seed must be noticed"
    assert any("running" in name for name in found[0]), "batch-norm statistics are compared too"


@pytest.mark.parametrize(
    ("algorithm", "data"),
    [(name, "sinusoid") for name in ("maml", "anil", "meta_sgd", "reptile", "meta_lstm", "relation_net")]
    + [(name, "glyphs") for name in ("maml", "maml_plus_plus", "proto_net", "matching_net", "fine_tune")],
)
def test_every_learner_on_a_small_network_can_be_stacked(algorithm: str, data: str) -> None:
    given = [f"algorithm={algorithm}", f"dataset={data}", "device=cpu", "tracker=files", "train.meta_batch_size=2"]
    given += ["model=mlp", "model.hidden=[8]"] if data == "glyphs" else []
    given += ["algorithm.inner_epochs=3"] if algorithm == "meta_lstm" else []
    composer = Composer()
    settings = [composer.settings([*given, f"seed={seed}"]) for seed in (0, 1)]
    sets: list[list[MetaStep]] = [[], []]
    with use_device(settings[0].device) as compute:
        dataset = None
        for each in settings * 2:
            parts = build(each, compute, lambda _: None, dataset=dataset)
            dataset = parts.dataset
            step = make_step(each, parts, compute, SINGLE)
            assert step is not None
            sets[len(sets[0]) == len(settings)].append(in_double(step))
        gradient = StackedGradient(sets[0])
        gradient.check(0)
        found, expected = train(sets[0], gradient), train(sets[1], None)
    assert max(map(difference, found, expected)) < 1e-6  # Adam divides gradients that are rounding by their size
    assert difference(found[0], expected[1]) > 1e-3, "another seed must be noticed"


class OwnTensor(nn.Module):
    """Scales by a tensor that is neither a parameter nor a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.rand(1) + 0.5

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def test_a_tensor_that_each_run_has_of_its_own_is_noticed_and_nothing_is_changed(tiny: ModuleType) -> None:
    steps = [tiny_step(tiny, seed) for seed in SEEDS]
    StackedGradient(steps).check(0)
    for step in steps:
        step.algorithm.model.dropout = OwnTensor()
    before = [copy_weights(step.algorithm) for step in steps]
    with pytest.raises(
        ConfigError, match="the gradient of seed 3 then differs from that alone .*neither parameters nor"
    ):
        StackedGradient(steps).check(0)
    assert [difference(copy_weights(s.algorithm), w) for s, w in zip(steps, before, strict=True)] == [0.0] * 3


class SmallPart(nn.Module):
    """Adds what a parameter with a small gradient gives, scaled by a tensor of its own."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.scale = torch.tensor(scale)

    def forward(self, x: Tensor) -> Tensor:
        return x + 1e-3 * self.scale * (self.weight - self.weight.detach())


def test_a_wrong_gradient_of_a_small_parameter_is_noticed(tiny: ModuleType) -> None:
    def with_part(scales: list[float]) -> StackedGradient:
        steps = [tiny_step(tiny, seed) for seed in SEEDS]
        for step, scale in zip(steps, scales, strict=True):
            step.algorithm.model.dropout = SmallPart(scale)
            step.parameters = list(step.algorithm.parameters())
        return StackedGradient(steps)

    with_part([1.0, 1.0, 1.0]).check(0)
    wrong = with_part([1.0, -1.0, 1.0])
    with pytest.raises(ConfigError, match=r"the gradient of seed 3 .*that of model\.dropout\.weight, by"):
        wrong.check(0)
    whole = torch.cat([gradient.flatten() for gradient in gradient_module._alone(wrong.steps[1], 0).values()])
    small = gradient_module._alone(wrong.steps[1], 0)["model.dropout.weight"]
    assert 2 * small.norm() / whole.norm() < gradient_module.MOST_DIFFERENCE["float32"], "one norm would hide it"


def test_the_check_leaves_buffers_that_training_writes_to_in_place(
    tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    class InPlace(tiny.SteadyMAML):  # type: ignore[name-defined, misc]
        def __init__(self, *given: object) -> None:
            super().__init__(*given)
            self.register_buffer("seen", torch.zeros(()))

        def meta_loss(self, episode: Episode) -> Tensor:
            self.seen += 1
            return super().meta_loss(episode) * (1 + self.seen)  # type: ignore[no-any-return]

    monkeypatch.setattr(tiny, "InPlace", InPlace, raising=False)
    steps = [tiny_step(tiny, seed, kind="InPlace") for seed in SEEDS]
    gradient = StackedGradient(steps)
    gradient.check(0)
    assert [float(step.algorithm.seen) for step in steps] == [0.0, 0.0, 0.0]
    gradient.compute(0)
    assert [float(step.algorithm.seen) for step in steps] == [1.0, 1.0, 1.0]


def test_noise_is_refused_with_the_way_to_train_instead(tiny: ModuleType) -> None:
    steps = [tiny_step(tiny, seed, dropout=0.5) for seed in SEEDS]
    with pytest.raises(ConfigError, match=r"several runs of TinyMAML cannot .*random.* -m seed=0,1,2"):
        StackedGradient(steps).check(0)


def test_an_algorithm_that_takes_single_tasks_is_refused(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny.TinyMAML, "vectorises", False)
    with pytest.raises(ConfigError, match="computes one task at a time, .* -m seed=0,1,2"):
        StackedGradient([tiny_step(tiny, seed) for seed in SEEDS]).check(0)


def test_parameters_that_are_not_trained_stay_those_of_each_run(tiny: ModuleType) -> None:
    steps = [tiny_step(tiny, seed, kind="HeadOnly") for seed in SEEDS]
    before = [copy_weights(step.algorithm) for step in steps]
    train(steps, StackedGradient(steps))
    after = [copy_weights(step.algorithm) for step in steps]
    assert all(torch.equal(a["model.body.weight"], b["model.body.weight"]) for a, b in zip(after, before, strict=True))
    assert not torch.equal(after[0]["model.head.weight"], before[0]["model.head.weight"])
    assert not torch.equal(after[0]["model.body.weight"], after[1]["model.body.weight"])
