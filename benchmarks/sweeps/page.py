"""Write the measurements of sweeps into docs/sweeps.md, from their records. No number of those tables is typed.

python benchmarks/sweeps/page.py --page docs/sweeps.md [--check]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pages import page_parser, write_page

from metaexp.results.display.markdown import between_markers, format_table

RECORDS = Path(__file__).resolve().parents[1] / "records"
Found = Mapping[str, Any]


def together(found: Found) -> str:
    """How many times as fast several seeds train together as one after the other."""
    rows = [
        [f"`{name.rpartition(', ')[0]}`", name.rpartition(", ")[2].removesuffix(" seeds"), _ratio(result)]
        for name, result in found["results"].items()
    ]
    return format_table(["experiment", "seeds", "times as fast (quartiles)"], rows, right=(1, 2))


def threads(found: Found) -> str:
    """Steps per second of the whole machine: one job with all threads, and one job with one thread on each core."""
    rows = []
    for name, result in found["results"].items():
        rates = result["steps_per_second"]
        rows.append([f"`{name}`", f"{rates['one job']:.1f}", f"{rates['a job per core']:.1f}", _ratio(result)])
    header = ["experiment", "one job, all threads", "a job per core", "ratio (range)"]
    return format_table(header, rows, right=(1, 2, 3)) + f"\n{_why_cores_are_divided(found)}"


def _why_cores_are_divided(found: Found) -> str:
    """What more threads give to one job, and what more jobs give to the machine."""
    n, results = found["cores"], found["results"].values()
    rates = [result["steps_per_second"] for result in results]
    threads_gain = [n * rate["one job"] / rate["a job per core"] for rate in rates]  # of a job with one thread
    jobs_gain = [result["ratio"] for result in results]
    return (
        f"With {n} threads, one job makes {min(threads_gain):.2f} to {max(threads_gain):.2f} times the steps that a "
        "job with one thread makes beside others. So jobs that run at the same time divide all cores among them. More "
        f"jobs gain more than more threads: {min(jobs_gain):.2f} to {max(jobs_gain):.2f} times the steps."
    )


def start(found: Found) -> str:
    """What a job of 20 steps costs, by the way in which it starts."""
    names = {"spawned": "a new Python process", "forked": "forked from the warm parent"}
    rows = [
        [names[name], f"{result['wall_seconds']:.2f} s", f"{result['processor_seconds']:.2f} s"]
        for name, result in found["results"].items()
    ]
    return format_table(["a job is", "seconds", "seconds of a processor"], rows, right=(1, 2))


def hundred(found: Found) -> str:
    """A sweep of 100 jobs of one second."""
    results, goal = found["results"], found["goals"]["seconds"]
    wall = results["wall_seconds"]
    holds = "holds" if found["holds"]["seconds"] else "does not hold"
    rows = [
        [f"the whole command, {found['jobs']} jobs of one second on {found['cores']} cores",
         f"{wall['median']:.0f} s ({wall['low']:.0f} to {wall['high']:.0f} s; goal {goal:.0f} s: {holds})"],
        ["memory of one more forked job, in runs", f"{results['extra_worker']:.2f}"],
        ["memory of one more job in a new process, in runs", f"{results['extra_spawned_worker']:.2f}"],
    ]  # fmt: skip
    return format_table(["what", "measured"], rows, right=(1,))


_TABLES: Mapping[str, tuple[str, Callable[[Found], str]]] = {
    "seeds-together": ("seeds_together.json", together),
    "threads": ("sweep_threads.json", threads),
    "start": ("sweep_startup.json", start),
    "hundred": ("sweep_hundred.json", hundred),
}


def _ratio(result: Mapping[str, float]) -> str:
    return f"{result['ratio']:.2f} ({result['low']:.2f} to {result['high']:.2f})"


def on_page(text: str, records: Path = RECORDS) -> str:
    """Return the text of the page with the tables of today's records.

    Args:
        text: The page, with its markers.
        records: The folder of the records.
    """
    for name, (file, make) in _TABLES.items():
        text = between_markers(text, name, make(json.loads((records / file).read_bytes())))
    return text


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or say whether it is up to date; exit code 0, or 1 where it is not."""
    return write_page(page_parser(__doc__, "docs/sweeps.md").parse_args(arguments), on_page)


if __name__ == "__main__":
    sys.exit(main())
