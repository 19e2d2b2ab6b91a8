"""Chooses the device, and sets and restores torch's settings for it."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch

from metaexp.config.schema import DeviceSettings
from metaexp.core.counted import counted
from metaexp.core.errors import ConfigError, MachineError
from metaexp.machine.compiler import put_off_compiler
from metaexp.machine.launch import Launch
from metaexp.machine.memory import peak_bytes
from metaexp.machine.processor import processor_model, product_name
from metaexp.machine.threads import check_threads, cores
from metaexp.models.torch_settings import (
    BENCHMARK,
    DETERMINISTIC,
    FILL,
    FLOAT32,
    ONLY_DETERMINISTIC,
    THREADS,
    one_thread,
    put_settings,
    settings_now,
    standard_settings,
)
from metaexp.results.record import Machine

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h of glibc


@dataclass(frozen=True)
class Compute:
    """The device that a run computes on.

    Attributes:
        device: The device, as torch names it.
        name: The product name.
        precision: float32, tf32 or bf16.
        threads: Threads of this process.
        deterministic: Whether only deterministic operations are allowed.
        task_chunk: Tasks computed at once; None for the whole meta-batch.
        ranks: Processes that share the run, each on a device of this kind.
        cuda_graphs: Whether training steps on a GPU may be recorded and replayed.
        runs_together: Runs whose gradients are computed together on this device.
        processor: The model of the processor where that computes, see :func:`processor_model`.
    """

    device: torch.device
    name: str
    precision: str
    threads: int
    deterministic: bool
    task_chunk: int | None
    ranks: int = 1
    cuda_graphs: bool = True
    runs_together: int = 1
    processor: str | None = None

    @property
    def is_apple(self) -> bool:
        """Whether the device is an Apple GPU."""
        return self.device.type == "mps"

    @property
    def tasks_on(self) -> torch.device:
        """Where tasks are made. Whether an Apple GPU computes with 64-bit integers exactly is not known."""
        return torch.device("cpu") if self.is_apple else self.device

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which losses are computed: mixed precision under bf16, nothing otherwise."""
        if self.precision != "bf16":
            return nullcontext()
        # The cache of casts keeps tensors beyond the transform (vmap, grad) that made them.
        return torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False)

    def reseed(self, seed: int) -> None:
        """Seed the generators that dropout and its like draw from, here and on the device."""
        # torch.manual_seed also queues a seed for every backend not in use, which takes longer than a small step.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.is_apple:
            torch.mps.manual_seed(seed)

    def wait(self) -> None:
        """Wait until the device has finished all its work, so that a clock can be read."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.is_apple:
            torch.mps.synchronize()

    def peak_memory(self) -> int | None:
        """Return the peak memory in bytes: of tensors on the GPU, of the whole process on the CPU."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return peak_bytes() if self.device.type == "cpu" else None

    def recorded(self) -> Machine:
        """The device as the record has it."""
        return Machine(
            accelerator=self.device.type, name=self.name, precision=self.precision, threads=self.threads,
            deterministic=self.deterministic, task_chunk=self.task_chunk, ranks=self.ranks,
            runs_together=self.runs_together, processor=self.processor,
        )  # fmt: skip

    def __str__(self) -> str:
        """Return the device as a run shows it."""
        threads = f", {counted(self.threads, 'thread')}" if self.device.type == "cpu" else ""
        ranks = f"{counted(self.ranks, 'rank')}, each on " if self.ranks > 1 else ""
        return f"{ranks}{self.device.type} ({self.name}{threads}, {self.precision})"


@contextmanager
def use_device(settings: DeviceSettings, launch: Launch | None = None) -> Iterator[Compute]:
    """Find the device and set threads, precision and determinism for this block.

    Another thread that comes to such a block waits.

    Args:
        settings: The ``device`` section of the configuration.
        launch: The place of this process among several that share the devices and cores of a machine.

    Yields:
        The device as it was found.

    Raises:
        MachineError: The device is not there, or does not have the precision.
        ConfigError: The precision makes no sense on the device.
    """
    with one_thread():
        device = find(settings.accelerator) if launch is None else find_own(settings.accelerator, launch)
        _check_precision(settings.precision, device)
        check_threads(settings.threads)
        threads = torch.get_num_threads()
        raise_malloc_thresholds()
        put_off_compiler()
        if settings.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # asked for by torch; read when CUDA starts
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        own = {
            THREADS: settings.threads or (threads if launch is None else own_threads(threads, launch)),
            DETERMINISTIC: ONLY_DETERMINISTIC if settings.deterministic else 0,
            BENCHMARK: not settings.deterministic,
            FILL: False,
        }
        with standard_settings(dict.fromkeys(FLOAT32, "tf32" if settings.precision == "tf32" else "ieee") | own):
            yield Compute(
                device=device,
                name=device_name(device),
                precision=settings.precision,
                threads=torch.get_num_threads(),
                deterministic=settings.deterministic,
                task_chunk=settings.task_chunk,
                ranks=1 if launch is None else launch.size,
                cuda_graphs=settings.cuda_graphs,
                processor=processor_model() if device.type == "cpu" else None,
            )


