from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from metaexp.algorithms.relation_net import RelationNet
from metaexp.config.classes.make import make
from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.core.optim import ClipNormPerModule, Step
from metaexp.core.over_tasks import over_tasks
from metaexp.core.types import Episode, Examples, one_task
from metaexp.models.base import Network
from metaexp.models.mlp import MLP
from metaexp.models.relation_embedding import RelationEmbedding

EXPERIMENTS = Path(__file__).parents[2] / "conf" / "experiment"
IMAGE = (1, 22, 22)
DEFAULTS = {
    "relation_channels": 6,
    "relation_hidden": 8,
    "relation_padding": 1,
    "norm_momentum": 0.1,
    "class_map": "sum",
    "target_weights": "softmax",
    "batch_norm": "transductive",
}


def relation_net(model: Network | None = None, shape: tuple[int, ...] = IMAGE, **changes: object) -> RelationNet:
    """A small Relation Network in float64 with the published initialisation."""
    torch.manual_seed(0)
    model = model or RelationEmbedding(shape, None, 6, 0.1)
    return RelationNet(model, shape, **(DEFAULTS | changes)).double()  # type: ignore[arg-type]


def opinionated(algorithm: RelationNet) -> RelationNet:
    """With larger last layers: at first the published ones give nearly the same score to every pair."""
    for layer in algorithm.relation.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.5)
    return algorithm


def episodes(n_tasks: int = 3, n_way: int = 3, k_shot: int = 2, n_query: int = 2, seed: int = 0) -> Episode:
    """Tasks whose classes are noisy images of one coarse pattern each; examples are in no order."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n_tasks * n_way, 1, 4, 4, generator=generator, dtype=torch.float64)
    patterns = F.interpolate(coarse, size=IMAGE[1:], mode="nearest").view(n_tasks, n_way, *IMAGE)

    def draw(per_class: int) -> Examples:
        y = torch.stack([torch.randperm(n_way * per_class, generator=generator) % n_way for _ in range(n_tasks)])
        x = torch.stack([pattern[labels] for pattern, labels in zip(patterns, y, strict=True)])
        return Examples(x + 0.5 * torch.randn(x.shape, generator=generator, dtype=torch.float64), y, n_way)

    return Episode(draw(k_shot), draw(n_query))


def task(**changes: int) -> Episode:
    return one_task(episodes(**(changes | {"n_tasks": 1})), 0)


def scores_of(algorithm: RelationNet, support: Examples, x: Tensor) -> Tensor:
    with torch.no_grad():
        return algorithm.predict(algorithm.adapt(support), x)


def shuffled(examples: Examples, seed: int = 1) -> Examples:
    order = torch.randperm(len(examples.y), generator=torch.Generator().manual_seed(seed))
    return Examples(examples.x[order], examples.y[order], examples.n_way)


def as_published(algorithm: RelationNet, episode: Episode, memory_first: bool = True) -> Tensor:
    """Scores (M, N) by torch's own layers: loops over classes, whole pairs, concatenation, statistics of each batch."""

    def convolve(x: Tensor, conv: nn.Conv2d, norm: nn.Module, pool: bool) -> Tensor:
        x = F.conv2d(x, conv.weight, conv.bias, padding=conv.padding)
        x = F.batch_norm(x, None, None, norm.weight, norm.bias, training=True).relu()
        return F.max_pool2d(x, 2) if pool else x

    def embed(x: Tensor) -> Tensor:
        for index, block in enumerate(algorithm.model.blocks):
            x = convolve(x, block.conv, block.norm, pool=index < 2)
        return x

    support, query = episode
    maps = embed(support.x)
    classes = torch.stack([maps[support.y == label].sum(0) for label in range(support.n_way)])
    queries = embed(query.x)
    halves = [classes.repeat(len(queries), 1, 1, 1), queries.repeat_interleave(len(classes), 0)]
    g = algorithm.relation
    x = convolve(torch.cat(halves if memory_first else halves[::-1], 1), g.conv1, g.norm1, True)
    x = convolve(x, g.conv2, g.norm2, True)
    return g.linear2(g.linear1(x.flatten(1)).relu()).sigmoid().view(len(queries), len(classes))


@pytest.mark.parametrize("training", [True, False])
def test_scores_loss_and_gradients_are_the_published_ones(training: bool) -> None:
    algorithm, episode = opinionated(relation_net()).train(training), task()
    state = dict(algorithm.named_buffers())
    loss = functional_call(algorithm, state, (episode,))
    target = torch.zeros(6, 3, dtype=torch.float64)
    target[torch.arange(6), episode.query.y] = 1.0
    expected = ((as_published(algorithm, episode) - target) ** 2).mean()
    assert torch.allclose(loss, expected, rtol=1e-9, atol=1e-12)
    weights = list(algorithm.parameters())
    for ours, theirs in zip(torch.autograd.grad(loss, weights), torch.autograd.grad(expected, weights), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-10)
    query_first = ((as_published(algorithm, episode, memory_first=False) - target) ** 2).mean()
    assert not torch.allclose(loss, query_first, atol=1e-4)


