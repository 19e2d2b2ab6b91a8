"""Finds out whether an accelerator is on this machine, without torch, which is imported after the check."""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache


def why_missing(accelerator: str) -> str | None:
    """Return why ``cuda`` or ``mps`` cannot be used here; None when it can, as far as the system tells."""
    if accelerator == "cuda" and cuda_devices() == 0:
        return "no NVIDIA driver answers here, or it offers no device (CUDA_VISIBLE_DEVICES hides them, too)"
    if accelerator == "mps" and not (sys.platform == "darwin" and platform.machine() == "arm64"):
        return "mps is the GPU of Apple silicon"
    return None


def computes_on_cpu(accelerator: str) -> bool:
    """Return whether a run with this ``device.accelerator`` computes on the CPU of this machine.

    Args:
        accelerator: A value of the key.
    """
    return accelerator == "cpu" or (accelerator == "auto" and not _has_gpu())


@cache
def _has_gpu() -> bool:
    return cuda_devices() > 0 or why_missing("mps") is None


def cuda_devices() -> int:
    """Return the number of CUDA devices that the driver offers to this process."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
