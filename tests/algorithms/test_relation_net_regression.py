import math

import pytest
import torch
from torch import Tensor

from metaexp.algorithms.relation_net import RelationNet
from metaexp.core.over_tasks import over_tasks
from metaexp.core.types import Episode, Examples, one_task
from metaexp.models.base import Network
from metaexp.models.lstm import LSTM
from metaexp.models.mlp import MLP
from metaexp.models.relation_embedding import RelationEmbedding


def sinusoids(n_tasks: int, seed: int, k_shot: int = 10, n_query: int = 10) -> Episode:
    """The tasks of Finn et al. (2017): y = A sin(x - phase), A in [0.1, 5], phase in [0, pi], x in [-5, 5]."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float, points: int) -> Tensor:
        return low + (high - low) * torch.rand(n_tasks, points, 1, generator=generator)

    amplitude, phase = uniform(0.1, 5.0, 1), uniform(0.0, math.pi, 1)

    def draw(points: int) -> Examples:
        x = uniform(-5.0, 5.0, points)
        return Examples(x, amplitude * torch.sin(x - phase))

    return Episode(draw(k_shot), draw(n_query))


def regressor(
    model: Network | None = None, shape: tuple[int, ...] = (1,), target_weights: str = "softmax"
) -> RelationNet:
    torch.manual_seed(0)
    model = model or MLP(shape, None, [32, 32], False, False, 1e-3, "default", 0.01)
    return RelationNet(model, shape, 32, 32, 1, 0.1, "sum", target_weights, "transductive")  # type: ignore[arg-type]


def random_task(shape: tuple[int, ...], n_targets: int = 2) -> Episode:
    torch.manual_seed(1)
    return Episode(*(Examples(torch.randn(n, *shape), torch.randn(n, n_targets)) for n in (6, 4)))


def outputs(algorithm: RelationNet, episode: Episode) -> Tensor:
    with torch.no_grad():
        return algorithm.predict(algorithm.adapt(episode.support), episode.query.x)


def test_outputs_are_means_of_the_targets_weighted_by_relations() -> None:
    episode = random_task((3,))
    for how in ("softmax", "sigmoid"):
        algorithm = regressor(shape=(3,), target_weights=how).eval()
        relations = algorithm.relation(algorithm.model(episode.support.x), algorithm.model(episode.query.x))  # (4, 6)
        raw = relations.exp() if how == "softmax" else relations.sigmoid()
        expected = (raw / raw.sum(1, keepdim=True)) @ episode.support.y
        other = (raw.square() / raw.square().sum(1, keepdim=True)) @ episode.support.y
        assert torch.allclose(outputs(algorithm, episode), expected, atol=1e-6)
        assert not torch.allclose(outputs(algorithm, episode), other, atol=1e-4)


@pytest.mark.parametrize("target_weights", ["softmax", "sigmoid"])
def test_relations_of_any_size_give_weights_that_sum_to_one(target_weights: str) -> None:
    algorithm, episode = regressor(shape=(3,), target_weights=target_weights), random_task((3,))
    constant = Episode(episode.support._replace(y=torch.full((6, 1), 7.0)), episode.query)
    for scale in (1.0, 1e4, -1e4):
        with torch.no_grad():
            algorithm.relation.linear3.weight.fill_(scale)
        assert torch.allclose(outputs(algorithm, constant), torch.full((4, 1), 7.0), atol=1e-4)
    assert not torch.allclose(outputs(algorithm, episode)[:, :1], torch.full((4, 1), 7.0), atol=1e-1)


def test_the_order_of_the_support_does_not_matter() -> None:
    algorithm, (support, query) = regressor(shape=(3,)), random_task((3,))
    mirrored = Examples(support.x.flip(0), support.y.flip(0))
    expected = outputs(algorithm, Episode(support, query))
    assert torch.allclose(outputs(algorithm, Episode(mirrored, query)), expected, atol=1e-6)
    mismatched = Examples(support.x, support.y.flip(0))
    assert not torch.allclose(outputs(algorithm, Episode(mismatched, query)), expected, atol=1e-3)


NETWORKS = [
    ((3,), lambda: MLP((3,), None, [8], False, False, 1e-3, "default", 0.01), "none"),
    ((5, 2), lambda: LSTM((5, 2), None, 8, 1, "last", 1.0), "none"),
    ((1, 22, 22), lambda: RelationEmbedding((1, 22, 22), None, 6, 0.1), "transductive"),
]


@pytest.mark.parametrize(("shape", "network", "mode"), NETWORKS, ids=["vectors", "sequences", "images"])
def test_vectors_sequences_and_images_are_regressed_and_queries_are_independent_without_batch_norm(
    shape: tuple[int, ...], network: object, mode: str
) -> None:
    algorithm = regressor(network(), shape).double().eval()  # type: ignore[operator]
    episode = Episode(*(Examples(e.x.double(), e.y.double()) for e in random_task(shape)))
    assert algorithm.batch_norm == mode
    together = outputs(algorithm, episode)
    assert together.shape == (4, 2)
    apart = outputs(algorithm, Episode(episode.support, Examples(episode.query.x[:2], episode.query.y[:2])))
    assert torch.allclose(together[:2], apart, atol=1e-12) == (mode == "none")


def test_vectorised_losses_and_gradients_equal_a_loop() -> None:
    algorithm = regressor().double()
    batch = Episode(*(Examples(e.x.double(), e.y.double()) for e in sinusoids(3, seed=0)))
    weights = list(algorithm.parameters())
    results = []
    for chunk_size in (None, 1):
        losses = over_tasks(algorithm, batch, chunk_size)
        results.append([losses, *torch.autograd.grad(losses.mean(), weights)])
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-10) for a, b in zip(*results, strict=True))
    assert not torch.allclose(results[0][0], results[0][0].roll(1), atol=1e-3)


def error(algorithm: RelationNet) -> float:
    """Mean squared error on 200 tasks."""
    with torch.no_grad():
        return float(over_tasks(algorithm, sinusoids(200, seed=10_000)).mean())


@pytest.mark.parametrize("target_weights", ["softmax", "sigmoid"])
def test_it_clearly_beats_the_mean_of_the_support_on_sinusoids(target_weights: str) -> None:
    test = sinusoids(200, seed=10_000)
    of_the_mean = float((test.support.y.mean(1, keepdim=True) - test.query.y).square().mean())
    algorithm = regressor(target_weights=target_weights)
    assert error(algorithm) > 0.8 * of_the_mean  # untrained, its weights are nearly equal
    optimizer = torch.optim.Adam(algorithm.parameters(), lr=5e-3)
    for step in range(100):
        optimizer.zero_grad()
        over_tasks(algorithm, sinusoids(25, seed=step)).mean().backward()
        optimizer.step()
    assert error(algorithm) < 0.4 * of_the_mean


def test_the_loss_is_the_mean_squared_error() -> None:
    algorithm, episode = regressor(), one_task(sinusoids(1, seed=0), 0)
    expected = (outputs(algorithm, episode) - episode.query.y).square().mean()
    assert torch.allclose(algorithm(episode), expected)
    assert not torch.allclose(algorithm(episode), 2 * expected)
