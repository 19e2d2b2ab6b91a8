"""Features of a frozen network are computed once for all examples, and kept under the digests of weights and data."""

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import metaexp as mx
from metaexp.core.algorithm import Algorithm
from metaexp.core.shapes import TaskShape
from metaexp.data.classification.class_dataset import ClassDataset
from metaexp.data.classification.preprocessing import Origin, Pixels, Rotations
from metaexp.models.base import Network
from metaexp.run.initial.frozen_features import weights_digest, with_features

CODE = '''
import torch
from torch import nn
from metaexp.models.base import Network

CALLS = []

class Frozen(Network):
    """A convolution that never changes, and a linear head."""

    def __init__(self, input_shape: tuple[int, ...], n_outputs: int | None, has_frozen_features: bool = True) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(input_shape[0], 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.body.requires_grad_(False)
        self.has_frozen_features = has_frozen_features
        self.head = nn.Identity() if n_outputs is None else nn.Linear(32, n_outputs)

    def features(self, x):
        if x.dim() == 2:
            return x
        CALLS.append(len(x))
        return self.body(x)
'''
SETTINGS = (
    "dataset=glyphs", "dataset.train_classes=70", "dataset.val_classes=20", "dataset.test_classes=20",
    "algorithm=maml", "train.steps=3", "train.meta_batch_size=2", "train.eval_every=3",
    "train.eval_episodes=4", "eval.episodes=6", "tracker=files", "device.accelerator=cpu", "device.threads=1",
)  # fmt: skip


class Holder(Algorithm):
    """An algorithm that only holds a network."""

    batch_norm = "none"

    def __init__(self, model: Network) -> None:
        nn.Module.__init__(self)
        self.model = model

    def adapt(self, support):
        return None

    def predict(self, adapted, x):
        return self.model.features(x)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package with a frozen network, and its configuration."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("metaexp.run.outputs.draw", lambda *_: {})  # figures take longer than these runs
    (tmp_path / "frozen_nets.py").write_text(CODE)
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "frozen.yaml").write_text(
        "_target_: frozen_nets.Frozen\nhas_frozen_features: true\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import frozen_nets  # type: ignore[import-not-found]

    yield frozen_nets
    sys.modules.pop("frozen_nets", None)


def images() -> ClassDataset:
    examples = torch.randint(0, 256, (24, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    classes = {f"c{i}": 6 for i in range(4)}
    return ClassDataset(
        Origin("d", "0"), examples, classes, {"train": list(classes)}, Pixels(True), Rotations("per_class")
    )


def features_of(data: ClassDataset, tasks: int = 5) -> Tensor:
    return data.tasks(TaskShape(2, 1, 2), 0).episodes("train", torch.arange(tasks)).query.x


def test_episodes_have_the_features_of_their_images_turned_copies_too(own, tmp_path):
    torch.manual_seed(0)
    network, data = own.Frozen((1, 8, 8), None), images()
    found = with_features(data, Holder(network), tmp_path, torch.device("cpu"), lambda _: None)
    assert own.CALLS == []
    x = features_of(found)
    assert x.shape == (5, 4, 32)
    torch.testing.assert_close(x.flatten(0, 1), network.body(features_of(data).flatten(0, 1)).detach())
    assert not torch.allclose(x[0], x[1])
    assert (found.digest, found.input_shape, found.capacity()) == (data.digest, data.input_shape, data.capacity())
    assert found.class_ids("train") == data.class_ids("train")


def test_features_are_computed_once_for_the_same_weights_and_data(own, tmp_path):
    torch.manual_seed(0)
    network, lines = own.Frozen((1, 8, 8), None), []

    def episodes() -> Tensor:
        return features_of(with_features(images(), Holder(network), tmp_path, torch.device("cpu"), lines.append))

    first = episodes()
    assert sum(own.CALLS) == 96 + 1  # four turns of 24 images, and one to see the width
    assert torch.equal(episodes(), first)
    assert sum(own.CALLS) == 97
    with torch.no_grad():
        network.body[0].weight[0] += 1
    assert not torch.equal(episodes(), first)
    assert sum(own.CALLS) == 2 * 97


def test_the_head_is_not_part_of_the_digest_of_the_weights(own):
    network = own.Frozen((1, 8, 8), 5)
    before = weights_digest(network)
    with torch.no_grad():
        network.head.weight.add_(1)
    assert weights_digest(network) == before
    with torch.no_grad():
        network.body[0].bias.add_(1)
    assert weights_digest(network) != before


def test_a_network_that_is_not_frozen_gets_images(own, tmp_path):
    network, data = own.Frozen((1, 8, 8), None, has_frozen_features=False), images()
    assert with_features(data, Holder(network), tmp_path, torch.device("cpu"), print) is data


def test_a_run_on_features_is_the_run_on_images_and_can_be_evaluated_and_resumed(own, tmp_path):
    (tmp_path / "data").mkdir()
    common = (*SETTINGS, "model=frozen", "algorithm.inner_lr=0.1", f"paths.data={tmp_path / 'data'}")

    def train(name: str, *overrides: str) -> dict:
        done = mx.train(
            *common, *overrides, config_dir=tmp_path / "conf", trust=["frozen_nets"], folder=tmp_path / name
        )
        metrics = (done.folder / "metrics.jsonl").read_text()
        return {**json.loads((done.folder / "record.json").read_text()), "metrics": metrics}

    on_features = train("features")
    computed = sum(own.CALLS)
    again = train("again")
    assert again["test"] == on_features["test"]
    assert sum(own.CALLS) - computed < 300  # no images but those that a network is checked with
    on_images = train("images", "model.has_frozen_features=false")
    assert on_features["test"]["mean"] == pytest.approx(on_images["test"]["mean"], abs=0.02)
    assert on_features["data_hash"] == on_images["data_hash"]
    assert on_features["episode_bank"] == on_images["episode_bank"]
    assert again["metrics"] == on_features["metrics"]
    assert train("augmented", "augment.flip=true")["metrics"] != on_features["metrics"]
