"""Networks of timm, tried with weights that these tests make and save. Left out where timm cannot be imported."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import metaexp as mx
from metaexp.core.errors import ConfigError
from metaexp.models.base import buffers_of, call, parameters_of
from metaexp.models.batch_norm import BatchNorm, normalise_with
from metaexp.models.checks.inspection import prepare_network
from metaexp.models.timm_network import TimmNetwork

try:
    import timm
except (ImportError, RuntimeError) as error:
    timm = None
    WHY = f"timm cannot be imported: {error}"
needs_timm = pytest.mark.skipif(timm is None, reason="" if timm else WHY)

SHAPE = (3, 32, 32)
SETTINGS = (
    "dataset=glyphs", "train.steps=2", "train.meta_batch_size=2", "train.eval_every=2", "train.eval_episodes=4",
    "eval.episodes=4", "tracker=files", "device.accelerator=cpu", "device.threads=1",
)  # fmt: skip


def network(name: str = "test_resnet", n_outputs: int | None = 5, frozen: bool = True) -> TimmNetwork:
    torch.manual_seed(0)
    return TimmNetwork(SHAPE, n_outputs, name, pretrained=False, frozen=frozen)


def images(n: int = 4) -> torch.Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0))


@needs_timm
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit", "test_convnext"])
def test_a_network_gives_what_that_of_timm_gives(name):
    ours = network(name, None, frozen=True).eval()
    torch.manual_seed(0)
    options = {"img_size": SHAPE[1:]} if name == "test_vit" else {}
    theirs = timm.create_model(name, num_classes=0, **options).eval()
    with torch.no_grad():
        torch.testing.assert_close(ours(images()), theirs(images()), atol=1e-5, rtol=1e-4)
        assert not torch.allclose(ours(images()), theirs(1 - images()), atol=1e-4)


@needs_timm
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_batch_norm_is_that_whose_statistics_the_algorithm_chooses(name):
    ours = network(name, 5, frozen=False)
    prepare_network(ours, SHAPE, 5)
    assert any(isinstance(layer, BatchNorm) for layer in ours.modules())
    assert not any(isinstance(layer, torch.nn.modules.batchnorm._NormBase) for layer in ours.modules())
    params, buffers = parameters_of(ours), buffers_of(ours)
    stored = call(ours, params, buffers, images(), "stored")
    batch = call(ours, params, buffers, images(), "batch")
    assert not torch.allclose(stored.values, batch.values, atol=1e-4)
    after = call(ours, params, buffers, images(), "collect").buffers
    assert any(not torch.equal(after[key], buffers[key]) for key in buffers)


@needs_timm
def test_a_frozen_body_takes_no_gradient_and_uses_its_stored_statistics():
    ours = network(frozen=True)
    prepare_network(ours, SHAPE, 5)
    assert set(parameters_of(ours)) == {"head.weight", "head.bias"}
    params, buffers = parameters_of(ours), buffers_of(ours)
    results = [call(ours, params, buffers, images(), kind) for kind in ("stored", "batch", "collect")]
    assert torch.equal(results[0].values, results[1].values)
    assert all(torch.equal(results[2].buffers[key], buffers[key]) for key in buffers)
    ours.train()
    assert not ours.body.training
    free = network(frozen=False)
    with normalise_with("batch"):
        free(images()).sum().backward()
    assert all(p.grad is not None for p in free.parameters())


@needs_timm
def test_a_kind_of_batch_norm_that_nobody_knows_is_refused():
    from timm.layers import BatchNormAct2d

    class Odd(BatchNormAct2d):
        """A layer of another package."""

    ours = network("test_efficientnet", 5, frozen=False)
    ours.body.conv_stem = torch.nn.Sequential(ours.body.conv_stem, Odd(ours.body.conv_stem.out_channels))
    with pytest.raises(ConfigError, match=r"layer body\.conv_stem\.1 .* keeps statistics that an algorithm"):
        prepare_network(ours, SHAPE, 5)


@needs_timm
@pytest.mark.parametrize(
    ("shape", "name", "message"),
    [
        (SHAPE, "test_resnett", r"model\.name=test_resnett is not a network of timm\. Did you mean .*test_resnet"),
        ((5,), "test_resnet", r"TimmNetwork is for images; an example of this dataset has the shape \(5,\)"),
        ((3, 30, 30), "test_vit", r"cannot be built for images of the shape \(3, 30, 30\)"),
    ],
)
def test_what_cannot_be_built_is_refused(shape, name, message):
    with pytest.raises(ConfigError, match=message):
        TimmNetwork(shape, 5, name, False, True)


@needs_timm
def test_weights_of_a_file_are_taken_by_the_names_that_timm_has(tmp_path):
    torch.manual_seed(7)
    theirs = timm.create_model("test_resnet", in_chans=1)
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    model = ("model=timm", "model.name=test_resnet", f"model.weights={tmp_path}/w.safetensors")
    done = mx.train(*SETTINGS, "algorithm=proto_net", "train.steps=0", *model, folder=tmp_path / "run")
    record = json.loads((done.folder / "record.json").read_text())
    matched = record["initial_weights"]["matched"]
    assert "body.conv1.0.weight" in matched
    assert "body.layer4.0.bn1.running_var" in matched
    assert not record["initial_weights"]["missing"]
    assert "fc.weight" in record["initial_weights"]["left_over"]
    other = mx.train(*SETTINGS, "algorithm=proto_net", "train.steps=0", *model[:2], "seed=3", folder=tmp_path / "other")
    assert json.loads((other.folder / "record.json").read_text())["test"] != record["test"]


@needs_timm
@pytest.mark.parametrize("algorithm", ["proto_net", "maml", "fine_tune"])
@pytest.mark.parametrize("frozen", ["true", "false"])
def test_algorithms_train_it_and_a_frozen_body_stays_as_it_was(tmp_path, algorithm, frozen):
    done = mx.train(
        *SETTINGS, f"algorithm={algorithm}", "model=timm", "model.name=test_resnet", f"model.frozen={frozen}",
        folder=tmp_path / "run",
    )  # fmt: skip
    assert done.record.status == "completed"
    assert (done.record.n_parameters == 0) == (algorithm == "proto_net" and frozen == "true")


def test_a_machine_without_timm_is_told_what_to_install_and_keeps_its_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setattr(torch, "__version__", "2.99.1+cpu")
    with pytest.raises(ConfigError, match=r"TimmNetwork needs timm .*: pip install 'timm>=1\.0,<2' torch==2\.99\.1$"):
        TimmNetwork(SHAPE, 5, "resnet18", False, True)


def test_nothing_of_timm_is_imported_with_the_module():
    assert "import timm" not in Path(sys.modules[TimmNetwork.__module__].__file__ or "").read_text().split("class ")[0]
