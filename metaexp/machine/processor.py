"""The model of this machine's processor: libraries choose by it in which order they add numbers."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import torch

_CPUINFO = Path("/proc/cpuinfo")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_MODEL = ("cpu family", "model", "stepping", "CPU implementer", "CPU variant", "CPU part", "CPU revision")
"""Lines of Linux's cpuinfo, on x86 and on ARM."""


def product_name() -> str:
    """Return the name that a processor gives itself. Those of a cloud may give models of several years the same."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


@cache
def processor_model() -> str:
    """Return what decides on a processor how sums are rounded, such as ``family 25, model 1, stepping 1, AVX2, ...``.

    Two processors with the same text can still differ. With different texts the last digits may differ.

    Returns:
        Its model, the instructions that torch uses, and the sizes of its caches, by which MKL divides matrices.
    """
    lines = _cpuinfo()
    model = [f"{name.removeprefix('cpu ')} {lines[name]}" for name in _MODEL if name in lines]
    instructions = torch.backends.cpu.get_cpu_capability()
    caches = " ".join(_cache_sizes())
    return ", ".join([*(model or [platform.processor()]), instructions, *([f"caches {caches}"] if caches else [])])


def _cpuinfo() -> dict[str, str]:
    """The lines of the first processor; nothing where the system is not Linux."""
    if not _CPUINFO.exists():
        return {}
    first = _CPUINFO.read_text(errors="replace").strip().partition("\n\n")[0]
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}


def _cache_sizes() -> list[str]:
    """The sizes of the caches as Linux writes them (``32K``), from the first to the last level."""
    return [file.read_text().strip() for file in sorted(_CACHES.glob("index*/size"))]
