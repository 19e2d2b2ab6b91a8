"""Selects the weights after training, and writes and reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from metaexp.config.schema import Settings
from metaexp.core.algorithm import Algorithm
from metaexp.core.checkpoint_names import step_name
from metaexp.core.errors import NotFiniteError, RunFolderError
from metaexp.models.base import unknown_like, weights_of
from metaexp.results.checkpoint_values import OF_BEST, OF_STATE, check_values
from metaexp.results.record import read_record
from metaexp.run.build import TrainingSetup
from metaexp.run.checkpoint import Checkpoints, DamagedError, read
from metaexp.run.evaluation.divergence import remedies
from metaexp.run.folder import RunFolder
from metaexp.run.initial.network import Interface
from metaexp.run.integrity import check_weights
from metaexp.run.outputs import Outputs
from metaexp.run.own_options import repeat_command, resume_command
from metaexp.run.state import Best, TrainState, Weights, load_weights


class Selected(NamedTuple):
    """The weights that a run was tested with, or would be if it ended now.

    Attributes:
        step: The number of steps after which they were taken.
        weights: Parameters and buffers; those that only training needs may be missing.
        interface: The shapes that they were built for.
    """

    step: int
    weights: Weights
    interface: Interface


def select_best(setup: TrainingSetup, outputs: Outputs, identity: Mapping[str, Any]) -> Best:
    """Save the weights to test as ``checkpoints/best``, and load what was saved into the algorithm.

    These did best on validation, or with ``eval.weights=last`` they are those after the last step. What only training
    needs is not saved, and is NaN in the algorithm, so that the test is that of the file.

    Args:
        setup: What was trained.
        outputs: Where the weights are saved.
        identity: What the file says about its run.

    Returns:
        The selected weights and their validation result.

    Raises:
        NotFiniteError: No validation gave a finite number, or that of the last weights did not.
    """
    best = best_checkpoint(setup.state, setup.settings)
    if setup.settings.eval.weights == "last" and best.step != setup.state.step:
        raise NotFiniteError(
            f"the validation after the last step, {setup.state.step}, gave no finite result, and eval.weights=last "
            f"tests the weights of that step. {remedies(setup.settings, 'give eval.weights=best')}"
        )
    not_saved = setup.state.algorithm.only_for_training
    weights = {name: t for name, t in best.weights.items() if name not in not_saved}
    outputs.save_best(weights, {"step": best.step, "mean": best.mean, **identity})
    apply_weights(setup.state.algorithm, setup.settings, best.step, weights)
    return best


def best_checkpoint(state: TrainState, settings: Settings) -> Best:
    """Return the weights that did best on validation.

    Args:
        state: The state of training.
        settings: The settings of the run, for the message.

    Raises:
        NotFiniteError: No validation gave a finite number.
    """
    best = state.best
    if best is None:
        raise NotFiniteError(
            f"no validation gave a finite result, so there are no weights to test. {remedies(settings)}"
        )
    return best


def apply_weights(algorithm: Algorithm, settings: Settings, step: int, weights: Weights) -> None:
    """Give the algorithm the weights, and the progress, that it had after some steps.

    Args:
        algorithm: It is changed.
        settings: The settings of the run.
        step: After how many steps.
        weights: The weights. They may lack those that only training needs, which are NaN then.
    """
    own, not_saved = weights_of(algorithm), algorithm.only_for_training - set(weights)
    missing = {name: unknown_like(own[name]) for name in not_saved & set(own)}
    load_weights(algorithm, {**weights, **missing})
    algorithm.set_progress(step, max(settings.train.steps, 1))


def selected(folder: RunFolder, config: Mapping[str, Any]) -> Selected:
    """Read the selected weights of a run.

    Args:
        folder: The run folder.
        config: What its ``config.yaml`` holds.

    Raises:
        RunFolderError: There are no weights yet, they are damaged, or they are of another run.
    """
    if folder.best.with_suffix(".json").exists():
        try:
            weights, values = read(folder.best)
        except DamagedError as error:
            raise RunFolderError(f"{error} {_advice(folder)}") from error
        check_values(folder.best, values, OF_BEST)
        check_weights(folder.best, values, config)
        return Selected(values["step"], weights, _interface(values))
    checkpoint = Checkpoints(folder.checkpoints).load()
    if checkpoint is not None:
        base = folder.checkpoints / step_name(checkpoint.step)
        check_values(base, checkpoint.values, OF_STATE)
    if checkpoint is None or checkpoint.values["best"] is None:
        raise RunFolderError(f"{folder.path} has no weights to evaluate: {_why_none(folder)}")
    check_weights(base, checkpoint.values, config)
    weights = {name.removeprefix("best/"): t for name, t in checkpoint.tensors.items() if name.startswith("best/")}
    return Selected(checkpoint.values["best"][0], weights, _interface(checkpoint.values))


def _why_none(folder: RunFolder) -> str:
    if not _is_completed(folder):
        return "the run has not been validated yet."
    return f"{folder.checkpoints} is missing or has lost files. {_advice(folder)}"


def _advice(folder: RunFolder) -> str:
    """How to have the selected weights of a run again."""
    if not _is_completed(folder):
        return f"Continue the run with {resume_command(folder.path)} to write them again."
    repeat = repeat_command(folder.path)
    return f"The run is complete, so resume does not write them again. Restore them, or repeat the run: {repeat}"


def _is_completed(folder: RunFolder) -> bool:
    try:
        return read_record(folder.path).status == "completed"
    except RunFolderError:
        return False


def _interface(values: Mapping[str, Any]) -> Interface:
    shape, n_outputs = values["interface"]
    return Interface(tuple(shape), n_outputs)
