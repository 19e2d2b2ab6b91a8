"""``metaexp predict RUN``: the adapted learner of a run predicts the labels, or the values, of new examples."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metaexp.cli.arguments import Options, make_parser, number, parse, print_help, whole_number
from metaexp.core.counted import counted
from metaexp.core.disk.files import encode_text, write_atomically
from metaexp.core.disk.nearest import format_nearest_path
from metaexp.core.errors import ConfigError, DataError
from metaexp.core.terminal_text import print_text
from metaexp.results.display.next_steps import after_prediction, format_next
from metaexp.run.folder import existing

if TYPE_CHECKING:
    from metaexp.run.predict.predict import Predictions

_USAGE = """\
examples:
  metaexp predict outputs/RUN --support birds --query photos            birds/robin/1.jpg, birds/wren/1.jpg, ...
  metaexp predict outputs/RUN --support birds --query photos --output names.csv
  metaexp predict outputs/RUN --support birds --query photos --conformal 0.9
  metaexp predict outputs/RUN --support known.npz --query new.npz       x and y, then x; also for regression
  metaexp predict outputs/RUN --support known.csv --query new.csv       for a run on a table: its columns

Images are read as the dataset of the run reads its own. In regression, numbers are in the units of its file.
--conformal 0.9 gives a set of classes for each image, in regression an interval. Over tasks like the validation tasks
of the run, the true class or value is in it in 90 % of cases or more.
"""
_SHOWN = 20


class PredictOptions(Options):
    """Options of ``metaexp predict``.

    Attributes:
        support: A folder with a folder of images for each class, an .npz file with x and y, or a CSV.
        query: A folder of images, an .npz file with x, or a CSV.
        output: The CSV file to write; None for none.
        conformal: The coverage of prediction sets; None for none.
        episodes: Validation episodes to calibrate on; None for as many as the run was tested on.
    """

    support: Path | None
    query: Path | None
    output: Path | None
    conformal: float | None
    episodes: int | None


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp predict`` and return its exit code."""
    parser = make_parser(
        "predict", "Adapt the selected weights of a run to a few labelled examples, and predict new ones.", "RUN"
    )
    parser.usage = (
        "metaexp predict RUN --support PATH --query PATH [--output CSV] [--conformal LEVEL] [--trust PACKAGE]"
    )
    parser.add_argument("--support", type=Path, metavar="PATH", help="a folder for each class; or x and y: .npz or CSV")
    parser.add_argument(
        "--query", type=Path, metavar="PATH", help="images in any folders; one image; or x: .npz or CSV"
    )
    parser.add_argument("--output", type=Path, metavar="CSV", help="write all labels and scores to this file")
    parser.add_argument(
        "--conformal",
        type=number("a number between 0 and 1, such as 0.9"),
        metavar="LEVEL",
        help="also sets of classes with this coverage: 0.9",
    )
    parser.add_argument("--episodes", type=whole_number, metavar="N", help="validation episodes to calibrate on")
    options = parse(parser, arguments, PredictOptions())
    if options.help:
        print_help(parser, _USAGE)
        return 0
    folder, support, query = _check(options)
    existing(folder).load_settings()  # reports problems before torch is imported
    _refuse_missing({"--support": support, "--query": query})

    from metaexp.run.predict.predict import PredictionRequest, predict

    found = predict(folder, PredictionRequest(support, query, options.conformal, options.episodes), print_text)
    if options.output is not None:
        write_atomically(options.output, encode_text(format_csv(found)))
    _print(found, options.output)
    words = [*options.given, str(folder), "--support", str(support), "--query", str(query)]
    words += [] if options.conformal is None else ["--conformal", str(options.conformal)]
    after = after_prediction(words, is_kept=options.output is not None, has_sets=options.conformal is not None)
    if after:
        print_text(format_next(after))
    return 0