def test_shots_are_summed_not_averaged() -> None:
    even = task(k_shot=3).support
    support = Examples(even.x[2:], even.y[2:], 3)  # as in a mixture with varied shots
    assert len(set(support.y.bincount().tolist())) > 1
    summed, averaged = (relation_net(class_map=how).eval() for how in ("sum", "mean"))
    maps = summed._embed(support.x)
    for label in range(3):
        assert torch.allclose(summed.adapt(support).maps[label], maps[support.y == label].sum(0), atol=1e-12)
        assert torch.allclose(averaged.adapt(support).maps[label], maps[support.y == label].mean(0), atol=1e-12)
    assert not torch.allclose(summed.adapt(support).maps, averaged.adapt(support).maps, atol=1e-3)
    one_shot = task(k_shot=1).support
    assert torch.equal(summed.adapt(one_shot).maps, averaged.adapt(one_shot).maps)


def test_predictions_depend_on_other_queries_exactly_when_transductive() -> None:
    support, query = task(n_query=4)
    for mode, depends in (("transductive", True), ("running", False)):
        algorithm = opinionated(relation_net(batch_norm=mode)).eval()
        assert algorithm.batch_norm == mode
        together, apart = scores_of(algorithm, support, query.x)[:3], scores_of(algorithm, support, query.x[:3])
        assert torch.allclose(together, apart, atol=1e-9) == (not depends)


def test_without_batch_norm_queries_are_independent_and_it_says_so() -> None:
    algorithm = relation_net(MLP(IMAGE, None, [8], False, False, 1e-3, "default", 0.01)).eval()
    assert algorithm.batch_norm == "none"
    support, query = task()
    together, apart = scores_of(algorithm, support, query.x)[:2], scores_of(algorithm, support, query.x[:2])
    assert torch.allclose(together, apart, atol=1e-12)
    with_norm = relation_net(MLP(IMAGE, None, [8], True, False, 1e-3, "default", 0.01))
    assert with_norm.batch_norm == "transductive"


def test_the_order_of_the_support_does_not_matter() -> None:
    algorithm, (support, query) = opinionated(relation_net()).eval(), task()
    scores = scores_of(algorithm, support, query.x)
    assert torch.allclose(scores_of(algorithm, shuffled(support), query.x), scores, atol=1e-12)
    mislabelled = Examples(shuffled(support).x, support.y, 3)
    assert not torch.allclose(scores_of(algorithm, mislabelled, query.x), scores, atol=1e-3)


def test_relabelling_the_classes_relabels_the_scores() -> None:
    algorithm, (support, query) = opinionated(relation_net()).eval(), task()
    order = torch.tensor([2, 0, 1])  # new label -> old label
    relabelled = Examples(support.x, order.argsort()[support.y], 3)
    scores = scores_of(algorithm, support, query.x)
    assert torch.allclose(scores_of(algorithm, relabelled, query.x), scores[:, order], atol=1e-12)
    assert not torch.allclose(scores, scores[:, order], atol=1e-3)


@pytest.mark.parametrize("n_way", [2, 5])
def test_any_number_of_classes_can_be_tested(n_way: int) -> None:
    support, query = task(n_way=n_way)
    assert RelationNet.fixed_way is False
    assert scores_of(relation_net().eval(), support, query.x).shape == (2 * n_way, n_way)


def losses_and_buffers(algorithm: RelationNet, batch: Episode, chunk_size: int | None) -> list[Tensor]:
    """Losses (T,), collected statistics, and the gradient of the mean loss."""

    def one(episode: Episode) -> tuple[Tensor, dict[str, Tensor]]:
        state = dict(algorithm.named_buffers())
        return functional_call(algorithm, state, (episode,)), state

    losses, buffers = over_tasks(one, batch, chunk_size)
    return [losses, *buffers.values(), *torch.autograd.grad(losses.mean(), list(algorithm.parameters()))]


@pytest.mark.parametrize("training", [True, False])
def test_vectorised_losses_statistics_and_gradients_equal_a_loop(training: bool) -> None:
    algorithm, batch = opinionated(relation_net()).train(training), episodes()
    loop = losses_and_buffers(algorithm, batch, 1)
    for chunk_size in (None, 2):
        vectorised = losses_and_buffers(algorithm, batch, chunk_size)
        assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-10) for a, b in zip(vectorised, loop, strict=True))
    assert not torch.allclose(loop[0], loop[0].roll(1), atol=1e-4)


