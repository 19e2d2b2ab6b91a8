"""One training step of every learner: metaexp against the plain way to write it in torch, in one table.

The pairs are in pairs.py. In float64 both must give the same loss and the same gradients, before anything is timed in
float32. Forward, backward and Adam's step are in the time; making the tasks is not. A profile then says how much of our
step convolutions and matrix products take. A shared machine disturbs two
threads: `--clock processor --threads 1` counts the processor's seconds instead.

    python benchmarks/learners.py [--rounds 15] [--threads 2] [--clock wall|processor] [--only NAME] [--output FILE]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from agreement import require_equal
from pairs import PAIRS, Pair
from timing import CLOCKS, compare, print_table, save
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from metaexp.core.errors import ConfigError
from metaexp.machine.device import raise_malloc_thresholds

PRODUCTS = ("convolution", "conv2d", "aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm")
"""Words in the names of torch's convolutions and matrix products."""


def main(arguments: list[str] | None = None) -> int:
    """Run and print; exit code 0."""
    parser = argparse.ArgumentParser(prog="python benchmarks/learners.py", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--only", choices=list(PAIRS), help="one algorithm")
    parser.add_argument("--note", default="", help="what the record should say of the machine, such as who shared it")
    parser.add_argument("--output", type=Path, help="write the result as JSON")
    options = parser.parse_args(arguments)
    raise_malloc_thresholds()
    torch.set_num_threads(options.threads)
    rows = {}
    for name in [options.only] if options.only else PAIRS:
        try:
            difference = check_equal(name, in_type(torch.float64, name))
        except ConfigError as error:
            print(f"{name}: left out, {error}")
            continue
        pair = in_type(torch.float32, name)
        candidates = {"plain": step(pair.plain, pair.plain_backward), "metaexp": step(pair.ours, pair.our_backward)}
        row = compare(candidates, "plain", options.rounds, clock=options.clock)["metaexp"]
        judged = {"goal": pair.goal, "holds": row["ratio"] >= pair.goal, "gradients_differ": difference}
        rows[name] = {**row, **judged, "products": share_of_products(candidates["metaexp"])}
    print_table(f"One training step, {options.threads} threads, {options.clock} time", rows, "plain torch")
    print_goals(rows)
    if options.output:
        about = {"rounds": options.rounds, "clock": options.clock, "note": options.note}
        save(options.output, "learners", rows, baseline="plain torch", **about)
    return 0


def in_type(dtype: torch.dtype, name: str) -> Pair:
    """The pair ``name`` with tensors of ``dtype``."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return PAIRS[name]()
    finally:
        torch.set_default_dtype(before)


def check_equal(name: str, pair: Pair) -> float:
    """Compare losses, and the gradient of each parameter by its own norm.

    Returns:
        How far a gradient differs at most, in parts of its norm.

    Raises:
        SystemExit: They differ by more than rounding.
    """
    ours, found = loss_and_gradients(pair.ours, pair.our_backward)
    plain, expected = loss_and_gradients(pair.plain, pair.plain_backward)
    names = [name for name, p in pair.plain.named_parameters() if p.requires_grad]
    ours_by_name, plain_by_name = (dict(zip(names, side, strict=True)) for side in (pair.arrange(found), expected))
    return require_equal(name, (ours, ours_by_name), (plain, plain_by_name), pair.least_gradient)


def loss_and_gradients(module: nn.Module, backward: Callable[[], Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The loss (), and its gradients by the parameters of ``module``, zero where it does not depend on one."""
    module.zero_grad()
    loss = backward()
    parameters = [p for p in module.parameters() if p.requires_grad]
    return loss, [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]


def step(module: nn.Module, backward: Callable[[], Tensor]) -> Callable[[], object]:
    """Forward, backward and Adam's step, with a rate that leaves the weights where they are."""
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-9)

    def run() -> None:
        optimizer.zero_grad()
        backward()
        optimizer.step()

    return run


def share_of_products(run: Callable[[], object]) -> float:
    """The part of the processor time of ``run`` that convolutions and matrix products take."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(3):
            run()
    times = {event.key.lower(): event.self_cpu_time_total for event in found.key_averages()}
    return sum(time for name, time in times.items() if any(word in name for word in PRODUCTS)) / sum(times.values())


def print_goals(rows: Mapping[str, Mapping[str, Any]]) -> None:
    """One line for each goal."""
    for name, row in rows.items():
        print(f"{name}: goal {row['goal']:.1f} {'holds' if row['holds'] else 'does not hold'}")


if __name__ == "__main__":
    raise SystemExit(main())
