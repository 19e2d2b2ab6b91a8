"""The typed part of a configuration: keys that belong to the framework rather than to one class.

Importing this module does not import torch. The groups ``algorithm``, ``model``, ``dataset``, ``optimizer``,
``schedule``, ``clip`` and ``tracker`` name classes; their keys are those classes' constructor arguments.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from metaexp.config.classes.domains import MIXTURE
from metaexp.core.fields import NonNegativeInt, PositiveInt
from metaexp.core.fit.task_fit import is_stand_in as is_made_up
from metaexp.core.shapes import TaskShape
from metaexp.core.short_repr import ShortRepr
from metaexp.data.classification.preprocessing import Augmentation

STAND_IN = "stand_in"
"""The key of a dataset that puts made-up images in place of the real ones."""

_OWN_DATA = {
    "metaexp.data.image_folder.ImageFolder": "folder",
    "metaexp.data.arrays.Arrays": "file",
    "metaexp.data.regression_table.RegressionTable": "file",
    "metaexp.data.time_series.TimeSeries": "file",
    "metaexp.data.wrapped.learn2learn.Learn2Learn": "name",
    "metaexp.data.wrapped.torch_dataset.TorchDataset": "target",
}
"""Datasets that read data of one's own -> the argument that says where these are."""
_LONGEST_NAME = 40

Node = dict[str, Any]
"""A node of the configuration that names a class (``_target_``) and its arguments."""


@dataclass(frozen=True)
class ClassSpec:
    """A class that was found, and its checked arguments. To make the object only takes an import."""

    target: str
    """The class as the configuration names it."""
    path: str
    """Where the class is defined."""
    arguments: Mapping[str, Any]
    """Values as YAML gives them, and a ClassSpec for each object among them."""
    parameters: frozenset[str]
    """All arguments that the constructor takes, those that the framework provides among them."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Values of keys that are the framework's and not the constructor's, such as ``weights`` of a network."""
    named: tuple[str, ...] = ()
    """Where the classes are defined that arguments name by their paths, such as ``target`` of ``dataset=torch``."""

    def __repr__(self) -> str:
        """The class and its arguments, as one would write it in Python."""
        return f"{self.target}({', '.join(f'{name}={value!r}' for name, value in self.arguments.items())})"

    def node(self) -> Node:
        """Return the node of the configuration that this was made from, with values in canonical form."""
        arguments = {name: _as_node(value) for name, value in self.arguments.items()}
        return {"_target_": self.target, **arguments, **self.options}


def is_stand_in(dataset: ClassSpec) -> bool:
    """Return whether made-up images take the place of a dataset's, or of one in a mixture."""
    return is_made_up(dataset.node())


def data_name(dataset: ClassSpec, name: str) -> str:
    """Return what records and messages call a dataset: its file or class ``name``, and whether it is a stand-in.

    The name of the user's own data ends in that of their file or folder, such as ``image_folder-birds``, unless that is
    their name already.

    Args:
        dataset: The dataset's class and arguments.
        name: The name of its file or class.
    """
    named = "-".join([name, *(own for own in own_data(dataset.path, dataset.arguments) if own.lower() != name.lower())])
    if of_it := mixture_suffix(dataset.path, dataset.node()):
        return named + of_it
    return f"{named} (stand-in)" if is_stand_in(dataset) else named


def mixture_suffix(path: str, node: Mapping[str, Any]) -> str:
    """Return the end of a mixture's name: its datasets, and what is drawn for each episode; "" for other datasets.

    Args:
        path: The dataset's class.
        node: Its arguments, as plain values.
    """
    domains = node.get("domains")
    if path != MIXTURE or not isinstance(domains, Mapping):
        return ""
    parts = [f"{key} (stand-in)" if is_made_up(part) else key for key, part in domains.items()]
    any_way, any_shot = node.get("least_ways") is not None, node.get("varied_shots") is True
    return f" of {', '.join(parts)}{', any way' * any_way}{', any shot' * any_shot}"


def own_data(path: str, arguments: Mapping[str, Any]) -> list[str]:
    """Return the name of the file or folder of the user's own data, without its suffix; [] for other datasets.

    Args:
        path: The dataset's class.
        arguments: Its arguments.
    """
    place = arguments.get(_OWN_DATA.get(path, ""))
    if not isinstance(place, str):
        return []
    name = re.sub(r"\.(npz|csv|zip|tar|tgz|tar\.\w+)$", "", re.split(r"[/\\]", place.rstrip("/\\"))[-1])
    return [re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:_LONGEST_NAME]] if name else []


def _as_node(value: Any) -> Any:
    if isinstance(value, Mapping) and any(isinstance(item, ClassSpec) for item in value.values()):
        return {name: _as_node(item) for name, item in value.items()}
    return value.node() if isinstance(value, ClassSpec) else value


