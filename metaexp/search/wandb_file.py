"""Writes a search as a sweep file of Weights & Biases. Its server proposes points; ``wandb agent`` runs them.

The file's format is described at https://docs.wandb.ai/guides/sweeps/define-sweep-configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from metaexp.config.command_line.override_text import key_of
from metaexp.core.errors import ConfigError
from metaexp.core.metric import Metric
from metaexp.search.comparable import keys_that_test
from metaexp.search.space import Choices, Dimension, Interval, Space
from metaexp.sweep.frozen_job import FrozenJob

Method = Literal["random", "grid", "bayes"]
_TRACKER = "metaexp.tracking.wandb.WandbTracker"
_HEADER = """\
# Written by: {command}
# Start it:   wandb sweep {path}
# Run it:     wandb agent ENTITY/PROJECT/SWEEP_ID     (the line that `wandb sweep` prints; as often as you like)
# Agents call `metaexp`: start them in its environment. Runs are not tested: the sweep chooses on validation, and
# `metaexp evaluate RUN` tests the chosen run once.
"""


@dataclass(frozen=True)
class SweepPlan:
    """How W&B runs the sweep.

    Attributes:
        method: How the server proposes points.
        runs: The sweep ends after this many runs; None for no limit.
        stop_after: Validations before a bad run may be stopped; None stops none.
    """

    method: Method
    runs: int | None
    stop_after: int | None


def format_sweep_file(
    space: Space, metric: Metric, plan: SweepPlan, options: Sequence[str], jobs: Sequence[FrozenJob]
) -> str:
    """Format the YAML of a sweep, without its header.

    Args:
        space: The search space, whose fixed overrides say whether runs are tested.
        metric: Metric that runs are judged by.
        plan: How W&B runs the sweep.
        options: Options of ``metaexp train``, such as ``--config-dir DIR``.
        jobs: Checked points of the space.

    Raises:
        ConfigError: The command has something that W&B cannot run. The message lists all of it.
    """
    _check(space, plan, jobs)
    views = [node for node in jobs[0].config["tracker"].values() if node["_target_"] == _TRACKER]
    content: dict[str, Any] = {
        "name": jobs[0].name.partition("-")[2],
        "project": views[0]["project"],
        "entity": views[0]["entity"],
        "method": plan.method,
        "metric": {"name": metric.validation, "goal": "maximize" if metric.larger_is_better else "minimize"},
        "run_cap": plan.runs,
        "early_terminate": None if plan.stop_after is None else {"type": "hyperband", "min_iter": plan.stop_after},
        "command": ["${env}", "metaexp", "train", *options, *space.fixed, "${args_no_hyphens}"],
        "parameters": {dimension.key: _parameter(dimension) for dimension in space.dimensions},
    }
    kept = {key: value for key, value in content.items() if value is not None}
    text: str = yaml.safe_dump(kept, sort_keys=False, default_flow_style=False, width=10_000, allow_unicode=True)
    return text


def format_header(command: str, path: str) -> str:
    """Format the comment at the top of a sweep file.

    Args:
        command: The command that wrote the file.
        path: Path of the file, quoted for a shell.
    """
    return _HEADER.format(command=command, path=path)


def _parameter(dimension: Dimension) -> dict[str, Any]:
    """The values of a dimension in W&B's format."""
    if not isinstance(dimension, Interval):
        return {"values": list(dimension.values)}
    kind = "int_uniform" if dimension.integer else "log_uniform_values" if dimension.log else "uniform"
    return {"distribution": kind, "min": dimension.low, "max": dimension.high}


def _check(space: Space, plan: SweepPlan, jobs: Sequence[FrozenJob]) -> None:
    problems = []
    for dimension in space.dimensions:
        if isinstance(dimension, Interval) and plan.method == "grid":
            problems.append(
                f"{dimension.key}: --method grid runs every combination, and an interval has too many; give "
                "choices or range(...), or use --method random or bayes."
            )
        elif isinstance(dimension, Interval) and dimension.integer and dimension.log:
            problems.append(
                f"{dimension.key}: W&B has no integers on a logarithmic scale; give choices, such as 1,2,4,8,16."
            )
        elif isinstance(dimension, Choices) and dimension.key.lstrip("+") == "tracker":
            problems.append("tracker varies: give it one value.")
    problems += [f"{line}: agents start single runs, so Hydra's own keys cannot be used." for line in _hydra(space)]
    if not all(any(node["_target_"] == _TRACKER for node in job.config["tracker"].values()) for job in jobs):
        problems.append(
            "tracker does not log to W&B, so the sweep would see no result; take tracker=wandb, or add one of class "
            f"{_TRACKER}."
        )
    problems += [
        f"{line}: every run would be tested, and test results must not be used to choose. Leave it out, and test the "
        "chosen run with metaexp evaluate RUN."
        for line in _tests(space, jobs)
    ]
    if problems:
        raise ConfigError(problems)


def _tests(space: Space, jobs: Sequence[FrozenJob]) -> list[str]:
    """Overrides that would test some runs."""
    varied = [f"{key} varies" for key in keys_that_test(space, jobs)]
    fixed = [line for line in space.fixed if key_of(line) == "eval.test"]
    return varied or (fixed if any(job.config["eval"].get("test", True) for job in jobs) else [])


def _hydra(space: Space) -> list[str]:
    return [o for o in space.fixed if o.lstrip("+~").startswith("hydra") and not _sets([o], "hydra.searchpath")]


def _sets(lines: Sequence[str], start: str) -> bool:
    return any(line.lstrip("+~").startswith(start) for line in lines)