@contextmanager
def use_float32(compute: Compute) -> Iterator[Compute]:
    """Within this block, compute in full float32 on the same device, for a comparison."""
    before = settings_now()
    put_settings(dict.fromkeys(FLOAT32, "ieee"))
    try:
        yield replace(compute, precision="float32")
    finally:
        put_settings(before)


def find(accelerator: str) -> torch.device:
    """Return the device of this machine.

    Args:
        accelerator: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        MachineError: The machine has no such device.
    """
    there = available()
    chosen = there[0] if accelerator == "auto" else accelerator
    if chosen not in there:
        raise MachineError(
            f"device.accelerator={accelerator} is not on this machine; it has {', '.join(there)}. "
            "Choose one of these with device=..., or device=auto."
        )
    return torch.device("cuda", torch.cuda.current_device()) if chosen == "cuda" else torch.device(chosen)


def find_own(accelerator: str, launch: Launch) -> torch.device:
    """The device of one of several processes: the GPU with its local rank, or the CPU.

    Args:
        accelerator: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        launch: The place of this process.

    Returns:
        The device.

    Raises:
        MachineError: The device is missing.
        ConfigError: Processes cannot share a run on such a device.
    """
    kind = find(accelerator).type
    if kind == "mps":
        raise ConfigError(
            f"device.accelerator={accelerator} is mps here, and several processes can share a run on cpu and cuda "
            f"only; {launch.size} were started. Set device=cpu, or start one process."
        )
    if kind != "cuda":
        return torch.device(kind)
    n_gpus = torch.cuda.device_count()
    if launch.local_rank >= n_gpus:
        raise MachineError(
            f"{launch.local_size} processes were started on a machine with {counted(n_gpus, 'GPU')}, and each "
            f"needs one of its own. Start torchrun with --nproc-per-node={n_gpus}, or set device=cpu."
        )
    torch.cuda.set_device(launch.local_rank)
    return torch.device("cuda", launch.local_rank)


def own_threads(threads: int, launch: Launch) -> int:
    """The threads of one of several processes on a machine, when the settings name none.

    The cores are divided between the processes, unless OMP_NUM_THREADS asks for more than one thread: one is what
    torchrun sets by default, so it is not a choice.

    Args:
        threads: What torch has chosen.
        launch: The place of this process.

    Returns:
        At least 1.
    """
    if threads > 1 and "OMP_NUM_THREADS" in os.environ:
        return threads
    return max(1, cores() // launch.local_size)


def available() -> list[str]:
    """The kinds of device on this machine, best first."""
    found = ["cuda"] if torch.cuda.is_available() else []
    found += ["mps"] if torch.backends.mps.is_available() else []
    return [*found, "cpu"]


def device_name(device: torch.device) -> str:
    """The product name of a GPU or processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return product_name()


def raise_malloc_thresholds() -> None:
    """Let glibc keep freed memory instead of returning it to the system after every step.

    Tensors of a few megabytes are freed and allocated again at every step; by default each is a system call and a
    page fault per 4 kB. On two cores this took 20 to 25 % off a step of MAML. Without glibc it does nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # not glibc
        return
    for size in (1 << 30, 1 << 25):  # older versions refuse more than 32 MiB
        if mallopt(_M_MMAP_THRESHOLD, size):
            break
    mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
    mallopt(_M_TOP_PAD, 1 << 26)


def _check_precision(precision: str, device: torch.device) -> None:
    if precision == "tf32" and device.type != "cuda":
        raise ConfigError(
            f"device.precision=tf32 is a mode of NVIDIA GPUs, and this run is on {device.type}. "
            "Set device.precision=float32, or device=cuda."
        )
    if precision == "tf32" and torch.cuda.get_device_capability(device) < (8, 0):
        raise MachineError(f"{device_name(device)} has no tf32. Set device.precision=float32.")
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise MachineError(f"{device_name(device)} has no bf16. Set device.precision=float32.")
