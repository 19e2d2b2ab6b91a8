"""Whether this machine must give the numbers of a record to the last digit."""

from __future__ import annotations

import torch

from metaexp.machine.device import device_name
from metaexp.results.record import RunRecord


def is_same_machine(record: RunRecord) -> bool:
    """Whether a record was made on this processor with this torch. On others, sums are rounded otherwise."""
    device = record.device
    return (
        device is not None
        and device.name == device_name(torch.device("cpu"))
        and record.versions.get("torch") == torch.__version__
    )
