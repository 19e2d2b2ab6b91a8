"""The selected weights of a run, adapted to new tasks that are given as arrays."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.core.shapes import TaskShape
from metaexp.core.terminal_text import plain
from metaexp.core.types import Adapted, Examples
from metaexp.data.classification.preprocessing import Pixels
from metaexp.models.torch_settings import standard_settings
from metaexp.results.display.wording import format_network, format_task
from metaexp.run.initial.network import Interface
from metaexp.run.predict.given import Array as Array
from metaexp.run.predict.given import as_labels, as_tensor
from metaexp.run.predict.origin import LearnerOrigin

_SPARE = 0.1
"""Part of the range by which resized floats may leave it."""


class Calibrated(Protocol):
    """A threshold for :meth:`Learner.sets` and :meth:`Learner.intervals`."""

    @property
    def threshold(self) -> float:
        """The largest nonconformity of what is kept."""

    @property
    def shape(self) -> TaskShape:
        """The shape of the tasks that it was found on."""

    @property
    def weights_sha256(self) -> str:
        """The SHA-256 (hex) of the weights that it was found with; "" where that is not known."""


class Learner:
    """An algorithm with the selected weights of a run; after :meth:`adapt`, one that knows a task.

    Args:
        algorithm: The algorithm, in evaluation mode, on the CPU.
        interface: The shapes that it was built for.
        task: The shape of the tasks that it was tested with; 0 ways for regression.
        report: Takes a warning.
        pixels: How images became numbers in the run; None where its examples are not images.
        origin: Where it comes from; None where it was made by hand.

    Attributes:
        names: The classes of the task by label; None for regression, and before :meth:`adapt`.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        interface: Interface,
        task: TaskShape,
        report: Callable[[str], None] = warnings.warn,
        pixels: Pixels | None = None,
        origin: LearnerOrigin | None = None,
    ) -> None:
        self.algorithm = algorithm
        self.interface = interface
        self.task = task
        self._report = report
        self._pixels = pixels
        self.origin = origin
        self.names: npt.NDArray[Any] | None = None
        self._adapted: Adapted = None
        self._is_adapted = False
        self._k_shot = 0

    def __repr__(self) -> str:
        """Algorithm, network, the shape of its tasks, where the weights are from, and the task that it knows."""
        what = type(self.algorithm).__name__
        weights = ""
        if self.origin is not None:
            what = f"{self.origin.algorithm} with {format_network(self.origin.model)}"
            weights = f", weights of {self.origin.weights}"
        known = f"adapted to a {format_task(self._known(0))} task" if self._is_adapted else "not adapted"
        return plain(f"<Learner {what}, {format_task(self.task)}{weights}: {known}>")

    @standard_settings()
    def adapt(self, x: Array, y: Array) -> Learner:
        """Adapt to a task.

        Args:
            x: The support examples (S, ...), as the dataset of the run prepares them: float32, images (S, C, H, W)
                with their preprocessing done.
            y: Their labels (S,), any values that can be sorted; or their targets (S, D_out) for regression.

        Returns:
            The adapted learner. This one stays as it is.

        Raises:
            ConfigError: The examples or labels do not fit the run.
        """
        examples = self.examples(x, "x")
        found = Learner(self.algorithm, self.interface, self.task, self._report, self._pixels, self.origin)
        support, found.names = self._support(examples, y)
        with torch.no_grad():
            found._adapted = self.algorithm.adapt(support)
        found._is_adapted = True
        found._k_shot = len(support.y) if found.names is None else int(support.y.bincount().min())
        return found

    @standard_settings()
    def scores(self, x: Array) -> npt.NDArray[np.float32]:
        """Return the scores (M, N) of each class in the order of ``names``, or the regression outputs (M, D_out).

        With transductive batch norm, fewer queries than classes bring a warning.

        Args:
            x: New examples (M, ...), prepared as those of :meth:`adapt`.

        Raises:
            ConfigError: The learner is not adapted, the examples do not fit the run, or a score is not finite.
        """
        if not self._is_adapted:
            raise ConfigError("this learner knows no task yet; call adapt(x, y) first.")
        query = self.examples(x, "the query")
        self._warn_of_few(len(query))
        with torch.no_grad():
            found = self.algorithm.predict(self._adapted, query)
        scores: npt.NDArray[np.float32] = found.numpy()
        if not np.isfinite(scores).all():
            raise ConfigError("scores of the query are not finite; prepare the examples as those of the run.")
        return scores

    def _warn_of_few(self, n_queries: int) -> None:
        """Warn where batch norm takes its statistics from queries, and there are fewer than classes."""
        n_way = 2 if self.names is None else len(self.names)
        if self.algorithm.batch_norm == "transductive" and n_queries < n_way:
            of_each, of_all = ("", "") if self.names is None else (", as many of each class", ", of all classes")
            self._report(
                "these weights have transductive batch norm: the queries of one call are normalised together. They "
                f"were tested with {self.task.n_queries} at once{of_each}, and this call has {n_queries}. Its "
                f"predictions may be no better than guessing. Give more queries at once{of_all}."
            )

    def predict(self, x: Array) -> npt.NDArray[Any]:
        """Return the label (M,) of each example as it was given to :meth:`adapt`, or outputs (M, D_out).

        Args:
            x: New examples (M, ...), prepared as those of :meth:`adapt`.

        Raises:
            ConfigError: As :meth:`scores`.
        """
        scores = self.scores(x)
        return scores if self.names is None else np.asarray(self.names[scores.argmax(-1)])

    def sets(self, x: Array, calibration: Calibrated) -> list[list[Any]]:
        """Return for each example the classes that it may belong to, the likeliest first.

        Args:
            x: New examples (M, ...).
            calibration: What ``Run.calibrate`` returns.

        Raises:
            ConfigError: The learner is for regression, or as :meth:`scores`.
        """
        if self.names is None:
            raise ConfigError("prediction sets are of classes; use intervals(x, calibration) in regression.")
        names, scores = self.names.tolist(), self.scores(x)  # Python's own strings and numbers
        self._warn_of_other_tasks(calibration)
        return [[names[label] for label in labels] for labels in label_sets(scores, calibration.threshold)]

    def intervals(self, x: Array, calibration: Calibrated) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return lower and upper ends (M, D_out) for the targets of each example, in regression.

        Args:
            x: Inputs (M, ...).
            calibration: What ``Run.calibrate`` returns.

        Raises:
            ConfigError: The learner is for classes, or as :meth:`scores`.
        """
        if self.names is not None:
            raise ConfigError("intervals are for regression; use sets(x, calibration) with classes.")
        outputs = self.scores(x)
        self._warn_of_other_tasks(calibration)
        return outputs - np.float32(calibration.threshold), outputs + np.float32(calibration.threshold)

    def _warn_of_other_tasks(self, calibration: Calibrated) -> None:
        """Warn where a threshold was found with other weights, or on tasks of other ways or shots."""
        if not hasattr(calibration, "shape"):
            raise ConfigError(f"{calibration!r} is not a calibration; give what run.calibrate(0.9) returns.")
        found_with = calibration.weights_sha256
        if found_with and self.origin is not None and found_with != self.origin.weights_sha256:
            self._report(
                "this was calibrated with other weights than the learner's, such as those of another run, so the "
                f"coverage is not promised. Calibrate the run of this learner, {self.origin.weights}: "
                "run.calibrate(level)."
            )
        known = self._known(calibration.shape.n_query)
        if calibration.shape == known:
            return
        ways = f"n_way={known.n_way}, " if known.n_way else ""
        self._report(
            f"this was calibrated on {format_task(calibration.shape)} tasks, and the learner knows a "
            f"{format_task(known)} task, so the coverage is not promised. Calibrate for such tasks: "
            f"run.calibrate(level, {ways}k_shot={known.k_shot})."
        )

    def _known(self, n_query: int) -> TaskShape:
        """The shape of the task that it was adapted to, with any number of queries."""
        return TaskShape(0 if self.names is None else len(self.names), self._k_shot, n_query)

    def examples(self, x: Array, name: str) -> Tensor:
        """Return examples as float32 on the CPU.

        Args:
            x: Inputs (S, ...).
            name: What the message calls them.

        Raises:
            ConfigError: There are no examples, they have another shape than the run takes, or are not finite.
        """
        found = as_tensor(x, name)
        shape = self.interface.input_shape
        if tuple(found.shape[1:]) != tuple(shape) or len(found) == 0:
            raise ConfigError(
                f"{name} has shape {tuple(found.shape)}; this run takes (S, {', '.join(map(str, shape))}), with at "
                "least one example."
            )
        self._warn_of_values(found, name)
        return found

    def _warn_of_values(self, x: Tensor, name: str) -> None:
        """Warn of images that were not prepared as those of the run, such as bytes from 0 to 255."""
        if self._pixels is None:
            return
        low, high = self._pixels.span()
        spare = _SPARE * (high - low)
        if low - spare <= float(x.min()) and float(x.max()) <= high + spare:
            return
        self._report(
            f"{name} has values from {float(x.min()):.4g} to {float(x.max()):.4g}; images of this run have values from "
            f"{low:.4g} to {high:.4g} ({self._pixels.format()}). Prepare them in the same way: predictions for others "
            "mean little."
        )

    def _support(self, x: Tensor, y: Array) -> tuple[Examples, npt.NDArray[Any] | None]:
        if self.task.n_way == 0:
            targets = as_tensor(y, "y")
            if targets.numel() != len(x) * self.interface.n_outputs:
                raise ConfigError(
                    f"y has shape {tuple(targets.shape)}; this run takes (S, {self.interface.n_outputs}) targets, one "
                    f"row for each of the {len(x)} examples."
                )
            return Examples(x, targets.reshape(len(x), -1), 0), None
        names, labels = as_labels(y, len(x))
        if len(names) < 2:
            raise ConfigError(f"y names one class, {names[0]}; a task has at least two.")
        if self.algorithm.fixed_way and len(names) != self.task.n_way:
            raise ConfigError(
                f"y names {len(names)} classes; the algorithm of this run takes exactly {self.task.n_way}."
            )
        return Examples(x, torch.from_numpy(labels), len(names)), names


def label_sets(scores: npt.NDArray[np.float32], threshold: float) -> list[list[int]]:
    """Return for each row of scores (M, N) the labels whose nonconformity is at most a threshold, likeliest first.

    The likeliest label is always among them, so no set is empty.

    Args:
        scores: (M, N).
        threshold: The calibrated threshold.
    """
    costs = nonconformity(torch.from_numpy(np.asarray(scores)))  # (M, N)
    order = np.argsort(-np.asarray(scores), axis=-1, kind="stable")
    return [
        [int(label) for place, label in enumerate(row) if place == 0 or float(cost[label]) <= threshold]
        for row, cost in zip(order, costs, strict=True)
    ]


def nonconformity(scores: Tensor) -> Tensor:
    """How little each label fits, (..., N) from scores (..., N): one less the softmax of its score."""
    return 1 - torch.softmax(scores.double(), -1)
