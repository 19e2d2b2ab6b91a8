"""metaexp check on networks and datasets: ours pass, and each planted fault is found by the check that is for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from metaexp.cli.check import read_target
from metaexp.cli.main import main
from metaexp.config.compose import Composer
from metaexp.core.errors import ConfigError
from metaexp.core.shapes import Capacity, Split, TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.data.base import Dataset, MetaDataset, Progress, TaskSource
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.classification.class_ids import ids_of_names
from metaexp.data.classification.preprocessing import Origin
from metaexp.doctor.dataset import CHECKS as DATASET_CHECKS
from metaexp.doctor.dataset import examine_dataset
from metaexp.doctor.network import CHECKS, SHAPES, examine_network
from metaexp.doctor.network_subject import NetworkSubject
from metaexp.doctor.report import is_all_ok
from metaexp.models.base import Network
from metaexp.models.checks.inspection import prepare_network

SHAPE = TaskShape(5, 1, 2)


class Plain(nn.Module):
    """A small network for images."""

    def __init__(self, input_shape: tuple[int, ...], n_outputs: int | None) -> None:
        super().__init__()
        if len(input_shape) != 3:
            raise ConfigError("it takes images")
        self.conv = nn.Conv2d(input_shape[0], 16, 5, stride=4)
        self.norm = nn.BatchNorm2d(16)
        self.head = nn.Identity() if n_outputs is None else nn.Linear(16, n_outputs)

    def body(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x))).mean((-2, -1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(x))
        return out


class Counts(Plain):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.calls, Tensor)
        self.calls += 1
        return super().forward(x)


class Noisy(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 0.1 * torch.randn(len(x), 1)


class Unused(Plain):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.spare = nn.Linear(2, 2)


class Detached(Plain):
    def body(self, x: Tensor) -> Tensor:
        return super().body(x).detach()


class NotANumber(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 0


class Forgets(Plain):
    """Its scores depend on a number that is neither a parameter nor a buffer."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.factor = float(torch.rand(())) + 1

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.factor


class OwnNoise(Plain):
    """Initial weights from a generator of its own that goes on."""

    generator = torch.Generator().manual_seed(0)

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        with torch.no_grad():
            self.conv.weight.normal_(generator=self.generator)


class Frozen(Plain):
    """It gives the same for all examples."""

    def body(self, x: Tensor) -> Tensor:
        return super().body(x) * 0


class WrongWidth(Plain):
    def __init__(self, input_shape: tuple[int, ...], n_outputs: int | None) -> None:
        super().__init__(input_shape, 3)


class InstanceStatistics(Plain):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.norm = nn.InstanceNorm2d(16, track_running_stats=True)  # type: ignore[assignment]


