"""Whether an accelerator is here, found without torch; the driver is made up."""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from metaexp.config.accelerators import cuda_devices, why_missing


def driver(monkeypatch: pytest.MonkeyPatch, devices: int, start: int = 0) -> None:
    """Let the system have a driver of ``devices`` devices, which answers ``start`` when it is asked to start."""

    def count(found: Any) -> int:
        found._obj.value = devices
        return 0

    functions: dict[str, Callable[[Any], int]] = {"cuInit": lambda _: start, "cuDeviceGetCount": count}
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(**functions))


def test_devices_are_those_that_the_driver_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    driver(monkeypatch, 2)
    assert cuda_devices() == 2
    assert why_missing("cuda") is None
    driver(monkeypatch, 0)
    assert "offers no device" in (why_missing("cuda") or "")


def test_a_driver_that_does_not_start_or_is_not_there_has_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    driver(monkeypatch, 2, start=100)
    assert cuda_devices() == 0

    def no_library(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", no_library)
    assert cuda_devices() == 0


@pytest.mark.parametrize(
    ("system", "machine", "is_here"),
    [("darwin", "arm64", True), ("darwin", "x86_64", False), ("linux", "arm64", False)],
)
def test_mps_is_on_apple_silicon_alone(
    system: str, machine: str, is_here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert (why_missing("mps") is None) == is_here
    assert why_missing("cpu") is None
