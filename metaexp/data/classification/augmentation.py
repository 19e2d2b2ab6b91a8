"""Random changes of training images, addressed as episodes are.

What happens to an image is a function of (seed, index of the episode, support or query, place in it) alone. So a
resumed run, other ranks and other processes change it in the same way. No operation waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from metaexp.core.addressing import episode_keys, integers, subkeys, unit_floats
from metaexp.core.constants import constant
from metaexp.core.errors import ConfigError
from metaexp.core.shapes import Split
from metaexp.core.types import Episode, Examples
from metaexp.data.base import MetaDataset, SourceOver, TaskSource
from metaexp.data.classification.preprocessing import Augmentation, Pixels

_SUPPORT: Final = 16
_QUERY: Final = 17
_FLIP, _TURN, _DOWN, _RIGHT, _BRIGHTNESS, _CONTRAST, _SATURATION, _WORDS = range(8)
_GREY: Final = (0.2989, 0.587, 0.114)
"""Red, green and blue in the brightness of a colour (ITU-R BT.601)."""


def augmented(source: TaskSource, dataset: MetaDataset, augmentation: Augmentation, seed: int) -> TaskSource:
    """Return the tasks of a source whose training images are changed at random; the same source for no change.

    Args:
        source: The training tasks.
        dataset: Where they are from.
        augmentation: The changes.
        seed: The seed of the run.

    Raises:
        ConfigError: The data are not images, or not of the kind that a change needs.
    """
    if not augmentation.changes:
        return source
    shape = tuple(dataset.input_shape)
    if dataset.kind != "classification" or len(shape) != 3:
        raise ConfigError(
            f"augment changes images, and an example of this dataset has the shape {shape}. Leave augment as it is by "
            "default."
        )
    if augmentation.turn and shape[1] != shape[2]:
        raise ConfigError(f"augment.turn=true needs square images; these are {shape[1]} x {shape[2]} pixels.")
    if augmentation.crop >= min(shape[1:]):
        raise ConfigError(
            f"augment.crop={augmentation.crop} pads images of {shape[1]} x {shape[2]} pixels by their whole side. "
            "Lower it."
        )
    pixels = dataset.stored_pixels() if augmentation.changes_colour or augmentation.crop else None
    if augmentation.changes_colour and pixels is None:
        raise ConfigError(
            "augment.brightness, contrast and saturation need images that are stored as bytes; these are floats of "
            "unknown scale. Leave them at 0."
        )
    if augmentation.saturation and shape[0] != 3:
        raise ConfigError(f"augment.saturation needs images with 3 channels; these have {shape[0]}. Leave it at 0.")
    return AugmentedSource(source, augmentation, pixels or Pixels(), seed)


class AugmentedSource(SourceOver):
    """Tasks whose training images are changed. Those of other splits are left alone."""

    def __init__(self, source: TaskSource, augmentation: Augmentation, pixels: Pixels, seed: int) -> None:
        """Take the tasks, the changes, how bytes became the values of the images, and the seed."""
        super().__init__(source)
        self._augmentation = augmentation
        self._pixels = pixels
        self._seed = seed

    def episodes(self, split: Split, indices: Tensor) -> Episode:
        """Return the episodes at ``indices`` (T,), those of the training split with changed images."""
        episode = self._source.episodes(split, indices)
        if split != "train":
            return episode
        keys = episode_keys(self._seed, split, indices.to(episode.support.x.device, non_blocking=True))
        if episode.query.x is episode.support.x:  # a supervised batch, which is both
            batch = self._changed(episode.support, keys, _SUPPORT)
            return Episode(batch, batch)
        support, query = episode
        if self._augmentation.parts != "query":
            support = self._changed(support, keys, _SUPPORT)
        if self._augmentation.parts != "support":
            query = self._changed(query, keys, _QUERY)
        return Episode(support, query)

    def _changed(self, examples: Examples, keys: Tensor, stream: int) -> Examples:
        n_tasks, n_examples = examples.y.shape[:2]
        words = subkeys(subkeys(keys, stream, n_examples), 0, _WORDS).flatten(0, 1)  # (T * S, words)
        x = change_images(examples.x.flatten(0, 1), words, self._augmentation, self._pixels)
        return examples._replace(x=x.view(n_tasks, n_examples, *x.shape[1:]))


def change_images(images: Tensor, words: Tensor, augmentation: Augmentation, pixels: Pixels) -> Tensor:
    """Change images: turn, mirror, shift, then brightness, contrast and saturation.

    Args:
        images: (n, C, H, W) float32.
        words: (n, 8) int64, the random numbers of each image.
        augmentation: The changes.
        pixels: How bytes became the values of the images. Margins are black and colours are changed as of values from
            0 to 1, before mean and std.

    Returns:
        (n, C, H, W) float32.
    """
    axes = (-1, 1, 1)
    mean = constant(tuple(pixels.mean or (0.0,)), images.device).view(axes)
    std = constant(tuple(pixels.std or (1.0,)), images.device).view(axes)
    if augmentation.moves:
        place, inside = _places(words, augmentation, images.shape[-2], images.shape[-1])
        moved = images.flatten(2).gather(2, place[:, None].expand(-1, images.shape[1], -1)).view_as(images)
        images = moved if inside is None else torch.where(inside[:, None], moved, -mean / std)
    if augmentation.changes_colour:
        images = (_coloured(images * std + mean, words, augmentation) - mean) / std
    return images


def _places(words: Tensor, augmentation: Augmentation, height: int, width: int) -> tuple[Tensor, Tensor | None]:
    """The pixel (n, H * W) that each pixel comes from, and whether there is one (n, H, W); None if there always is."""
    rows = torch.arange(height, device=words.device).view(1, -1, 1)
    columns = torch.arange(width, device=words.device).view(1, 1, -1)
    inside, pad = None, augmentation.crop
    if pad:
        rows = rows + integers(words[:, _DOWN], 2 * pad + 1).view(-1, 1, 1) - pad
        columns = columns + integers(words[:, _RIGHT], 2 * pad + 1).view(-1, 1, 1) - pad
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    if augmentation.flip:
        mirrored = integers(words[:, _FLIP], 2).view(-1, 1, 1) == 1
        columns = torch.where(mirrored, width - 1 - columns, columns)
    if augmentation.turn:
        turn = integers(words[:, _TURN], 4).view(-1, 1, 1)
        last = height - 1
        turned = ((rows, columns), (columns, last - rows), (last - rows, last - columns), (last - columns, rows))
        rows, columns = (_chosen(turn, [pair[axis] for pair in turned]) for axis in (0, 1))
    return (rows * width + columns).expand(len(words), height, width).flatten(1), inside


def _chosen(number: Tensor, values: Sequence[Tensor]) -> Tensor:
    """For each place, the value with its number."""
    found = values[0]
    for n, value in enumerate(values[1:], 1):
        found = torch.where(number == n, value, found)
    return found


def _coloured(images: Tensor, words: Tensor, augmentation: Augmentation) -> Tensor:
    """Images (n, C, H, W) with values from 0 to 1, in other brightness, contrast and saturation."""
    if augmentation.brightness:
        images = (images * _factor(words, _BRIGHTNESS, augmentation.brightness)).clamp(0.0, 1.0)
    if augmentation.contrast:
        middle = _grey(images).mean((1, 2, 3), keepdim=True)
        images = (middle + (images - middle) * _factor(words, _CONTRAST, augmentation.contrast)).clamp(0.0, 1.0)
    if augmentation.saturation:
        grey = _grey(images)
        images = (grey + (images - grey) * _factor(words, _SATURATION, augmentation.saturation)).clamp(0.0, 1.0)
    return images


def _factor(words: Tensor, word: int, most: float) -> Tensor:
    """A factor (n, 1, 1, 1) between 1 - ``most`` and 1 + ``most`` for each image."""
    return (1.0 + most * (2.0 * unit_floats(words[:, word]) - 1.0)).view(-1, 1, 1, 1)


def _grey(images: Tensor) -> Tensor:
    """The brightness (n, 1, H, W) of images."""
    if images.shape[1] != len(_GREY):
        return images.mean(1, keepdim=True)
    return (images * constant(_GREY, images.device).view(-1, 1, 1)).sum(1, keepdim=True)
