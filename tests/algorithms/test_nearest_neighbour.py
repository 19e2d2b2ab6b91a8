from collections.abc import Callable
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from metaexp.algorithms.nearest_neighbour import NearestNeighbour
from metaexp.core.errors import ConfigError
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.models.mlp import MLP

MakeTask = Callable[..., Episode]


def nearest_neighbour(
    space: Literal["inputs", "embedding"] = "inputs",
    distance: Literal["euclidean", "cosine"] = "euclidean",
    n_way: int = 3,
) -> NearestNeighbour:
    torch.manual_seed(0)
    model = MLP((4,), None, [8, 6], True, True, 1e-3, "default", 0.01)
    return NearestNeighbour(model, (4,), 9, TaskShape(n_way, 2, 2), space, distance).double()


@pytest.mark.parametrize("space", ["inputs", "embedding"])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_scores_are_minus_the_least_distance_to_a_class(
    make_task: MakeTask, space: Literal["inputs", "embedding"], distance: Literal["euclidean", "cosine"]
) -> None:
    algorithm = nearest_neighbour(space, distance).eval()
    support, query = make_task(k_shot=3)
    scores = algorithm.predict(algorithm.adapt(support), query.x)
    points, queries = support.x, query.x
    if algorithm.model is not None:
        points, queries = algorithm.model(points), algorithm.model(queries)
    distances = {
        "euclidean": ((queries[:, None] - points) ** 2).sum(2),
        "cosine": 1 - torch.cosine_similarity(queries[:, None], points, dim=2),
    }
    for n in range(3):
        assert torch.allclose(scores[:, n], -distances[distance][:, support.y == n].amin(1))
        assert not torch.allclose(scores[:, n], -distances[distance][:, support.y == n].mean(1))


def test_a_support_example_gets_its_own_label(make_task: MakeTask) -> None:
    algorithm = nearest_neighbour().eval()
    support, _ = make_task(n_way=7, k_shot=5)
    assert torch.equal(algorithm.predict(algorithm.adapt(support), support.x).argmax(1), support.y)
    other, _ = make_task(n_way=7, k_shot=5, seed=1)
    assert not torch.equal(algorithm.predict(algorithm.adapt(other), support.x).argmax(1), support.y)


def test_neighbours_are_told_apart_far_from_zero() -> None:
    """Such as the years, altitudes or prices of a table whose columns are not standardised."""
    model = MLP((1,), None, [8], True, True, 1e-3, "default", 0.01)
    algorithm = NearestNeighbour(model, (1,), 1, TaskShape(0, 30, 30), "inputs", "euclidean")
    x = torch.arange(20_000.0, 20_030.0).unsqueeze(1)
    predictions = algorithm.predict(algorithm.adapt(Examples(x, 2 * x)), x + 0.25)
    assert torch.equal(predictions, 2 * x)
    by_products = (x + 0.25).square() + x.square().T - 2 * (x + 0.25) @ x.T
    assert not torch.equal(2 * x[by_products.argmin(1)], 2 * x)


def test_in_regression_the_nearest_target_is_copied(make_task: MakeTask) -> None:
    algorithm = nearest_neighbour(n_way=0).eval()
    support, query = make_task(n_way=0, k_shot=6)
    nearest = ((query.x[:, None] - support.x) ** 2).sum(2).argmin(1)
    assert torch.equal(algorithm.predict(algorithm.adapt(support), query.x), support.y[nearest])
    assert not torch.equal(support.y[nearest], support.y[: len(nearest)])


def test_on_inputs_there_is_nothing_to_train_and_no_batch_norm() -> None:
    algorithm = nearest_neighbour()
    assert not list(algorithm.parameters())
    assert algorithm.batch_norm == "none"
    assert nearest_neighbour("embedding").batch_norm == "running"


def test_embeddings_are_trained_to_classify_all_training_classes(make_task: MakeTask) -> None:
    algorithm = nearest_neighbour("embedding").train()
    assert algorithm.model is not None
    assert algorithm.head is not None
    batch = make_task(n_way=9).query
    state = dict(algorithm.named_buffers())
    loss = functional_call(algorithm, state, (Episode(batch, batch),))
    features = functional_call(algorithm.model, dict(algorithm.model.named_buffers()), (batch.x,))
    assert torch.allclose(loss, F.cross_entropy(algorithm.head(features), batch.y))
    assert not torch.allclose(loss, F.cross_entropy(algorithm.head(features), batch.y.flip(0)))
    assert any(not torch.equal(state[name], t) for name, t in algorithm.named_buffers())


def test_embeddings_for_regression_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"algorithm\.space=embedding.*train\.n_way=0.*algorithm\.space=inputs"):
        nearest_neighbour("embedding", n_way=0)
