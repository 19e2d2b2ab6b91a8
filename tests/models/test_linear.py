import json
from pathlib import Path

import numpy as np
import pytest
import torch

import metaexp as mx
from metaexp.models.linear import Linear


def test_features_are_the_inputs_and_scores_are_linear_in_them():
    x = torch.rand(4, 3, 2)
    assert torch.equal(Linear((3, 2), None)(x), x.flatten(1))
    network = Linear((3, 2), 5)
    torch.testing.assert_close(network(x), x.flatten(1) @ network.head.weight.T + network.head.bias)
    assert not torch.allclose(network(x), network(2 * x))
    assert Linear((3, 2), None).feature_shape((3, 2)) == (6,)


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """Features of 20 classes that are easy to tell apart."""
    generator = np.random.default_rng(0)
    y = np.repeat(np.arange(20), 20)
    x = generator.normal(size=(20, 16))[y] + 0.3 * generator.normal(size=(400, 16))
    np.savez(tmp_path / "features.npz", x=x.astype(np.float32), y=y)
    return tmp_path


@pytest.mark.parametrize(
    ("algorithm", "steps"), [("proto_net", 0), ("nearest_neighbour", 0), ("fine_tune", 20), ("maml", 2)]
)
def test_algorithms_are_tested_on_vectors_with_labels(vectors, algorithm, steps):
    done = mx.train(
        "dataset=arrays", "dataset.file=features.npz", "dataset.fractions=[0.5,0.25,0.25]", f"algorithm={algorithm}",
        "model=linear", f"train.steps={steps}", "train.meta_batch_size=2", "train.eval_episodes=10",
        "eval.episodes=20", "tracker=files", "device.accelerator=cpu", "device.threads=1", f"paths.data={vectors}",
        folder=vectors / "run",
    )  # fmt: skip
    record = json.loads((done.folder / "record.json").read_text())
    least = 0.9 if steps in (0, 20) else 0.2
    assert record["test"]["mean"] >= least
