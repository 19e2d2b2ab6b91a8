"""What own code changes in torch for the whole process is put back, and named."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from changed_settings import CALLS, unchanged_settings

from metaexp.core.errors import ConfigError
from metaexp.models import torch_settings
from metaexp.models.torch_settings import (
    put_back_with_warning,
    refuse_changed_settings,
    settings_now,
    standard_settings,
)


def changing(*calls: Callable[[], object], error: Exception | None = None) -> None:
    """Own code that makes calls of torch, and may fail."""
    with refuse_changed_settings("model=own"):
        for call in calls:
            call()
        if error is not None:
            raise error


@pytest.mark.parametrize(("call", "named"), CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("error", [None, RuntimeError("because of what has changed")], ids=["works", "fails"])
def test_a_change_is_refused_by_name_and_put_back(
    call: Callable[[], object], named: str, error: Exception | None
) -> None:
    before = settings_now()
    said = f"^model=own changes {named}, for everything in this process. Remove that. "
    with unchanged_settings(), pytest.raises(ConfigError, match=said) as caught:
        changing(call, error=error)
    assert caught.value.__cause__ is error
    assert settings_now() == before
    with unchanged_settings():
        call()
        assert settings_now() != before


def test_several_changes_are_named_together() -> None:
    with pytest.raises(ConfigError, match=r"default dtype, the number of torch's threads, .* device\.threads"):
        changing(CALLS["dtype"][0], CALLS["threads"][0])


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_a_block_that_changes_nothing_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    def quiet() -> None:
        with torch.no_grad(), torch.device("meta"), torch.autograd.detect_anomaly():
            torch.zeros(3, dtype=torch.float64)

    before = settings_now()
    changing(quiet)
    with put_back_with_warning("the import of own"):
        quiet()
    with pytest.raises(ValueError, match="its own"):
        changing(quiet, error=ValueError("its own"))
    assert settings_now() == before
    assert not caplog.records


def test_what_an_import_changes_is_put_back_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    before = settings_now()
    with unchanged_settings(), put_back_with_warning("the import of own"):
        torch.set_default_dtype(torch.float64)
    assert settings_now() == before
    assert "the import of own changes torch's default dtype. This was put back. " in caplog.text


def test_a_run_computes_with_the_standard_whatever_the_process_has_set() -> None:
    with unchanged_settings():
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        torch.set_grad_enabled(False)
        torch.set_autocast_enabled("cpu", True)
        torch.set_float32_matmul_precision("medium")
        with standard_settings():
            tensor = torch.ones(1, 1, requires_grad=True) @ torch.ones(1, 1)
            assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"  # type: ignore[attr-defined]
            assert (tensor.dtype, tensor.device.type, tensor.requires_grad) == (torch.float32, "cpu", True)
        assert (torch.ones(1).dtype, torch.ones(1).device.type) == (torch.float64, "meta")
        assert not torch.is_grad_enabled()
        assert torch.is_autocast_enabled("cpu")
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", [torch.inference_mode, lambda: torch.device("meta")], ids=["inference", "device"])
def test_the_standard_holds_within_a_mode_that_no_setting_ends(
    mode: Callable[[], AbstractContextManager[object]],
) -> None:
    def facts() -> tuple[object, ...]:
        tensor = torch.ones(1, requires_grad=True) * 2
        return (tensor.device.type, tensor.requires_grad, tensor.is_inference())

    usual = facts()
    with mode():
        changed = facts()
        assert changed != usual
        with standard_settings():
            assert facts() == usual
        assert facts() == changed
        with pytest.raises(ValueError, match="inside"), standard_settings():
            raise ValueError("inside")
        assert facts() == changed
    assert facts() == usual


@pytest.mark.parametrize("block", ["cpu", "meta"])
def test_a_device_that_is_set_around_a_block_of_another_one_is_as_before(block: str) -> None:
    with unchanged_settings():
        torch.set_default_device("meta")
        with torch.device(block):
            for _ in range(2):
                with standard_settings():
                    assert torch.ones(1).device.type == "cpu"
                assert torch.ones(1).device.type == block
        assert torch.ones(1).device.type == "meta"
    assert torch.ones(1).device.type == "cpu"


def test_a_thread_that_has_to_wait_for_another_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch_settings, "_SECONDS_OF_SILENCE", 0.01)
    done: list[str] = []

    def other() -> None:
        with standard_settings():
            done.append("other")

    thread = threading.Thread(target=other)
    with standard_settings(), standard_settings():
        assert caplog.messages == []
        thread.start()
        thread.join(0.3)
        assert done == []
        assert "another thread of this process computes with metaexp" in caplog.text
    thread.join(10)
    assert done == ["other"]
