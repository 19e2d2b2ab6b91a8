"""A step of training waits for nothing: it reads no number from the device, and no shape depends on data.

An evaluation reads whether its labels are right, and its scores, and nothing else. The loop reads losses when it logs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from reads import META, READ, TO_HOST, Reads
from torch import Tensor
from torch.utils._pytree import tree_leaves

from metaexp.config.compose import Composer
from metaexp.core.losses import task_loss
from metaexp.machine.signals import StopRequest
from metaexp.machine.single_rank import SINGLE
from metaexp.machine.stopwatch import Stopwatch
from metaexp.run.build import TrainingSetup, build, training_setup
from metaexp.run.outputs import NoOutputs
from metaexp.run.step import MetaStep
from metaexp.run.train import Trainer

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("tracker=files", "device=cpu", "dataset=glyphs", "train.steps=2", "train.meta_batch_size=2")
FEW_CLASSES = ("dataset.train_classes=70", "dataset.val_classes=20", "dataset.test_classes=20")
SHORT = {
    "maml": ("algorithm.inner_steps_test=2",),
    "anil": ("algorithm.inner_steps_test=2",),
    "meta_lstm": ("algorithm.inner_epochs=2", "algorithm.inner_epochs_test=2"),
    "maml_plus_plus": ("algorithm.inner_steps=2", "algorithm.inner_steps_test=2"),
    "reptile": ("algorithm.inner_steps=2", "algorithm.inner_steps_test=2"),
    "fine_tune": ("algorithm.tune_steps=2",),
}
"""Inner loops of fewer steps, where there are many: the second step is computed as the later ones are."""
CHUNK = [READ, READ, TO_HOST]
"""What an evaluation reads of tasks that it computes at once: whether each label of support and query is right, and
the scores."""


def algorithms() -> list[str]:
    """All algorithms, by the names of their files."""
    return sorted(path.stem for path in (ROOT / "conf" / "algorithm").glob("*.yaml"))


def on_meta(*overrides: str) -> TrainingSetup:
    """What a run trains and tests with, with all tensors on the device without numbers."""
    algorithm = overrides[0].removeprefix("algorithm=")
    few = FEW_CLASSES if not any(override.startswith("dataset=") for override in overrides) else ()
    settings = Composer().settings([*SMALL, *few, *SHORT.get(algorithm, ()), *overrides])
    return training_setup(settings, SINGLE, META, build(settings, META, lambda _: None))


def step_on_meta(*overrides: str) -> MetaStep:
    """A step of training there."""
    step = on_meta(*overrides).step
    assert step is not None
    return step


def one_by_one(*overrides: str) -> MetaStep:
    """A step there that computes one task at a time: ``torch.vmap`` refuses some reads by itself."""
    step = step_on_meta(*overrides)
    step.compute = replace(META, task_chunk=1)
    return step


def reads_of_step(step: MetaStep) -> Reads:
    """What the second step reads. In the first, the optimiser makes its state, and losses of a task are compared."""
    with patch("metaexp.run.step.FirstTask"):
        step.run(0)
    with Reads() as reads:
        result = step.run(1)
    assert result.losses.is_meta
    return reads


def reads_of_first_step(step: MetaStep) -> list[str]:
    """What the first step reads beside the comparison of its losses, for code that a step without numbers fails in."""
    with patch("metaexp.run.step.FirstTask"), Reads() as reads:
        step.run(0)
    return reads.found


def reads_of_evaluation(setup: TrainingSetup, measure: Callable[..., Any], *split: str) -> list[str]:
    """What the evaluation of two chunks of tasks reads, after the first task was compared with itself."""
    setup.evaluator.chunk = 2
    setup.parts.eval_source.open_test()
    with patch.object(setup.evaluator, "_repeats"), Reads() as reads:
        result = measure(setup.state.algorithm, *split, 4, lambda _: None)
    assert result.n_episodes == 4
    return reads.found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the data, which are drawn once."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(autouse=True)
def _data(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAEXP_DATA", str(data))


@pytest.mark.parametrize("algorithm", sorted(set(algorithms()) - {"nearest_neighbour"}))  # that one trains an embedding
def test_a_step_reads_no_number_from_the_device(algorithm: str) -> None:
    found = reads_of_step(step_on_meta(f"algorithm={algorithm}"))
    assert found.found == []
    assert found.operations > 100


SETTINGS = [
    ("algorithm=maml", "model=omniglot_conv", "clip=value"),
    ("algorithm=maml", "algorithm.first_order=true", "clip=norm"),
    ("algorithm=maml", "algorithm.batch_norm=episode"),
    ("algorithm=maml", "model=lstm"),
    ("algorithm=matching_net", "algorithm.fce=true"),
    ("algorithm=meta_lstm", "algorithm.inner_batch_size=2"),
    ("algorithm=proto_net", "algorithm.batch_norm=transductive", "schedule=cosine"),
    ("algorithm=proto_net", "augment.crop=2", "augment.turn=true", "augment.contrast=0.2"),
    ("algorithm=relation_net", "clip=norm_per_module"),
    ("algorithm=fine_tune", "algorithm.head=cosine", "algorithm.tune=all"),
    ("algorithm=nearest_neighbour", "algorithm.space=embedding"),
    ("algorithm=maml_plus_plus", "algorithm.batch_norm=running"),
    ("algorithm=maml", "dataset=sinusoid", "model=mlp"),
    ("algorithm=maml", "dataset=curves", "model=mlp"),
    ("algorithm=relation_net", "dataset=sinusoid", "model=mlp"),
]


@pytest.mark.parametrize("overrides", SETTINGS, ids=" ".join)
def test_nor_does_one_with_other_settings(overrides: tuple[str, ...]) -> None:
    assert reads_of_step(step_on_meta(*overrides)).found == []


@pytest.mark.parametrize("algorithm", algorithms())
def test_an_evaluation_reads_labels_and_scores_once_for_each_chunk(algorithm: str) -> None:
    setup = on_meta(f"algorithm={algorithm}", "task.n_query=2")
    assert reads_of_evaluation(setup, setup.evaluator.validate) == 2 * CHUNK
    assert reads_of_evaluation(setup, setup.evaluator.evaluate, "test") == 2 * CHUNK


def test_further_metrics_are_read_with_the_scores() -> None:
    setup = on_meta("algorithm=proto_net", "eval.metrics=[nll,ece,top_2]")
    assert reads_of_evaluation(setup, setup.evaluator.evaluate, "test") == 2 * CHUNK


def test_in_regression_there_are_no_labels_to_read() -> None:
    setup = on_meta("algorithm=maml", "dataset=sinusoid", "model=mlp")
    assert reads_of_evaluation(setup, setup.evaluator.validate) == 2 * [TO_HOST]


def test_the_loop_reads_losses_only_where_it_logs() -> None:
    setup = on_meta("algorithm=anil", "train.steps=6", "train.log_every=3", "train.eval_every=9")
    outputs = NoOutputs()
    trainer = Trainer(setup, outputs, outputs.checkpoints, StopRequest(), Stopwatch(), {})
    with patch("metaexp.run.step.FirstTask"), patch.object(trainer, "_validate", lambda: True), Reads() as reads:
        trainer.run()
    assert reads.found == 2 * [TO_HOST, TO_HOST]  # losses and norms of three steps, twice


def item(scores: Tensor, y: Tensor) -> object:
    return scores.sum().item()


def number(scores: Tensor, y: Tensor) -> object:
    return float(scores.sum())


def numbers(scores: Tensor, y: Tensor) -> object:
    return y.tolist()


def branch(scores: Tensor, y: Tensor) -> object:
    return 1 if scores.max() > 0 else 0


def index(scores: Tensor, y: Tensor) -> object:
    return scores[y[0]], list(range(int(y[1])))


def where_true(scores: Tensor, y: Tensor) -> object:
    return torch.nonzero(scores > 0)


def unique(scores: Tensor, y: Tensor) -> object:
    return torch.unique(y)


def runs(scores: Tensor, y: Tensor) -> object:
    return torch.unique_consecutive(y)


def by_mask(scores: Tensor, y: Tensor) -> object:
    return scores[scores > 0]


def into_mask(scores: Tensor, y: Tensor) -> object:
    return scores.detach().clone().index_put_((scores > 0,), scores.detach()[0, 0])


def repeated(scores: Tensor, y: Tensor) -> object:
    return scores.repeat_interleave(y, dim=0)


def to_host(scores: Tensor, y: Tensor) -> object:
    return scores.detach().cpu()


def compared(scores: Tensor, y: Tensor) -> object:
    return torch.allclose(scores.detach(), scores.detach() + 1)


def inverse(scores: Tensor, y: Tensor) -> object:
    return torch.linalg.inv(scores.detach().T @ scores.detach())


def from_host(scores: Tensor, y: Tensor) -> object:
    return torch.ones(2).to(scores.device)


def list_from_host(scores: Tensor, y: Tensor) -> object:
    return torch.tensor([1.0, 2.0], device=scores.device)


def host_index(scores: Tensor, y: Tensor) -> object:
    return scores[torch.randperm(len(scores))]


READING = [item, number, numbers, branch, index, where_true, unique, runs, by_mask, into_mask, repeated, to_host]


@pytest.mark.parametrize("read", [*READING, compared, inverse, from_host, list_from_host, host_index])
def test_a_loss_that_reads_a_number_is_caught(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    step = one_by_one("algorithm=anil", "model=mlp")

    def loss(self: Any, scores: Tensor, y: Tensor) -> Tensor:
        read(scores, y)
        return task_loss(scores, y)

    monkeypatch.setattr(type(step.algorithm), "loss", loss)
    with patch("metaexp.run.step.FirstTask"), Reads() as found, suppress(RuntimeError, NotImplementedError):
        step.run(0)  # some reads have no answer on the device without numbers
    assert found.found


def test_a_numpy_array_of_the_device_does_not_exist() -> None:
    with pytest.raises(TypeError, match="numpy"), Reads():
        torch.ones(2, device="meta").numpy()


class ReadsBackward(torch.autograd.Function):
    """The identity, whose gradient is read."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * bool(gradient.sum() > 0)


