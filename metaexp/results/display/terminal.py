"""Prints the end of a run or an evaluation: a table of results, and where the files are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from metaexp.core.counted import counted
from metaexp.core.metric import format_metric_name
from metaexp.core.terminal_text import make_console
from metaexp.results.display.next_steps import after_run, format_next, step
from metaexp.results.display.wording import (
    format_batch_norm,
    format_order,
    format_reference,
    format_score,
    format_task,
    format_time,
    format_value,
    name_validation,
    shown_steps,
)
from metaexp.results.evaluations import Evaluation, Kept
from metaexp.results.own_code import format_edited
from metaexp.results.per_class.files import CLASSES_FILE, format_hardest, read_classes
from metaexp.results.progress_file import PROFILE_FILE
from metaexp.results.record import RunRecord, Score
from metaexp.results.seed_summary import SUMMARY_FILE, format_notes, seed_rows
from metaexp.results.seeds import SeedsResult


def print_summary(
    record: RunRecord,
    folder: Path,
    console: Console | None = None,
    *,
    fixed_tests: bool = False,
    trust: Sequence[str] = (),
) -> None:
    """Print the results of a completed run, its folder and its figures on standard output.

    Args:
        record: The record.
        folder: The run folder.
        console: The terminal; standard output by default.
        fixed_tests: Whether the test episodes of its dataset are fixed.
        trust: The ``--trust`` options of the command, which the next ones need, too.
    """
    console = console or make_console()
    title = f"{record.algorithm} on {record.dataset}, {format_task(record.task)}"
    measured = record.test or record.val
    metric = measured.metric if measured else "accuracy"
    console.print(title, style="bold", soft_wrap=True)
    table = results_table(metric)
    _add_score(table, "test", record.test)
    _add_score(table, name_validation(record), record.val)
    if record.reference is not None:
        table.add_row("published", format_reference(record.reference), "", end_section=True)
    if record.verdict is not None:
        table.add_row("verdict", record.verdict.text, "")
    console.print(table)
    console.print(format_after_steps(record.after_steps), soft_wrap=True, end="")
    console.print(format_domains(record.domains), soft_wrap=True, end="")
    console.print(format_metrics(record.metrics), soft_wrap=True, end="")
    classes = read_classes(folder / CLASSES_FILE, record.test_classes_sha256)
    console.print(format_hardest(classes, CLASSES_FILE), soft_wrap=True, end="")
    console.print(
        f"{'last ' if record.tests_last else ''}weights after {record.selected_step:,} of "
        f"{counted(record.steps, 'step')}; "
        f"batch norm {format_batch_norm(record.batch_norm)}; "
        + (f"{format_order(record.first_order)} order; " if record.first_order is not None else "")
        + format_time(record.seconds),
        soft_wrap=True,
    )
    for resume in record.inexact_resumes:
        line = f"continued after step {resume.step:,}, but not bit for bit: {'; '.join(resume.changed)}"
        console.print(line, style="bold", soft_wrap=True)
    if record.test is None:
        console.print("not tested, as eval.test=false says", soft_wrap=True)
    print_path(console, "run folder", folder)
    if (folder / PROFILE_FILE).is_file():
        print_path(console, "profile", folder / PROFILE_FILE)
    for figure in sorted((folder / "plots").glob("*.png")):
        print_path(console, "figure", figure)
    n_tests = None if record.test is None else record.test.n_episodes
    console.print(format_next(after_run(folder, n_tests, is_fixed=fixed_tests, trust=trust)), soft_wrap=True)


def results_table(metric: str) -> Table:
    """Return an empty table of scores."""
    table = Table()
    table.add_column("")
    table.add_column(f"{format_metric_name(metric)}, 95 % interval", justify="right")
    table.add_column("episodes", justify="right")
    return table


def _add_score(table: Table, name: str, score: Score | None) -> None:
    if score is not None:
        table.add_row(name, format_score(score), f"{score.n_episodes:,}")


def format_after_steps(scores: list[Score]) -> str:
    """Return one line with the test metric after 0, 1, ... adaptation steps; an empty text without steps.

    Of many steps the line names some: the first ones, where most happens, and the last.
    """
    if not scores:
        return ""
    steps = shown_steps(len(scores) - 1)
    values = ", ".join(format_value(scores[step].metric, scores[step].mean, None) for step in steps)
    last = len(scores) - 1
    which = f"0 to {last}" if len(steps) == len(scores) else f"{', '.join(map(str, steps[:-1]))} and {last}"
    return f"test {scores[0].metric} after {which} steps of adaptation: {values}\n"


def format_metrics(scores: list[Score]) -> str:
    """Return one line with the further metrics; an empty text without any."""
    if not scores:
        return ""
    return f"test {', '.join(f'{format_metric_name(score.metric)} {format_score(score)}' for score in scores)}\n"


def format_domains(scores: Mapping[str, Score]) -> str:
    """Return one line with the test result on each dataset of a mixture; an empty text for other data.

    Args:
        scores: Dataset -> its score.
    """
    if not scores:
        return ""
    return f"test on {', '.join(f'{name} {format_score(score)}' for name, score in scores.items())}\n"


def print_path(console: Console, what: str, path: Path) -> None:
    """Print a path on a line that no terminal breaks or colours.

    Args:
        console: The terminal.
        what: What is at the path.
        path: The path.
    """
    console.print(f"{what}: {path}", soft_wrap=True)


def print_evaluation(evaluation: Evaluation, path: Path | None, console: Console | None = None) -> None:
    """Print the result of an evaluation, and its file, on standard output.

    Args:
        evaluation: The result.
        path: Its file; None if it could not be written.
        console: The terminal; standard output by default.
    """
    console = console or make_console()
    title = (
        f"{evaluation.algorithm} on {evaluation.dataset}, {format_task(evaluation.task)} (trained in {evaluation.run})"
    )
    console.print(title, style="bold", soft_wrap=True)
    table = results_table(evaluation.test.metric)
    _add_score(table, "test", evaluation.test)
    console.print(table)
    if evaluation.changed_code:
        console.print(format_edited(evaluation.changed_code), style="bold", soft_wrap=True)
    if evaluation.trained_classes:
        line = f"not on new classes alone: {evaluation.trained_classes} of the test classes were trained on"
        console.print(line, style="bold", soft_wrap=True)
    console.print(format_after_steps(evaluation.after_steps), soft_wrap=True, end="")
    console.print(format_domains(evaluation.domains), soft_wrap=True, end="")
    console.print(format_metrics(evaluation.metrics), soft_wrap=True, end="")
    chosen = f"weights after {counted(evaluation.selected_step, 'step')}"
    console.print(f"{chosen}; batch norm {format_batch_norm(evaluation.batch_norm)}", soft_wrap=True)
    if path is not None:
        kept = Kept(evaluation, path)
        console.print(format_hardest(kept.read_classes(), kept.classes.name), soft_wrap=True, end="")
        print_path(console, "evaluation", path)
        run = path.parent.parent
        console.print(format_next([step("this result beside the run's others", "show", run)]), soft_wrap=True)


def format_evaluations(found: Sequence[Evaluation]) -> Table:
    """Return a table of tests of several runs, or of several tests of a run.

    Args:
        found: The results.
    """
    metrics = list(dict.fromkeys(evaluation.test.metric for evaluation in found))
    table = results_table(metrics[0])
    table.columns[0].header, table.columns[0].overflow = "run", "fold"
    table.columns[1].header = f"test {' or '.join(map(format_metric_name, metrics))}, 95 % interval"
    table.add_column("with")
    for evaluation in found:
        with_what = ", ".join(evaluation.overrides) or "its own settings"
        if evaluation.trained_classes:
            with_what += f" ({evaluation.trained_classes} of the test classes were trained on)"
        score = evaluation.test
        table.add_row(evaluation.run, format_score(score), f"{score.n_episodes:,}", with_what)
    return table


def print_seeds(
    name: str,
    records: Sequence[RunRecord],
    whole: SeedsResult,
    failed: Mapping[int, str],
    departs: str | None,
    folder: Path,
) -> None:
    """Print the seeds of an experiment beside its published number on standard output.

    Args:
        name: The experiment.
        records: The records of the completed runs.
        whole: All seeds taken together.
        failed: Seed -> error, for the other runs.
        departs: Where the experiment departs from its paper; None where its file says nothing.
        folder: Where the summary is.
    """
    console = make_console()
    console.print(name, style="bold", soft_wrap=True)
    table = Table()
    metric = whole.test.metric if whole.test else "test"
    table.add_column("")
    table.add_column(f"{format_metric_name(metric)}, 95 % interval", justify="right")
    table.add_column("verdict")
    for row in seed_rows(records, whole):
        table.add_row(*row)
    for seed, error in failed.items():
        table.add_row(f"seed {seed}", "failed", error)
    console.print(table)
    for line in format_notes(records, departs):
        console.print(line, soft_wrap=True)
    if whole.verdict is not None:
        some = f" of {len(records)} of {counted(len(records) + len(failed), 'seed')}" if failed else ""
        console.print(f"verdict{some}: {whole.verdict.text}", style="bold", soft_wrap=True)
    print_path(console, "summary", folder / SUMMARY_FILE)
