"""What the choice of weights by validation changes: best and last weights of a run, on the same test tasks.

A published copy has the weights that were tested. The run folder also has those after the last step. Give the folders
of published runs that test the weights which are best on validation. Their data must be in METAEXP_DATA or in the
cache::

    python benchmarks/published/best_or_last.py --measure outputs/RUN ... --page docs/ablations.md
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import timing
from ablations import RESULTS, interval, percent
from pages import page_parser, write_page

from metaexp.core.checkpoint_names import step_name
from metaexp.core.terminal_text import print_text
from metaexp.results.display.markdown import between_markers, format_table
from metaexp.results.episodes import EPISODES_FILE, read_episodes
from metaexp.results.record import RECORD_FILE, RunRecord, read_record
from metaexp.run.checkpoint import read, write
from metaexp.run.evaluation.evaluate import evaluate_run

RECORD = Path(__file__).resolve().parents[1] / "records" / "best_or_last.json"


def published_copy(record: RunRecord) -> Path:
    """Return the folder in docs/results that holds the copy of a run.

    Args:
        record: The record of the run.
    """
    copies = [path.parent for path in RESULTS.glob(f"*/{RECORD_FILE}") if read_record(path).started == record.started]
    if len(copies) != 1:
        raise SystemExit(f"{record.name} is not published. Give the folder of a run that is in docs/results.")
    return copies[0]


def last_weights(run: Path, place: Path) -> Path:
    """Return a copy of a run whose selected weights are those after its last step.

    Args:
        run: The run folder.
        place: Where the copy is made.
    """
    record = read_record(run)
    copy = place / run.name
    (copy / "checkpoints").mkdir(parents=True)
    for name in (RECORD_FILE, "config.yaml", "choices.yaml"):
        shutil.copy(run / name, copy / name)
    tensors, _ = read(run / "checkpoints" / step_name(record.steps))
    _, values = read(run / "checkpoints" / "best")
    weights = {name.removeprefix("weights/"): t for name, t in tensors.items() if name.startswith("weights/")}
    write(copy / "checkpoints" / "best", weights, values | {"step": record.steps})
    return copy


def measure(run: Path) -> tuple[str, dict[str, Any]]:
    """Test the last weights of a run on the tasks on which its best weights were tested.

    Args:
        run: The run folder.

    Returns:
        The name of its published copy, and what was found.
    """
    record = read_record(run)
    assert record.test is not None
    copy = published_copy(record)
    _, selected = read(copy / "checkpoints" / "best")
    if selected["step"] == record.steps:
        raise SystemExit(f"{run}: its best weights are those after its last step. There is nothing to compare.")
    best = read_episodes(copy / EPISODES_FILE)[-1]
    with tempfile.TemporaryDirectory() as place:
        found = evaluate_run(last_weights(run, Path(place)), ["device=cpu", "device.threads=1"])
        assert found.path is not None
        last = read_episodes(found.path.with_suffix(".csv"))[-1]
    differences = [after - before for after, before in zip(last, best, strict=True)]
    about = {"best_step": selected["step"], "last_step": record.steps, "episodes": len(best)}
    return copy.name, {
        **about, **interval("best", best), **interval("last", last), **interval("difference", differences)
    }  # fmt: skip


def format_results(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of all runs."""
    rows = [
        [
            f"[{name}](results/{name}/README.md)",
            f"{row['best_step']:,}",
            percent(row, "best"),
            f"{row['last_step']:,}",
            percent(row, "last"),
            percent(row, "difference", "+"),
        ]
        for name, row in sorted(found.items())
    ]
    titles = ["run", "best step", "accuracy", "last step", "accuracy", "difference in points"]
    return format_table(titles, rows, right=(1, 2, 3, 4, 5))


def on_page(text: str, record: Mapping[str, Any]) -> str:
    """Return the text of the page with the table of a record."""
    return between_markers(text, "best_or_last", format_results(record["results"]))


def main(arguments: list[str] | None = None) -> int:
    """Measure, or read the record, and write the page; exit code 0, or 1 where ``--check`` finds it stale."""
    parser = page_parser(__doc__, "docs/ablations.md")
    parser.add_argument("--measure", nargs="+", type=Path, default=[], metavar="RUN",
                        help="test the last weights of these runs and write the record")  # fmt: skip
    options = parser.parse_args(arguments)
    for run in options.measure:
        name, found = measure(run)
        print_text(f"{name}: {percent(found, 'difference', '+')} points")
        others = json.loads(RECORD.read_bytes())["results"] if RECORD.exists() else {}
        timing.save(RECORD, "best_or_last", {**others, name: found})
    return write_page(options, lambda text: on_page(text, json.loads(RECORD.read_bytes())))


if __name__ == "__main__":
    sys.exit(main())