def test_reads_of_the_backward_pass_and_of_the_optimiser_are_caught() -> None:
    step = one_by_one("algorithm=proto_net")
    usual = step.algorithm.loss
    with patch.object(type(step.algorithm), "loss", lambda self, s, y: usual(ReadsBackward.apply(s), y)):
        assert reads_of_first_step(step) == 2 * [READ]  # of two tasks
    step = step_on_meta("algorithm=proto_net")
    with patch.object(step.clip, "apply", lambda module: sum(bool(p.grad.sum() > 0) for p in step.parameters)):
        assert reads_of_first_step(step) == len(step.parameters) * [READ]
    assert reads_of_step(step).found == []


@pytest.mark.parametrize("method", ["adapt", "predict"])
def test_an_evaluation_that_reads_more_is_caught(method: str) -> None:
    setup = on_meta("algorithm=maml")
    algorithm = setup.state.algorithm
    usual = getattr(algorithm, method)

    def reads(*arguments: Any) -> Any:
        result = usual(*arguments)
        tree_leaves(result)[0].sum().item()
        return result

    with patch.object(algorithm, "tasks_at_once", lambda *sizes: 1), patch.object(algorithm, method, reads):
        found = reads_of_evaluation(setup, setup.evaluator.validate)
    assert found == 2 * [READ, READ, READ, READ, TO_HOST]  # one more of each task