def test_evaluation_leaves_the_stored_statistics_alone_and_training_moves_them() -> None:
    for mode in ("transductive", "running"):
        algorithm, episode = relation_net(batch_norm=mode), task()
        before = {name: buffer.clone() for name, buffer in algorithm.named_buffers()}
        scores_of(algorithm.eval(), episode.support, episode.query.x)
        assert all(torch.equal(buffer, before[name]) for name, buffer in algorithm.named_buffers())
        algorithm.train()(episode)
        assert not any(torch.equal(buffer, before[name]) for name, buffer in algorithm.named_buffers())


def test_embedding_and_relation_module_are_clipped_separately() -> None:
    algorithm = relation_net()
    assert [name for name, _ in algorithm.named_children()] == ["model", "relation"]
    assert not list(algorithm.parameters(recurse=False))
    for parameter in algorithm.model.parameters():
        parameter.grad = torch.full_like(parameter, 10.0)
    small = {name: torch.full_like(p, 1e-4) for name, p in algorithm.relation.named_parameters()}
    for name, parameter in algorithm.relation.named_parameters():
        parameter.grad = small[name].clone()
    ClipNormPerModule(0.5).apply(algorithm)
    clipped = torch.cat([p.grad.flatten() for p in algorithm.model.parameters() if p.grad is not None])
    assert clipped.norm().item() == pytest.approx(0.5, rel=1e-5)
    assert all(torch.equal(p.grad, small[name]) for name, p in algorithm.relation.named_parameters())


def train(algorithm: RelationNet, steps: int, lr: float = 1e-3, k_shot: int = 1) -> list[float]:
    """Losses of so many published updates: one episode each, clipped, Adam."""
    optimizer = torch.optim.Adam(algorithm.parameters(), lr=lr)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = algorithm(task(k_shot=k_shot, n_query=3, seed=step))
        loss.backward()
        ClipNormPerModule(0.5).apply(algorithm)
        optimizer.step()
        losses.append(loss.item())
    return losses


def accuracy(algorithm: RelationNet, **shape: int) -> float:
    def right(episode: Episode) -> Tensor:
        scores = scores_of(algorithm, episode.support, episode.query.x)
        return (scores.argmax(-1) == episode.query.y).double().mean()

    return float(over_tasks(right, episodes(n_tasks=40, seed=10_000, **shape)).mean())


def test_it_learns_far_above_chance_and_can_then_be_tested_both_ways_on_other_ways_and_shots() -> None:
    """Both batch-norm modes train alike, so one training serves to measure the two."""
    algorithm = relation_net(class_map="mean")
    assert accuracy(algorithm.eval()) < 0.5
    train(algorithm.train(), 40, lr=1e-2)
    inductive = relation_net(class_map="mean", batch_norm="running")
    inductive.load_state_dict(algorithm.state_dict())
    assert accuracy(algorithm.eval()) > 0.9
    assert accuracy(inductive.eval()) > 0.9
    assert accuracy(algorithm, n_way=5, k_shot=4) > 0.9


def test_training_does_not_depend_on_the_batch_norm_mode_of_the_test() -> None:
    both = [relation_net(batch_norm=mode) for mode in ("transductive", "running")]
    assert train(both[0], 3) == train(both[1], 3)
    assert train(relation_net(class_map="mean"), 3, k_shot=2) != train(relation_net(), 3, k_shot=2)


GOLDEN = [0.3847172812, 0.3701473224, 0.3558130045, 0.3408793009, 0.3246626425]


def test_a_tiny_run_repeats_the_numbers_it_gave_when_it_was_written() -> None:
    assert train(relation_net(), 5, lr=1e-2, k_shot=2) == pytest.approx(GOLDEN, rel=1e-6)
    assert train(relation_net(), 5, lr=2e-2, k_shot=2) != pytest.approx(GOLDEN, rel=1e-6)


def test_experiments_have_the_published_schedule_clip_and_one_episode_per_step() -> None:
    data = ("omniglot", "mini_imagenet")
    names = sorted(path.stem for name in data for path in EXPERIMENTS.glob(f"relation_net_{name}_*shot.yaml"))
    assert len(names) == 6
    for name in names:
        found = Composer().settings([f"experiment={name}"], Purpose.PLAN)
        schedule = make(found.schedule, Step)
        factors = [schedule.factor(step, found.train.steps) for step in (0, 99_999, 100_000, 199_999, 200_000)]
        assert factors == [1.0, 1.0, 0.5, 0.5, 0.25]
        assert (found.clip.arguments["threshold"], found.optimizer.arguments["lr"]) == (0.5, 0.001)
        assert found.train.meta_batch_size == 1
        assert found.algorithm.arguments["relation_padding"] == (0 if "mini_imagenet" in name else 1)
