"""Which classes of a run's test it trains on, or its initial weights, those of another run. Without torch.

A mixture can have a class in two parts, each divided in its own way (:func:`find_shared`). And a run starts from the
weights of another one by ``model.weights=RUN`` or ``from=RUN``; what that run was trained on is in its record. Classes
are compared by their names before anything starts (:func:`find_early`), and by their examples, too, when the data are
loaded (:func:`check_start`).
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
from metaexp.core.fit.task_fit import is_stand_in
from metaexp.core.shapes import Split
from metaexp.data.base import Dataset, MetaDataset, Progress
from metaexp.data.classification.class_ids import named_classes
from metaexp.data.classification.trained_classes import ClassIds, format_shared, format_trained, identifiers
from metaexp.data.mixture.dataset import Mixture
from metaexp.results.record import RECORD_FILE, read_record
from metaexp.run.folder import RunFolder
from metaexp.run.own_options import measure_command

_CHOOSE = "Choose the split that these weights were trained with"
_DIVIDE = (
    "Divide them in one way, such as with the same split_seed in all datasets of a mixture; or, if they are other "
    "classes that have the same names, rename the file or folder of one of these datasets"
)


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
    """What is to be said of classes that were trained on.

    Attributes:
        test: The start of a sentence about test classes; empty where there are none.
        val: The same about validation classes.
        advice: What to do, as a sentence without its point.
    """

    test: str
    val: str
    advice: str


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


def find_early(config: Mapping[str, Any], choices: Mapping[str, str], parent: Path | None) -> list[Known]:
    """Find classes that a run or its initial weights train on, by their names, before its data are loaded.

    Args:
        config: The resolved configuration of the run.
        choices: Its group -> chosen file.
        parent: The run that it continues, if it does.

    Returns:
        What is known for certain. Nothing where only the examples of the data tell.
    """
    node = config["model"]
    start = start_of(node["weights"] if "weights_sha256" in node else None, parent)  # else an argument of the network
    may_share = "domains" in config["dataset"] and not is_stand_in(config["dataset"])
    if not may_share and (start is None or not start.trained):
        return []
    spec = class_spec(config["dataset"], SLOTS["dataset"], "dataset")
    dataset = _described(spec)
    classes = None if dataset is None else _named_classes(dataset, Path(config["paths"]["data"]).expanduser())
    if dataset is None or classes is None:
        return []
    name = data_name(spec, choices.get("dataset") or spec.target.rpartition(".")[2])

    def class_ids(split: Split) -> ClassIds:
        return classes.get(split, {})

    found = [] if start is None else [_find(class_ids, name, start)]
    if may_share and isinstance(dataset, Mixture):
        found.append(find_shared(class_ids, name, val_in_train=dataset.val_in_train))
    return [known for known in found if known.test or known.val]


def find_shared(class_ids: Callable[[Split], ClassIds], name: str, *, val_in_train: bool) -> Known:
    """Find classes of a mixture's test, and of its validation, that are training classes in another part of it.

    Args:
        class_ids: Gives the classes of a split with their identifiers.
        name: What messages call the mixture.
        val_in_train: Whether it says itself that it trains on what it validates on.
    """
    trained = identifiers(class_ids("train"))
    test, val = (format_shared(class_ids, split, name, trained) for split in ("test", "val"))
    return Known(test, "" if val_in_train else val, _DIVIDE)


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
        raise ConfigError(format_refusal(found))
    if found.val:
        progress(f"warning: {format_doubt(found)}")
    return start.trained


def format_refusal(known: Known) -> str:
    """Format why a run is refused that trains on test classes, or whose initial weights were trained on them."""
    return (
        f"{known.test}. So the test would not be on new classes. {known.advice}. To measure it nevertheless, set "
        f"eval.test=false and then give {measure_command()}; the number of such classes is printed beside the result."
    )


def format_doubt(known: Known) -> str:
    """Format the warning for a run that trains on validation classes, or whose initial weights were trained on them."""
    return f"{known.val}. So validation looks better than it would on new classes. {known.advice}."


def format_later_refusal(known: Known) -> str:
    """Format the warning for a run that is chosen first and tested later, which will then be refused."""
    return (
        f"{known.test}. So the test of the chosen run would not be on new classes, and `metaexp evaluate` refuses it "
        f"without --allow-trained-classes. {known.advice}."
    )


def _find(class_ids: Callable[[Split], ClassIds], name: str, start: StartWeights) -> Known:
    """What is to be said about each split of the data called ``name``."""
    test, val = (format_trained(class_ids, split, name, start.name, start.trained) for split in ("test", "val"))
    return Known(test, val, _CHOOSE)


def _named_training_classes(folder: Path) -> list[str] | None:
    """The identifiers by name of the training classes in a run's own settings, where its record lists none."""
    try:
        settings = revise(*RunFolder(folder).read_config(), (), purpose=Purpose.READ)
    except (ConfigError, RunFolderError):
        return None
    dataset = _described(settings.dataset)
    classes = None if dataset is None else _named_classes(dataset, settings.paths.data)
    return None if classes is None else identifiers(classes.get("train", {}))


def _described(spec: ClassSpec) -> Dataset | None:
    """The description of a dataset. What is wrong with it is left for the run to say."""
    try:
        return make(spec, Dataset)  # type: ignore[type-abstract]
    except ConfigError:
        return None


def _named_classes(dataset: Dataset, folder: Path) -> Mapping[Split, ClassIds] | None:
    """What :meth:`Dataset.class_ids_in` returns. What is wrong with the files is left for the run to say."""
    try:
        return named_classes(dataset, folder)
    except (DataError, OSError):
        return None
