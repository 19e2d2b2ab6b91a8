"""Makes the objects of a run from its settings: dataset, network, algorithm, optimiser."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from metaexp.config.classes.make import make
from metaexp.config.schema import ClassSpec, Settings
from metaexp.core.algorithm import Algorithm
from metaexp.core.optim import Clip, Schedule
from metaexp.core.shapes import trains_on_batches
from metaexp.data.base import Dataset, MetaDataset, Progress, TaskSource
from metaexp.data.classification.augmentation import augmented
from metaexp.data.classification.own_examples import load_and_warn
from metaexp.data.mapped.moved_tasks import moved
from metaexp.data.mapped.placement import use_placement
from metaexp.machine.device import Compute, use_device
from metaexp.machine.single_rank import Ranks
from metaexp.models.torch_settings import refuse_changed_settings
from metaexp.results.beginning import InitialWeights
from metaexp.run.chunk_size import tasks_at_once, training_chunk
from metaexp.run.evaluation.evaluator import Evaluator, SealedSource
from metaexp.run.initial.algorithm import algorithm_class, build_algorithm
from metaexp.run.initial.fit import check_new_classes, check_tasks
from metaexp.run.initial.frozen_features import with_features
from metaexp.run.initial.network import Interface, build_network, n_outputs
from metaexp.run.initial.own_class import import_own
from metaexp.run.initial.own_episodes import check_episodes, require_data
from metaexp.run.initial.trained_before import check_start
from metaexp.run.initial.weights import load_initial, read_weights
from metaexp.run.optimizer import make_optimizer
from metaexp.run.state import TrainState
from metaexp.run.step import MetaStep, check_shares
from metaexp.run.tasks_ahead import TasksAhead


@dataclass(frozen=True)
class Parts:
    """The objects of a run, on its device.

    Attributes:
        algorithm: The algorithm with its network.
        interface: The shapes that both were built for.
        dataset: The data, on the device.
        train_source: Tasks to train on.
        eval_source: Tasks to validate and test on; test episodes are sealed at first.
        tasks_per_step: T, the tasks (or supervised batches) of one step.
        optimizer: None for an algorithm without parameters, which is not trained.
        schedule: The learning rate of every step.
        clip: What limits gradients.
        val_in_train: Whether the dataset says that it trains on what it validates on.
        initial_weights: What was taken from the file of ``model.weights``; None where nothing was.
        trained_before: Identifiers of the classes that the run's initial weights, those of another run, were trained
            on.
    """

    algorithm: Algorithm
    interface: Interface
    dataset: MetaDataset
    train_source: TaskSource
    eval_source: SealedSource
    tasks_per_step: int
    optimizer: torch.optim.Optimizer | None
    schedule: Schedule
    clip: Clip
    val_in_train: bool
    initial_weights: InitialWeights | None = None
    trained_before: Sequence[str] = ()


def build(
    settings: Settings,
    compute: Compute,
    progress: Progress,
    *,
    begins: bool = True,
    parent: Path | None = None,
    dataset: MetaDataset | None = None,
) -> Parts:
    """Load the data and make everything else.

    The initial weights depend on ``settings.seed`` and the file of ``model.weights`` alone, on every device.

    Args:
        settings: The checked configuration.
        compute: The device.
        progress: Takes lines about what is done meanwhile.
        begins: Whether the run begins here. One that continues from a checkpoint needs no file of weights.
        parent: The run whose checkpoint it begins with (``from=RUN``). Then it needs no file of weights either.
        dataset: Its data where they are loaded already.

    Returns:
        The objects of the run.

    Raises:
        ConfigError: The settings cannot work together, or it or its initial weights are trained on test classes.
        DataError: The data are missing or damaged.
    """
    cls = algorithm_class(settings.algorithm)
    draws_weights = begins and parent is None
    file = read_weights(settings.model) if draws_weights else None
    dataset = dataset or load_dataset(settings, compute, progress)
    check_tasks(settings, dataset)
    shape, n_episodes = settings.task.shape, settings.train.eval_episodes
    val_in_train = says_val_in_train(settings.dataset)
    check_episodes(
        dataset, settings.dataset_name, shape, settings.eval.seed, compute.tasks_on, n_episodes,
        val_in_train=val_in_train,
    )  # fmt: skip
    if begins and not settings.is_stand_in:  # images that are made up may be the same in several datasets
        name, is_tested = settings.dataset_name, settings.eval.test
        check_new_classes(dataset, name, is_tested=is_tested, val_in_train=val_in_train, progress=progress)
    trained_before = check_start(settings, parent, dataset, progress) if begins else ()
    interface = Interface(tuple(dataset.input_shape), n_outputs(cls, dataset, settings.train.shape))
    model = build_network(settings, interface, begins=draws_weights)
    taken = load_initial(model, file, settings.model.options.get("weights_partial", False)) if model and file else None
    algorithm = build_algorithm(settings, interface, model, begins=draws_weights).to(compute.device)
    parameters = {name: p for name, p in algorithm.named_parameters() if p.requires_grad}
    on_batches = bool(parameters) and trains_on_batches(cls.training_tasks, settings.train.shape.n_way)
    given = dataset
    if not settings.augment.changes:
        given = with_features(dataset, algorithm, settings.paths.data, compute.device, progress)
    train_source, others = _tasks(settings, given, compute, batches=on_batches)
    with refuse_changed_settings("the optimizer, the schedule or the clip"):
        return Parts(
            algorithm=algorithm,
            interface=interface,
            dataset=dataset,
            train_source=train_source,
            eval_source=SealedSource(others),
            tasks_per_step=1 if on_batches else settings.train.meta_batch_size,
            optimizer=make_optimizer(settings.optimizer, parameters, compute) if parameters else None,
            schedule=make(settings.schedule, Schedule),  # type: ignore[type-abstract]
            clip=make(settings.clip, Clip),  # type: ignore[type-abstract]
            val_in_train=val_in_train,
            initial_weights=taken,
            trained_before=trained_before,
        )


def _tasks(settings: Settings, data: MetaDataset, compute: Compute, *, batches: bool) -> tuple[TaskSource, TaskSource]:
    """The tasks or batches of training, and the tasks of validation and test, on the device."""
    train, made_on = settings.train, compute.tasks_on
    tasks = data.batches(train.meta_batch_size, settings.seed) if batches else data.tasks(train.shape, settings.seed)
    tasks = augmented(tasks, data, settings.augment, settings.seed)
    others = data.tasks(settings.task.shape, settings.eval.seed)
    return moved(tasks, made_on, compute.device), moved(others, made_on, compute.device)


def says_val_in_train(dataset: ClassSpec) -> bool:
    """Return whether a dataset says that it trains on what it validates on.

    Args:
        dataset: Its section of the checked configuration.
    """
    return make(dataset, Dataset).val_in_train  # type: ignore[type-abstract]


def load_dataset(settings: Settings, compute: Compute, progress: Progress) -> MetaDataset:
    """Load the dataset into the memory of the device that makes tasks.

    Args:
        settings: The checked configuration.
        compute: The device.
        progress: Takes lines about what is done meanwhile.
    """
    with use_placement(settings.device.examples):
        return load_examples(settings, progress).to(compute.tasks_on)


def load_examples(settings: Settings, progress: Progress) -> MetaDataset:
    """Load the dataset on the CPU, with its examples where ``device.examples`` says.

    Args:
        settings: The checked configuration.
        progress: Takes lines about what is done meanwhile.
    """
    import_own(settings.dataset, Dataset)  # type: ignore[type-abstract]
    with refuse_changed_settings(f"dataset={settings.dataset_name}"), use_placement(settings.device.examples):
        description = make(settings.dataset, Dataset)  # type: ignore[type-abstract]
        found = load_and_warn(description, settings.paths.data, progress)
    return require_data(found, settings.dataset_name)


@dataclass(frozen=True)
class TrainingSetup:
    """Everything that a run trains and measures with, on one rank.

    Attributes:
        settings: The checked configuration.
        ranks: The ranks that share the run.
        compute: The device of this rank.
        parts: Dataset, algorithm and optimiser.
        state: What changes while the run trains.
        step: Makes steps; None if nothing is trained.
        evaluator: Measures on validation and test episodes.
        on_training_tasks: Measures on the few training tasks of ``train.n_tasks``; None without it, and on batches.
    """

    settings: Settings
    ranks: Ranks
    compute: Compute
    parts: Parts
    state: TrainState
    step: MetaStep | None
    evaluator: Evaluator
    on_training_tasks: Evaluator | None = None


@contextmanager
def set_up(
    settings: Settings, ranks: Ranks, progress: Progress, *, begins: bool = True, parent: Path | None = None
) -> Iterator[TrainingSetup]:
    """Prepare the device of this rank for this block, and build everything on it.

    Args:
        settings: The checked configuration.
        ranks: The ranks that share the run.
        progress: Takes lines about what is done meanwhile, such as a download.
        begins: Whether the run begins here, rather than continues from a checkpoint of its own.
        parent: The run whose checkpoint it begins with, if any.

    Yields:
        The setup of this rank.

    Raises:
        MetaexpError: :func:`use_device` or :func:`build` failed, on this rank or another.
        ConfigError: There are too few tasks to share.
        MachineError: The ranks have different data.
    """
    with ExitStack() as stack:
        made: list[tuple[Compute, Parts]] = []

        def start() -> None:
            check_shares(settings, algorithm_class(settings.algorithm), ranks.size)
            compute = stack.enter_context(use_device(settings.device, ranks.launch))
            made.append((compute, build(settings, compute, progress, begins=begins, parent=parent)))

        ranks.run_in_turn(start)
        ((compute, parts),) = made
        ranks.require_equal("the data", lambda: parts.dataset.digest)
        yield training_setup(settings, ranks, compute, parts)


def training_setup(settings: Settings, ranks: Ranks, compute: Compute, parts: Parts) -> TrainingSetup:
    """Make what trains and measures from the objects of a run.

    Args:
        settings: The checked configuration.
        ranks: The ranks that share the run.
        compute: The device of this rank.
        parts: What :func:`build` returned.
    """
    chunk = tasks_at_once(settings.task.shape, parts.dataset.input_shape, parts.algorithm, compute)
    train = settings.train
    has_few = train.n_tasks is not None and not trains_on_batches(parts.algorithm.training_tasks, train.shape.n_way)
    return TrainingSetup(
        settings,
        ranks,
        compute,
        parts,
        TrainState(parts.algorithm, parts.optimizer),
        make_step(settings, parts, compute, ranks),
        Evaluator(parts.eval_source, settings.eval.seed, compute, chunk, ranks, settings.eval.metrics),
        Evaluator(parts.train_source, settings.seed, compute, chunk, ranks) if has_few else None,
    )


def make_step(settings: Settings, parts: Parts, compute: Compute, ranks: Ranks) -> MetaStep | None:
    """Make the steps of training; None if nothing is trained.

    Args:
        settings: The checked configuration.
        parts: The objects of the run.
        compute: The device.
        ranks: The ranks that share the tasks of a step.
    """
    if parts.optimizer is None or settings.train.steps == 0:
        return None
    tasks, steps, few = len(ranks.share(parts.tasks_per_step)), settings.train.steps, settings.train.n_tasks
    makes_ahead = compute.tasks_on.type == "cpu" and ranks.size == 1  # the tasks of a rank do not follow each other
    chunk = training_chunk(settings.train.shape, parts.dataset.input_shape, parts.algorithm, compute, tasks)
    return MetaStep(
        parts.algorithm,
        TasksAhead(parts.train_source, steps * tasks, few) if makes_ahead else parts.train_source,
        parts.optimizer,
        parts.schedule,
        parts.clip,
        replace(compute, task_chunk=chunk),
        parts.tasks_per_step,
        steps,
        settings.seed,
        ranks,
        few,
    )
