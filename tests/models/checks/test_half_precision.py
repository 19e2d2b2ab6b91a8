"""Trainable weights of half precision are refused."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from metaexp.core.errors import ConfigError
from metaexp.models.checks.half_precision import refuse_half_precision
from metaexp.run.initial.algorithm import build_algorithm
from metaexp.run.initial.network import Interface
from metaexp.run.job import run_job


@pytest.mark.parametrize(("dtype", "name"), [(torch.float16, "float16"), (torch.bfloat16, "bfloat16")])
def test_trainable_weights_of_half_precision_are_refused(dtype: torch.dtype, name: str) -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2).to(dtype))
    with pytest.raises(ConfigError, match=rf"model: parameters 1\.weight, 1\.bias of Sequential are {name}\."):
        refuse_half_precision(network, "model")


def test_one_parameter_is_named_alone() -> None:
    with pytest.raises(ConfigError, match=r"algorithm: parameter weight of Linear is float16\."):
        refuse_half_precision(nn.Linear(3, 2, bias=False, dtype=torch.float16), "algorithm")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
def test_larger_ones_and_frozen_ones_are_not(dtype: torch.dtype) -> None:
    backbone = nn.Linear(3, 2).half().requires_grad_(False)
    refuse_half_precision(nn.Sequential(backbone, nn.Linear(2, 2, dtype=dtype)), "model")


@pytest.mark.parametrize("precision", ["half", "float"])
def test_a_run_whose_network_has_them_does_not_begin(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    made, forward = tiny.Net.__init__, tiny.Net.forward

    def make(self: Any, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        getattr(self, precision)()

    def with_casts(self: Any, x: Tensor) -> Tensor:
        scores: Tensor = forward(self, x.to(next(self.parameters()).dtype)).float()
        return scores

    monkeypatch.setattr(tiny.Net, "__init__", make)
    monkeypatch.setattr(tiny.Net, "forward", with_casts)
    settings = tiny.settings(tmp_path, train__steps=1)
    if precision == "float":
        run_job(settings)
        return
    with pytest.raises(ConfigError, match=r"model: parameters .* of Net are float16\."):
        run_job(settings)


def test_a_run_that_has_begun_with_them_is_tested_as_it_is(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tiny.Net.__init__

    def make(self: Any, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        self.to(torch.bfloat16)

    settings = tiny.settings(tmp_path, train__steps=1)
    interface = Interface((1,), 1)
    monkeypatch.setattr(tiny.Net, "__init__", make)
    monkeypatch.setattr(tiny.Net, "forward", lambda self, x: x * 1.0)
    build_algorithm(settings, interface)
    with pytest.raises(ConfigError, match="bfloat16"):
        build_algorithm(settings, interface, begins=True)
