"""A regression family, a network and an algorithm small enough to train in milliseconds, and settings that use them.

A test that uses them puts this folder on the path and trusts this module, as a user does with a package of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from metaexp.algorithms.fine_tune import FineTune
from metaexp.config.check import check
from metaexp.config.purpose import Purpose
from metaexp.config.schema import Settings
from metaexp.core.addressing import episode_keys, subkeys, unit_floats
from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import DataError
from metaexp.core.inner import descend
from metaexp.core.shapes import Capacity, Split, TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.data.base import Dataset, MetaDataset, Progress, TaskSource
from metaexp.models.base import Network, call
from metaexp.models.batch_norm import BatchNorm
from metaexp.run import progress
from metaexp.run.job import run_job


class Forgetful(FineTune):
    """Says of a weight that tests read that only training needs it."""

    @property
    def only_for_training(self) -> frozenset[str]:
        return super().only_for_training | {next(f"model.{name}" for name, _ in self.model.named_parameters())}


class Lines(Dataset):
    """Regression on y = a x + b; ``poison`` makes one training task NaN, ``version`` changes the digest."""

    kind = "regression"

    def __init__(self, poison: int | None = None, version: str = "a") -> None:
        self.poison = poison
        self.version = version

    def capacity(self) -> None:
        return None

    def load(self, folder: Path, progress: Progress) -> MetaDataset:
        return LoadedLines(self.poison, self.version)


class LoadedLines(MetaDataset):
    content = "lines"
    kind = "regression"
    input_shape = (1,)
    target_size = 1

    def __init__(self, poison: int | None, version: str) -> None:
        self.poison = poison
        self.digest = hashlib.sha256(f"{self.content} {version}".encode()).hexdigest()

    def capacity(self) -> Mapping[Split, Capacity] | None:
        return None

    def tasks(self, shape: TaskShape, seed: int) -> TaskSource:
        return LineTasks(shape, seed, self.poison)

    def batches(self, batch_size: int, seed: int) -> TaskSource:
        raise NotImplementedError

    def to(self, device: torch.device) -> MetaDataset:
        return self


class LineTasks(TaskSource):
    def __init__(self, shape: TaskShape, seed: int, poison: int | None) -> None:
        self.shape, self.seed, self.poison = shape, seed, poison

    def episodes(self, split: Split, indices: Tensor) -> Episode:
        keys = episode_keys(self.seed, split, indices)
        slope = unit_floats(subkeys(keys, 0, 2)) * 4 - 2  # (T, 2)
        n = self.shape.k_shot + self.shape.n_query
        x = (unit_floats(subkeys(keys, 1, n)) * 2 - 1).unsqueeze(-1)  # (T, n, 1)
        y = slope[:, :1, None] * x + slope[:, 1:, None]
        if split == "train" and self.poison is not None:
            y = torch.where((indices == self.poison)[:, None, None], torch.nan, y)
        k = self.shape.k_shot
        return Episode(Examples(x[:, :k], y[:, :k]), Examples(x[:, k:], y[:, k:]))

    def bank_hash(self, split: Split, n_episodes: int) -> str:
        return hashlib.sha256(f"{self.seed} {split} {n_episodes} {self.shape}".encode()).hexdigest()


class Blobs(Dataset):
    """Classification of points around class means: ``n_classes`` classes for training, five for val and test."""

    kind = "classification"

    def __init__(self, n_classes: int = 6, size: int = 2) -> None:
        self.n_classes = n_classes
        self.size = size

    def capacity(self) -> dict[Split, Capacity]:
        return {"train": Capacity(self.n_classes, 20), "val": Capacity(5, 20), "test": Capacity(5, 20)}

    def load(self, folder: Path, progress: Progress) -> MetaDataset:
        return LoadedBlobs(self)


class LoadedBlobs(MetaDataset):
    kind = "classification"
    target_size = 0
    digest = "blobs"

    def __init__(self, description: Blobs) -> None:
        self.description = description
        self.input_shape = (description.size,)

    def capacity(self) -> dict[Split, Capacity]:
        return self.description.capacity()

    def tasks(self, shape: TaskShape, seed: int) -> TaskSource:
        return BlobTasks(self, shape, seed, shape.n_way)

    def batches(self, batch_size: int, seed: int) -> TaskSource:
        n_classes = self.capacity()["train"].n_classes
        return BlobTasks(self, TaskShape(1, batch_size, batch_size), seed, n_classes)

    def to(self, device: torch.device) -> MetaDataset:
        return self


class BlobTasks(TaskSource):
    def __init__(self, data: LoadedBlobs, shape: TaskShape, seed: int, n_way: int) -> None:
        self.data, self.shape, self.seed, self.n_way = data, shape, seed, n_way

    def episodes(self, split: Split, indices: Tensor) -> Episode:
        keys = episode_keys(self.seed, split, indices)
        means = unit_floats(subkeys(keys, 0, self.n_way * self.data.description.size)) * 8
        means = means.view(len(indices), self.n_way, -1)
        parts = []
        for stream, count in ((1, self.shape.n_support), (2, self.shape.n_queries)):
            y = torch.arange(count).remainder(self.n_way).expand(len(indices), -1)  # (T, S)
            noise = unit_floats(subkeys(keys, stream, count * means.shape[-1])).view(len(indices), count, -1)
            parts.append(Examples(means.gather(1, y.unsqueeze(-1).expand_as(noise)) + noise, y, self.n_way))
        return Episode(*parts)

    def bank_hash(self, split: Split, n_episodes: int) -> str:
        return hashlib.sha256(f"blobs {self.seed} {split} {n_episodes} {self.shape}".encode()).hexdigest()


class Net(Network):
    """Linear -> batch norm -> dropout -> linear."""

    def __init__(self, input_shape: tuple[int, ...], n_outputs: int, width: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Linear(input_shape[0], width)
        self.norm = BatchNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, n_outputs)

    def features(self, x: Tensor) -> Tensor:
        out: Tensor = self.dropout(self.norm(self.body(x)).tanh())
        return out


class CountingAdam(torch.optim.Adam):
    """Adam whose steps shrink with a count, which it keeps in its parameter groups, as some optimisers do."""

    def __init__(self, params: list[nn.Parameter], lr: float) -> None:
        super().__init__(params, lr=lr)
        self.param_groups[0]["count"] = 0

    def step(self, closure: None = None) -> None:
        group = self.param_groups[0]
        lr = group["lr"]
        group["lr"] = lr / (1 + 0.1 * group["count"])
        super().step(closure)
        group["lr"] = lr
        group["count"] += 1


class DecayingWeights(torch.optim.SGD):
    """Lets the parameters shrink whose names end in ``weight``, and no others."""

    def __init__(self, named_params: list[tuple[str, nn.Parameter]], lr: float) -> None:
        weights = [(name, p) for name, p in named_params if name.endswith("weight")]
        others = [(name, p) for name, p in named_params if not name.endswith("weight")]
        super().__init__([{"params": weights, "weight_decay": 1.0}, {"params": others}], lr=lr)


class TinyMAML(Algorithm):
    """MAML with one inner step, whose rate is annealed, that collects running statistics and uses them at test."""

    batch_norm = "running"
    first_order = False

    def __init__(self, model: Network, inner_lr: float) -> None:
        super().__init__()
        self.model = model
        self.inner_lr = inner_lr
        self.set_progress(0, 1)

    def set_progress(self, step: int, total: int) -> None:
        self.rate = self.inner_lr * (1 - 0.5 * step / total)

    def adapt(self, support: Examples) -> dict[str, Tensor]:
        return self.adaptation_path(support)[-1]

    def predict(self, adapted: dict[str, Tensor], x: Tensor) -> Tensor:
        statistics = "collect" if self.training else "stored"
        buffers = dict(self.model.named_buffers())
        out = call(self.model, adapted, buffers, x, statistics)
        if self.training:
            self.model.norm.running_mean = out.buffers["norm.running_mean"]
            self.model.norm.running_var = out.buffers["norm.running_var"]
        return out.values

    def adaptation_path(self, support: Examples) -> list[dict[str, Tensor]]:
        buffers = dict(self.model.named_buffers())

        def loss(params: dict[str, Tensor]) -> Tensor:
            return self.loss(call(self.model, params, buffers, support.x, "batch").values, support.y)

        return list(descend(loss, dict(self.model.named_parameters()), self.rate, 1, False))


class SteadyMAML(TinyMAML):
    """The same with a constant rate, so that nothing depends on the number of all steps."""

    set_progress = Algorithm.set_progress

    def __init__(self, model: Network, inner_lr: float) -> None:
        super().__init__(model, inner_lr)
        self.rate = inner_lr


class Counting(TinyMAML):
    """Counts its training tasks in a buffer and keeps a moving mean of them in another, both written in place.

    Its cache is not persistent, and no two ranks have the same. ``by_data`` writes as code did before torch 0.4.
    """

    vectorises = False

    def __init__(self, model: Network, inner_lr: float, by_data: bool) -> None:
        super().__init__(model, inner_lr)
        self.by_data = by_data
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("average", torch.zeros(1))
        self.register_buffer("cache", torch.zeros(1), persistent=False)

    def meta_loss(self, episode: Episode) -> Tensor:
        if self.training:
            seen, average = (self.seen.data, self.average.data) if self.by_data else (self.seen, self.average)
            seen += 1
            average.lerp_(episode.query.y.mean(), 0.5)
            self.cache.copy_(episode.query.y.mean())
        return super().meta_loss(episode)


class Centroids(Algorithm):
    """Nearest class mean of the features; tested with any number of classes."""

    model_output = "embedding"
    fixed_way = False
    batch_norm = "none"

    def __init__(self, model: nn.Module, n_outputs: int, train_shape: TaskShape) -> None:
        super().__init__()
        self.model = model
        self.n_outputs = n_outputs
        self.train_shape = train_shape

    def adapt(self, support: Examples) -> Tensor:
        one_hot = torch.nn.functional.one_hot(support.y, support.n_way).float()
        return one_hot.T @ self.model(support.x) / one_hot.sum(0).unsqueeze(1)

    def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
        return -((self.model(x).unsqueeze(1) - adapted) ** 2).sum(-1)


class Pretrained(Centroids):
    """The same, with features trained to classify all training classes."""

    training_tasks = "supervised"

    def __init__(self, model: nn.Module, n_outputs: int, train_shape: TaskShape) -> None:
        super().__init__(model, n_outputs, train_shape)
        self.classifier = nn.Linear(4, n_outputs)

    def meta_loss(self, episode: Episode) -> Tensor:
        return self.loss(self.classifier(self.model(episode.query.x)), episode.query.y)


class Features(Network):
    """Linear -> tanh, and a head if ``n_outputs`` asks for one."""

    def __init__(self, input_shape: tuple[int, ...], n_outputs: int | None) -> None:
        super().__init__()
        self.body = nn.Linear(input_shape[0], 4)
        self.head = nn.Identity() if n_outputs is None else nn.Linear(4, n_outputs)

    def features(self, x: Tensor) -> Tensor:
        return self.body(x).tanh()


class BadGradient(TinyMAML):
    """A finite loss whose gradient is not: the root of zero."""

    def meta_loss(self, episode: Episode) -> Tensor:
        return super().meta_loss(episode) + (self.model.head.weight * 0).sum().sqrt()


class HeadOnly(TinyMAML):
    """Only the head is trained."""

    def __init__(self, model: Network, inner_lr: float) -> None:
        super().__init__(model, inner_lr)
        model.requires_grad_(False)
        model.head.requires_grad_(True)


class SupportMean(Algorithm):
    """Predicts the mean of the support targets; nothing to train."""

    batch_norm = "none"

    def adapt(self, support: Examples) -> Tensor:
        return support.y.mean(0)

    def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
        return adapted.expand(x.shape[0], -1)


class Missing(Lines):
    """A dataset whose files are not there."""

    def load(self, folder: Path, progress: Progress) -> MetaDataset:
        raise DataError("the lines are nowhere to be found")


def settings(outputs: Path, **changes: Any) -> Settings:
    """Settings of a tiny run. ``changes`` are dotted keys with ``__`` for the dot, such as ``train__steps=5``."""
    resolved: dict[str, Any] = {
        "seed": 0,
        "train": {
            "steps": 12, "meta_batch_size": 3, "n_way": 0, "k_shot": 4, "n_query": 3,
            "eval_every": 4, "eval_episodes": 6, "checkpoint_every": 5, "log_every": 3,
        },
        "eval": {"episodes": 10, "seed": 1000},
        "task": {"n_way": 0, "k_shot": 4, "n_query": 3},
        "device": {
            "accelerator": "cpu", "precision": "float32", "threads": 1, "deterministic": True, "task_chunk": None,
        },
        "paths": {"data": "data", "outputs": str(outputs)},
        "algorithm": {"_target_": "tiny_runs.TinyMAML", "inner_lr": 0.1},
        "dataset": {"_target_": "tiny_runs.Lines", "poison": None, "version": "a"},
        "model": {"_target_": "tiny_runs.Net", "width": 8, "dropout": 0.1},
        "optimizer": {"_target_": "tiny_runs.CountingAdam", "lr": 0.01},
        "schedule": {"_target_": "metaexp.core.optim.Step", "every": 7, "gamma": 0.9},
        "clip": {"_target_": "metaexp.core.optim.ClipNorm", "threshold": 10.0},
        "tracker": {},
        "reference": None,
    }  # fmt: skip
    for key, value in changes.items():
        section, _, name = key.partition("__")
        if name:
            resolved[section][name] = value
        else:
            resolved[section] = value
    names = {"tiny_runs.Lines": "lines", "tiny_runs.Blobs": "blobs"}
    choices = {"algorithm": "tiny", "dataset": names.get(resolved["dataset"]["_target_"], "other")}
    return check(resolved, choices, Purpose.CONTINUE)


def blobs(outputs: Path, **changes: Any) -> Settings:
    """Settings of a tiny classification run: 3-way 2-shot by class means."""
    shape = {"n_way": 3, "k_shot": 2, "n_query": 4}
    changes = {
        "task": dict(shape),
        **{f"train__{key}": value for key, value in shape.items()},
        "algorithm": {"_target_": "tiny_runs.Centroids"},
        "dataset": {"_target_": "tiny_runs.Blobs", "n_classes": 6, "size": 2},
        "model": {"_target_": "tiny_runs.Features"},
        **changes,
    }
    return settings(outputs, **changes)


def warm_up(folder: Path) -> None:
    """Train once in this process, because torch imports many modules when it is first used."""
    run_job(settings(folder, train__steps=1), display=progress.Lines(Console(quiet=True)))


def write_files(files: Mapping[str, str], folder: Path) -> Path:
    """Write configuration files, path -> text, into ``folder``; returns it."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder
