"""Examples grouped by class, in memory: the data behind every classification dataset."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from metaexp.core.counted import counted
from metaexp.core.errors import ConfigError, DataError
from metaexp.core.shapes import SPLITS, Capacity, Split, TaskShape
from metaexp.data.base import MetaDataset
from metaexp.data.classification.class_ids import digest_of, name_id
from metaexp.data.classification.class_table import ClassTable, RotationDraw
from metaexp.data.classification.example_store import ExampleStore, example_store
from metaexp.data.classification.preprocessing import Origin, Pixels, Rotations
from metaexp.data.classification.tasks import ClassBatches, ClassTasks

AS_BYTES: Final = Pixels()
_ID_EXAMPLES: Final = 20
NOT_TURNED: Final = Rotations()


class ClassDataset(MetaDataset):
    """Examples (B, ...), ordered by class, and the classes of each split.

    uint8 examples are images (B, C, H, W); they stay bytes on the device and become float32 when an episode
    is made. float32 examples (sequences, vectors) are delivered as they are.
    """

    kind = "classification"
    target_size = 0

    def __init__(
        self,
        origin: Origin,
        examples: Tensor,
        classes: Mapping[str, int],
        splits: Mapping[Split, Sequence[str]],
        pixels: Pixels = AS_BYTES,
        rotations: Rotations = NOT_TURNED,
        val_in_train: bool = False,
    ) -> None:
        """Take the examples.

        Args:
            origin: Where they come from.
            examples: (B, ...) uint8 or float32, on the CPU, ordered by class.
            classes: Class -> its number of examples, in the order of the rows.
            splits: The classes of each split, in the order of their labels.
            pixels: How bytes become float32.
            rotations: How images are turned.
            val_in_train: Whether classes of validation may be in training, too.

        Raises:
            DataError: The arguments do not fit together.
        """
        _check(origin.name, examples, classes, splits, rotations, val_in_train)
        self.origin = origin
        self.pixels = pixels
        self.rotations = rotations
        self.class_names: dict[Split, tuple[str, ...]] = {s: tuple(splits[s]) for s in SPLITS if splits.get(s)}
        self.input_shape = tuple(examples.shape[1:])
        self.digest = self._digest(classes)
        self._n_rows = examples.shape[0]
        self._sizes = dict(classes)
        self._stores_bytes = examples.dtype == torch.uint8
        turned = any(self.rotations.used_in(split) for split in self.class_names)
        self._store = example_store(examples, pixels.invert and self._stores_bytes, turned)
        self._features: Callable[[], Tensor] | None = None
        self._feature_store: ExampleStore | None = None
        self._target = torch.device("cpu")
        self._scale: Tensor | None = None
        self._shift: Tensor | None = None
        if examples.dtype == torch.uint8:
            _check_channels(origin.name, pixels, self.input_shape[0])
            self._scale, self._shift = _affine(pixels, self.input_shape)
        self._tables = {split: self._table(split, classes) for split in self.class_names}

    def capacity(self) -> dict[Split, Capacity]:
        """Return the number of classes and the smallest class of every split that has any, turned classes counted."""
        return {split: Capacity(table.n_classes, table.smallest) for split, table in self._tables.items()}

    def class_ids(self, split: Split) -> dict[str, frozenset[str]]:
        """Return for each class of ``split`` a digest of its name in this dataset, and one of its first examples.

        So a class is recognised under another name, and at another image size.
        """
        ids, first, wanted = {}, 0, frozenset(self.class_names.get(split, ()))
        for name, size in self._sizes.items():
            if name in wanted:
                content = self._store.raw(first, first + min(size, _ID_EXAMPLES))
                ids[name] = frozenset([name_id(self.origin.name, name), digest_of(content.numpy().tobytes())])
            first += size
        return ids

    def tasks(self, shape: TaskShape, seed: int) -> ClassTasks:
        """Return the tasks of a shape. Whether a split can serve it is checked when that split is first asked for.

        Raises:
            ConfigError: There is no class, no shot or no query.
        """
        if shape.n_way < 1 or shape.k_shot < 1 or shape.n_query < 1:
            raise ConfigError(
                f"task.n_way={shape.n_way}, task.k_shot={shape.k_shot} and task.n_query={shape.n_query}: "
                f"all must be at least 1 for {self.origin.name}, a classification dataset."
            )
        return ClassTasks(self, shape, seed)

    def batches(self, batch_size: int, seed: int) -> ClassBatches:
        """Return batches of ``batch_size`` different examples, under one label for each class of the split.

        Raises:
            ConfigError: The training split has fewer examples.
        """
        if batch_size < 1:
            raise ConfigError(f"a batch of {batch_size} examples is not possible; the least is 1.")
        total = self._tables["train"].total if "train" in self._tables else batch_size
        if batch_size > total:
            raise ConfigError(
                f"train.meta_batch_size={batch_size} examples are more than the {total} that {self.origin.name} has "
                "for train. Lower it."
            )
        return ClassBatches(self, batch_size, seed)

    def to(self, device: torch.device) -> ClassDataset:
        moved = copy.copy(self)
        moved._store, moved._target, moved._feature_store = self._store.to(device), device, None
        moved._scale, moved._shift = (None if t is None else t.to(device) for t in (self._scale, self._shift))
        moved._tables = {split: table.to(moved.device) for split, table in self._tables.items()}
        return moved

    @property
    def device(self) -> torch.device:
        """Where examples are drawn: where episodes are, or on the CPU if the examples are not all in memory."""
        return self._store.rows_on

    @property
    def stores_bytes(self) -> bool:
        """Whether examples are images in uint8, to which ``pixels`` applies."""
        return self._stores_bytes

    def stored_pixels(self) -> Pixels | None:
        """Return how bytes become float32; None for examples that are stored as floats."""
        return self.pixels if self._stores_bytes else None

    @property
    def n_bytes(self) -> int:
        """Memory that the examples take on the device if they are all there, turned copies counted."""
        return self._store.n_bytes

    @property
    def in_memory(self) -> bool:
        """Whether all examples are in the memory of the device; if not, each episode takes its own."""
        return self._store.in_memory

    @property
    def n_rows(self) -> int:
        """How many rows there are, those of turned copies counted."""
        turned = any(self.rotations.used_in(split) for split in self.class_names)
        return self._n_rows * (4 if turned else 1)

    def given_examples(self) -> Tensor:
        """Return all examples (B, ...) on the CPU as they were given, ordered by class."""
        return self._store.raw(0, self._n_rows)

    def sizes(self) -> dict[str, int]:
        """Return class -> its number of examples, in the order of the rows."""
        return dict(self._sizes)

    def with_features(self, features: Callable[[], Tensor]) -> ClassDataset:
        """Return the same dataset, with features in the episodes in place of images.

        Rows, splits, digests and ``input_shape`` stay those of the images.

        Args:
            features: Gives the features (rows, F) float32 on the CPU. It is called for the first episode.
        """
        found = copy.copy(self)
        found._features = features
        return found

    def table(self, split: Split) -> ClassTable:
        """Return the classes of ``split``. Raises ConfigError where it has none."""
        if split not in self._tables:
            raise ConfigError(f"{self.origin.name} has no {split} classes; it has {', '.join(self._tables)}.")
        return self._tables[split]

    def rotation_draw(self, split: Split) -> RotationDraw:
        """Return over what a turn is drawn in tasks of ``split``, and how many rows lie between turns of an example."""
        kind = self.rotations.kind
        drawn = kind if kind != "classes" and self.rotations.used_in(split) else "none"
        return RotationDraw(drawn, self._n_rows)

    def classes_of(self, rows: Tensor) -> list[str]:
        """Return the class of each of ``rows`` (n,) int64; of a turned class, with the angle of its turn."""
        names, ends = list(self._sizes), torch.tensor(list(self._sizes.values())).cumsum(0)
        places = torch.searchsorted(ends, rows.cpu() % self._n_rows, right=True).tolist()
        turns = (rows.cpu() // self._n_rows).tolist() if self.rotations.kind == "classes" else [0] * len(places)
        angle = ["", *(f", turned by {90 * turn} degrees" for turn in (1, 2, 3))]
        return [names[place] + angle[turn] for place, turn in zip(places, turns, strict=True)]

    def examples(self, rows: Tensor) -> Tensor:
        """Return the examples (..., C, H, W), or (..., L, D), float32, at ``rows`` (...) int64 on the same device."""
        if self._features is not None:
            if self._feature_store is None:
                self._feature_store = example_store(self._features(), False, False).to(self._target)
            x = self._feature_store.take(rows.reshape(-1))
            return x.view(*rows.shape, *x.shape[1:])
        x = self._store.take(rows.reshape(-1))
        if self._scale is not None:
            x = x.to(torch.float32).mul_(self._scale)
        if self._shift is not None:
            x = x.add_(self._shift)
        return x.view(*rows.shape, *self.input_shape)

    def _table(self, split: Split, classes: Mapping[str, int]) -> ClassTable:
        first, row = {}, 0
        for name, size in classes.items():
            first[name], row = row, row + size
        turns = range(self.rotations.classes_per_class(split))
        names = self.class_names[split]
        return ClassTable.of(
            first=[first[name] + turn * self._n_rows for turn in turns for name in names],
            length=[classes[name] for _ in turns for name in names],
        )

    def _digest(self, classes: Mapping[str, int]) -> str:
        text = json.dumps(
            {
                "origin": [self.origin.name, self.origin.digest, dict(self.origin.preparation)],
                "classes": list(classes.items()),
                "splits": self.class_names,
                "pixels": self.pixels._asdict(),
                "rotations": self.rotations._asdict(),
            },
            sort_keys=True,
        )
        return hashlib.sha256(text.encode()).hexdigest()


def _affine(pixels: Pixels, shape: tuple[int, ...]) -> tuple[Tensor, Tensor | None]:
    """The factor and the shift, broadcastable to ``shape``, that make the float32 values out of bytes."""
    if pixels.mean is None or pixels.std is None:
        return torch.tensor(1.0 / 255.0), None
    axes = (-1,) + (1,) * (len(shape) - 1)
    mean = torch.tensor(pixels.mean, dtype=torch.float64)
    std = torch.tensor(pixels.std, dtype=torch.float64)
    return (1.0 / (255.0 * std)).float().view(axes), (-mean / std).float().view(axes)


def _check_channels(name: str, pixels: Pixels, n_channels: int) -> None:
    """Raise ConfigError where there is a mean for each of another number of channels."""
    if pixels.mean is not None and len(pixels.mean) not in (1, n_channels):
        raise ConfigError(
            f"dataset.normalise has {len(pixels.mean)} means, and images of {name} have "
            f"{counted(n_channels, 'channel')}. Give one mean and one std, or one for each channel."
        )


_ON_PURPOSE = (
    " If validation is to be on training classes, set val_in_train = True in the class of the dataset, and give it to "
    "ClassDataset. Then validation chooses nothing (eval.weights=last)."
)


def _check(
    name: str,
    examples: Tensor,
    classes: Mapping[str, int],
    splits: Mapping[Split, Sequence[str]],
    rotations: Rotations,
    val_in_train: bool,
) -> None:
    if examples.dtype not in (torch.uint8, torch.float32):
        raise DataError(f"{name}: examples are {examples.dtype}; they must be uint8 (images) or float32.")
    if sum(classes.values()) != examples.shape[0]:
        raise DataError(f"{name}: classes add up to {sum(classes.values())} examples; there are {examples.shape[0]}.")
    empty = [c for c, size in classes.items() if size < 1]
    if empty:
        raise DataError(f"{name}: class {empty[0]} has no examples.")
    owner: dict[str, Split] = {}
    for split, names in splits.items():
        for c in names:
            if c not in classes:
                raise DataError(f"{name}: class {c} of the {split} split has no examples.")
            if c in owner and not (val_in_train and (owner[c], split) == ("train", "val")):
                said = "" if (owner[c], split) != ("train", "val") else _ON_PURPOSE
                raise DataError(
                    f"{name}: class {c} is in {owner[c]} and again in {split}; splits must not overlap.{said}"
                )
            owner[c] = split
    square = examples.dim() == 4 and examples.shape[-1] == examples.shape[-2]
    if rotations.kind != "none" and not square:
        raise DataError(f"{name}: rotations need square images; an example is {tuple(examples.shape[1:])}.")
