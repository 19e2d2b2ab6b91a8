"""Write the measurements of training steps and whole runs into docs/speed.md, from their records.

python benchmarks/speed_page.py --page docs/speed.md [--check]
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pages import page_parser, write_page

from metaexp.core.counted import counted
from metaexp.results.display.markdown import between_markers, format_table
from metaexp.results.display.names import full_name
from metaexp.results.display.wording import NOTHING

RECORDS = Path(__file__).resolve().parent / "records"
LEARNERS = ("learners_cpu", "learners_cpu_again", "learners_cpu_slower", "learners_cpu_slower_again")
RUNS = ("whole_runs", "validation")
SPECIAL = {
    "maml_first_order": "MAML (first order), 5-shot",
    "maml_against_learn2learn": "MAML, against learn2learn",
}
"""Pairs whose name is not that of an algorithm."""
_NUMBER = re.compile(r"\d+")
Found = Mapping[str, Any]


def steps(found: Found, again: Found, slower: Sequence[Found]) -> str:
    """A training step of each learner against the plain way: in two processes of a machine, and in two of a slower."""
    others = [other["results"] for other in (again, *slower)]
    rows = [
        [
            SPECIAL.get(name) or full_name(name),
            f"{1000 * row['seconds']:.0f} ms",
            f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f})",
            _ratios(name, others[:1]),
            _ratios(name, others[1:]),
            f"{row['goal']:.1f}",
            _reached([row, *(other[name] for other in others if name in other)]),
            f"{100 * row['products']:.0f} %",
            f"{row['ratio'] / row['products']:.1f}",
        ]
        for name, row in found["results"].items()
    ]
    header = ["Learner", "Our step", "Times as fast (quartiles)", "Again", "Slower machine", "Goal", "Reached"]
    table = format_table([*header, "In products", "Bound"], rows, right=(1, 2, 3, 4, 5, 7, 8)).strip()
    return f"{table}\n\n{_measured(found)} Slower machine: {slower[0]['note']}."


def _ratios(name: str, others: Sequence[Found]) -> str:
    """How many times as fast in other measurements, side by side."""
    return ", ".join(f"{other[name]['ratio']:.2f}" for other in others if name in other) or NOTHING


def _reached(rows: Sequence[Found]) -> str:
    """Whether the goal holds in all measurements, in none, or in some."""
    held = sum(row["holds"] for row in rows)
    return "yes" if held == len(rows) else "no" if held == 0 else f"in {held} of {len(rows)}"


def runs(found: Found, validation: Found) -> str:
    """What a run costs beside its steps."""
    rows = [
        [
            f"`{name}`",
            NOTHING if row["loop"] is None else _spread(row["loop"], ".2f"),
            f"{validation['results'][name]['ratio']:.2f}" if name in validation["results"] else NOTHING,
            _spread(row["episodes_per_second"], ",.0f"),
            f"{row['cache_seconds']:.2f} s",
        ]
        for name, row in found["results"].items()
    ]
    header = ["Experiment", "Loop / bare step", "Validation / bare passes", "Validation episodes/s", "Load data"]
    goals = found["goals"]
    first = {tracker: _spread(seconds, ".1f") for tracker, seconds in found["first_step_seconds"].items()}
    start = (
        f"In brackets: quartiles. From the command to the first step: {first['files']} s without a tracker, "
        f"{first['wandb']} s with W&B offline. The demo: {_spread(found['demo_seconds'], '.0f')} s. Goals: "
        f"{goals['start']:.0f} s to the first step, {goals['demo']:.0f} s for the demo, {goals['loop']} for the loop, "
        f"{validation['goal']} for validation, and {goals['cache']} s to load prepared data."
    )
    missed = {
        "the loop": [
            name for name, row in found["results"].items() if row["loop"] and row["loop"]["median"] > goals["loop"]
        ],
        "validation": [name for name, row in validation["results"].items() if row["ratio"] > validation["goal"]],
    }
    start += "".join(
        f" Above the goal for {what}: {', '.join(f'`{name}`' for name in names)}."
        for what, names in missed.items()
        if names
    )
    beside = f"Validation beside bare passes: {_measured(validation).replace('M', 'm', 1)}"
    return format_table(header, rows, right=(1, 2, 3, 4)).strip() + f"\n\n{start} {_measured(found)} {beside}"


def memory(found: Found) -> str:
    """The most memory of each saved experiment: a line for a learner and its data, a column for a kind of task."""
    peaks: dict[str, dict[str, float]] = {}
    for experiment, row in found["results"].items():
        learner, ways, shots = experiment.rsplit("_", 2)
        peaks.setdefault(learner, {})[f"{ways}_{shots}"] = row["mb_peak"]
    tasks = sorted(
        {task for of in peaks.values() for task in of}, key=lambda task: [int(n) for n in _NUMBER.findall(task)]
    )
    rows = [
        [f"`{learner}_...`", *(f"{of[task]:,.0f} MB" if task in of else NOTHING for task in tasks)]
        for learner, of in peaks.items()
    ]
    table = format_table(["Experiment", *(f"`{task}`" for task in tasks)], rows, right=range(1, len(tasks) + 1)).strip()
    goals = ", ".join(f"{goal:,.0f} MB for `{experiment}`" for experiment, goal in found["goals"].items())
    return f"{table}\n\nGoal: {goals}. {_machine(found)}."


def task_chunk(found: Found) -> str:
    """A step with one task at a time beside one with all tasks at once, for each experiment."""
    rows = [
        [f"`{name}`", f"{row['seconds']:.1f} s", f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f})"]
        for name, row in found["results"].items()
    ]
    table = format_table(["Experiment", "A step", "Times as fast (quartiles)"], rows, right=(1, 2)).strip()
    return f"{table}\n\n{_measured(found)}"


def _spread(of: Mapping[str, float], digits: str) -> str:
    """Return a median and its quartiles."""
    return f"{of['median']:{digits}} ({of['low']:{digits}} to {of['high']:{digits}})"


def _measured(found: Found) -> str:
    clock = "wall-clock time" if found["clock"] == "wall" else "processor time"
    note = f"; {found['note']}" if found.get("note") else ""
    return f"{_machine(found)}, {clock}{note}."


def _machine(found: Found) -> str:
    of = found["machine"]
    return f"Measured with {counted(of['threads'], 'thread')} of {of['processor']}, torch {of['torch']}"


def on_page(text: str, records: Path = RECORDS) -> str:
    """Return the text of the page with the tables of the records."""
    found, again, *slower = _read(records, LEARNERS)
    tables = {
        "steps": steps(found, again, slower),
        "runs": runs(*_read(records, RUNS)),
        "task-chunk": task_chunk(*_read(records, ["task_chunk"])),
        "memory": memory(*_read(records, ["memory"])),
    }
    for name, table in tables.items():
        text = between_markers(text, name, table)
    return text


def _read(records: Path, names: Sequence[str]) -> list[Found]:
    return [json.loads((records / f"{name}.json").read_bytes()) for name in names]


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or say whether it is up to date; exit code 0, or 1 where it is not."""
    return write_page(page_parser(__doc__, "docs/speed.md").parse_args(arguments), on_page)


if __name__ == "__main__":
    sys.exit(main())
