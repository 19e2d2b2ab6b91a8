"""Which classes of a run its initial weights, those of another run, were trained on. Without torch.

A run starts from the weights of another one by ``model.weights=RUN`` or ``from=RUN``. What that run was trained on is
in its record. Classes are compared by their names before anything starts (:func:`find_early`), and by their examples,
too, when the data are loaded (:func:`check_start`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from metaexp.config.check import SLOTS
from metaexp.config.classes.checker import class_spec
from metaexp.config.classes.make import make
from metaexp.config.purpose import Purpose
from metaexp.config.revise import revise
from metaexp.config.schema import ClassSpec, Settings, data_name
from metaexp.core.errors import ConfigError, DataError, RunFolderError
from metaexp.core.shapes import Split
from metaexp.data.base import Dataset, MetaDataset, Progress
from metaexp.data.classification.class_ids import named_classes
from metaexp.data.classification.trained_classes import ClassIds, format_trained
from metaexp.results.record import RECORD_FILE, read_record
from metaexp.run.folder import RunFolder


class StartWeights(NamedTuple):
    """The weights of another run that a run starts from.

    Attributes:
        name: What messages call them, such as ``model.weights=outputs/RUN``.
        trained: Identifiers of the classes that they were trained on.
        all_known: Whether these are all of them. Records of earlier versions list none.
    """

    name: str
    trained: Sequence[str] = ()
    all_known: bool = True


class Known(NamedTuple):
    """The start of a sentence about the classes of a split that weights were trained on; empty where there are none."""

    test: str = ""
    val: str = ""


def start_of(weights: str | None, parent: Path | None) -> StartWeights | None:
    """Return the weights of another run that a run starts from.

    Args:
        weights: ``model.weights``.
        parent: The run that it continues (``from=RUN``).

    Returns:
        These weights; None if it starts from random ones, or from a file that is in no run folder.

    Raises:
        RunFolderError: The record of the other run is damaged.
    """
    if parent is not None:
        record = read_record(parent)
        of_own_data = record.training_classes or record.initial_weights is None  # it has the data of the new run
        return StartWeights(f"from={parent}", record.training_classes, bool(of_own_data))
    folder = None if weights is None else run_folder_of(Path(weights))
    if folder is None:
        return None
    record = read_record(folder)
    name = f"model.weights={weights}"
    if record.training_classes or record.task.n_way == 0:
        return StartWeights(name, record.training_classes)
    named = _named_training_classes(folder)
    return StartWeights(name, named or (), named is not None and record.initial_weights is None)


def run_folder_of(weights: Path) -> Path | None:
    """Return the run folder that ``model.weights`` names, or that its file is in; None where there is none."""
    inside = weights.resolve().parent
    folder = inside.parent if weights.is_file() and inside.name == "checkpoints" else weights
    is_run = (folder / "config.yaml").is_file()  # a record.json alone can be that of another tool
    return folder if is_run and (folder / RECORD_FILE).exists() else None


def find_early(config: Mapping[str, Any], choices: Mapping[str, str], parent: Path | None) -> Known:
    """Find the classes that a run's initial weights were trained on, by their names, before its data are loaded.

    Args:
        config: The resolved configuration of the run.
        choices: Its group -> chosen file.
        parent: The run that it continues, if it does.

    Returns:
        What is known for certain. Nothing where only the examples of the data tell.
    """
    node = config["model"]
    start = start_of(node["weights"] if "weights_sha256" in node else None, parent)  # else an argument of the network
    if start is None or not start.trained:
        return Known()
    spec = class_spec(config["dataset"], SLOTS["dataset"], "dataset")
    classes = _named_classes(spec, Path(config["paths"]["data"]).expanduser())
    if classes is None:
        return Known()
    return _find(
        lambda split: classes.get(split, {}),
        data_name(spec, choices.get("dataset") or spec.target.rpartition(".")[2]),
        start,
    )


def check_start(settings: Settings, parent: Path | None, dataset: MetaDataset, progress: Progress) -> Sequence[str]:
    """Check that a run will be tested on classes that its initial weights were not trained on.

    Args:
        settings: Its settings.
        parent: The run that it continues, if it does.
        dataset: Its data.
        progress: Takes a line where validation classes were trained on, and where that is not known.

    Returns:
        The identifiers of the classes that these weights were trained on.

    Raises:
        ConfigError: Test classes were trained on, and the run is to be tested.
        RunFolderError: The record of the other run is damaged.
    """
    start = start_of(settings.model.options.get("weights"), parent)
    if start is None:
        return ()
    if not start.all_known and dataset.kind == "classification":
        progress(
            f"warning: the record of {start.name}, which is older, does not list the classes that it was trained on, "
            "so it is not known whether test classes are among them."
        )
    found = _find(dataset.class_ids, settings.dataset_name, start)
    if found.test and settings.eval.test:
        raise ConfigError(format_refusal(found.test))
    if found.val:
        progress(f"warning: {format_doubt(found.val)}")
    return start.trained


def format_refusal(known: str) -> str:
    """Format why a run is refused whose initial weights were trained on test classes."""
    return (
        f"{known}. So the test would not be on new classes. Choose the split that these weights were "
        "trained with. To measure it nevertheless, set eval.test=false and then give `metaexp evaluate` "
        "--allow-trained-classes; the number of such classes is printed beside the result."
    )


def format_doubt(known: str) -> str:
    """Format the warning for a run whose initial weights were trained on validation classes."""
    return f"{known}. So validation looks better than it would on new classes."


def _find(class_ids: Callable[[Split], ClassIds], name: str, start: StartWeights) -> Known:
    """What is to be said about each split of the data called ``name``."""
    test, val = (format_trained(class_ids, split, name, start.name, start.trained) for split in ("test", "val"))
    return Known(test, val)


def _named_training_classes(folder: Path) -> list[str] | None:
    """The identifiers by name of the training classes in a run's own settings, where its record lists none."""
    try:
        settings = revise(*RunFolder(folder).read_config(), (), purpose=Purpose.READ)
    except (ConfigError, RunFolderError):
        return None
    classes = _named_classes(settings.dataset, settings.paths.data)
    return None if classes is None else sorted({one for ids in classes.get("train", {}).values() for one in ids})


def _named_classes(spec: ClassSpec, folder: Path) -> Mapping[Split, ClassIds] | None:
    """What :meth:`Dataset.class_ids_in` returns. What is wrong with the files is left for the run to say."""
    try:
        dataset = make(spec, Dataset)  # type: ignore[type-abstract]
    except ConfigError:
        return None
    try:
        return named_classes(dataset, folder)
    except (DataError, OSError):
        return None
