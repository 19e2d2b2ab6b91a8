from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from metaexp.algorithms.fine_tune import FineTune
from metaexp.core.errors import ConfigError
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.models.mlp import MLP

MakeTask = Callable[..., Episode]
DEFAULTS: dict[str, Any] = {
    "head": "linear",
    "cosine_scale": 2.0,
    "tune": "head",
    "tune_steps": 3,
    "tune_lr": 0.1,
    "tune_weight_decay": 0.0,
}


def fine_tune(n_outputs: int = 9, n_way: int = 3, norm: bool = True, **changes: Any) -> FineTune:
    torch.manual_seed(0)
    model = MLP((4,), None, [8, 6], norm, True, 1e-3, "default", 0.01)
    return FineTune(model, (4,), n_outputs, TaskShape(n_way, 2, 2), **(DEFAULTS | changes)).double()


def test_the_first_step_from_a_head_of_zeros_has_a_closed_form(make_task: MakeTask) -> None:
    algorithm = fine_tune(tune_steps=1).eval()
    support, query = make_task()
    features = algorithm.model(support.x)
    residual = F.one_hot(support.y, 3).double() - 1 / 3
    tuned = algorithm.adapt(support)
    assert torch.allclose(tuned.head["weight"], 0.1 * residual.T @ features / 6)
    assert torch.allclose(tuned.head["bias"], 0.1 * residual.sum(0) / 6)
    expected = F.linear(algorithm.model(query.x), tuned.head["weight"], tuned.head["bias"])
    assert torch.allclose(algorithm.predict(tuned, query.x), expected)
    assert not torch.allclose(fine_tune(tune_steps=2).eval().adapt(support).head["weight"], tuned.head["weight"])


@pytest.mark.parametrize("n_way", [3, 0])
def test_tuning_everything_equals_torchs_sgd_with_weight_decay(make_task: MakeTask, n_way: int) -> None:
    algorithm = fine_tune(n_way or 2, n_way, tune="all", tune_weight_decay=0.2).eval()
    support, query = make_task(n_way=n_way, k_shot=4)
    scores = algorithm.predict(algorithm.adapt(support), query.x)
    model, head = algorithm.model, algorithm.head
    if n_way:
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    optimizer = torch.optim.SGD([*model.parameters(), *head.parameters()], lr=0.1, weight_decay=0.2)
    for _ in range(3):
        optimizer.zero_grad()
        algorithm.loss(head(model(support.x)), support.y).backward()
        optimizer.step()
    assert torch.allclose(head(model(query.x)), scores)
    other = fine_tune(n_way or 2, n_way, tune="all").eval()
    assert not torch.allclose(other.predict(other.adapt(support), query.x), scores)


def test_only_the_head_is_tuned_unless_set_otherwise(make_task: MakeTask) -> None:
    support, _ = make_task()
    assert fine_tune().eval().adapt(support).body == {}
    algorithm = fine_tune(tune="all").eval()
    body = algorithm.adapt(support).body
    assert set(body) == {name for name, _ in algorithm.model.named_parameters()}
    assert not torch.equal(body["layers.0.linear.weight"], algorithm.model.get_parameter("layers.0.linear.weight"))


def test_the_cosine_head_sees_only_the_direction_of_features(make_task: MakeTask) -> None:
    algorithm = fine_tune(head="cosine").eval()
    support, query = make_task()
    tuned = algorithm.adapt(support)
    assert set(tuned.head) == {"weight"}
    expected = 2 * F.normalize(algorithm.model(query.x), dim=1) @ tuned.head["weight"].T
    assert torch.allclose(algorithm.predict(tuned, query.x), expected)
    linear = fine_tune().eval()
    assert not torch.allclose(linear.predict(linear.adapt(support), query.x), expected)


def test_the_cosine_head_has_a_factor_of_its_own_at_test(make_task: MakeTask) -> None:
    (support, query), batch = make_task(), make_task(n_way=9).query

    def loss_and_scores(**scales: Any) -> tuple[Tensor, Tensor]:
        algorithm = fine_tune(head="cosine", **scales).eval()
        scores = algorithm.predict(algorithm.adapt(support), query.x)
        return algorithm(Episode(batch, batch)), scores

    of_ten, of_two = loss_and_scores(cosine_scale=10.0), loss_and_scores(cosine_scale=2.0)
    loss, scores = loss_and_scores(cosine_scale=10.0, cosine_scale_test=2.0)
    assert torch.equal(loss, of_ten[0])
    assert not torch.allclose(loss, of_two[0])
    assert torch.equal(scores, of_two[1])
    assert not torch.allclose(scores, of_ten[1])


def test_pre_training_is_classification_of_all_training_classes(make_task: MakeTask) -> None:
    algorithm = fine_tune(n_outputs=9).train()
    batch = make_task(n_way=9).query
    loss = functional_call(algorithm, dict(algorithm.named_buffers()), (Episode(batch, batch),))
    with torch.no_grad():
        features = functional_call(algorithm.model, dict(algorithm.model.named_buffers()), (batch.x,))
    assert torch.allclose(loss, F.cross_entropy(algorithm.head(features), batch.y))
    unrelated = Examples(batch.x.flip(0), batch.y, 9)
    again = functional_call(algorithm, dict(algorithm.named_buffers()), (Episode(unrelated, batch),))
    assert torch.equal(again, loss)
    assert not torch.equal(
        functional_call(algorithm, dict(algorithm.named_buffers()), (Episode(batch, unrelated),)), loss
    )


def test_pre_training_collects_running_averages_and_tuning_uses_them(make_task: MakeTask) -> None:
    algorithm, episode = fine_tune(tune="all"), make_task(n_way=9)
    state = dict(algorithm.named_buffers())
    functional_call(algorithm.train(), state, (episode,))
    assert not torch.equal(state["model.layers.0.norm.running_mean"], torch.zeros(8).double())
    support, query = make_task()
    before = algorithm.eval().predict(algorithm.adapt(support), query.x)
    algorithm.load_state_dict(state, strict=False)
    assert not torch.allclose(algorithm.predict(algorithm.adapt(support), query.x), before)


def test_regression_goes_on_from_the_trained_output_layer(make_task: MakeTask) -> None:
    algorithm = fine_tune(2, 0, norm=False, tune_steps=0).eval()
    support, query = make_task(n_way=0)
    outputs = algorithm.predict(algorithm.adapt(support), query.x)
    assert torch.equal(outputs, algorithm.head(algorithm.model(query.x)))
    tuned = fine_tune(2, 0, norm=False, tune_steps=20).eval()
    better = tuned.loss(tuned.predict(tuned.adapt(support), support.x), support.y)
    assert better < algorithm.loss(algorithm.predict(algorithm.adapt(support), support.x), support.y)


def test_the_trajectory_shows_every_step_where_the_whole_network_is_tuned(make_task: MakeTask) -> None:
    support, _ = make_task()
    assert len(list(fine_tune(tune="all").eval().adaptation_path(support))) == 4
    assert len(list(fine_tune(tune="head").eval().adaptation_path(support))) == 1


def test_modes_are_reported() -> None:
    assert fine_tune().batch_norm == "running"
    assert fine_tune(norm=False).batch_norm == "none"
    assert fine_tune().first_order is None
    assert FineTune.training_tasks == "supervised"


def test_a_cosine_head_for_regression_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"algorithm\.head=cosine.*train\.n_way=0.*algorithm\.head=linear"):
        fine_tune(2, 0, head="cosine")
