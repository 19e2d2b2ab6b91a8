"""What one would do next: commands to copy, at the end of what a verb prints. Without torch."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from metaexp.core.terminal_text import align_columns

_MANY: Final = 5000
"""Episodes with which an interval is narrow."""


class Step(NamedTuple):
    """A command that one could give next.

    Attributes:
        command: The command, quoted for a shell.
        why: What it does, in a few words.
    """

    command: str
    why: str


def step(why: str, *words: str | Path) -> Step:
    """Return a command of metaexp.

    Args:
        why: What it does.
        words: The words after ``metaexp``; each is quoted where a shell would read it otherwise.
    """
    return Step(shlex.join(["metaexp", *map(str, words)]), why)


def with_changes(words: Sequence[str], changes: Sequence[str]) -> list[str]:
    """Return the words of a command with some keys set to other values, each key once.

    Args:
        words: Overrides, and options, each followed by its value.
        changes: Overrides ``key=value``. They take the place of those of the same key, also of one that removes it.
    """
    keys = {change.partition("=")[0] for change in changes}
    kept = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if before.startswith("--") or word.partition("=")[0].lstrip("+~") not in keys
    ]
    return [*kept, *changes]


def format_next(steps: Sequence[Step]) -> str:
    """Format commands to copy, each with a comment that a shell ignores; an empty text for none."""
    if not steps:
        return ""
    return "\n".join(["next:", *align_columns([(item.command, f"# {item.why}") for item in steps], indent=2)])


def after_run(
    folder: Path, n_tests: int | None, *, is_fixed: bool = False, has_weights: bool = True, trust: Sequence[str] = ()
) -> list[Step]:
    """Return what one would do after a completed run.

    Args:
        folder: The run folder.
        n_tests: The episodes that it was tested on; None for a run without a test.
        is_fixed: Whether the test episodes of its dataset are fixed, so that there are no more.
        has_weights: Whether its weights are there, so that it can be tested.
        trust: The ``--trust`` options without which the run's own code is refused.
    """
    is_tested, more = n_tests is not None, max(_MANY, 2 * (n_tests or 0))
    again = step("test it once more, on more episodes", "evaluate", *trust, folder, f"eval.episodes={more}")
    first = step("test its selected weights", "evaluate", *trust, folder)
    return [
        *([] if (is_tested and is_fixed) or not has_weights else [again if is_tested else first]),
        *([step("is the number the same again?", "reproduce", *trust, folder)] if is_tested else []),
        *_upload(folder),
        step("settings, results and files", "show", folder),
    ]


def _upload(folder: Path) -> list[Step]:
    """The command that uploads what W&B wrote offline. The newest files of a run have all of its numbers."""
    offline = sorted((folder / "wandb").glob("offline-run-*"))
    command = shlex.join(["wandb", "sync", str(offline[-1])]) if offline else ""
    return [Step(command, "upload it to Weights & Biases")] if offline else []


def after_stop(folder: Path, *, trust: Sequence[str] = ()) -> list[Step]:
    """Return what one would do with a run that was interrupted or killed.

    Args:
        folder: The run folder.
        trust: The ``--trust`` options without which the run's own code is refused.
    """
    return [step("continue it, as if it had never stopped", "train", *trust, f"resume={folder}")]


def after_sweep(folder: Path, states: Collection[str], command: Sequence[str] = ()) -> list[Step]:
    """Return what one would do after a sweep.

    Args:
        folder: The sweep's folder.
        states: How far its jobs are.
        command: The words of the command that made it; empty if they are not known.
    """
    is_complete = all(state == "completed" for state in states)
    again = [] if is_complete or not command else [Step(shlex.join(command), "run what is left")]
    failed = [step("which jobs failed, and why", "ls", folder, "state=failed")] if "failed" in states else []
    better = step("which is better, and how certain that is", "compare", folder)
    return [*again, *failed, *([better] if "completed" in states else []), *_upload_all(folder)]


def _upload_all(folder: Path) -> list[Step]:
    """The command that uploads what W&B wrote offline of all jobs. The shell finds the folders."""
    if not any(folder.glob("*/wandb/offline-run-*")):
        return []
    words = f"wandb sync {shlex.quote(str(folder))}/*/wandb/offline-run-*"
    return [Step(words, "upload all jobs to Weights & Biases")]


def after_check(kind: str, words: Sequence[str]) -> list[Step]:
    """Return what one would do with an algorithm, a network or a dataset in which no fault was found.

    Args:
        kind: What it is, the group of its file.
        words: The words that name it, with the options by which it is found.
    """
    look = [step("look at examples of it", "data", *words, "--figure", "examples.png")] if kind == "dataset" else []
    return [*look, step("train it a little", "train", *with_changes(words, ["train.steps=100"]))]


def after_data(words: Sequence[str], training: Sequence[str] | None, *, is_drawn: bool) -> list[Step]:
    """Return what one would do with a dataset that is there.

    Args:
        words: The words that choose it.
        training: The words with which a run trains on it; None where there is nothing to train on.
        is_drawn: Whether examples were drawn.
    """
    look = [] if is_drawn else [step("look at examples of it", "data", *words, "--figure", "examples.png")]
    return [*look, *([] if training is None else [step("train on it", "train", *training)])]


def after_prediction(words: Sequence[str], *, is_kept: bool, has_sets: bool) -> list[Step]:
    """Return what one would do after predictions.

    Args:
        words: The words of the command, after the verb.
        is_kept: Whether they were written to a file.
        has_sets: Whether they have sets of classes, or intervals.
    """
    kept = [] if is_kept else [step("all labels and scores, as a file", "predict", *words, "--output", "names.csv")]
    sets = [] if has_sets else [step("with sets that cover the truth", "predict", *words, "--conformal", "0.9")]
    return [*kept, *sets]


def after_rerun(run: Path, rerun: Path, *, is_identical: bool, is_whole: bool, trust: Sequence[str] = ()) -> list[Step]:
    """Return what one would do after a run was repeated.

    Args:
        run: Its folder.
        rerun: The folder of the repetition.
        is_identical: Whether the numbers are the same.
        is_whole: Whether the whole run was repeated, not its beginning.
        trust: The ``--trust`` options without which the run's own code is refused.
    """
    if not is_identical:
        return [step("all that differs between the two", "why", run, rerun)]
    if not is_whole:
        return [step("go on to the end, and compare all of it", "reproduce", *trust, run)]
    return [step("settings, results and files of the repetition", "show", rerun)]


def after_seeds(
    name: str, folder: Path, n_seeds: int, own: Sequence[str] = (), changes: Sequence[str] = ()
) -> list[Step]:
    """Return what one would do after an experiment was trained with some seeds.

    Args:
        name: The experiment.
        folder: The folder with a run for each seed.
        n_seeds: How many seeds there are.
        own: The options with which the user's own files and packages are found.
        changes: The overrides and options with which it was trained.
    """
    few = 3
    why = "one seed says nothing about others" if n_seeds == 1 else "a few seeds say little about others"
    more = [step(why, "reproduce", *own, name, *changes, "--seeds", str(few))]
    return [*(more if n_seeds < few else []), step("a page with intervals and curves", "compare", folder)]


def after_report(copies: Sequence[Path], trust: Mapping[Path, Sequence[str]] | None = None) -> list[Step]:
    """Return what one would do after runs were published.

    Args:
        copies: The folders of the copies.
        trust: Copy -> the ``--trust`` options without which the run's own code is refused; none by default.
    """
    why, given = "the published weights give the published number", trust or {}
    again = [step(why, "evaluate", *given.get(copy, ()), copy) for copy in copies]
    return [*again, step("are all pages up to date?", "report", "--check")] if copies else []
