"""A recorded gradient is that of the step it is asked for, and what cannot be recorded is computed as before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from metaexp.config.compose import Composer
from metaexp.core.algorithm import Algorithm
from metaexp.core.optim import Constant, NoClip
from metaexp.core.shapes import TaskShape
from metaexp.doctor.differences import largest_difference
from metaexp.machine.device import Compute
from metaexp.machine.graphs import recorded_gradient
from metaexp.machine.graphs.cuda_graph import NotRecordableError
from metaexp.machine.graphs.recorded_gradient import is_recordable
from metaexp.machine.single_rank import SINGLE
from metaexp.run.build import set_up
from metaexp.run.step import MetaStep

CPU = Compute(torch.device("cpu"), "test", "float32", 1, True, None)
CUDA = replace(CPU, device=torch.device("cuda"))
ROOT = Path(__file__).resolve().parents[2]
SMALL = ("tracker=files", "dataset=glyphs", "train.steps=6", "train.meta_batch_size=4")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class Replayed:
    """In place of a CUDA graph: calls the function again, and writes into the tensors that it returned at first."""

    def __init__(self, function: Callable[[], Any], device: torch.device) -> None:
        self.function = function
        self.result = function()

    def replay(self) -> Any:
        (new, gradients), (kept, kept_gradients) = self.function(), self.result
        kept.losses.copy_(new.losses)
        for name, value in new.new_buffers.items():
            kept.new_buffers[name].copy_(value)
        for gradient, at in zip(gradients, kept_gradients, strict=True):
            assert (gradient is None) == (at is None)
            if at is not None:
                at.copy_(gradient)
        return self.result


def meta_step(tiny: ModuleType, compute: Compute = CPU, algorithm: type[Algorithm] | None = None) -> MetaStep:
    torch.manual_seed(0)
    made: Algorithm = (algorithm or tiny.SteadyMAML)(tiny.Net((1,), 1, 8, 0.5), 0.1).to(compute.device)
    optimizer = torch.optim.SGD(made.parameters(), lr=0.1)
    source = tiny.LoadedLines(None, "1").to(compute.device).tasks(TaskShape(0, 3, 4), 0)
    return MetaStep(made, source, optimizer, Constant(), NoClip(), compute, 5, 20, 0)


def recorded_step(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch) -> MetaStep:
    monkeypatch.setattr(recorded_gradient, "RecordedWork", Replayed)
    step = meta_step(tiny)
    step.gradient = recorded_gradient.RecordedGradient(step.fresh_gradient, step.algorithm, torch.device("cpu"))
    return step


def test_replayed_steps_are_those_computed_one_by_one(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, recorded = meta_step(tiny), recorded_step(tiny, monkeypatch)
    results = []
    for step in range(4):
        expected, found = usual.run(step), recorded.run(step)
        assert torch.equal(found.losses, expected.losses)
        assert torch.equal(found.gradient_norm, expected.gradient_norm)
        results.append(found.losses)
    assert not torch.equal(results[0], results[1])  # each result is kept, though the graph writes to the same place
    for p, q in zip(recorded.parameters, usual.parameters, strict=True):
        assert torch.equal(p, q)
    for name, value in usual.buffers.items():
        assert torch.equal(recorded.buffers[name], value), name


def test_a_step_that_cannot_be_recorded_is_computed_as_before(
    tiny: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(function: Callable[[], Any], device: torch.device) -> None:
        function()
        raise NotRecordableError("called a synchronizing operation")

    usual, step = meta_step(tiny), recorded_step(tiny, monkeypatch)
    monkeypatch.setattr(recorded_gradient, "RecordedWork", refuse)
    with caplog.at_level("INFO"):
        for index in range(3):
            assert torch.equal(step.run(index).losses, usual.run(index).losses)
    told = [record.message for record in caplog.records]
    assert told == ["training steps are not recorded as a CUDA graph: called a synchronizing operation"]


def test_only_what_does_the_same_in_every_step_on_one_gpu_is_recorded(tiny: ModuleType) -> None:
    class Opaque(tiny.TinyMAML):  # type: ignore[misc, name-defined]
        def set_progress(self, step: int, total: int) -> None:
            self.rates = iter([step, total])

    class Circle(tiny.TinyMAML):  # type: ignore[misc, name-defined]
        def set_progress(self, step: int, total: int) -> None:
            self.rates: list[object] = [step, total]
            self.rates.append(self.rates)

    class Two(type(SINGLE)):  # type: ignore[misc]
        size = 2

    def made(kind: type[Algorithm]) -> Algorithm:
        return kind(tiny.Net((1,), 1, 8, 0.0), 0.1)

    algorithm = made(tiny.SteadyMAML)
    assert is_recordable(algorithm, CUDA, SINGLE)
    assert is_recordable(made(tiny.TinyMAML), CUDA, SINGLE)
    assert not is_recordable(algorithm, CPU, SINGLE)
    assert not is_recordable(algorithm, replace(CUDA, cuda_graphs=False), SINGLE)
    assert not is_recordable(algorithm, CUDA, Two())
    for kind in (Opaque, Circle):
        unseen = made(kind)
        unseen.set_progress(0, 9)
        assert not is_recordable(unseen, CUDA, SINGLE)


@pytest.mark.parametrize(
    ("n_ranks", "varies", "device", "reason"),
    [
        (2, False, CUDA, "2 ranks exchange gradients in each step"),
        (1, True, CUDA, "tasks have several shapes, and a graph repeats operations on one"),
        (1, False, CUDA, None),
        (2, True, CPU, None),
        (2, True, replace(CUDA, cuda_graphs=False), None),
    ],
)
def test_the_log_says_why_steps_on_a_gpu_are_not_recorded(
    tiny: ModuleType,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    n_ranks: int,
    varies: bool,
    device: Compute,
    reason: str | None,
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(type(SINGLE), "size", n_ranks)
    algorithm = tiny.SteadyMAML(tiny.Net((1,), 1, 8, 0.0), 0.1)
    is_tried = is_recordable(algorithm, device, SINGLE, varies=varies)
    said = [record.message for record in caplog.records if "not recorded as a CUDA graph" in record.message]
    assert said == ([] if reason is None else [f"training steps are not recorded as a CUDA graph: {reason}"])
    assert is_tried is (n_ranks == 1 and not varies)


@pytest.mark.parametrize("varies", [True, False])
def test_a_step_says_whether_its_tasks_have_several_shapes(
    tiny: ModuleType, monkeypatch: pytest.MonkeyPatch, varies: bool
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(tiny.LineTasks, "varies", varies)
    monkeypatch.setattr("metaexp.run.step.is_recordable", lambda *_, varies: asked.append(varies))
    meta_step(tiny)
    assert asked == [varies]


def test_a_gradient_is_recorded_again_after_a_change_that_lasts(
    tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stairs(tiny.TinyMAML):  # type: ignore[misc, name-defined]
        def set_progress(self, step: int, total: int) -> None:
            self.rate = [0.1, 0.1, 0.1, 0.2, 0.3, 0.3, 0.3][step]

    def made() -> MetaStep:
        return meta_step(tiny, algorithm=Stairs)

    recorded: list[float] = []
    monkeypatch.setattr(recorded_gradient, "RecordedWork", Replayed)
    usual, step = made(), made()
    gradient = recorded_gradient.RecordedGradient(step.fresh_gradient, step.algorithm, torch.device("cpu"))
    record = gradient._record
    monkeypatch.setattr(gradient, "_record", lambda *a: (recorded.append(step.algorithm.rate), record(*a)))
    step.gradient = gradient
    for index in range(7):
        assert torch.equal(step.run(index).losses, usual.run(index).losses), index
    assert recorded == [0.1, 0.3]


def steps_on_cuda(algorithm: str, n: int, *overrides: str) -> tuple[list[Tensor], list[Tensor], str | None]:
    """The losses of ``n`` steps, the weights after them, and why they were not recorded."""
    settings = Composer().settings([f"algorithm={algorithm}", "device=cuda", *SMALL, *overrides])
    with set_up(settings, SINGLE, lambda _: None) as setup:
        assert setup.step is not None
        losses = [setup.step.run(index).losses.cpu() for index in range(n)]
        reason = getattr(setup.step.gradient, "reason", "is not tried")
        return losses, [p.detach().cpu() for p in setup.step.parameters], reason


TRAINED = sorted({path.stem for path in (ROOT / "conf" / "algorithm").glob("*.yaml")} - {"nearest_neighbour"})


@needs_cuda
@pytest.mark.parametrize("algorithm", TRAINED)
def test_on_a_gpu_replayed_steps_have_the_bits_of_launched_ones(algorithm: str) -> None:
    losses, weights, reason = steps_on_cuda(algorithm, 5)
    assert reason is None
    expected_losses, expected_weights, _ = steps_on_cuda(algorithm, 5, "device.cuda_graphs=false")
    assert all(torch.equal(a, b) for a, b in zip(losses, expected_losses, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(weights, expected_weights, strict=True))
    assert not torch.equal(losses[0], losses[-1])


@needs_cuda
def test_on_a_gpu_dropout_has_the_same_noise_in_replayed_steps(tiny: ModuleType) -> None:
    results = []
    for graphs in (True, False):
        step = meta_step(tiny, replace(CUDA, cuda_graphs=graphs))
        results.append([step.run(index).losses for index in range(4)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@needs_cuda
def test_on_a_gpu_what_reads_a_number_back_is_not_recorded(tiny: ModuleType) -> None:
    step = meta_step(tiny, CUDA)
    usual = step.gradient._gradient  # type: ignore[attr-defined]

    def reads(indices: Tensor) -> Any:
        indices.sum().item()
        return usual(indices)

    step.gradient._gradient = reads  # type: ignore[attr-defined]
    assert step.run(0).losses.isfinite().all()
    assert "synchron" in (step.gradient.reason or "")  # type: ignore[attr-defined]
    assert step.run(1).losses.isfinite().all()
    assert nn.Linear(2, 2).cuda()(torch.ones(1, 2, device="cuda")).isfinite().all()  # the device is well


@needs_cuda
@pytest.mark.parametrize("algorithm", ["maml", "meta_sgd", "meta_lstm", "relation_net", "proto_net"])
def test_gradients_on_a_gpu_are_those_of_the_cpu(algorithm: str) -> None:
    gradients = []
    for device in ("cpu", "cuda"):
        settings = Composer().settings([f"algorithm={algorithm}", f"device={device}", *SMALL])
        with set_up(settings, SINGLE, lambda _: None) as setup:
            assert setup.step is not None
            setup.step.compute_mean(0)
            named = setup.step.algorithm.named_parameters()
            gradients.append({name: p.grad.cpu() for name, p in named if p.grad is not None})
    assert largest_difference(gradients[0], gradients[1], 1e-2)[1] < 1e-3
