"""Calls of torch that own code makes by mistake, and the names under which they are reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from metaexp.models.torch_settings import put_settings, settings_now

CALLS: dict[str, tuple[Callable[[], object], str]] = {
    "dtype": (lambda: torch.set_default_dtype(torch.float64), "torch's default dtype"),
    "device": (lambda: torch.set_default_device("meta"), "torch's default device"),
    "gradients": (lambda: torch.set_grad_enabled(not torch.is_grad_enabled()), "whether torch computes gradients"),
    "deterministic": (
        lambda: torch.use_deterministic_algorithms(not torch.are_deterministic_algorithms_enabled()),
        "torch's deterministic mode",
    ),
    "deterministic warnings": (
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
        "torch's deterministic mode",
    ),
    "threads": (lambda: torch.set_num_threads(torch.get_num_threads() + 1), "the number of torch's threads"),
    "anomalies": (lambda: torch.autograd.set_detect_anomaly(True), "torch's search for anomalies"),
    "benchmark": (
        lambda: setattr(torch.backends.cudnn, "benchmark", not torch.backends.cudnn.benchmark),
        "torch.backends.cudnn.benchmark",
    ),
    "precision": (lambda: torch.set_float32_matmul_precision("high"), "torch.backends.cuda.matmul.fp32_precision.*"),
    "products on a processor": (
        lambda: setattr(torch.backends.mkldnn.matmul, "fp32_precision", "bf16"),  # type: ignore[attr-defined]
        "torch.backends.mkldnn.matmul.fp32_precision",
    ),
    "autocast": (
        lambda: torch.set_autocast_enabled("cpu", not torch.is_autocast_enabled("cpu")),
        "torch's autocast on cpu",
    ),
}
"""Name -> the call, and what it changes."""


@contextmanager
def unchanged_settings() -> Iterator[None]:
    """Put torch's settings back after this block."""
    before = settings_now()
    try:
        yield
    finally:
        put_settings(before)
