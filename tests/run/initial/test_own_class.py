"""Constructors of one's own may not change torch, or its seed, for the whole run."""

from __future__ import annotations

import functools
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from changed_settings import CALLS, unchanged_settings

from metaexp.config.classes import targets
from metaexp.config.schema import Settings
from metaexp.core.errors import ConfigError
from metaexp.machine.device import Compute, use_device
from metaexp.models.library_noise import numpy_and_python_states
from metaexp.models.torch_settings import settings_now
from metaexp.run.build import Parts, build
from metaexp.run.initial.own_class import import_own

CPU = Compute(torch.device("cpu"), "test", "float32", 1, True, None)
OUT = Path("unused")
MEMBERS = [("Net", "model"), ("TinyMAML", "algorithm"), ("CountingAdam", "optimizer"), ("Lines", "dataset")]


def built(tiny: ModuleType, **changes: Any) -> Parts:
    return build_from(tiny.settings(OUT, **changes))


def build_from(settings: Settings) -> Parts:
    return build(settings, CPU, lambda _: None)


def let(monkeypatch: pytest.MonkeyPatch, cls: type, method: str, act: Callable[[], object]) -> None:
    """Let a method do something more before it begins."""
    original: Callable[..., object] = getattr(cls, method)

    @functools.wraps(original)
    def changed(self: object, *args: object, **kwargs: object) -> object:
        act()
        return original(self, *args, **kwargs)

    monkeypatch.setattr(cls, method, changed)


@pytest.mark.parametrize("call", [lambda: np.random.seed(0), lambda: random.seed(0)], ids=["numpy", "Python"])
@pytest.mark.parametrize(("cls", "section"), MEMBERS[:2])
def test_a_constructor_that_seeds_numpy_or_python_is_warned_of_and_disturbs_nothing(
    tiny: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    cls: str, section: str, call: Callable[[], object],
) -> None:  # fmt: skip
    parts = built(tiny)
    assert "calls" not in caplog.text
    before = numpy_and_python_states(), np.random.seed, random.seed
    let(monkeypatch, getattr(tiny, cls), "__init__", call)
    changed = built(tiny)
    assert (numpy_and_python_states(), np.random.seed, random.seed) == before
    assert len(re.findall(rf"{section}=\S+ calls (numpy\.random|random)\.seed, so what it draws", caplog.text)) == 1
    pairs = zip(parts.algorithm.state_dict().values(), changed.algorithm.state_dict().values(), strict=True)
    assert all(torch.equal(first, second) for first, second in pairs)


@pytest.mark.parametrize(("call", "named"), CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(("cls", "section"), MEMBERS)
def test_a_constructor_that_changes_torch_is_refused_and_torch_is_as_before(
    tiny: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    cls: str,
    section: str,
    call: Callable[[], object],
    named: str,
) -> None:
    settings = tiny.settings(OUT)  # the check makes the dataset, too
    let(monkeypatch, getattr(tiny, cls), "__init__", call)
    before = settings_now()
    with unchanged_settings(), pytest.raises(ConfigError, match=f"{section}.* changes .*{named}"):
        build_from(settings)
    assert settings_now() == before


@pytest.mark.parametrize(("cls", "method"), [("Net", "forward"), ("Lines", "load")])
def test_a_call_that_changes_torch_is_refused(
    tiny: ModuleType, monkeypatch: pytest.MonkeyPatch, cls: str, method: str
) -> None:
    let(monkeypatch, getattr(tiny, cls), method, lambda: torch.set_default_dtype(torch.float64))
    with unchanged_settings(), pytest.raises(ConfigError, match="=.* changes torch's default dtype"):
        built(tiny)


@pytest.mark.parametrize(("cls", "section"), MEMBERS[:2])
def test_a_constructor_that_seeds_torch_is_refused(
    tiny: ModuleType, monkeypatch: pytest.MonkeyPatch, cls: str, section: str
) -> None:
    def quietly() -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(11)

    let(monkeypatch, getattr(tiny, cls), "__init__", quietly)
    built(tiny)
    let(monkeypatch, getattr(tiny, cls), "__init__", lambda: torch.manual_seed(11))
    with pytest.raises(ConfigError, match=rf"{section}=\w+ calls torch\.manual_seed, so that its initial values"):
        built(tiny)


MODULE = """
import torch
from tiny_runs import Net
torch.set_default_dtype(torch.float64)
torch.set_num_threads(torch.get_num_threads() + 1)
torch.manual_seed(11)
class Seeded(Net):
    pass
"""


def test_the_module_of_a_network_changes_neither_torch_nor_the_first_weights(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "seeds_torch.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(targets, "_trusted", set(targets._trusted))
    targets.trust("seeds_torch")
    before = settings_now()
    model = {"_target_": "seeds_torch.Seeded", "width": 8, "dropout": 0.1}
    plain = built(tiny, seed=3).algorithm.model
    first = built(tiny, seed=3, model=model).algorithm.model
    assert settings_now() == before
    assert (
        "the import of seeds_torch.Seeded changes torch's default dtype, the number of torch's threads" in caplog.text
    )
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), plain.parameters(), strict=True))  # type: ignore[union-attr]
    sys.modules.pop("seeds_torch")


def test_a_process_that_computes_with_float64_trains_with_float32(tiny: ModuleType) -> None:
    settings = tiny.settings(OUT)
    plain = built(tiny).algorithm
    with unchanged_settings():
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        with use_device(settings.device) as compute:
            found = build(settings, compute, lambda _: None).algorithm
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), plain.parameters(), strict=True))


def test_only_the_expected_kind_of_class_is_imported(tiny: ModuleType) -> None:
    with pytest.raises(ConfigError, match="is not a Parts"):
        import_own(tiny.settings(OUT).model, Parts)
