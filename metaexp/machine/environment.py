"""What must be the same for a resumed run to continue bit for bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

import metaexp
from metaexp.machine.device import Compute
from metaexp.results import provenance
from metaexp.results.record import Machine

_BEFORE: Mapping[str, Any] = {"ranks": 1}
"""What a checkpoint did not say yet while there was only one possibility."""


def environment(compute: Compute) -> dict[str, Any]:
    """Versions, device, threads and ranks."""
    machine: Machine = compute.recorded()
    git = provenance.git_state()
    return {
        "metaexp": metaexp.__version__,
        "commit": None if git is None else git.commit,
        "torch": torch.__version__,
        **dataclasses.asdict(machine),
    }


def differences(then: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """``threads was 2 and is 1`` and so on; ``then`` may be of a checkpoint that did not say everything yet."""
    return provenance.differences({**_BEFORE, **then}, here)
