"""The conditions under which a resumed run continues bit for bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

import metaexp
from metaexp.config.schema import OwnCode
from metaexp.machine.device import Compute
from metaexp.results import provenance
from metaexp.results.record import Machine

_BEFORE: Mapping[str, Any] = {"ranks": 1, "runs_together": 1}
"""Keys that older checkpoints lack, with the only value that was possible then."""

OWN_CODE = "own code"
"""The key of the user's own code: the first 12 digits of its digest."""

_NOT_IN_OLD_CHECKPOINTS = ("metaexp sources", OWN_CODE, "processor")
"""Keys that older checkpoints lack. They count as unchanged then."""


def environment(compute: Compute, own_code: OwnCode | None) -> dict[str, Any]:
    """Versions, device, threads and ranks.

    Args:
        compute: The device and threads in use.
        own_code: The user's code that the configuration names, if any.
    """
    machine: Machine = compute.recorded()
    return {
        "metaexp": metaexp.__version__,
        "commit": provenance.git_commit(),
        "metaexp sources": provenance.sources_digest()[:12],
        OWN_CODE: None if own_code is None else own_code.digest[:12],
        "torch": torch.__version__,
        **dataclasses.asdict(machine),
    }


def changed_environment(then: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """List what changed, such as ``threads was 2 and is 1``.

    Args:
        then: The environment in a checkpoint. An older one lacks some keys.
        here: The environment now.
    """
    known = {key: here[key] for key in _NOT_IN_OLD_CHECKPOINTS if key in here}
    return provenance.changed_values({**_BEFORE, **known, **then}, here)
