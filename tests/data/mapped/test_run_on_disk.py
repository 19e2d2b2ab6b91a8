"""A run whose examples stay on disk is the run whose examples are in memory."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import metaexp as mx

SETTINGS = (
    "dataset=image_folder", "dataset.folder=images", "dataset.image_size=28", "dataset.channels=1",
    "dataset.invert=true", "dataset.rotations=per_class", "dataset.fractions=[0.5,0.25,0.25]", "algorithm=proto_net",
    "model=conv4", "task.n_way=2", "task.k_shot=1", "task.n_query=2", "train.steps=3", "train.meta_batch_size=2",
    "train.eval_every=3", "train.eval_episodes=4", "eval.episodes=6", "tracker=files", "device.accelerator=cpu",
    "device.threads=1",
)  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    generator = np.random.default_rng(0)
    for name in "abcdefgh":
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(generator.integers(0, 256, (28, 28), dtype=np.uint8)).save(
                tmp_path / "images" / name / f"{i}.png"
            )
    return tmp_path


def run(place: Path, name: str, *overrides: str) -> tuple[bytes, dict[str, object]]:
    """The metrics, and the part of the record that says which run it is, with the digests of the weights."""
    done = mx.train(*SETTINGS, *overrides, f"paths.data={place}", folder=place / name)
    record = json.loads((done.folder / "record.json").read_text())
    told = {key: record[key] for key in ("config_hash", "data_hash", "episode_bank", "val", "test")}
    told["weights"] = [p.read_bytes() for p in sorted((done.folder / "checkpoints").glob("*.safetensors"))]
    return (done.folder / "metrics.jsonl").read_bytes(), told


def test_metrics_weights_and_hashes_do_not_depend_on_where_the_examples_are(place):
    on_disk = run(place, "disk", "device.examples=disk")
    in_memory = run(place, "memory", "device.examples=memory")
    assert on_disk == in_memory
    assert on_disk[1]["weights"]
    metrics, told = run(place, "other", "device.examples=disk", "seed=1")
    assert metrics != in_memory[0]
    assert told["config_hash"] != in_memory[1]["config_hash"]
    assert told["weights"] != in_memory[1]["weights"]
