"""Does today's code give the numbers of published runs? It trains the beginning of each again and compares.

A run of docs/results has its whole configuration and the lines of its training. Its first steps are trained as
``metaexp reproduce docs/results/NAME --steps N`` does it, and the losses of these lines are compared. The first seed of
each row is taken. Runs that were made on a GPU are trained on the CPU. Where the losses differ, the same steps are
trained three times more from initial weights that are changed by one part in ten million, which is about what float32
rounds: the largest difference is what rounding alone can do in that many steps. The data must be in METAEXP_DATA or in
the cache::

    python benchmarks/published/replays.py --measure all --page docs/reproducing.md
    python benchmarks/published/replays.py --measure maml_sinusoid proto_net_omniglot_5way_1shot --page ...
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import timing
import torch
from ablations import RESULTS
from pages import page_parser, write_page

from metaexp.config.schema import Settings
from metaexp.core.errors import MetaexpError
from metaexp.core.json_lines import METRICS_FILE, read_all_lines
from metaexp.core.terminal_text import print_text
from metaexp.machine.single_rank import SINGLE
from metaexp.report.rows import SEED_SUFFIX
from metaexp.reproduce.difference import first_step
from metaexp.reproduce.rerun import plan_rerun, rerun
from metaexp.results.display.markdown import between_markers, format_table
from metaexp.results.display.wording import NOTHING
from metaexp.results.record import RECORD_FILE, RunRecord, read_record
from metaexp.run.build import set_up
from metaexp.run.progress import Silent

RECORD = Path(__file__).resolve().parents[1] / "records" / "replays.json"
LOSS = "train/loss"
LINES = 2
"""Lines of training that are compared."""
LONG = 30.0
"""Seconds to the first line, from which on it is the only one."""
ROUNDING = 1e-7
"""By how much initial weights are changed to see what rounding does."""
DRAWS = 3
"""How many such changes are tried."""
SMALL = 1e-6
"""A relative difference above it is compared with what rounding does."""


def all_names() -> list[str]:
    """The first seed of every row of docs/results whose run was trained, and did not go on from another run."""
    found = {path.parent.name: read_record(path.parent) for path in sorted(RESULTS.glob(f"*/{RECORD_FILE}"))}
    first = {name: record for name, record in found.items() if not SEED_SUFFIX.search(name)}
    begins = {name for name, record in first.items() if not (record.parent and record.parent.not_from_start)}
    return [name for name in first if name in begins and first[name].steps]


def losses(run: Path, until: int) -> list[tuple[int, float]]:
    """Steps and training losses of a run, up to a step.

    Args:
        run: The run folder.
        until: The last step.
    """
    lines = read_all_lines(run / METRICS_FILE)
    return [(step, values[LOSS]) for step, values in lines if step <= until and LOSS in values]


def differences(before: Sequence[tuple[int, float]], now: Sequence[tuple[int, float]]) -> dict[str, float]:
    """The relative difference of the losses by step.

    Args:
        before: Steps and losses of the published run.
        now: The same of the run to compare with. Steps that only one of them has are left out.
    """
    again = dict(now)
    return {str(step): abs(again[step] - loss) / abs(loss) for step, loss in before if step in again}


def measure(name: str) -> dict[str, Any]:
    """Train the beginning of a published run again.

    Args:
        name: The name of its folder.

    Returns:
        The relative differences of the losses by step, today's, those by rounding and those of another seed, and what
        else differs.

    Raises:
        MetaexpError: The data are missing, or the run cannot be trained here.
    """
    run = RESULTS / name
    record, first = read_record(run), first_step(run)
    assert first is not None
    until = first if record.seconds / record.steps * first > LONG else LINES * first
    threads = record.device.threads if record.device.accelerator == "cpu" else 1
    done = rerun(plan_rerun(run, ["device=cpu", f"device.threads={threads}"], steps=until), Silent())
    before, now = losses(run, until), losses(done.folder, until)
    others = sorted(RESULTS.glob(f"{name}-seed*"))
    found = differences(before, now)
    draws = range(DRAWS if max(found.values()) > SMALL else 0)
    rounded = [differences(now, losses_after_rounding(done.plan.settings, list(dict(now)), seed)) for seed in draws]
    return {
        "steps": until,
        "made_on": record.device.name,
        "commit": commit_of(record),
        "identical": done.result.identical,
        "differences": found,
        "by_rounding": {step: max(draw[step] for draw in rounded) for step in found} if rounded else {},
        "another_seed": differences(before, losses(others[0], until)) if others else {},
        "changed": done.result.conditions,
    }


def commit_of(record: RunRecord) -> str | None:
    """The commit of a run, in eight letters; None where the record has none."""
    return record.git.commit[:8] if record.git else None


def of_published_runs(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The measurements of runs that are still those in docs/results. Others were published again since.

    Args:
        found: Name -> what :func:`measure` gave.
    """
    return {
        name: row
        for name, row in found.items()
        if (RESULTS / name).is_dir() and commit_of(read_record(RESULTS / name)) == row["commit"]
    }