class Headless(Network):
    """A network whose scores are not head(features(x))."""

    def __init__(self, input_shape: tuple[int, ...], n_outputs: int | None) -> None:
        super().__init__()
        self.body = nn.Flatten()
        self.head = nn.Identity() if n_outputs is None else nn.Linear(torch.Size(input_shape).numel(), n_outputs)

    def features(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = 2 * self.head(self.features(x))
        return out


def test_a_sound_network_passes_and_shapes_that_it_refuses_do_not_count() -> None:
    parts = examine_network("plain", Plain)
    assert is_all_ok(parts)
    assert [bool(part.refusal) for part in parts] == [False, False, True, True]
    assert len(parts) == len(SHAPES)
    assert {finding.name for finding in parts[0].findings} == set(CHECKS)
    assert {f.name for f in parts[0].findings if f.verdict == "does not apply"} == {"body and head"}


class Unmappable(Plain):
    """It asks for a number, so that it cannot be computed for several tasks at once."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = super().forward(x) * (1.0 if x.sum().item() else 2.0)
        return out


@pytest.mark.parametrize(("cls", "maps"), [(Plain, True), (Unmappable, False)])
def test_a_network_is_tried_once_for_a_shape(cls: Any, maps: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int | None] = []

    def count(network: nn.Module, input_shape: tuple[int, ...], n_outputs: int | None) -> None:
        tried.append(n_outputs)
        prepare_network(network, input_shape, n_outputs)

    monkeypatch.setattr("metaexp.doctor.network_subject.prepare_network", count)
    subject = NetworkSubject("own", cls)
    for network in (subject.build(), subject.build(seed=1), subject.build(None), subject.build(None)):
        assert getattr(network, "maps_over_tasks", True) is maps
        assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    assert tried == [5, None]


FAULTS: dict[type[nn.Module], str] = {
    Counts: "no state",
    Noisy: "no randomness",
    Unused: "parameters reached",
    Detached: "parameters reached",
    NotANumber: "runs",
    Forgets: "save and load",
    OwnNoise: "initialisation",
    Frozen: "learning",
    Headless: "body and head",
}


@pytest.mark.parametrize("cls", FAULTS)
def test_a_fault_of_a_network_is_found_by_the_check_that_is_for_it(cls: Any) -> None:
    first = examine_network("faulty", cls)[0]
    assert FAULTS[cls] in {finding.name for finding in first.findings if finding.verdict == "wrong"}


def test_a_network_that_changes_torch_is_refused() -> None:
    class Changes(Plain):
        def __init__(self, **given: Any) -> None:
            torch.set_default_dtype(torch.float64)
            super().__init__(**given)

    with pytest.raises(ConfigError, match="faulty changes torch's default dtype, for everything in this process"):
        examine_network("faulty", Changes)
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize(
    ("cls", "said"), [(WrongWidth, "as wide as the argument n_outputs"), (InstanceStatistics, "in its place")]
)
def test_a_network_that_no_run_would_take_is_refused_with_what_to_do(cls: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        examine_network("refused", cls)


class Sound(Dataset):
    """Patterns with noise."""

    kind = "classification"
    equal_classes = True

    def capacity(self) -> Mapping[Split, Capacity] | None:
        return dict.fromkeys(("train", "val", "test"), Capacity(8, 6))

    def load(self, folder: Path, progress: Progress) -> MetaDataset:
        return self.made(torch.Generator().manual_seed(0))

    def made(self, generator: torch.Generator | None) -> ClassDataset:
        x = torch.rand(24 * 6, 1, 4, 4, generator=generator)
        names = [f"class{number:02d}" for number in range(24)]
        splits: dict[Split, list[str]] = {"train": names[:8], "val": names[8:16], "test": names[16:]}
        digest = hashlib.sha256(x.numpy().tobytes()).hexdigest()
        return ClassDataset(Origin("sound", digest), x, dict.fromkeys(names, 6), splits)


class Random(Sound):
    def load(self, folder: Path, progress: Progress) -> MetaDataset:
        return self.made(None)


class Boasts(Sound):
    def capacity(self) -> Mapping[Split, Capacity]:
        return dict.fromkeys(("train", "val", "test"), Capacity(9, 6))


class Shared(Sound):
    def made(self, generator: torch.Generator | None) -> ClassDataset:
        found = super().made(generator)
        found.class_ids = lambda split: {"one": frozenset({"same"})}  # type: ignore[method-assign,misc,assignment]
        return found


class Misnamed(Sound):
    """It names the classes of its splits by those of another dataset."""

    name = "other"

    def class_ids_in(self, folder: Path) -> Mapping[Split, Mapping[str, frozenset[str]]]:
        return ids_of_names(self.name, self.made(torch.Generator()).class_names)


class Named(Misnamed):
    name = "sound"


class Wrapped(Sound):
    """A dataset whose episodes are changed."""

    change: Callable[[Episode, Split, Tensor], Episode]

    def load(self, folder: Path, progress: Progress) -> MetaDataset:
        found = self.made(torch.Generator().manual_seed(0))
        tasks = found.tasks
        found.tasks = lambda shape, seed: Changed(tasks(shape, seed), type(self).change)  # type: ignore[method-assign,assignment]
        return found


class Changed(TaskSource):
    def __init__(self, source: TaskSource, change: Callable[[Episode, Split, Tensor], Episode]) -> None:
        self.source, self.change = source, change

    def episodes(self, split: Split, indices: Tensor) -> Episode:
        return self.change(self.source.episodes(split, indices), split, indices)

    def bank_hash(self, split: Split, n_episodes: int) -> str:
        return self.source.bank_hash(split, n_episodes)


def with_change(name: str, change: Callable[[Episode, Split, Tensor], Episode]) -> type[Dataset]:
    return type(name, (Wrapped,), {"change": staticmethod(change)})


def support(change: Callable[[Examples], Examples]) -> Callable[[Episode, Split, Tensor], Episode]:
    return lambda episode, _, __: episode._replace(support=change(episode.support))


def noisy(episode: Episode, _: Split, __: Tensor) -> Episode:
    return episode._replace(query=episode.query._replace(x=episode.query.x + torch.randn(())))


def by_position(episode: Episode, _: Split, __: Tensor) -> Episode:
    position = torch.arange(len(episode.query.x)).reshape(-1, 1, 1, 1, 1)
    return episode._replace(query=episode.query._replace(x=episode.query.x + position))


def repeated(episode: Episode, _: Split, __: Tensor) -> Episode:
    return episode._replace(query=episode.query._replace(x=episode.support.x.repeat(1, 2, 1, 1, 1)))


def fixed(episode: Episode, _: Split, __: Tensor) -> Episode:
    return Episode(
        episode.support._replace(x=torch.ones_like(episode.support.x), y=episode.support.y.sort(1).values),
        episode.query._replace(x=torch.zeros_like(episode.query.x), y=episode.query.y.sort(1).values),
    )


DATASET_FAULTS: dict[type[Dataset], str] = {
    Random: "same again",
    Boasts: "capacity",
    Shared: "splits",
    Misnamed: "splits",
    with_change("Double", support(lambda s: s._replace(x=s.x.double()))): "shapes",
    with_change("OneLabel", support(lambda s: s._replace(y=s.y * 0))): "shapes",
    with_change("Nan", support(lambda s: s._replace(x=s.x / 0))): "shapes",
    with_change("Noisy", noisy): "no randomness",
    with_change("ByPosition", by_position): "addressed",
    with_change("Repeated", repeated): "queries apart",
    with_change("Fixed", fixed): "different",
}


@pytest.mark.parametrize("cls", [Sound, Named])
def test_a_sound_dataset_passes(cls: type[Dataset], tmp_path: Path) -> None:
    (part,) = examine_dataset(cls, tmp_path, SHAPE)
    assert [finding for finding in part.findings if finding.verdict != "ok"] == []
    assert {finding.name for finding in part.findings} == set(DATASET_CHECKS)


@pytest.mark.parametrize("cls", DATASET_FAULTS)
def test_a_fault_of_a_dataset_is_found_by_the_check_that_is_for_it(cls: type[Dataset], tmp_path: Path) -> None:
    (part,) = examine_dataset(cls, tmp_path, SHAPE)
    assert DATASET_FAULTS[cls] in {finding.name for finding in part.findings if finding.verdict == "wrong"}


def test_a_dataset_of_the_other_kind_of_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the dataset says classification.*task\.n_way=0"):
        examine_dataset(Sound, tmp_path, TaskShape(0, 5, 5))


COMMANDS = [
    ["model=mlp", "model.hidden=[8]"],
    ["dataset=sinusoid"],
    ["metaexp.models.lstm:LSTM", "hidden=4", "layers=1", "reading=last", "forget_bias=1.0"],
    ["metaexp.data.sinusoid:Sinusoid", "amplitude=[0.1,5.0]", "phase=[0.0,3.0]", "x=[-5.0,5.0]"],
]


@pytest.mark.parametrize("words", COMMANDS)
def test_the_command_examines_networks_and_datasets_by_file_and_by_class(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *words]) == 0
    assert "checks are ok" in capsys.readouterr().out


def test_a_key_of_another_section_is_not_taken_for_an_argument(tmp_path: Path) -> None:
    target = read_target(["dataset=glyphs", f"paths.data={tmp_path}", "train.k_shot=2", "seed=7"], Composer())
    assert str(target.settings.paths.data) == str(tmp_path)
    assert target.settings.train.shape.k_shot == 2
    assert target.settings.dataset.arguments["seed"] == 7
    algorithm = read_target(["algorithm=maml", "optimizer.lr=0.5", "inner_lr=0.25"], Composer()).settings
    assert (algorithm.optimizer.arguments["lr"], algorithm.algorithm.arguments["inner_lr"]) == (0.5, 0.25)
    with pytest.raises(ConfigError, match=r"dataset\.pats is not an argument"):
        read_target(["dataset=glyphs", "pats.data=here"], Composer())


def test_only_one_thing_is_examined(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "model=mlp", "dataset=sinusoid"]) == 2
    assert "give one thing to check" in capsys.readouterr().err
