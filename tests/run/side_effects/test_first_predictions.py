"""Predictions of an algorithm of one's own that make its numbers mean something else are warned of, and no others."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import ModuleType
from typing import Any, Literal

import pytest
import torch
from pure_tasks import Pure, evaluator
from torch import Tensor, nn

from metaexp.algorithms.proto_net import ProtoNet
from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.run.side_effects.first_predictions import warn_of_predictions

Change = Callable[[Tensor, Tensor], Tensor]


class Means(Algorithm):
    """The nearest class mean, with a change of the scores (M, N) that knows the queries."""

    batch_norm: Literal["none", "transductive"] = "none"  # type: ignore[assignment]

    def __init__(self, change: Change = lambda scores, x: scores) -> None:
        super().__init__()
        self.change = change

    def adapt(self, support: Examples) -> Tensor:
        return torch.stack([support.x[support.y == label].mean(0) for label in range(support.n_way)])

    def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
        return self.change(-(x.unsqueeze(1) - adapted).square().sum(-1), x)


class OwnLoss(Means):
    def loss(self, scores: Tensor, y: Tensor) -> Tensor:
        return nn.functional.nll_loss(scores.log(), y)


class OwnMetaLoss(Means):
    def meta_loss(self, episode: Episode) -> Tensor:
        return nn.functional.nll_loss(self.predict(self.adapt(episode.support), episode.query.x).log(), episode.query.y)


class SaysSo(Means):
    batch_norm = "transductive"


def task() -> Episode:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(3).repeat(4)
    x = torch.randn(12, 5, generator=generator) + y.unsqueeze(1)
    return Episode(Examples(x, y, 3), Examples(x + 0.1, y, 3))


def said(algorithm: Algorithm, caplog: pytest.LogCaptureFixture, episode: Episode | None = None) -> list[str]:
    caplog.clear()
    with torch.no_grad():
        warn_of_predictions(algorithm.eval(), lambda: nullcontext(episode or task()))
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_nothing_is_said_of_usual_predictions(caplog: pytest.LogCaptureFixture) -> None:
    assert said(Means(), caplog) == []
    assert said(Means(lambda scores, x: scores.log_softmax(-1)), caplog) == []
    assert said(Means(lambda scores, x: scores * 1e6), caplog) == []


def test_predictions_that_depend_on_other_queries_are_warned_of_unless_it_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    changes: list[Change] = [lambda scores, x: scores - scores.mean(0), lambda scores, x: scores * x.std(0).sum()]
    for change in changes:
        (line,) = said(Means(change), caplog)
        assert "Means for a query depend on the other queries of its task, and batch_norm says none" in line
        assert said(SaysSo(change), caplog) == []

    def fixed(scores: Tensor, x: Tensor) -> Tensor:
        return scores.reshape(4, 3, 3).reshape(12, 3)  # takes this number of queries only

    assert said(Means(fixed), caplog) == []


def test_a_claim_that_other_queries_matter_is_warned_of_where_they_do_not(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = said(SaysSo(), caplog)
    assert "batch_norm of SaysSo returns 'transductive', and records repeat it, but its predictions do not" in line
    assert said(SaysSo(lambda scores, x: scores * 0 + 1), caplog) == []  # nothing can be told from equal answers
    assert said(SaysSo(lambda scores, x: scores - scores.mean(0)), caplog) == []
    support, query = task()
    assert said(SaysSo(), caplog, Episode(support, Examples(query.x[:1], query.y[:1], 3))) == []


class Positions(Means):
    """Takes labels from positions, which are right where classes come in turn."""

    def adapt(self, support: Examples) -> Tensor:
        return support.x.view(-1, support.n_way, support.x.shape[1]).mean(0)


class Sequence(Means):
    """Gives more weight to what comes later, by a part of the whole."""

    size = 1.0

    def adapt(self, support: Examples) -> Tensor:
        weights = 1 + self.size * torch.linspace(0, 1, len(support.x)).unsqueeze(1)
        return super().adapt(support._replace(x=support.x * weights))


def test_predictions_that_depend_on_the_order_of_the_support_are_warned_of_unless_it_says_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cls in (Positions, Sequence):
        (line,) = said(cls(), caplog)
        assert f"the predictions of {cls.__name__} depend on the order of the support, which is shuffled" in line
        monkeypatch.setattr(cls, "depends_on_support_order", True)
        assert said(cls(), caplog) == []
        monkeypatch.setattr(cls, "depends_on_support_order", False)
    monkeypatch.setattr(Sequence, "size", 1e-4)  # as steps of gradient make of rounding
    assert said(Sequence(), caplog) == []


def test_predictions_that_are_not_one_tensor_are_refused_before_they_are_judged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ConfigError, match=r"^predictions are of the type tuple\. Let predict return one tensor"):
        said(Means(lambda scores, x: (scores, scores)), caplog)  # type: ignore[arg-type, return-value]


def test_random_numbers_at_test_are_warned_of_alone(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = said(Means(lambda scores, x: nn.functional.dropout(scores, 0.5, training=True)), caplog)
    assert "Means draws random numbers where it is tested" in line


def test_probabilities_are_warned_of_where_the_loss_takes_their_softmax(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = said(Means(lambda scores, x: scores.softmax(-1)), caplog)
    assert "the scores of Means are probabilities" in line
    for cls in (OwnLoss, OwnMetaLoss):
        assert said(cls(lambda scores, x: scores.softmax(-1)), caplog) == []


@pytest.mark.parametrize("n_scores", [2, 4])
def test_another_number_of_scores_than_of_classes_is_warned_of(caplog: pytest.LogCaptureFixture, n_scores: int) -> None:
    (line,) = said(Means(lambda scores, x: torch.cat([scores, scores], 1)[:, :n_scores]), caplog)
    assert f"Means gives {n_scores} scores for 3 classes" in line


def test_regression_has_no_scores_of_classes(caplog: pytest.LogCaptureFixture) -> None:
    class Zero(Means):
        def adapt(self, support: Examples) -> Tensor:
            return support.y.mean(0)

        def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
            return adapted.expand(len(x), 1) + 1.0

    x = torch.zeros(4, 1)
    assert said(Zero(), caplog, Episode(Examples(x, x), Examples(x, x))) == []


def test_algorithms_of_metaexp_are_not_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    class Foreign(ProtoNet):
        def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
            return super().predict(adapted, x) - x.mean()

    made: Any = (nn.Identity(), TaskShape(3, 4, 4), "squared_euclidean", "running")
    assert said(ProtoNet(*made), caplog) == []
    assert len(said(Foreign(*made), caplog)) == 1


def test_an_evaluator_looks_at_predictions_once(tiny: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    class Together(Pure):
        def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
            return super().predict(adapted, x) + x.mean()

    for cls, n_lines in ((Pure, 0), (Together, 1)):
        caplog.clear()
        algorithm, made = cls(), evaluator(tiny)
        for _ in range(2):
            made.validate(algorithm, 10, lambda _: None)
        assert caplog.text.count("depend on the other queries") == n_lines