def losses_after_rounding(settings: Settings, steps: Sequence[int], seed: int) -> list[tuple[int, float]]:
    """Train from initial weights that are changed as rounding would.

    Args:
        settings: Those of the run.
        steps: Where the loss is read. It is the mean since the step before, as in metrics.jsonl.
        seed: Of the change.
    """
    with set_up(settings, SINGLE, lambda _: None) as setup:
        step, algorithm = setup.step, setup.state.algorithm
        assert step is not None
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in algorithm.parameters():
                parameter.mul_(1.0 + ROUNDING * torch.randn(parameter.shape, generator=generator))
        algorithm.train()
        taken = [step.run(number).losses.double().mean().item() for number in range(steps[-1])]
    begins = [0, *steps[:-1]]
    return [(end, statistics.fmean(taken[begin:end])) for begin, end in zip(begins, steps, strict=True)]


def format_results(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of all runs."""
    rows = [
        [
            f"[{name}](results/{name}/README.md)",
            row["made_on"],
            f"{row['steps']:,}",
            ", ".join(map(_relative, row["differences"].values())),
            *(_relative(next(iter(row[other].values()), None)) for other in ("by_rounding", "another_seed")),
        ]
        for name, row in sorted(found.items())
    ]
    return format_table(
        ["run", "made on", "steps", "differences", "rounding", "another seed"], rows, right=(2, 3, 4, 5)
    )


def _relative(value: float | None) -> str:
    if value is None:
        return NOTHING
    return "0" if value == 0 else f"{value:.1g}"


def format_about(record: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return what the numbers were measured on, which runs were left out, and which were not tried.

    Args:
        record: What was measured.
        names: All names that could be.
    """
    machine, found, left_out = record["machine"], record["results"], record["left_out"]
    same = sum(row["identical"] for row in found.values())
    lines = [
        f"{same} of {len(found)} are identical. Trained again on {machine['processor']} with torch {machine['torch']}."
    ]
    lines += [f"Left out: `{name}`: {why}" for name, why in sorted(left_out.items())]
    if missing := [f"`{name}`" for name in names if name not in {*found, *left_out}]:
        lines.append(f"Not trained again: {', '.join(missing)}.")
    return "\n\n".join(lines)


def on_page(text: str, record: Mapping[str, Any]) -> str:
    """Return the text of the page with the table of a record."""
    current = {**record, "results": of_published_runs(record["results"])}
    table = format_results(current["results"]).strip()
    return between_markers(text, "replays", f"{table}\n\n{format_about(current, all_names())}")


def main(arguments: list[str] | None = None) -> int:
    """Measure, or read the record, and write the page; exit code 0, or 1 where ``--check`` finds it stale."""
    parser = page_parser(__doc__, "docs/reproducing.md")
    parser.add_argument("--measure", nargs="+", default=[], metavar="NAME",
                        help="train the beginning of these runs of docs/results; all: of all")  # fmt: skip
    options = parser.parse_args(arguments)
    for name in all_names() if options.measure == ["all"] else options.measure:
        _measure_and_save(name)
    return write_page(options, lambda text: on_page(text, json.loads(RECORD.read_bytes())))


def _measure_and_save(name: str) -> None:
    """Measure a run, and write the record each time: a long measurement may be interrupted."""
    record = json.loads(RECORD.read_bytes()) if RECORD.exists() else {"results": {}, "left_out": {}}
    results, left_out = record["results"], record["left_out"]
    start = time.monotonic()
    try:
        results[name] = measure(name)
        left_out.pop(name, None)
        said = ", ".join(f"step {step}: {_relative(value)}" for step, value in results[name]["differences"].items())
    except MetaexpError as error:
        results.pop(name, None)
        left_out[name] = said = str(error).partition("\n")[0].replace(f"{RESULTS}/", "")
    print_text(f"{name} ({time.monotonic() - start:.0f} s): {said}")
    timing.save(RECORD, "replays", results, left_out=left_out)


if __name__ == "__main__":
    sys.exit(main())
