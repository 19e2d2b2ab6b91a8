"""A lower precision, or an Apple GPU, is allowed only where the meta-gradient of this very run survives it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from metaexp.algorithms.maml import MAML
from metaexp.core.errors import ConfigError, MachineError
from metaexp.core.optim import Constant, NoClip
from metaexp.core.shapes import Split
from metaexp.core.types import Episode, Examples
from metaexp.data.base import TaskSource
from metaexp.machine.device import Compute
from metaexp.models.mlp import MLP
from metaexp.run import precision
from metaexp.run.precision import check_gradient
from metaexp.run.step import MetaStep

BF16 = Compute(torch.device("cpu"), "test", "bf16", 1, True, None)
APPLE = Compute(torch.device("mps"), "pretended: the tensors are on the CPU", "float32", 1, True, None)


class Blobs(TaskSource):
    """Two-way tasks in eight dimensions."""

    def episodes(self, split: Split, indices: torch.Tensor) -> Episode:
        generator = torch.Generator().manual_seed(int(indices[0]))
        means = torch.randn(len(indices), 2, 1, 8, generator=generator)
        x = (means + 0.3 * torch.randn(len(indices), 2, 10, 8, generator=generator)).flatten(1, 2)  # (T, 20, 8)
        y = torch.arange(2).repeat_interleave(10).expand(len(indices), -1)
        return Episode(Examples(x[:, ::2], y[:, ::2], 2), Examples(x[:, 1::2], y[:, 1::2], 2))

    def bank_hash(self, split: Split, n_episodes: int) -> str:
        return ""


def meta_step(inner_lr: float, inner_steps: int = 2, compute: Compute = BF16, cls: type[MAML] = MAML) -> MetaStep:
    torch.manual_seed(0)
    model = MLP((8,), 2, [16, 16], False, False, 1e-3, "default", 0.01)
    algorithm = cls(model, inner_lr, inner_steps, 1, False, "mean", "all", "transductive")
    optimizer = torch.optim.SGD(algorithm.parameters(), lr=0.1)
    return MetaStep(algorithm, Blobs(), optimizer, Constant(), NoClip(), compute, 8, 10, 0)


def cosine(step: MetaStep) -> float:
    episodes = precision._episodes(step, 0)
    rounded = precision._gradient(step, episodes, 0)
    step.compute = replace(step.compute, precision="float32")
    exact = precision._gradient(step, episodes, 0)
    flat = [torch.cat([gradient.flatten() for gradient in side.values()]) for side in (rounded, exact)]
    return float(torch.nn.functional.cosine_similarity(*flat, dim=0))


def test_bf16_keeps_the_second_order_gradient_of_a_gentle_inner_loop() -> None:
    assert cosine(meta_step(0.1)) > 0.99
    check_gradient(meta_step(0.1), 0)


def test_an_inner_loop_that_amplifies_rounding_is_refused() -> None:
    step = meta_step(20.0, 8)
    assert cosine(meta_step(20.0, 8)) < 0.99
    with pytest.raises(ConfigError, match=r"precision=bf16 does not keep the meta-gradient.*0\.99 is the least"):
        check_gradient(step, 0)


def test_a_small_parameter_whose_gradient_is_lost_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    gradient_of = precision._gradient

    def one_is_lost(step: MetaStep, episodes: Episode, at: int) -> dict[str, torch.Tensor]:
        found = gradient_of(step, episodes, at)
        rest = torch.cat([gradient.flatten() for gradient in found.values()]).norm()
        found["small"] = torch.ones(4, dtype=torch.float64) * 0.02 * rest
        if step.compute.precision == "bf16":
            found["small"] *= sign
        return found

    monkeypatch.setattr(precision, "_gradient", one_is_lost)
    sign = 1.0
    check_gradient(meta_step(0.1), 0)
    sign = -1.0
    with pytest.raises(ConfigError, match="that of small differs from float32 by 2 of its norm, and 0.5 is the most"):
        check_gradient(meta_step(0.1), 0)


def test_both_gradients_begin_with_the_same_buffers() -> None:
    step = meta_step(0.1)
    step.algorithm.register_buffer("seen", torch.zeros(()))
    step.buffers = dict(step.algorithm.named_buffers())
    meta_loss, seen = step.algorithm.meta_loss, []

    def counting(episode: Episode) -> torch.Tensor:
        seen.append(float(step.algorithm.seen))
        step.algorithm.seen += 1
        return meta_loss(episode)

    step.algorithm.meta_loss = counting  # type: ignore[method-assign]
    check_gradient(step, 0)
    assert seen == [0.0, 0.0]
    assert float(step.algorithm.seen) == 0.0


def test_the_check_leaves_no_trace() -> None:
    step = meta_step(0.1)
    before = {name: p.clone() for name, p in step.algorithm.named_parameters()}
    check_gradient(step, 0)
    assert step.compute == BF16
    assert all(torch.equal(p, before[name]) for name, p in step.algorithm.named_parameters())
    assert all(p.grad is None for p in step.algorithm.parameters())


def test_an_operation_that_does_not_exist_in_that_precision_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise RuntimeError("\"addmm_backward\" not implemented for 'BFloat16'\nmore")

    monkeypatch.setattr(precision, "_gradient", missing)
    with pytest.raises(ConfigError, match=r"bf16 cannot be used here .*not implemented.*device\.precision=float32"):
        check_gradient(meta_step(0.1), 0)


def test_float32_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_gradient", lambda *_: pytest.fail("it was checked"))
    check_gradient(meta_step(20.0, 8, replace(BF16, precision="float32")), 0)


class Faulty(MAML):
    """MAML whose loss is another one on the GPU, which is where the algorithm is that was not copied."""

    factor = 1.0
    noise = 0.0
    error: Exception | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> MAML:
        found = meta_step(0.1, cls=Sound).algorithm
        assert isinstance(found, Sound)
        found.load_state_dict(self.state_dict())
        found.noise = self.noise
        return found

    def meta_loss(self, episode: Episode) -> torch.Tensor:
        if self.error is not None:
            raise self.error
        noise = torch.rand(()) if self.noise else torch.zeros(())
        return self.factor * super().meta_loss(episode) + self.noise * noise * self.model.head.weight.sum()


class Sound(Faulty):
    """The copy on the CPU."""

    def __deepcopy__(self, memo: dict[int, Any]) -> MAML:
        return copy.copy(self)


@pytest.fixture
def apple(monkeypatch: pytest.MonkeyPatch) -> MetaStep:
    """A step whose device says that it is an Apple GPU."""
    monkeypatch.setattr(torch.mps, "manual_seed", lambda _: None)
    step = meta_step(0.1, compute=APPLE, cls=Faulty)
    assert isinstance(step.algorithm, Faulty)
    return step


def test_an_apple_gpu_with_the_gradient_of_the_cpu_is_used(apple: MetaStep) -> None:
    before = {name: p.clone() for name, p in apple.algorithm.named_parameters()}
    check_gradient(apple, 0)
    assert apple.compute == APPLE
    assert all(torch.equal(p, before[name]) for name, p in apple.algorithm.named_parameters())
    assert all(p.grad is None for p in apple.algorithm.parameters())


def test_an_apple_gpu_with_another_gradient_is_refused(apple: MetaStep) -> None:
    apple.algorithm.factor = -1.0  # type: ignore[assignment]
    with pytest.raises(MachineError, match=r"device=mps .* its cosine with that of the CPU is -1\.000.*device=cpu"):
        check_gradient(apple, 0)
    apple.algorithm.factor = 2.0  # type: ignore[assignment]
    with pytest.raises(MachineError, match="differs from that of the CPU by 1 of its norm"):
        check_gradient(apple, 0)


def test_an_operation_that_an_apple_gpu_lacks_is_named(apple: MetaStep) -> None:
    error = NotImplementedError("The operator 'aten::x' is not currently implemented for the MPS device.\nmore")
    apple.algorithm.error = error  # type: ignore[assignment]
    with pytest.raises(MachineError, match=r"mps cannot be used here .*aten::x.*device=cpu.*MPS_FALLBACK=1"):
        check_gradient(apple, 0)


def test_an_algorithm_that_draws_random_numbers_is_not_compared(apple: MetaStep) -> None:
    apple.algorithm.factor, apple.algorithm.noise = -1.0, 0.1  # type: ignore[assignment]
    check_gradient(apple, 0)


def test_an_algorithm_that_cannot_be_copied_is_not_compared(
    apple: MetaStep, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    check_gradient(apple, 0)
    assert caplog.messages == []
    apple.algorithm.factor = -1.0  # type: ignore[assignment]
    monkeypatch.setattr(Faulty, "__deepcopy__", lambda *_: (_ for _ in ()).throw(TypeError("cannot pickle")))
    check_gradient(apple, 0)
    (message,) = caplog.messages
    assert "mps has the meta-gradient of the CPU was not checked" in message
    assert "cannot pickle" in message
