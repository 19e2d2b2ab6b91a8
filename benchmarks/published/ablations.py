"""What changes a published number without any training: the same weights, tested under other rules.

Committed weights of docs/results are tested again, each time with one setting changed. A difference is the mean over
the same test tasks, with its 95 % interval. Omniglot must be in METAEXP_DATA or in the cache::

    python benchmarks/published/ablations.py --measure RUN ... --page docs/ablations.md
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import timing
import torch
from hydra.utils import get_class
from pages import page_parser, write_page
from torch import Tensor

from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import NotFiniteError
from metaexp.core.intervals import mean_interval
from metaexp.core.terminal_text import print_text
from metaexp.results.display.markdown import between_markers, format_table
from metaexp.results.display.wording import NOTHING
from metaexp.results.episodes import read_episodes
from metaexp.results.record import read_record
from metaexp.run.evaluation.evaluate import evaluate_run

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"
TASKS: Final = {"accuracy": 600, "mse": 10_000}
RECORD = ROOT / "benchmarks" / "records" / "ablations.json"


class Change(NamedTuple):
    """A rule of the test that is changed.

    Attributes:
        rule: What it is about.
        then: What happens instead.
        overrides: The change as overrides of ``metaexp evaluate``. If empty, each query is predicted by itself.
    """

    rule: str
    then: str
    overrides: tuple[str, ...]


ALONE = Change("batch norm", "statistics of each query by itself, one image at a time", ())
INTERPOLATION = Change(
    "resizing of the images", "converted to grey and resized by Lanczos", ("dataset.resize=lanczos",)
)
UPRIGHT = Change("rotations", "none", ("dataset.rotations=none",))
MORE_QUERIES = tuple(
    Change("queries of a class", f"{number}, all in one batch", (f"task.n_query={number}",)) for number in (5, 15)
)

COLOURS = Change("colours", "ink 0 on paper 1", ("dataset.invert=false",))
PIXELS = (
    Change("distance", "Euclidean", ("algorithm.distance=euclidean",)),
    INTERPOLATION,
    COLOURS,
    Change("resizing and colours", "both of these", ("dataset.resize=lanczos", "dataset.invert=false")),
    UPRIGHT,
)
PER_CLASS = Change(
    "rotations", "one for each class (`per_class`), no classes of their own", ("dataset.rotations=per_class",)
)
IMAGES = (INTERPOLATION, UPRIGHT, PER_CLASS)
TRANSDUCTIVE = Change(
    "batch norm", "statistics of the current batch (`transductive`)", ("algorithm.batch_norm=transductive",)
)

CHANGES: Final[Mapping[str, Sequence[Change]]] = {
    "maml_omniglot_5way_1shot_two_cores": (
        Change("batch norm", "statistics of the support set (`episode`)", ("algorithm.batch_norm=episode",)),
        ALONE,
        *MORE_QUERIES,
        Change("inner loss", "mean over the support set, so inner steps are a fifth as long",
               ("algorithm.inner_loss_reduction=mean",)),
        Change("inner steps", "1 (3 were used)", ("algorithm.inner_steps_test=1",)),
        Change("inner steps", "10", ("algorithm.inner_steps_test=10",)),
        INTERPOLATION,
        UPRIGHT,
        Change("rotations", "each is a class of its own (`classes`)", ("dataset.rotations=classes",)),
        COLOURS,
    ),
    "relation_net_omniglot_5way_1shot": (
        Change("batch norm", "averages kept in training (`running`)", ("algorithm.batch_norm=running",)),
        ALONE,
        *MORE_QUERIES,
        INTERPOLATION,
        UPRIGHT,
        Change("rotations", "one for each class (`per_class`), not one for a task", ("dataset.rotations=per_class",)),
        Change("colours", "ink 1 on paper 0", ("dataset.invert=true",)),
    ),
    "proto_net_omniglot_5way_1shot": (
        TRANSDUCTIVE,
        Change("queries of a class", "1 (15 were used)", ("task.n_query=1",)),
        *IMAGES,
        COLOURS,
        Change("distance", "cosine", ("algorithm.distance=cosine",)),
    ),
    "maml_sinusoid": (
        Change("inner steps", "5 (1 was used)", ("algorithm.inner_steps_test=5",)),
        Change("inner steps", "10", ("algorithm.inner_steps_test=10",)),
        *(
            Change("inner learning rate", f"{rate} (0.01 was used)", (f"algorithm.inner_lr={rate}",))
            for rate in (0.005, 0.02)
        ),
        *(Change("support points", f"{number}", (f"task.k_shot={number}",)) for number in (10, 20)),
        Change("query points", "100 (5 were used)", ("task.n_query=100",)),
    ),
    "fine_tune_sinusoid": (
        *(Change("steps", f"{number} (1 was used)", (f"algorithm.tune_steps={number}",)) for number in (0, 5, 10)),
        *(
            Change("learning rate", f"{rate} (0.01 was used)", (f"algorithm.tune_lr={rate}",))
            for rate in (0.001, 0.003, 0.02)
        ),
        Change("query points", "100 (5 were used)", ("task.n_query=100",)),
    ),
    "proto_net_omniglot_20way_1shot": (
        TRANSDUCTIVE,
        Change("queries of a class", "5 (15 were used)", ("task.n_query=5",)),
        *IMAGES,
        Change("distance", "cosine", ("algorithm.distance=cosine",)),
    ),
    "matching_net_omniglot_5way_1shot": (
        TRANSDUCTIVE,
        Change("queries of a class", "1 (15 were used)", ("task.n_query=1",)),
        *IMAGES,
        COLOURS,
    ),
    "anil_omniglot_20way_1shot": (
        Change("batch norm", "statistics of the support set (`episode`)", ("algorithm.batch_norm=episode",)),
        ALONE,
        Change("queries of a class", "5, all in one batch", ("task.n_query=5",)),
        Change("inner steps", "4 (5 were used)", ("algorithm.inner_steps_test=4",)),
        Change("inner steps", "10", ("algorithm.inner_steps_test=10",)),
        INTERPOLATION,
        UPRIGHT,
    ),
    "nearest_neighbour_omniglot_5way_1shot": PIXELS,
    "nearest_neighbour_omniglot_5way_5shot": PIXELS,
    "nearest_neighbour_omniglot_20way_1shot": PIXELS,
    "nearest_neighbour_omniglot_20way_5shot": PIXELS,
}  # fmt: skip

TESTED_WITH: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "proto_net_omniglot_20way_1shot": ("proto_net_omniglot_5way_1shot", ("task.n_way=20",)),
}
"""Tables about a later test: the run whose weights are tested, and the settings of that test."""


class Tested(NamedTuple):
    """The accuracies or errors of test tasks, in order, and the mode of batch norm."""

    values: list[float]
    batch_norm: str


def measure(run: str, overrides: Sequence[str], n_episodes: int | None = None, alone: bool = False) -> Tested:
    """Test committed weights with some settings changed.

    Args:
        run: Name of the run in docs/results.
        overrides: The changes.
        n_episodes: How many tasks; as many as the run's record has by default.
        alone: Whether each query is predicted by itself.
    """
    more = [] if n_episodes is None else [f"eval.episodes={n_episodes}"]
    with tempfile.TemporaryDirectory() as place:
        copy = Path(shutil.copytree(RESULTS / run, Path(place) / run))
        learner = get_class(read_record(copy).config["algorithm"]["_target_"])
        with one_query_at_a_time(learner) if alone else nullcontext():
            found = evaluate_run(copy, [*overrides, *more, "device=cpu"])
        assert found.path is not None
        return Tested(read_episodes(found.path.with_suffix(".csv"))[-1], found.evaluation.batch_norm)


@contextmanager
def one_query_at_a_time(learner: type[Algorithm]) -> Iterator[None]:
    """Within this block the learner predicts each query of a task as if it were the only one.

    Args:
        learner: The class of the algorithm.
    """
    together = learner.predict

    def predict(self: Algorithm, adapted: Any, x: Tensor) -> Tensor:
        return torch.cat([together(self, adapted, query) for query in x.split(1)])

    learner.predict = predict
    try:
        yield
    finally:
        learner.predict = together


def record_of(name: str) -> dict[str, Any]:
    """Measure the weights of one table without and with each change."""
    run, settings = TESTED_WITH.get(name, (name, ()))
    metric = read_record(RESULTS / run).test.metric
    usual = measure(run, settings, TASKS[metric])
    rows = []
    for change in CHANGES[name]:
        print_text(f"{name}: {' '.join(change.overrides) or change.then}")
        about: dict[str, Any] = {"rule": change.rule, "then": change.then, "overrides": list(change.overrides)}
        try:
            values = measure(run, (*settings, *change.overrides), TASKS[metric], alone=change is ALONE).values
        except NotFiniteError as error:
            rows.append(about | {"mean": None, "why": str(error)})
            continue
        differences = [after - before for after, before in zip(values, usual.values, strict=True)]
        rows.append(about | interval("mean", values) | interval("difference", differences))
    conditions = {"metric": metric, "episodes": len(usual.values), "batch_norm": usual.batch_norm}
    return {**conditions, **interval("mean", usual.values), "changes": rows}


def interval(name: str, values: Sequence[float]) -> dict[str, float]:
    """Return mean and half-width of the 95 % interval over tasks."""
    found = mean_interval(values)
    return {name: found.mean, f"{name}_ci95": found.ci95}


def format_results(found: Mapping[str, Any]) -> str:
    """Return the table of one run."""
    is_accuracy = found["metric"] == "accuracy"
    show = percent if is_accuracy else _error
    rows = [["as published", NOTHING, NOTHING, show(found, "mean"), NOTHING]]
    for row in found["changes"]:
        command = " ".join(f"`{override}`" for override in row["overrides"]) or NOTHING
        numbers = ["diverges", NOTHING] if row["mean"] is None else [show(row, "mean"), show(row, "difference", "+")]
        rows.append([row["rule"], row["then"], command, *numbers])
    measured = ["accuracy", "difference in points"] if is_accuracy else ["squared error", "difference"]
    return format_table(["rule", "changed to", "override", *measured], rows, right=(3, 4))


def percent(found: Mapping[str, float], name: str, sign: str = "") -> str:
    """Return an accuracy of a record with its interval, in percent."""
    return f"{100 * found[name]:{sign}.2f} ± {100 * found[f'{name}_ci95']:.2f}"


def _error(found: Mapping[str, float], name: str, sign: str = "") -> str:
    return f"{found[name]:{sign}.3f} ± {found[f'{name}_ci95']:.3f}"


def on_page(text: str, record: Mapping[str, Any]) -> str:
    """Return the text of the page with the tables of a record."""
    for run, found in record["results"].items():
        text = between_markers(text, run, format_results(found))
    return text


def main(arguments: list[str] | None = None) -> int:
    """Measure, or read the record, and write the page; exit code 0, or 1 where ``--check`` finds it stale."""
    parser = page_parser(__doc__, "docs/ablations.md")
    parser.add_argument("--measure", nargs="+", default=[], choices=CHANGES, metavar="RUN",
                        help="test the weights of these runs and write the record")  # fmt: skip
    options = parser.parse_args(arguments)
    for run in options.measure:
        others = json.loads(RECORD.read_bytes())["results"] if RECORD.exists() else {}
        timing.save(RECORD, "ablations", {**others, run: record_of(run)})
    return write_page(options, lambda text: on_page(text, json.loads(RECORD.read_bytes())))


if __name__ == "__main__":
    sys.exit(main())
