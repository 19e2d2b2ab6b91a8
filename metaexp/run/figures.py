"""The figures that a run leaves in its folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from metaexp.config.schema import Settings
from metaexp.core.algorithm import Algorithm
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode, Examples, one_task
from metaexp.data.mapped.moved_tasks import moved
from metaexp.machine.device import Compute
from metaexp.results.figures.episodes import AdaptedEpisode, adapted_episodes
from metaexp.results.figures.fits import Continuation, Fit, continuations, function_fits
from metaexp.results.figures.run_curves import draw_curves, format_title
from metaexp.results.per_class.figure import hardest_classes
from metaexp.results.per_class.files import CLASSES_FILE, read_classes
from metaexp.results.record import RunRecord
from metaexp.run.build import Parts, TrainingSetup
from metaexp.run.folder import RunFolder

log = logging.getLogger(__name__)

EPISODES = 4
FUNCTIONS = 3
SEQUENCES = 6
GRID = 200
"""Points of a function that are drawn."""


class Subject(NamedTuple):
    """What the figures of adapted tasks are made from."""

    settings: Settings
    parts: Parts
    compute: Compute
    title: str
    plots: Path


def draw(folder: RunFolder, setup: TrainingSetup, record: RunRecord) -> dict[str, Path]:
    """Draw the figures of a run.

    They are curves from the folder's numbers, then test tasks after adaptation with the weights that were tested. A
    run without a test does not look at test tasks. A figure that fails is named in the log and left out.

    Args:
        folder: The run folder.
        setup: What was trained.
        record: The completed record.

    Returns:
        Name -> PNG file in the run folder.
    """
    subject = Subject(setup.settings, setup.parts, setup.compute, format_title(record), folder.plots)
    drawn: dict[str, Path] = {}
    works: tuple[Callable[[], dict[str, Path]], ...] = (
        partial(draw_curves, folder.path, record),
        partial(_hardest, folder, record),
        partial(_adapted, subject),
    )
    for work in works if setup.settings.eval.test else works[:1]:
        try:
            drawn.update(work())
        except Exception as error:
            log.warning("a figure could not be drawn (%s: %s)", type(error).__name__, error)
            log.debug("where it failed", exc_info=True)
    return drawn


def _hardest(folder: RunFolder, record: RunRecord) -> dict[str, Path]:
    """The figure of the hardest classes, where ``eval.metrics`` has ``per_class``."""
    found = read_classes(folder.path / CLASSES_FILE, record.test_classes_sha256)
    if not found:
        return {}
    path = folder.plots / "hardest_classes.png"
    hardest_classes(path, format_title(record), found, record.test.mean if record.test else None)
    return {"hardest_classes": path}


def _adapted(subject: Subject) -> dict[str, Path]:
    """The figure of adapted tasks that fits the kind of data; none for vectors, which cannot be drawn."""
    shape = subject.parts.interface.input_shape
    if subject.parts.dataset.kind == "classification":
        return _classified(subject) if len(shape) in (2, 3) else {}
    if shape == (1,) and subject.parts.dataset.target_size == 1:
        return _functions(subject)
    return _sequences(subject) if len(shape) == 2 else {}


def _classified(subject: Subject) -> dict[str, Path]:
    algorithm = subject.parts.algorithm
    shown = []
    for episode in _test_tasks(subject, EPISODES, subject.settings.task.shape):
        with _use_eval_mode(subject):
            scores = algorithm.predict(algorithm.adapt(episode.support), episode.query.x).float()
        sure = scores.softmax(-1).amax(-1) if _gives_probabilities(algorithm) else None
        predicted = scores.argmax(-1)
        shown.append(AdaptedEpisode(*episode.support[:2], *episode.query[:2], predicted, sure))
    path = subject.plots / "adapted_episodes.png"
    adapted_episodes(path, f"{subject.title}: test episodes 0 to {len(shown) - 1}", shown)
    return {"adapted_episodes": path}


def _gives_probabilities(algorithm: Algorithm) -> bool:
    """Whether the softmax of the scores is what was trained: under the default loss, cross-entropy."""
    trained = any(p.requires_grad for p in algorithm.parameters())
    return trained and type(algorithm).loss is Algorithm.loss


def _functions(subject: Subject) -> dict[str, Path]:
    """Functions of one number: the truth is drawn through many query points of the same tasks."""
    k_shot = subject.settings.task.k_shot
    capacity = subject.parts.dataset.capacity()
    n_points = GRID if capacity is None else min(GRID, capacity["test"].per_class - k_shot)
    fits = []
    for episode in _test_tasks(subject, FUNCTIONS, TaskShape(0, k_shot, n_points)):
        order = episode.query.x[:, 0].argsort()
        x, truth = episode.query.x[order], episode.query.y[order]
        support = episode.support
        states = {steps: outputs[:, 0] for steps, outputs in _states(subject, support, x).items()}
        fits.append(Fit(x[:, 0], truth[:, 0], support.x[:, 0], support.y[:, 0], states))
    path = subject.plots / "adapted_functions.png"
    truth_name = "true function" if capacity is None else "measured"  # data of one's own may be noisy
    function_fits(path, f"{subject.title}: test tasks 0 to {len(fits) - 1}", fits, truth_name)
    return {"adapted_functions": path}


def _sequences(subject: Subject) -> dict[str, Path]:
    """Curves to be continued: the first query of each task."""
    shown, continuation = [], subject.parts.dataset.continuation
    for episode in _test_tasks(subject, SEQUENCES, subject.settings.task.shape):
        x = episode.query.x
        drawn = continuation(x, episode.query.y)
        if drawn is None:
            return {}
        states = {steps: continuation(x, outputs) for steps, outputs in _states(subject, episode.support, x).items()}
        fits = {steps: state[1][0] for steps, state in states.items() if state is not None}
        shown.append(Continuation(drawn[0][0], drawn[1][0], fits))
    path = subject.plots / "adapted_sequences.png"
    continuations(path, f"{subject.title}: first query of test tasks 0 to {len(shown) - 1}", shown)
    return {"adapted_sequences": path}


def _states(subject: Subject, support: Examples, x: Tensor) -> dict[int, Tensor]:
    """Compute outputs (M, D_out) for ``x`` (M, ...) before adaptation, after one step and after all of them.

    Algorithms without steps have outputs under 0 only.
    """
    algorithm = subject.parts.algorithm
    with _use_eval_mode(subject):
        states = list(algorithm.adaptation_path(support))
        last = len(states) - 1
        return {steps: algorithm.predict(states[steps], x).float() for steps in sorted({0, min(1, last), last})}


def _test_tasks(subject: Subject, count: int, shape: TaskShape) -> Iterator[Episode]:
    """Test tasks 0 ... count - 1. Other shapes than the protocol's are other tasks of the same split."""
    compute = subject.compute
    indices = torch.arange(count, device=compute.tasks_on)
    made = subject.parts.dataset.tasks(shape, subject.settings.eval.seed)
    source = moved(made, compute.tasks_on, compute.device)
    if source.varies:
        return (one_task(source.episodes("test", indices[i : i + 1]), 0) for i in range(count))
    episodes = source.episodes("test", indices)
    return (one_task(episodes, i) for i in range(count))


@contextmanager
def _use_eval_mode(subject: Subject) -> Iterator[None]:
    """Compute as in the test: evaluation mode, no gradients beyond the algorithm's own, the run's precision."""
    algorithm = subject.parts.algorithm
    training = algorithm.training
    algorithm.eval()
    try:
        with torch.no_grad(), subject.compute.autocast():
            yield
    finally:
        algorithm.train(training)
