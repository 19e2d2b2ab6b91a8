"""Devices: found or refused, switches set for the length of a run and put back."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from metaexp.config.schema import DeviceSettings
from metaexp.core.errors import ConfigError, MachineError
from metaexp.machine import device
from metaexp.machine import threads as threads_module
from metaexp.machine.device import Compute, find, use_device, use_float32
from metaexp.machine.memory import peak_bytes

CPU = DeviceSettings("cpu", "float32", 1, True, None)
CONVOLUTIONS = torch.backends.cudnn.conv  # type: ignore[attr-defined]


def test_auto_takes_the_best_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find("auto").type == device.available()[0]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    assert find("auto") == torch.device("cuda", 3)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert find("auto") == torch.device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert find("auto") == torch.device("cpu")


@pytest.mark.parametrize("accelerator", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_an_error(accelerator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(MachineError, match=f"device.accelerator={accelerator} is not on this machine; it has cpu"):
        find(accelerator)


def test_the_chosen_device_is_printed_and_recorded() -> None:
    with use_device(replace(CPU, accelerator="auto", threads=1, task_chunk=7)) as compute:
        recorded = compute.recorded()
        assert recorded.accelerator == compute.device.type
        assert recorded.name
        assert (recorded.threads, recorded.precision, recorded.task_chunk) == (1, "float32", 7)
        assert recorded.name in str(compute)
        assert compute.peak_memory() is None or compute.peak_memory() > 1 << 20  # type: ignore[operator]


@pytest.mark.parametrize(("system", "unit"), [("linux", 1024), ("darwin", 1), ("freebsd14", 1024), ("win32", None)])
def test_the_memory_of_a_process_is_in_bytes_on_every_system(
    system: str, unit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record of a run on a CPU and the number of helpers of tests use the same number."""
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=3_000_000))
    monkeypatch.setattr(sys, "platform", system)
    expected = None if unit is None else 3_000_000 * unit
    assert peak_bytes() == expected
    compute = Compute(torch.device("cpu"), "a processor", "float32", 1, True, 1)
    assert compute.peak_memory() == expected
    assert replace(compute, device=torch.device("mps")).peak_memory() is None


def test_threads_and_determinism_hold_inside_and_are_put_back() -> None:
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    wanted = 2 if before[0] == 1 else 1
    with use_device(replace(CPU, threads=wanted)) as compute:
        assert torch.get_num_threads() == compute.threads == wanted
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before
    with use_device(replace(CPU, deterministic=False)):
        assert not torch.are_deterministic_algorithms_enabled()


def test_switches_are_put_back_after_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="inside"), use_device(replace(CPU, threads=before + 1)):
        raise ValueError("inside")
    assert torch.get_num_threads() == before


def test_float32_means_float32_also_in_convolutions_on_a_gpu() -> None:
    assert CONVOLUTIONS.fp32_precision == "tf32"  # torch's own choice, which is not ours
    with use_device(CPU):
        assert CONVOLUTIONS.fp32_precision == "ieee"
        assert torch.backends.cuda.matmul.fp32_precision == "ieee"
    assert CONVOLUTIONS.fp32_precision == "tf32"


def test_float32_means_float32_also_in_products_on_a_cpu_that_has_bf16() -> None:
    products = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    torch.set_float32_matmul_precision("medium")
    try:
        assert products.fp32_precision == "bf16"
        with use_device(CPU):
            assert products.fp32_precision == "ieee"
        assert products.fp32_precision == "bf16"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_tf32_is_for_nvidia_gpus() -> None:
    with pytest.raises(ConfigError, match=r"device\.precision=tf32 is a mode of NVIDIA GPUs, and this run is on cpu"):
        use_device(replace(CPU, precision="tf32")).__enter__()


def test_tf32_switches_products_and_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_check_precision", lambda *_: None)
    with use_device(replace(CPU, precision="tf32")) as compute:
        assert CONVOLUTIONS.fp32_precision == torch.backends.cuda.matmul.fp32_precision == "tf32"
        with use_float32(compute) as exact:
            assert exact.precision == "float32"
            assert torch.backends.cuda.matmul.fp32_precision == "ieee"
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"


def test_bf16_computes_products_in_bf16_and_float32_does_not() -> None:
    a = torch.randn(4, 4)
    for precision, dtype in (("bf16", torch.bfloat16), ("float32", torch.float32)):
        with use_device(replace(CPU, precision=precision)) as compute, compute.autocast():
            assert (a @ a).dtype == dtype


def test_reseeding_repeats_the_noise_and_another_seed_does_not() -> None:
    with use_device(CPU) as compute:
        draws = []
        for seed in (5, 5, 6):
            compute.reseed(seed)
            draws.append(torch.rand(4))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_the_allocator_is_set_to_keep_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[int, int] = {}

    class Library:
        @staticmethod
        def mallopt(parameter: int, value: int) -> int:
            asked[parameter] = value
            return int(value <= 1 << 25 or parameter != -3)  # an older glibc

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library)
    device.raise_malloc_thresholds()
    assert asked == {-3: 1 << 25, -1: (1 << 31) - 1, -2: 1 << 26}


def test_other_systems_have_no_mallopt(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Any] = []

    def load(name: Any) -> object:
        loaded.append(name)
        return object()  # no glibc

    monkeypatch.setattr(ctypes, "CDLL", load)
    device.raise_malloc_thresholds()
    assert loaded == [None]
    monkeypatch.setattr(sys, "platform", "darwin")
    device.raise_malloc_thresholds()
    assert loaded == [None]


def test_only_a_gpu_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    Compute(torch.device("cpu"), "", "float32", 1, True, None).wait()
    assert waited == []
    Compute(torch.device("cuda"), "", "float32", 1, True, None).wait()
    assert waited == [torch.device("cuda")]


@pytest.mark.parametrize("threads", [100_000, 257])
def test_more_threads_than_a_process_can_start_are_refused(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr(threads_module, "cores", lambda: 2)
    with pytest.raises(MachineError, match=rf"device\.threads={threads} .* 2 cores, and at most 256 .*threads=2"):
        use_device(replace(CPU, threads=threads)).__enter__()
    monkeypatch.setattr(threads_module, "cores", lambda: 100_000)
    threads_module.check_threads(threads)
