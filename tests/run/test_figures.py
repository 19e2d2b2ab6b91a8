"""The pictures at the end of a run."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from metaexp.core.algorithm import Algorithm
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode, Examples
from metaexp.data.base import MetaDataset
from metaexp.results.record import RunRecord
from metaexp.run import figures
from metaexp.run.job import run_job
from metaexp.run.progress import Lines


def test_a_run_on_functions_leaves_its_curves_and_its_fits(
    tiny: ModuleType, tmp_path: Path, silent: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metaexp.run.outputs.draw", figures.draw)
    _, folder = run_job(tiny.settings(tmp_path), display=silent)
    names = {path.name for path in (folder / "plots").glob("*")}
    assert names == {"learning_curve.png", "adapted_functions.png"}, "one step of adaptation is not a curve"


class Means(Algorithm):
    """Scores by the distance to class means of pixels; a temperature to train."""

    batch_norm = "none"

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(()))

    def adapt(self, support: Examples) -> Tensor:
        members = nn.functional.one_hot(support.y, support.n_way).to(support.x.dtype)
        return members.T @ support.x.flatten(1) / members.sum(0)[:, None]

    def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
        assert not self.training
        assert not torch.is_grad_enabled()
        return -torch.cdist(x.flatten(1), adapted) * self.temperature


class Squared(Means):
    """Trained with another loss, so that its scores are not log-probabilities."""

    def loss(self, scores: Tensor, y: Tensor) -> Tensor:
        return scores.square().mean()


def _subject(algorithm: Algorithm, folder: Path, **examples: Any) -> figures.Subject:
    """Tasks of two classes, or curves; ``examples`` overrides the shape and the kind of data."""
    shape = examples.get("shape", (1, 6, 6))
    kind = examples.get("kind", "classification")

    class Tasks:
        varies = False

        def episodes(self, split: str, indices: Tensor) -> Episode:
            assert split == "test"
            generator = torch.Generator().manual_seed(7)
            x = torch.rand(len(indices), 4, *shape, generator=generator)
            y = (
                torch.tensor([1, 0, 0, 1]).expand(len(indices), -1)
                if kind == "classification"
                else x.flatten(2)[..., :3]
            )
            n_way = 2 if kind == "classification" else 0
            return Episode(Examples(x, y, n_way), Examples(x, y, n_way))

    continuation = partial(MetaDataset.continuation, SimpleNamespace(kind=kind))  # type: ignore[arg-type]
    dataset = SimpleNamespace(kind=kind, target_size=3, tasks=lambda shape, seed: Tasks(), continuation=continuation)
    parts = SimpleNamespace(algorithm=algorithm, dataset=dataset, interface=SimpleNamespace(input_shape=shape))
    settings = SimpleNamespace(task=SimpleNamespace(shape=TaskShape(2, 2, 2)), eval=SimpleNamespace(seed=0))
    compute = SimpleNamespace(device=torch.device("cpu"), tasks_on=torch.device("cpu"), autocast=nullcontext)
    return figures.Subject(settings, parts, compute, "means", folder)  # type: ignore[arg-type]


def test_classified_images_are_shown_with_the_confidence_of_the_tested_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(figures, "adapted_episodes", lambda path, title, shown: seen.extend(shown))
    algorithm = Means()
    assert figures._adapted(_subject(algorithm, tmp_path)) == {"adapted_episodes": tmp_path / "adapted_episodes.png"}
    assert len(seen) == figures.EPISODES
    assert algorithm.training, "as it was before"
    confidence = torch.stack([shown.confidence for shown in seen])
    assert ((confidence >= 0.5) & (confidence <= 1)).all()


def test_scores_that_are_not_probabilities_are_not_called_confidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(figures, "adapted_episodes", lambda path, title, shown: seen.extend(shown))
    figures._adapted(_subject(Squared(), tmp_path))
    untrained = Means()
    untrained.temperature.requires_grad_(False)
    figures._adapted(_subject(untrained, tmp_path))
    assert [shown.confidence for shown in seen] == [None] * len(seen)


def test_continued_curves_are_drawn_and_vectors_are_not(tmp_path: Path) -> None:
    class Mean(Means):
        def adapt(self, support: Examples) -> Tensor:
            return support.y.mean(0)

        def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
            return adapted.expand(len(x), -1)

    curves = _subject(Mean(), tmp_path, shape=(9, 1), kind="regression")
    assert figures._adapted(curves)["adapted_sequences"].exists()
    assert figures._adapted(_subject(Means(), tmp_path, shape=(9,))) == {}
    assert figures._adapted(_subject(Mean(), tmp_path, shape=(9,), kind="regression")) == {}


@pytest.mark.parametrize(("per_class", "name"), [(None, "true function"), (10, "measured")])
def test_values_of_ones_own_data_are_called_measured_and_those_of_a_family_its_true_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, per_class: int | None, name: str
) -> None:
    class Mean(Means):
        def adapt(self, support: Examples) -> Tensor:
            return support.y.mean(0)

        def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
            return adapted.expand(len(x), -1)

    names: list[str] = []
    monkeypatch.setattr(figures, "function_fits", lambda path, title, fits, truth_name: names.append(truth_name))
    subject = _subject(Mean(), tmp_path, shape=(1,), kind="regression")
    capacity = None if per_class is None else {"test": SimpleNamespace(per_class=per_class)}
    monkeypatch.setattr(subject.parts.dataset, "capacity", lambda: capacity, raising=False)
    monkeypatch.setattr(subject.settings.task, "k_shot", 2, raising=False)
    figures._functions(subject)
    assert names == [name]


def test_a_figure_that_fails_is_named_and_does_not_end_the_run(
    tiny: ModuleType, tmp_path: Path, silent: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> dict[str, Path]:
        raise RuntimeError("no ink")

    monkeypatch.setattr("metaexp.run.outputs.draw", figures.draw)
    monkeypatch.setattr(figures, "draw_curves", fail)
    record, folder = run_job(tiny.settings(tmp_path), display=silent)
    assert isinstance(record, RunRecord)
    assert record.status == "completed"
    assert [path.name for path in (folder / "plots").glob("*")] == ["adapted_functions.png"]
    assert "a figure could not be drawn (RuntimeError: no ink)" in (folder / "run.log").read_text()
