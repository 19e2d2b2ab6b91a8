"""Whether this machine must give the numbers of a record to the last digit."""

from __future__ import annotations

import torch

from metaexp.machine.processor import processor_model
from metaexp.results.record import RunRecord


def is_same_machine(record: RunRecord) -> bool:
    """Whether a record was made on a processor of this model with this torch. On others, sums are rounded otherwise.

    Older records do not have the model, only a name that models of several years share.
    """
    device = record.device
    return (
        device is not None
        and device.processor == processor_model()
        and record.versions.get("torch") == torch.__version__
    )
