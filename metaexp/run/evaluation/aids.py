"""What helps where many runs are tested: data that stay loaded, results that are known, shared work."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any, Final

import torch

from metaexp.config.schema import Settings
from metaexp.core.types import EvalResult
from metaexp.data.base import MetaDataset, Progress
from metaexp.machine.device import Compute
from metaexp.results.episodes import episodes_sha256
from metaexp.results.measured import Measured, recall, remember
from metaexp.results.provenance import sources_digest, versions
from metaexp.run.build import load_dataset
from metaexp.run.evaluation.chunks import Chunks, InTurn
from metaexp.run.evaluation.scores import recorded
from metaexp.run.evaluation.selection import Selected
from metaexp.run.first_record import utc_now

_FURTHER: Final = ("timm", "torchvision")
"""Packages with networks or data, which :func:`versions` leaves out."""

Load = Callable[[Settings, Compute, Progress], MetaDataset]
"""Loads the data of some settings into the memory of a device."""


class LastData:
    """Loads data, and keeps those that it loaded last, for the next test with the same ones.

    Only one dataset is in memory at a time. Data by the user's own code are loaded for each test, because such code may
    keep something from one test to the next.
    """

    def __init__(self) -> None:
        """Start without data."""
        self._wanted = ""
        self._dataset: MetaDataset | None = None

    def load(self, settings: Settings, compute: Compute, progress: Progress) -> MetaDataset:
        """Return the data of some settings.

        Args:
            settings: The checked configuration.
            compute: The device.
            progress: Takes lines about what is done meanwhile.
        """
        places = (str(settings.paths.data), settings.device.examples, str(compute.device))
        wanted = json.dumps([settings.resolved["dataset"], *places], sort_keys=True, default=str)
        if self._dataset is not None and wanted == self._wanted and settings.own_code is None:
            return self._dataset
        self._dataset = None  # never two of them
        dataset = load_dataset(settings, compute, progress)
        if settings.own_code is None:
            self._wanted, self._dataset = wanted, dataset
        return dataset


def _load(settings: Settings, compute: Compute, progress: Progress) -> MetaDataset:
    return load_dataset(settings, compute, progress)


@dataclass(frozen=True)
class Aids:
    """What helps a test. By default nothing does.

    Attributes:
        load: Loads the data.
        chunks: Who measures which episodes.
        recalls: Whether a result that is known is taken instead of another test.
        remembers: Whether the result is kept.
    """

    load: Load = field(default_factory=lambda: _load)
    chunks: Chunks = field(default_factory=InTurn)
    recalls: bool = False
    remembers: bool = False

    def result(
        self, identity: Mapping[str, Any] | None, test: Callable[[], EvalResult], metric: str, compute: Compute
    ) -> tuple[Measured, EvalResult | None]:
        """Return the result of a test, and the episodes if it was made now.

        Args:
            identity: All that decides the result; None if not all of it is known, so that nothing is kept.
            test: Makes the test.
            metric: The name of its metric.
            compute: The device.
        """
        known = recall(identity) if self.recalls and identity is not None else None
        if known is not None:
            return known, None
        since = time.monotonic()
        result = test()
        measured = Measured(
            **recorded(result, metric),
            episodes_sha256=episodes_sha256(result.per_step.tolist(), result.domains),
            device=compute.recorded(),
            versions=versions(),
            sources=sources_digest(),
            finished=utc_now(),
            seconds=time.monotonic() - since,
        )
        if self.remembers and identity is not None:
            remember(identity, measured)
        return measured, result


def identity_of(
    weights: Selected, settings: Settings, compute: Compute, data_hash: str, episode_bank: str
) -> dict[str, Any] | None:
    """Return all that decides the result of a test; None if it runs the user's own code, which may use anything.

    Args:
        weights: The weights.
        settings: The settings of the test.
        compute: The device.
        data_hash: The digest of the data.
        episode_bank: The digest of the test episodes.
    """
    if settings.own_code is not None:
        return None
    left_out = ("paths", "tracker", "reference", "tags", "notes")
    return {
        "weights": digest_of(weights),
        "settings": {key: value for key, value in settings.resolved.items() if key not in left_out},
        "data": data_hash,
        "episodes": settings.eval.episodes,
        "episode_bank": episode_bank,
        "device": asdict(compute.recorded()),
        "sources": sources_digest(),
        "versions": versions() | _further(),
    }


def digest_of(weights: Selected) -> str:
    """Return the SHA-256 (hex) of the names, types, shapes and bytes of weights, and of what they were built for.

    Args:
        weights: The selected weights of a run.
    """
    digest = hashlib.sha256(repr((weights.step, weights.interface)).encode())
    for name, tensor in sorted(weights.weights.items()):
        content = tensor.detach().cpu().contiguous()
        digest.update(f"\0{name} {content.dtype} {list(content.shape)}\0".encode("utf-8", "surrogateescape"))
        digest.update(content.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _further() -> dict[str, str]:
    found = {}
    for name in _FURTHER:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
