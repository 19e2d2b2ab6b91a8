"""A step of training waits for nothing: it reads no number from the device, and no shape depends on data.

Steps run on torch's ``meta`` device, which has shapes and no numbers, so code takes the way it takes on a GPU. Every
operation that would read a number, or whose result has a shape that depends on numbers, is caught.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from metaexp.config.compose import Composer
from metaexp.core.losses import task_loss
from metaexp.machine.device import Compute
from metaexp.machine.single_rank import SINGLE
from metaexp.run.build import build, make_step
from metaexp.run.step import MetaStep

ROOT = Path(__file__).resolve().parents[2]
META = Compute(torch.device("meta"), "test", "float32", 1, True, None)
SMALL = ("tracker=files", "device=cpu", "dataset=glyphs", "train.steps=2", "train.meta_batch_size=2")
FEW_CLASSES = ("dataset.train_classes=70", "dataset.val_classes=20", "dataset.test_classes=20")
SHORT = {
    "meta_lstm": ("algorithm.inner_epochs=2", "algorithm.inner_epochs_test=2"),
    "maml_plus_plus": ("algorithm.inner_steps=2", "algorithm.inner_steps_test=2"),
    "reptile": ("algorithm.inner_steps=2", "algorithm.inner_steps_test=2"),
}
"""Inner loops of fewer steps, where there are many: the second step is computed as the later ones are."""
READS = ("_local_scalar_dense", "equal", "nonzero", "masked_select", "_unique", "unique_dim", "bincount")
"""Operations that a GPU's host waits for."""


class Reads(TorchDispatchMode):
    """Lists the operations that read numbers of the device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.operations += 1
        if any(isinstance(argument, Tensor) and argument.is_meta for argument in args):  # Adam counts on the host
            picks_by_mask = name in ("index", "index_put", "index_put_") and any(
                isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1]
            )
            goes_to_host = name == "_to_copy" and (kwargs or {}).get("device") not in (None, META.device)
            if name.startswith(READS) or picks_by_mask or goes_to_host:
                self.found.append(name)
        return func(*args, **(kwargs or {}))


def algorithms() -> list[str]:
    """All algorithms that train by themselves, by the names of their files."""
    names = {path.stem for path in (ROOT / "conf" / "algorithm").glob("*.yaml")}
    return sorted(names - {"nearest_neighbour"})


def step_on_meta(*overrides: str) -> MetaStep:
    """A step of training, with all tensors on the device without numbers."""
    few = () if "dataset=sinusoid" in overrides else FEW_CLASSES
    settings = Composer().settings([*SMALL, *few, *overrides])
    step = make_step(settings, build(settings, META, lambda _: None), META, SINGLE)
    assert step is not None
    return step


def reads(step: MetaStep) -> Reads:
    """What the second step reads. In the first, the optimiser makes its state, and losses of a task are compared."""
    with patch("metaexp.run.step.FirstTask"):
        step.run(0)
    with Reads() as reads:
        result = step.run(1)
    assert result.losses.is_meta
    return reads


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the data, which are drawn once."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(autouse=True)
def _data(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAEXP_DATA", str(data))


@pytest.mark.parametrize("algorithm", algorithms())
def test_a_step_reads_no_number_from_the_device(algorithm: str) -> None:
    found = reads(step_on_meta(f"algorithm={algorithm}", *SHORT.get(algorithm, ())))
    assert found.found == []
    assert found.operations > 100


@pytest.mark.parametrize(
    "overrides",
    [
        ("algorithm=maml", "model=omniglot_conv", "clip=value"),
        ("algorithm=maml", "algorithm.first_order=true", "clip=norm"),
        ("algorithm=maml", "algorithm.batch_norm=episode"),
        ("algorithm=proto_net", "algorithm.batch_norm=transductive", "schedule=cosine"),
        ("algorithm=relation_net", "clip=norm_per_module"),
        ("algorithm=nearest_neighbour", "algorithm.space=embedding"),
        ("algorithm=maml_plus_plus", "algorithm.batch_norm=running", *SHORT["maml_plus_plus"]),
        ("algorithm=maml", "dataset=sinusoid", "model=mlp"),
    ],
    ids=" ".join,
)
def test_nor_does_one_with_other_settings(overrides: tuple[str, ...]) -> None:
    assert reads(step_on_meta(*overrides)).found == []


def item(scores: Tensor, y: Tensor) -> Tensor:
    return task_loss(scores, y) * float(scores.detach().abs().max() > 0)


def where_true(scores: Tensor, y: Tensor) -> Tensor:
    return task_loss(scores, y) + torch.nonzero(scores.detach() > 0).sum()


def by_mask(scores: Tensor, y: Tensor) -> Tensor:
    return scores[scores > 0].sum()


def to_host(scores: Tensor, y: Tensor) -> Tensor:
    return task_loss(scores, y) + 0.0 * scores.detach().sum().to("cpu").to(META.device)


@pytest.mark.parametrize("loss", [item, where_true, by_mask, to_host])
def test_a_loss_that_reads_a_number_is_caught(loss: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    step = step_on_meta("algorithm=anil", "device.task_chunk=1")
    step.compute = replace(META, task_chunk=1)  # torch.vmap would refuse some of these by itself
    monkeypatch.setattr(type(step.algorithm), "loss", lambda self, scores, y: loss(scores, y))
    with Reads() as found, suppress(RuntimeError, NotImplementedError):  # the device has no numbers to go on with
        step.run(0)
    assert found.found
