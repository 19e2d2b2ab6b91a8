"""Runs commands of metaexp on a pretended Apple GPU: ``with_device.py BUILD_FOLDER`` reads them from its input."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import torch
from torch.utils.cpp_extension import load

NAME = "pretended"


def make_device(build: Path) -> None:
    """Compile the device into a folder and tell torch of it."""
    load(
        "pretended_gpu", [str(Path(__file__).with_name("device.cpp"))], build_directory=str(build), extra_cflags=["-O1"]
    )
    torch.utils.rename_privateuse1_backend(NAME)
    module = ModuleType(f"torch.{NAME}")
    functions = {
        "is_available": lambda: True, "is_initialized": lambda: True, "_is_in_bad_fork": lambda: False,
        "device_count": lambda: 1, "current_device": lambda: 0, "set_device": lambda _: None,
        "manual_seed_all": lambda _: None, "get_amp_supported_dtype": lambda: [torch.bfloat16],
        "get_rng_state": lambda _=None: torch.zeros(1, dtype=torch.uint8), "set_rng_state": lambda *_: None,
    }  # fmt: skip
    vars(module).update(functions)
    torch._register_device_module(NAME, module)
    torch.utils.generate_methods_for_privateuse1_backend()


def take_for_apple() -> None:
    """Let metaexp find the device in place of an Apple GPU."""
    from metaexp.machine import device

    device.available = lambda: ["mps", "cpu"]
    device.find = lambda accelerator: torch.device("cpu" if accelerator == "cpu" else NAME)
    device.Compute.is_apple = property(lambda compute: compute.device.type == NAME)  # type: ignore[assignment]
    torch.mps.manual_seed = torch.mps.synchronize = lambda *_: None  # type: ignore[assignment]


def main(build: str) -> int:
    """Run commands, each a list of arguments in a line of JSON; exit code 1 where one of them has another than 0."""
    make_device(Path(build))
    take_for_apple()
    from metaexp.cli.main import main as run

    codes = []
    for line in sys.stdin:
        try:
            codes.append(run(json.loads(line)))
        except Exception as error:
            print(f"{type(error).__name__}: {error}")
            codes.append(1)
    return int(any(codes))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
