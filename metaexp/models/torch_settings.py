"""torch's settings for the whole process: they are set and put back here alone, and own code must not change them."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from operator import attrgetter
from typing import Any, Final, NamedTuple

import torch
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from metaexp.core.counted import listed
from metaexp.core.errors import ConfigError

log = logging.getLogger(__name__)

_ONE_THREAD: Final = threading.RLock()
_SECONDS_OF_SILENCE: Final = 5.0
_COMPILER_BACKEND = "torch._inductor"
_COMPILER_SWITCH = "TORCHINDUCTOR_DETERMINISTIC"


class _Setting(NamedTuple):
    """How a setting is read and written, and what own code does in place of changing it."""

    get: Callable[[], Any]
    put: Callable[[Any], object]
    instead: str


def _attribute(name: str, instead: str) -> _Setting:
    """A setting that is an attribute of torch's."""
    module, _, last = name.rpartition(".")
    return _Setting(partial(attrgetter(name), torch), partial(_set_attribute, module, last), instead)


def _set_attribute(module: str, name: str, value: Any) -> None:
    setattr(attrgetter(module)(torch), name, value)


def set_deterministic(position: bool) -> None:
    """Allow only deterministic operations, as ``torch.use_deterministic_algorithms`` does, without the compiler.

    Args:
        position: Whether only these are allowed. This holds for what is compiled later in this process, too.
    """
    is_imported = _COMPILER_BACKEND in sys.modules
    if is_imported:
        torch.use_deterministic_algorithms(position)
    else:
        torch.set_deterministic_debug_mode("error" if position else "default")
    if position and not is_imported:
        os.environ[_COMPILER_SWITCH] = "1"  # read when the compiler is imported
    else:
        os.environ.pop(_COMPILER_SWITCH, None)


def _put_deterministic(mode: int) -> None:
    if mode == 1:
        torch.use_deterministic_algorithms(True, warn_only=True)
    else:
        set_deterministic(mode == ONLY_DETERMINISTIC)


def _put_device(device: torch.device) -> None:
    modes = _get_current_function_mode_stack()  # type: ignore[no-untyped-call]
    if sum(isinstance(mode, DeviceContext) for mode in modes) > 1:
        return  # within ``with torch.device(...)``, torch fails to end a device that was set around the block
    torch.set_default_device(None if device.type == "cpu" else device)  # a device that is set slows each call of torch


DTYPE: Final = "torch's default dtype"
DEVICE: Final = "torch's default device"
GRADIENTS: Final = "whether torch computes gradients"
DETERMINISTIC: Final = "torch's deterministic mode"
ONLY_DETERMINISTIC: Final = 2
"""The mode in which other operations are errors; 0 allows all."""
THREADS: Final = "the number of torch's threads"
BENCHMARK: Final = "torch.backends.cudnn.benchmark"
FILL: Final = "torch.utils.deterministic.fill_uninitialized_memory"
"""Filling memory with NaN before it is used: a search for bugs that costs time."""
FLOAT32: Final = tuple(f"torch.backends.{part}.fp32_precision" for part in ("cuda.matmul", "cudnn.conv", "cudnn.rnn"))
"""torch's own choice for convolutions is tf32."""
_FLOAT32_CPU: Final = tuple(f"torch.backends.mkldnn.{part}.fp32_precision" for part in ("matmul", "conv", "rnn"))
"""``torch.set_float32_matmul_precision`` lets products of processors that have bf16 be of that, too."""
_AUTOCAST: Final = {f"torch's autocast on {kind}": kind for kind in ("cpu", "cuda", "mps")}