def _check(options: PredictOptions) -> tuple[Path, Path, Path]:
    """The run, the support and the query. Raises ConfigError with all problems of the command line."""
    problems: list[str] = []
    if len(options.overrides) != 1:
        problems.append(f"give one run folder; {len(options.overrides)} were given: {' '.join(options.overrides)}.")
    for name, value in (("--support", options.support), ("--query", options.query)):
        if value is None:
            problems.append(f"{name} is missing: a folder of images, an .npz file, or a CSV for a run on a table.")
    if options.conformal is not None and not 0 < options.conformal < 1:
        problems.append(f"--conformal {options.conformal:g} must be between 0 and 1, such as 0.9.")
    if options.episodes is not None and options.conformal is None:
        problems.append(f"--episodes {options.episodes} is for --conformal, which is missing.")
    if options.output is not None and options.output.exists():
        problems.append(f"--output {options.output} is there already; name another file.")
    elif options.output is not None and not options.output.parent.is_dir():
        problems.append(f"--output {options.output}: there is no folder {options.output.parent}.")
    if problems or options.support is None or options.query is None:
        raise ConfigError(problems)
    return Path(options.overrides[0]).expanduser(), options.support.expanduser(), options.query.expanduser()


def _refuse_missing(given: Mapping[str, Path]) -> None:
    """Raise DataError that names all files and folders which are not there."""
    wanted = {
        "--support": "one folder of images for each class, an .npz file with x and y, or a CSV for a run on a table",
        "--query": "a folder of images, one image, an .npz file with x, or a CSV for a run on a table",
    }
    missing = [
        f"{option} {path}: there is no such folder or file.{format_nearest_path(path)} Give {wanted[option]}."
        for option, path in given.items()
        if not path.exists()
    ]
    if missing:
        raise DataError(" ".join(missing))


def format_csv(found: Predictions) -> str:
    """Format predictions as CSV: name, label, a score for each class; or an output for each target; then sets."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    n_columns = found.scores.shape[1]
    columns = (
        [f"value_{i}" for i in range(n_columns)] if found.classes is None else [f"score_{c}" for c in found.classes]
    )
    header = ["name", *([] if found.labels is None else ["label"]), *columns]
    if found.calibration is not None:
        header += (
            ["set"] if found.sets is not None else [f"{end}_{i}" for i in range(n_columns) for end in ("low", "high")]
        )
    writer.writerow(header)
    for row, name in enumerate(found.names):
        scores = [float(score) for score in found.scores[row]]
        cells: list[object] = [name, *([] if found.labels is None else [found.labels[row]]), *scores]
        if found.sets is not None:
            cells.append("|".join(found.sets[row]))
        elif found.widths is not None:
            cells += [end for s, w in zip(scores, found.widths.tolist(), strict=True) for end in (s - w, s + w)]
        writer.writerow(cells)
    return text.getvalue()


def _print(found: Predictions, output: Path | None) -> None:
    width = min(max(map(len, found.names)), 60)
    for row, name in enumerate(found.names[:_SHOWN]):
        print_text(f"{name:{width}}  {_format_answer(found, row)}")
    if len(found.names) > _SHOWN:
        print_text(f"... and {len(found.names) - _SHOWN} more{'' if output else '; --output FILE.csv has all'}")
    if found.calibration is not None:
        made = found.calibration
        episodes = counted(made.n_episodes, "validation episode")
        print_text(
            f"coverage {made.level:g} over unseen tasks, calibrated on {episodes} of "
            f"{counted(made.shape.n_way, 'way')} and {counted(made.shape.k_shot, 'shot')}"
            if made.shape.n_way
            else f"coverage {made.level:g} over unseen tasks, calibrated on {episodes}"
        )
    if output is not None:
        print_text(f"all predictions: {output}")


def _format_answer(found: Predictions, row: int) -> str:
    scores = found.scores[row]
    if found.labels is None:
        if found.widths is None:
            return "  ".join(f"{score:.4g}" for score in scores)
        return "  ".join(f"{score:.4g} ± {width:.4g}" for score, width in zip(scores, found.widths, strict=True))
    others = "" if found.sets is None else f"   set: {', '.join(found.sets[row])}"
    return f"{found.labels[row]}  (score {scores.max():.4g}){others}"