@dataclass(frozen=True, repr=False)
class OwnCode(ShortRepr):
    """The source files of the user's own packages that a run imports.

    Attributes:
        files: Path below the folder that holds the packages, such as ``my_package/nets.py`` -> content.
        places: The name of each top-level package or module -> its file.
    """

    files: Mapping[str, bytes]
    places: Mapping[str, Path]

    @property
    def digests(self) -> dict[str, str]:
        """File -> SHA-256 (hex) of its content."""
        return {name: hashlib.sha256(content).hexdigest() for name, content in sorted(self.files.items())}

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the names and contents of all files."""
        lines = (f"{name} {digest}\n" for name, digest in self.digests.items())
        return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class TrainSettings:
    """``train``: the outer loop. ``n_way=0`` means regression.

    ``n_tasks`` trains on the first tasks only, this many. ``profile`` is how many steps are profiled.
    """

    steps: NonNegativeInt
    meta_batch_size: PositiveInt
    n_way: NonNegativeInt
    k_shot: PositiveInt
    n_query: PositiveInt
    eval_every: PositiveInt
    eval_episodes: PositiveInt
    checkpoint_every: PositiveInt
    log_every: PositiveInt
    patience: PositiveInt | None = None
    n_tasks: PositiveInt | None = None
    profile: NonNegativeInt = 0

    @property
    def shape(self) -> TaskShape:
        """Return the shape of a training task."""
        return TaskShape(self.n_way, self.k_shot, self.n_query)


@dataclass(frozen=True)
class EvalSettings:
    """``eval``: the validation and test episodes, and the weights that are tested.

    Attributes:
        episodes: Test episodes.
        seed: The seed of validation and test episodes.
        test: False ends a run before its test.
        weights: The weights to test: those that did best on validation, or those after the last step.
        metrics: Further metrics of the test episodes.
    """

    episodes: PositiveInt
    seed: NonNegativeInt
    test: bool = True
    weights: Literal["best", "last"] = "best"
    metrics: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class TaskSettings:
    """``task``: the evaluation protocol."""

    n_way: NonNegativeInt
    k_shot: PositiveInt
    n_query: PositiveInt

    @property
    def shape(self) -> TaskShape:
        """Return the shape of a validation or test task."""
        return TaskShape(self.n_way, self.k_shot, self.n_query)


@dataclass(frozen=True)
class DeviceSettings:
    """``device``: where and how numbers are computed."""

    accelerator: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["float32", "tf32", "bf16"]
    threads: PositiveInt | None
    deterministic: bool
    task_chunk: PositiveInt | None
    cuda_graphs: bool = True
    examples: Literal["auto", "memory", "disk"] = "auto"


@dataclass(frozen=True)
class PathSettings:
    """``paths``: where data is looked for and where run folders go."""

    data: Path
    outputs: Path


@dataclass(frozen=True)
class WeightsSettings:
    """Keys of ``model`` beside the constructor's arguments: where its initial weights come from.

    Attributes:
        weights: A file of weights (``.safetensors``, ``.pt``), or a run folder, whose selected weights are taken.
        weights_partial: Allow parameters of the network that the file lacks or has in another shape.
        weights_sha256: The SHA-256 (hex) that the file must have. It is filled in where it is not given.
    """

    weights: str | None = None
    weights_partial: bool = False
    weights_sha256: str | None = None


@dataclass(frozen=True, repr=False)
class Settings(ShortRepr):
    """A whole, checked, resolved configuration."""

    name: str
    """What a run is called, such as ``maml-omniglot-5way_1shot-seed0``."""
    config_hash: str
    """SHA-256 (hex) of the part of ``resolved`` that decides numbers."""
    seed: NonNegativeInt
    train: TrainSettings
    eval: EvalSettings
    task: TaskSettings
    device: DeviceSettings
    augment: Augmentation
    paths: PathSettings
    algorithm: ClassSpec
    dataset: ClassSpec
    model: ClassSpec
    optimizer: ClassSpec
    schedule: ClassSpec
    clip: ClassSpec
    tracker: Mapping[str, ClassSpec]
    experiment: str | None
    reference: Mapping[str, Any] | None
    resolved: dict[str, Any]
    """The same configuration as plain nested dicts, to be written to ``config.yaml`` and hashed."""
    own_code: OwnCode | None
    """The user's own code that the classes are made of; None where all are of metaexp or torch."""
    choices: dict[str, str]
    """Group -> chosen file, e.g. ``{"algorithm": "maml", "dataset": "glyphs"}``."""
    tags: tuple[str, ...] = ()
    """Labels of the run, by which ``metaexp ls`` finds it."""
    notes: str | None = None
    """What the user says about the run."""

    @property
    def is_stand_in(self) -> bool:
        """Whether made-up images take the place of the dataset's."""
        return is_stand_in(self.dataset)

    @property
    def dataset_name(self) -> str:
        """What records and messages call the dataset: its file or class, and whether it is a stand-in."""
        return data_name(self.dataset, self.chosen_file("dataset"))

    def chosen_file(self, group: str) -> str:
        """Return the name of the file chosen in ``group``, or of the class where none was."""
        spec: ClassSpec = getattr(self, group)
        return self.choices.get(group) or spec.target.rpartition(".")[2]