_SETTINGS: Final[Mapping[str, _Setting]] = {
    DTYPE: _Setting(
        torch.get_default_dtype,
        torch.set_default_dtype,
        "Runs compute with float32; a tensor may have another dtype of its own (torch.zeros(3, dtype=torch.float64)).",
    ),
    DEVICE: _Setting(torch.get_default_device, _put_device, "The key device.accelerator chooses the device."),
    GRADIENTS: _Setting(
        torch.is_grad_enabled,
        torch.set_grad_enabled,
        "Freeze weights with requires_grad_(False), or leave gradients out of a block (with torch.no_grad(): ...).",
    ),
    DETERMINISTIC: _Setting(
        torch.get_deterministic_debug_mode, _put_deterministic, "The key device.deterministic chooses it."
    ),
    THREADS: _Setting(torch.get_num_threads, torch.set_num_threads, "The key device.threads chooses it."),
    "torch's search for anomalies": _Setting(
        torch.is_anomaly_enabled,
        torch.autograd.set_detect_anomaly,
        "Search in a block alone (with torch.autograd.detect_anomaly(): ...).",
    ),
    BENCHMARK: _attribute("backends.cudnn.benchmark", "It follows from the key device.deterministic."),
    FILL: _attribute("utils.deterministic.fill_uninitialized_memory", "Leave it out."),
    **{
        name: _attribute(name.partition(".")[2], "The key device.precision chooses it.")
        for name in (*FLOAT32, *_FLOAT32_CPU)
    },
    **{
        name: _Setting(
            partial(torch.is_autocast_enabled, kind),
            partial(torch.set_autocast_enabled, kind),
            "Use it in a block alone (with torch.autocast(...)), or set device.precision=bf16.",
        )
        for name, kind in _AUTOCAST.items()
    },
}

STANDARD: Final[Mapping[str, Any]] = {
    DTYPE: torch.float32, DEVICE: torch.device("cpu"), GRADIENTS: True,
    **dict.fromkeys(_FLOAT32_CPU, "ieee"), **dict.fromkeys(_AUTOCAST, False),
}  # fmt: skip
"""What a run computes with, whatever the process has set."""


def settings_now() -> dict[str, Any]:
    """Return the settings: what a message calls each -> its value."""
    return {name: setting.get() for name, setting in _SETTINGS.items()}


def put_settings(values: Mapping[str, Any]) -> None:
    """Set settings.

    Args:
        values: Their values, by the names of :func:`settings_now`.
    """
    for name, value in values.items():
        _SETTINGS[name].put(value)


def _put_back(before: Mapping[str, Any]) -> list[str]:
    """Put settings back that have changed, and return their names."""
    now = settings_now()
    changed = {name: value for name, value in before.items() if now[name] != value}
    put_settings(changed)
    return list(changed)


@contextmanager
def refuse_changed_settings(what: str) -> Iterator[None]:
    """Put torch's settings back after this block, and refuse a block that has changed some.

    Args:
        what: The own code that the block calls, for the message.

    Raises:
        ConfigError: Some have changed. If the block fails, this may be why.
    """
    before = settings_now()
    try:
        yield
    except Exception as error:
        if changed := _put_back(before):
            raise _refusal(what, changed) from error
        raise
    finally:
        changed = _put_back(before)
    if changed:
        raise _refusal(what, changed)


@contextmanager
def put_back_with_warning(what: str) -> Iterator[None]:
    """Put torch's settings back after this block, and warn of those that it has changed.

    Args:
        what: What the block does with own code, for the message.
    """
    before = settings_now()
    try:
        yield
    finally:
        changed = _put_back(before)
    if changed:
        log.warning("%s changes %s. This was put back. %s", what, listed(changed, 3), _instead(changed))


@contextmanager
def one_thread() -> Iterator[None]:
    """Let one thread of this process after another do this block: torch's settings are of the whole process."""
    if not _ONE_THREAD.acquire(timeout=_SECONDS_OF_SILENCE):
        log.warning("another thread of this process computes with metaexp; this one waits until that has ended")
        _ONE_THREAD.acquire()
    try:
        yield
    finally:
        _ONE_THREAD.release()


@contextmanager
def standard_settings(more: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Within this block, use the settings that a run computes with, also inside of ``torch.inference_mode()``.

    Another thread that comes to such a block waits.

    Args:
        more: Further settings, by the names of :func:`settings_now`.
    """
    with one_thread():
        before = settings_now()
        try:
            put_settings({**STANDARD, **(more or {})})
            with ExitStack() as stack:
                stack.enter_context(torch.inference_mode(False))
                if torch.get_default_device().type != "cpu":  # in ``with torch.device(...)``, which no setting ends
                    stack.enter_context(torch.device("cpu"))
                yield
        finally:
            _put_back(before)


def _refusal(what: str, changed: list[str]) -> ConfigError:
    return ConfigError(
        f"{what} changes {listed(changed, 3)}, for everything in this process. Remove that. {_instead(changed)}"
    )


def _instead(changed: list[str]) -> str:
    return " ".join(dict.fromkeys(_SETTINGS[name].instead for name in changed))
