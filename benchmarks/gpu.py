"""Training steps on a GPU: launched operation by operation, and replayed from a CUDA graph.

For each experiment: the time of a whole step (making the tasks, loss, gradient and optimiser), with the graph and
without, whether both give the same weights to the bit, validation episodes a second, and the peak of memory.

    python benchmarks/gpu.py [EXPERIMENT ...] [--steps 50] [--rounds 5] [--output FILE]
    python benchmarks/gpu.py --record benchmarks/records/gpu_h200.json --page docs/gpu.md     writes the record's table
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from timing import save

from metaexp.config.compose import Composer
from metaexp.core.errors import MetaexpError
from metaexp.machine.single_rank import SINGLE
from metaexp.results.display.markdown import between_markers
from metaexp.run.build import TrainingSetup, set_up

EXPERIMENTS = (
    "maml_omniglot_5way_1shot",
    "maml_first_order_omniglot_5way_1shot",
    "maml_omniglot_5way_5shot",
    "maml_omniglot_20way_1shot",
    "maml_omniglot_mlp_5way_1shot",
    "maml_sinusoid",
    "maml_lstm_omniglot_5way_1shot",
    "maml_plus_plus_omniglot_5way_1shot",
    "meta_sgd_omniglot_5way_1shot",
    "anil_omniglot_20way_1shot",
    "reptile_omniglot_5way_1shot",
    "meta_lstm_omniglot_5way_1shot",
    "meta_lstm_lstm_omniglot_5way_1shot",
    "relation_net_omniglot_5way_1shot",
    "relation_net_sinusoid",
    "proto_net_omniglot_5way_1shot",
    "matching_net_omniglot_5way_1shot",
    "fine_tune_omniglot_5way_1shot",
)


def main(arguments: list[str] | None = None) -> int:
    """Run and print; exit code 0."""
    parser = argparse.ArgumentParser(prog="python benchmarks/gpu.py", description=__doc__)
    parser.add_argument("experiments", nargs="*", default=EXPERIMENTS)
    parser.add_argument("--steps", type=int, default=50, help="steps of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--output", type=Path, help="write the result as JSON")
    parser.add_argument("--record", type=Path, help="measure nothing, and take this record")
    parser.add_argument("--page", type=Path, help="write the record's table into this page")
    options = parser.parse_args(arguments)
    if options.record and options.page:
        text = options.page.read_text(encoding="utf-8")
        options.page.write_text(on_page(text, json.loads(options.record.read_bytes())), encoding="utf-8")
        return 0
    print(f"{'':40s}{'launched':>12s}{'replayed':>12s}{'ratio':>8s}{'bits':>8s}{'episodes/s':>12s}{'memory':>11s}")
    rows: dict[str, Any] = {}
    for experiment in options.experiments:
        try:
            rows[experiment] = row = measure(experiment, options)
        except MetaexpError as error:
            print(f"{experiment}: left out, {error}")
            continue
        bits = "equal" if row["bits_equal"] else "differ"
        times = f"{row['launched_ms']:9.2f} ms{row['replayed_ms']:9.2f} ms{row['ratio']:8.1f}"
        print(
            f"{experiment:40s}{times}{bits:>8s}{row['episodes_per_second']:12.0f}{row['peak_mb']:8.0f} MB", flush=True
        )
    if options.output:
        save(options.output, "gpu", rows, steps=options.steps, rounds=options.rounds)
    return 0


def on_page(text: str, found: dict[str, Any]) -> str:
    """The text of a page with the table of a record."""
    machine = found["machine"]
    lines = [
        f"Measured on one {machine['cuda']} with torch {machine['torch']}: medians of {found['rounds']} rounds of "
        f"{found['steps']} steps.",
        "",
        "| Experiment | Launched | Replayed | Times as fast | Same bits | Validation episodes a second | Peak memory |",
        "| --- | ---: | ---: | ---: | --- | ---: | ---: |",
    ]
    for name, row in found["results"].items():
        lines.append(
            f"| `{name}` | {row['launched_ms']:.1f} ms | {row['replayed_ms']:.2f} ms | {row['ratio']:.1f} "
            f"| {'yes' if row['bits_equal'] else 'no'} | {row['episodes_per_second']:,.0f} | {row['peak_mb']:,.0f} MB |"
        )
    return between_markers(text, "steps", "\n".join(lines))


def measure(experiment: str, options: argparse.Namespace) -> dict[str, Any]:
    """The row of an experiment. Medians over rounds; the ratio is taken round by round."""
    times: dict[str, list[float]] = {}
    weights: dict[str, list[torch.Tensor]] = {}
    row: dict[str, Any] = {}
    for kind, graphs in (("launched", "false"), ("replayed", "true")):
        overrides = [f"experiment={experiment}", "tracker=files", f"device={options.device}"]
        settings = Composer().settings([*overrides, f"device.cuda_graphs={graphs}"])
        with set_up(settings, SINGLE, lambda _: None) as setup:
            times[kind] = steps(setup, options.steps, options.rounds)
            weights[kind] = [p.detach().clone() for p in setup.parts.algorithm.parameters()]
            row["peak_mb"] = (setup.compute.peak_memory() or 0) / 2**20
            if graphs == "true":
                row["episodes_per_second"] = validation(setup)
    row["launched_ms"], row["replayed_ms"] = (1000 * statistics.median(times[k]) for k in ("launched", "replayed"))
    row["ratio"] = statistics.median(a / b for a, b in zip(times["launched"], times["replayed"], strict=True))
    row["bits_equal"] = all(torch.equal(a, b) for a, b in zip(weights["launched"], weights["replayed"], strict=True))
    return row


def steps(setup: TrainingSetup, count: int, rounds: int) -> list[float]:
    """Seconds of a step in each of ``rounds`` rounds, after two steps that are not counted."""
    assert setup.step is not None
    setup.step.run(0)
    setup.step.run(1)
    taken, done = [], 2
    for _ in range(rounds):
        setup.compute.wait()
        start = time.perf_counter()
        for step in range(done, done + count):
            setup.step.run(step)
        setup.compute.wait()
        taken.append((time.perf_counter() - start) / count)
        done += count
    return taken


def validation(setup: TrainingSetup) -> float:
    """Validation episodes a second, after one validation that is not counted."""
    episodes = min(setup.settings.train.eval_episodes, 200)
    setup.evaluator.validate(setup.state.algorithm, episodes, lambda _: None)
    start = time.perf_counter()
    setup.evaluator.validate(setup.state.algorithm, episodes, lambda _: None)
    return episodes / (time.perf_counter() - start)


if __name__ == "__main__":
    raise SystemExit(main())
