"""Processors with the same name, of different models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from metaexp.config.schema import DeviceSettings
from metaexp.machine import processor
from metaexp.machine.device import use_device
from metaexp.machine.processor import processor_model, product_name

MILAN = """processor\t: 0
cpu family\t: 25
model\t\t: 1
model name\t: AMD EPYC
stepping\t: 1

processor\t: 1
cpu family\t: 25
model\t\t: 99
model name\t: another core
"""
GRAVITON = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\nCPU revision\t: 1\n"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder with the files of another machine."""
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(processor, "_CACHES", tmp_path)
    for at, size in enumerate(("32K", "512K", "32768K")):
        (tmp_path / f"index{at}").mkdir()
        (tmp_path / f"index{at}" / "size").write_text(f"{size}\n")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    processor_model.cache_clear()
    yield tmp_path
    processor_model.cache_clear()


def test_models_of_one_name_are_told_apart(machine: Path) -> None:
    (machine / "cpuinfo").write_text(MILAN)
    milan = (product_name(), processor_model())
    assert milan == ("AMD EPYC", "family 25, model 1, stepping 1, AVX2, caches 32K 512K 32768K")
    (machine / "cpuinfo").write_text(MILAN.replace("\t: 1\n", "\t: 17\n"))
    processor_model.cache_clear()
    assert product_name() == "AMD EPYC"
    assert processor_model() != milan[1]


def test_caches_of_another_size_are_another_model(machine: Path) -> None:
    (machine / "cpuinfo").write_text(MILAN)
    before = processor_model()
    (machine / "index2" / "size").write_text("16384K\n")
    processor_model.cache_clear()
    assert processor_model() == before.replace("32768K", "16384K") != before


def test_a_processor_of_arm_has_a_model(machine: Path) -> None:
    (machine / "cpuinfo").write_text(GRAVITON)
    assert processor_model().startswith("CPU implementer 0x41, CPU part 0xd40, CPU revision 1, AVX2")


def test_systems_without_such_files_have_a_model_too(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in machine.glob("*/size"):
        file.unlink()
    monkeypatch.setattr(processor.platform, "processor", lambda: "arm")
    assert (product_name(), processor_model()) == ("arm", "arm, AVX2")


def test_a_run_on_this_processor_records_its_model() -> None:
    with use_device(DeviceSettings("cpu", "float32", 1, True, None)) as compute:
        assert compute.recorded().processor == processor_model() != ""
