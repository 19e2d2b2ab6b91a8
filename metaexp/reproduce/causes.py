"""Reads from two records why the numbers of a rerun could differ from those of its run. Without torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from metaexp.results.own_code import differing_files, inexact_resumes, source_files
from metaexp.results.provenance import changed_values
from metaexp.results.record import RunRecord


def conditions(before: RunRecord, now: RunRecord) -> list[str]:
    """Return what has changed since the run: versions, device, threads, commit; one sentence each, in this order.

    Args:
        before: The record of the run.
        now: The record of the same run made again.
    """
    return [
        *changed_values(before.versions, now.versions),
        *changed_values(*_devices(before, now)),
        *_commits(before, now),
        *(["the data differ"] if before.data_hash not in (None, now.data_hash) else []),
    ]


def likely_causes(before: RunRecord, now: RunRecord, changed: Sequence[str]) -> list[str]:
    """Return sentences about why the numbers differ: what is known to have changed, else where to look.

    Args:
        before: The record of the run.
        now: The record of the rerun.
        changed: The result of :func:`conditions`.
    """
    causes = list(changed)
    for which, record in (("the run", before), ("the rerun", now)):
        if record.git is not None and record.git.dirty:
            causes.append(f"{which} was made with source files that differ from its commit")
        if not record.exact_resume:
            changed = [f"{where}: {what}" for where, what in inexact_resumes(record).items()]
            how = f"but not bit for bit ({', '.join(changed)})" if changed else "on another machine, version or code"
            causes.append(f"{which} was continued {how}")
        if record.device is not None and not record.device.deterministic:
            causes.append(
                f"{which} was made with device.deterministic=false, which allows differences in the last bits"
            )
    if causes:
        return causes
    missing = [
        *(["commit"] if before.git is None or now.git is None else []),
        *(["model of processor"] if _lacks_processor(before) or _lacks_processor(now) else []),
    ]
    unknown = f" (a record does not have the {' and the '.join(missing)})" if missing else ""
    return [
        f"none of what is recorded (versions, device, threads, commit, data) differs{unknown}: look at the source of "
        "algorithms and networks of your own, at packages that are not recorded, at files of the run that were "
        "changed after it, and at the machine's memory"
    ]


def _lacks_processor(record: RunRecord) -> bool:
    """Whether the numbers come from a processor whose model is not recorded."""
    return record.device is not None and record.device.accelerator == "cpu" and record.device.processor is None


def _devices(before: RunRecord, now: RunRecord) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both devices, with the model of the processor if both records have it."""
    then, here = ({} if r.device is None else dataclasses.asdict(r.device) for r in (before, now))
    if None in (then.get("processor"), here.get("processor")):
        for device in (then, here):
            device.pop("processor", None)
    return then, here


def _commits(before: RunRecord, now: RunRecord) -> list[str]:
    """Known differences in metaexp's code and in the user's own."""
    found = []
    if before.git is not None and now.git is not None:
        found += changed_values({"commit": before.git.commit[:12]}, {"commit": now.git.commit[:12]})
    if before.sources is not None and now.sources is not None and not found:
        found += changed_values({"metaexp sources": before.sources[:12]}, {"metaexp sources": now.sources[:12]})
    files = differing_files(source_files(before.own_code), source_files(now.own_code))
    own = changed_values({"own code": _digest(before)}, {"own code": _digest(now)})
    return [*found, *own, *([f"own code differs in {', '.join(files)}"] if files else [])]


def _digest(record: RunRecord) -> str | None:
    return None if record.own_code is None else record.own_code.digest[:12]
