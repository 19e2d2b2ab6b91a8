"""Features of frozen networks: computed once for all examples of a dataset, and kept."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from metaexp.core.algorithm import Algorithm
from metaexp.core.counted import counted
from metaexp.data.base import MetaDataset, Progress
from metaexp.data.cache.prepared import Prepared, cached
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.mapped.example_file import new_examples
from metaexp.models.base import Network

_BATCH: Final = 64
_LINE_EVERY: Final = 5000
_VERSION: Final = 1


def with_features(
    dataset: MetaDataset, algorithm: Algorithm, folder: Path, device: torch.device, progress: Progress
) -> MetaDataset:
    """Return a dataset whose episodes have features in place of images, where the network of an algorithm is frozen.

    They are computed when the first episode is made, because a run that continues gets its weights late. From then on
    they come from the cache, under the digests of the weights and of the data.

    Args:
        dataset: The images.
        algorithm: What is trained or tested.
        folder: ``paths.data``, which has the cache.
        device: Where features are computed.
        progress: Receives a line about what is computed and kept.

    Returns:
        The dataset, with the same rows, episodes and digests; as it was where no network is frozen.
    """
    networks = [m for m in algorithm.modules() if isinstance(m, Network) and m.has_frozen_features]
    if len(networks) != 1 or not isinstance(dataset, ClassDataset):
        return dataset
    network = networks[0]
    images = dataset
    return dataset.with_features(lambda: _features(images, network, folder, device, progress))


def _features(images: ClassDataset, network: Network, folder: Path, device: torch.device, progress: Progress) -> Tensor:
    """The features (rows, F) of all rows of a dataset, on the CPU."""

    def build() -> Prepared:
        progress(f"Computing the features of {counted(images.n_rows, 'image')}, once for these weights.")
        first = _of_rows(images, network, 0, 1, device)
        found = new_examples((images.n_rows, *first.shape[1:]), {"all": images.n_rows}, "float32")
        for start in range(0, images.n_rows, _BATCH):
            stop = min(start + _BATCH, images.n_rows)
            found[start:stop] = _of_rows(images, network, start, stop, device).numpy()
            if start and start // _LINE_EVERY != stop // _LINE_EVERY:
                progress(f"  {stop} of {counted(images.n_rows, 'image')}")
        return Prepared(torch.from_numpy(found), {"all": images.n_rows}, digest)

    digest = hashlib.sha256(f"{weights_digest(network)} {images.digest}".encode()).hexdigest()
    return cached("features", {"of": digest, "features": _VERSION}, folder, build, progress).examples


def _of_rows(images: ClassDataset, network: Network, start: int, stop: int, device: torch.device) -> Tensor:
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            x = images.examples(torch.arange(start, stop, device=images.device)).to(device)
            return network.features(x).float().cpu()
    finally:
        network.train(was_training)


def weights_digest(network: Network) -> str:
    """Return the SHA-256 (hex) of the class, the parameters and the buffers that features depend on.

    Args:
        network: The network; its head does not count.
    """
    digest = hashlib.sha256(f"{type(network).__module__}.{type(network).__qualname__}".encode())
    for name, tensor in sorted(network.state_dict().items()):
        if not name.startswith("head."):
            content = tensor.detach().cpu().contiguous()
            digest.update(f"\0{name} {content.dtype} {list(content.shape)}\0".encode())
            digest.update(content.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
