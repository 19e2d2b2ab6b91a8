"""The authors' weights of Relation Networks are read under our names, and the page shows their record."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from programs import load_program
from torch import Tensor, nn

from metaexp.config.compose import Composer
from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import RunFolderError
from metaexp.core.types import Examples
from metaexp.run.initial.algorithm import build_algorithm
from metaexp.run.initial.network import Interface

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "ablations.md"
RECORD = ROOT / "benchmarks" / "records" / "released_weights.json"
TASK = "5way_1shot"


@pytest.fixture(scope="module")
def released() -> ModuleType:
    return load_program("benchmarks/published/released_weights.py")


def block(n_in: int, padding: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, 64, 3, padding=padding), nn.BatchNorm2d(64, momentum=1))


class Plain(nn.Module):
    """Embedding and relation module in plain torch, with the names that the authors' files have."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.ModuleDict({f"layer{n}": block(1 if n == 1 else 64, int(n > 2)) for n in (1, 2, 3, 4)})
        heads = {"fc1": nn.Linear(64, 8), "fc2": nn.Linear(8, 1)}
        self.relation = nn.ModuleDict({"layer1": block(128, 1), "layer2": block(64, 1), **heads})
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.uniform_(layer.weight, 0.5, 1.5)
                nn.init.uniform_(layer.bias, -0.5, 0.5)

    def embed(self, x: Tensor) -> Tensor:
        for number in (1, 2, 3, 4):
            x = self.embedding[f"layer{number}"](x).relu()
            x = F.max_pool2d(x, 2) if number < 3 else x
        return x

    def scores(self, support: Tensor, query: Tensor) -> Tensor:
        memory, query = self.embed(support), self.embed(query)
        n, m = len(memory), len(query)
        pairs = torch.cat((memory.repeat(m, 1, 1, 1), query.repeat_interleave(n, 0)), 1)
        for number in (1, 2):
            pairs = F.max_pool2d(self.relation[f"layer{number}"](pairs).relu(), 2)
        hidden = self.relation["fc1"](pairs.flatten(1)).relu()
        return self.relation["fc2"](hidden).sigmoid().view(m, n)

    def save(self, folder: Path) -> None:
        torch.save(self.embedding.state_dict(), folder / f"omniglot_feature_encoder_{TASK}.pkl")
        torch.save(self.relation.state_dict(), folder / f"omniglot_relation_network_{TASK}.pkl")


def our_scores(tensors: dict[str, Tensor], support: Tensor, query: Tensor) -> Tensor:
    settings = Composer().settings([f"experiment=relation_net_omniglot_{TASK}"])
    algorithm: Algorithm = build_algorithm(settings, Interface((1, 28, 28), 5)).eval()
    algorithm.load_state_dict(tensors)
    adapted = algorithm.adapt(Examples(support, torch.arange(5), 5))
    return algorithm.predict(adapted, query)


def test_their_files_give_the_scores_of_their_networks(released: ModuleType, tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = Plain()
    plain.save(tmp_path)
    tensors, digests = released.tensors_of(tmp_path, TASK)
    assert len(digests) == 2
    support, query = torch.rand(5, 1, 28, 28), torch.rand(5, 1, 28, 28)
    with torch.no_grad():
        expected, found = plain.scores(support, query), our_scores(tensors, support, query)
        assert torch.allclose(found, expected, atol=1e-4)
        first, second = "model.blocks.2.conv.weight", "model.blocks.3.conv.weight"
        mixed_up = tensors | {first: tensors[second], second: tensors[first]}
        assert not torch.allclose(our_scores(mixed_up, support, query), found, atol=1e-3)


def test_a_file_that_is_not_there_and_one_of_something_else_are_refused(released: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="omniglot_feature_encoder_5way_1shot.pkl; give the folder"):
        released.tensors_of(tmp_path, TASK)
    torch.save({"layer1.7.weight": torch.ones(1)}, tmp_path / f"omniglot_feature_encoder_{TASK}.pkl")
    with pytest.raises(RunFolderError, match=r"has 'layer1\.7\.weight', which is not a tensor of the authors'"):
        released.tensors_of(tmp_path, TASK)


def test_the_page_is_that_of_the_record(released: ModuleType) -> None:
    text, record = PAGE.read_text(), json.loads(RECORD.read_text())
    assert released.on_page(text, record) == text, (
        "run python benchmarks/published/released_weights.py --page docs/ablations.md"
    )
    record["results"][f"{TASK} transductive"]["mean"] -= 0.01
    assert released.on_page(text, record) != text


def test_the_record_has_every_task_on_the_episodes_of_its_experiment(released: ModuleType) -> None:
    results = json.loads(RECORD.read_text())["results"]
    assert set(results) == {f"{task} {mode}" for task in released.TASKS for mode in released.MODES}
    of_run = json.loads((ROOT / "docs/results/relation_net_omniglot_5way_1shot/record.json").read_text())
    banks = {name: row["episode_bank"] for name, row in results.items()}
    assert banks[f"{TASK} transductive"] == of_run["episode_bank"] != banks["20way_1shot transductive"]
