"""Tasks that are made on one device and moved to another."""

from __future__ import annotations

from pathlib import Path

import torch

from metaexp.core.shapes import TaskShape
from metaexp.data.base import TaskSource
from metaexp.data.mapped.moved_tasks import moved
from metaexp.data.sinusoid import Sinusoid
from metaexp.machine.device import Compute

CPU, META = torch.device("cpu"), torch.device("meta")


def test_tasks_are_moved_as_they_were_made() -> None:
    source = sinusoids()
    there = moved(source, CPU, META)
    episodes = there.episodes("train", torch.arange(3))
    assert {t.device for t in (*episodes.support[:2], *episodes.query[:2])} == {META}
    assert episodes.support.x.shape == source.episodes("train", torch.arange(3)).support.x.shape
    assert there.bank_hash("test", 2) == source.bank_hash("test", 2)


def test_a_source_on_the_device_itself_stays() -> None:
    source = sinusoids()
    assert moved(source, CPU, CPU) is source


def test_an_apple_gpu_gets_tasks_of_the_cpu() -> None:
    assert compute("mps").tasks_on == CPU
    assert compute("cuda").tasks_on == torch.device("cuda")
    assert compute("cpu").tasks_on == CPU


def sinusoids() -> TaskSource:
    data = Sinusoid([0.1, 5.0], [0.0, 3.0], [-5.0, 5.0]).load(Path("nowhere"), lambda _: None)
    return data.tasks(TaskShape(0, 5, 10), 0)


def compute(kind: str) -> Compute:
    return Compute(torch.device(kind), "", "float32", 1, True, None)
