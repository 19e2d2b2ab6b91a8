from collections.abc import Callable
from typing import Literal

import pytest
import torch
from torch.func import functional_call

from metaexp.algorithms.proto_net import ProtoNet, class_means
from metaexp.core.errors import ConfigError
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.models.batch_norm import normalise_with
from metaexp.models.mlp import MLP

MakeTask = Callable[..., Episode]


def proto_net(
    n_way: int = 3,
    distance: Literal["squared_euclidean", "cosine"] = "squared_euclidean",
    batch_norm: Literal["running", "transductive"] = "running",
    norm: bool = True,
) -> ProtoNet:
    torch.manual_seed(0)
    model = MLP((4,), None, [8, 6], norm, True, 1e-3, "default", 0.01)
    return ProtoNet(model, TaskShape(n_way, 2, 2), distance, batch_norm).double()


def test_scores_are_minus_squared_distances_to_the_means_of_the_classes(make_task: MakeTask) -> None:
    algorithm = proto_net().eval()
    support, query = make_task(k_shot=4)
    scores = algorithm.predict(algorithm.adapt(support), query.x)
    embedded, queries = algorithm.model(support.x), algorithm.model(query.x)
    for n in range(3):
        mean = embedded[support.y == n].mean(0)
        assert torch.allclose(scores[:, n], -((queries - mean) ** 2).sum(1))
        total = embedded[support.y == n].sum(0)
        assert not torch.allclose(scores[:, n], -((queries - total) ** 2).sum(1))


def test_cosine_scores_are_cosines_to_the_means(make_task: MakeTask) -> None:
    algorithm = proto_net(distance="cosine").eval()
    support, query = make_task()
    prototypes = algorithm.adapt(support)
    expected = torch.cosine_similarity(algorithm.model(query.x)[:, None], prototypes, dim=2)
    assert torch.allclose(algorithm.predict(prototypes, query.x), expected)
    assert not torch.allclose(expected, proto_net().eval().predict(prototypes, query.x))


def test_class_means_follow_labels_not_positions(make_task: MakeTask) -> None:
    support, _ = make_task(k_shot=3)
    order = torch.randperm(len(support.y))
    means = class_means(support.x, support)
    moved = Examples(support.x[order], support.y[order], 3)
    assert torch.allclose(class_means(moved.x, moved), means)
    assert not torch.allclose(class_means(support.x[order], support), means)


def test_each_class_is_the_mean_of_its_own_number_of_shots(make_task: MakeTask) -> None:
    """As in a mixture with varied shots."""
    support, _ = make_task(k_shot=3)
    kept = torch.cat([torch.nonzero(support.y == n).flatten()[:shots] for n, shots in enumerate((3, 1, 2))])
    uneven = Examples(support.x[kept], support.y[kept], 3)
    means = class_means(uneven.x, uneven)
    for n in range(3):
        assert torch.allclose(means[n], uneven.x[uneven.y == n].mean(0))
        assert n == 2 or not torch.allclose(means[n], uneven.x[uneven.y == n].sum(0) / 2)  # 2 shots are the mean number


def test_support_and_queries_share_a_batch_in_training(make_task: MakeTask) -> None:
    algorithm = proto_net().train()
    support, query = make_task()
    loss = functional_call(algorithm, dict(algorithm.named_buffers()), (Episode(support, query),))

    def loss_of(embedded: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        distances = torch.cdist(queries, class_means(embedded, support)) ** 2
        return torch.nn.functional.cross_entropy(-distances, query.y)

    with normalise_with("batch"):
        together = algorithm.model(torch.cat([support.x, query.x]))
        assert torch.allclose(loss, loss_of(*together.split(6)))
        assert not torch.allclose(loss, loss_of(algorithm.model(support.x), algorithm.model(query.x)))


def test_training_collects_the_running_averages_that_tests_use(make_task: MakeTask) -> None:
    algorithm, episode = proto_net(), make_task()
    state = dict(algorithm.named_buffers())
    functional_call(algorithm.train(), state, (episode,))
    means = [name for name in state if name.endswith("running_mean")]
    assert means
    assert not any(torch.equal(state[name], algorithm.get_buffer(name)) for name in means)
    algorithm.eval()
    before = algorithm.predict(algorithm.adapt(episode.support), episode.query.x)
    algorithm.load_state_dict(state, strict=False)
    assert not torch.allclose(algorithm.predict(algorithm.adapt(episode.support), episode.query.x), before)


def test_trained_with_sixty_ways_it_is_tested_with_five(make_task: MakeTask) -> None:
    algorithm = proto_net(n_way=60)
    assert not algorithm.fixed_way
    training = make_task(n_way=60, k_shot=1, n_query=1)
    assert functional_call(algorithm.train(), dict(algorithm.named_buffers()), (training,)).isfinite()
    support, query = make_task(n_way=5)
    assert algorithm.eval().predict(algorithm.adapt(support), query.x).shape == (10, 5)


def test_the_batch_norm_mode_is_reported() -> None:
    assert proto_net().batch_norm == "running"
    assert proto_net(batch_norm="transductive").batch_norm == "transductive"
    assert proto_net(norm=False).batch_norm == "none"


def test_regression_is_refused_with_the_keys_to_change() -> None:
    with pytest.raises(ConfigError, match=r"train\.n_way=0.*algorithm=maml"):
        proto_net(n_way=0)
