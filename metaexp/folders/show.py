"""What ``metaexp show`` says of a run, a sweep or a search. Only the folder is read."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metaexp.config.classes.attributes import attribute_of
from metaexp.config.classes.values import format_setting
from metaexp.config.compose import Composer
from metaexp.config.identity import with_added_keys
from metaexp.config.purpose import Purpose
from metaexp.core.counted import counted
from metaexp.core.errors import MetaexpError, RunFolderError, first_line
from metaexp.core.json_lines import METRICS_FILE
from metaexp.core.nested import values_by_key
from metaexp.core.terminal_text import align_columns, plain
from metaexp.folders.find import Found, check_folder, jobs, kind_of, owner_of, size_of
from metaexp.folders.intact import format_changed, has_weights, problem_of_metrics, problem_of_settings, problem_of_test
from metaexp.folders.listing import format_rows, format_size
from metaexp.folders.rows import format_reason, owner_row, read_report, run_row
from metaexp.folders.state import RunState, read_run, steps_done
from metaexp.results.display.next_steps import Step, after_run, after_stop, after_sweep, format_next, step
from metaexp.results.display.terminal import format_after_steps, format_domains, format_metrics
from metaexp.results.display.wording import (
    NOTHING,
    format_device,
    format_reference,
    format_score,
    format_task,
    format_time,
    name_validation,
)
from metaexp.results.episodes import EPISODES_FILE, METRICS_OF_EPISODES
from metaexp.results.evaluations import EVALUATIONS, evaluations
from metaexp.results.job_note import format_removed
from metaexp.results.job_state import LOG_FILE
from metaexp.results.own_code import CODE
from metaexp.results.per_class.files import CLASSES_FILE, CONFUSIONS_FILE
from metaexp.results.progress_file import PROFILE_FILE
from metaexp.results.record import RECORD_FILE, RunRecord
from metaexp.run.own_options import trust_of_run
from metaexp.sweep.folder import open_sweep

_MISSING = object()
_NOT_SETTINGS = ("paths", "reference", "experiment")
_FIRST_GROUPS = ("experiment", "algorithm", "dataset", "model", "task")
_FILES = (
    (RECORD_FILE, "settings, versions and scores"), ("config.yaml", "the resolved configuration"),
    (METRICS_FILE, "every training, validation and test measurement"),
    (EPISODES_FILE, "the test metric of every episode"),
    (METRICS_OF_EPISODES, "the further metrics of every test episode"),
    (CLASSES_FILE, "the accuracy of each class"), (CONFUSIONS_FILE, "what was taken for what, in every test episode"),
    ("checkpoints/best.safetensors", "the selected weights"), ("plots", "figures"),
    (PROFILE_FILE, "which operations took the time"),
    (EVALUATIONS, "later tests"), (CODE, "your own code that it used"), ("run.log", "what it printed"),
    (LOG_FILE, "what the job printed"),
)  # fmt: skip


def found_at(path: Path) -> Found:
    """Return the run, sweep or search in a folder.

    Raises:
        RunFolderError: The folder holds no run, sweep or search.
    """
    check_folder(path, "Give a folder of a run.")
    kind = kind_of(path)
    if kind is None:
        raise RunFolderError(
            f"{path} is not the folder of a run, a sweep or a search. `metaexp ls {shlex.quote(str(path))}` lists "
            "those below it."
        )
    return Found(path, kind, owner_of(path) if kind == "run" else None)


def format_found(found: Found, config_dir: Path | None) -> str:
    """Format all that ``metaexp show`` says.

    Args:
        found: The folder.
        config_dir: The user's own configuration folder, for the defaults; None if there is none.
    """
    return _format_run(found, config_dir) if found.kind == "run" else _format_owner(found)


def _format_run(found: Found, config_dir: Path | None) -> str:
    state = read_run(found)
    row = run_row(found, state)
    changed = format_changed(found.path, state)
    parts = [f"{found.path}: {row.state}", row.what, changed]
    if state.error:
        parts.append(f"{'error' if row.state == 'failed' else 'state'}: {format_reason(state.error)}")
    if found.owner is not None:
        parts.append(f"a {'job' if kind_of(found.owner) == 'sweep' else 'trial'} of {found.owner}")
    if state.record is not None:
        parts += _format_results(found.path, state.record)
    parts += _format_choices(found.path, state)
    parts += _format_settings(found.path, state, config_dir)
    parts += _format_files(found.path, row.facts["size"])
    next_steps = _next(found, state)
    metrics = problem_of_metrics(found.path, state)
    parts += [f"measurements: {format_reason(metrics)}"] if metrics else []
    if next_steps and (changed or (metrics and found.owner is None and state.state in ("stopped", "failed"))):
        next_steps = []
    elif next_steps and _needs_settings(found, state) and (problem := problem_of_settings(found.path)):
        next_steps = []
        parts.append(f"It cannot be continued, tested or reproduced: {format_reason(problem)}")
    elif state.state == "completed" and not has_weights(found.path):
        parts.append(f"It cannot be tested: {found.path / 'checkpoints'} has no weights.")
    return "\n".join(part for part in [*parts, format_next(next_steps)] if part)


def _format_results(folder: Path, record: RunRecord) -> list[str]:
    lines = ["results:"]
    for name, score in (("test", record.test), (name_validation(record), record.val)):
        if score is not None:
            lines.append(
                f"  {name:10}  {score.metric} {format_score(score)} over {counted(score.n_episodes, 'episode')}"
            )
    if record.reference is not None:
        lines.append(f"  published   {format_reference(record.reference)} ({record.reference.paper})")
    if record.verdict is not None:
        lines.append(f"  verdict     {record.verdict.text}")
    further = format_domains(record.domains) + format_after_steps(record.after_steps) + format_metrics(record.metrics)
    lines += [f"  {line}" for line in further.splitlines()]
    for kept in evaluations(folder, record):
        later = kept.evaluation
        with_these = f" with {' '.join(later.overrides)}" if later.overrides else ""
        lines.append(
            f"  later test  {later.test.metric} {format_score(later.test)}: {later.dataset}, {format_task(later.task)}"
            f"{with_these}"
        )
    best = "" if record.selected_step is None else f", weights after {record.selected_step:,} selected"
    time = "" if record.status == "running" else f"; {format_time(record.seconds)}"  # not known after a kill
    cost = f"{counted(steps_done(folder, record), 'step')}{best}{time}"
    lines.append(f"  cost        {cost}{'; ' + format_device(record.device) if record.device else ''}")
    return lines if len(lines) > 1 else []


def _format_choices(folder: Path, state: RunState) -> list[str]:
    """The file that each group of the configuration has, as overrides: who repeats the run with a change needs them."""
    try:
        choices = _choices(folder, state)
    except MetaexpError:
        return []  # the settings below say why
    if not choices:
        return []
    groups = [*(group for group in _FIRST_GROUPS if group in choices), *sorted(set(choices) - set(_FIRST_GROUPS))]
    return ["chosen files:", f"  {' '.join(plain(f'{group}={choices[group]}') for group in groups)}"]


def _format_settings(folder: Path, state: RunState, config_dir: Path | None) -> list[str]:
    """The settings that differ from the defaults of the chosen files, each with its default."""
    if not state.config:
        return []
    composer = Composer(config_dir)
    try:
        choices = _choices(folder, state)
        defaults = _defaults(choices, composer)
    except MetaexpError as error:
        given = [] if state.record is None else state.record.overrides
        why, _, is_missing = plain(first_line(error)).partition(" Known: ")
        hint = " --config-dir DIR names the folder of files of your own." if is_missing and config_dir is None else ""
        return [f"overrides of the command line (the defaults cannot be composed here: {why[:300]}{hint})",
                *(f"  {plain(item)}" for item in given)]  # fmt: skip
    ours, theirs = (values_by_key(_settings(config)) for config in map(with_added_keys, (state.config, defaults)))
    changed = [key for key in {**theirs, **ours} if ours.get(key, _MISSING) != theirs.get(key, _MISSING)]
    if not changed:
        return ["settings: the defaults"]
    values = {key: format_setting(ours[key]) if key in ours else "not set" for key in changed}
    width, widest = max(map(len, changed)), min(max(map(len, values.values())), 40)
    return [
        "settings that differ from the defaults:",
        *(
            f"  {plain(key):{width}}  {plain(values[key]):{widest}}  "
            f"({'default ' + plain(format_setting(theirs[key])) if key in theirs else 'not set by default'})"
            for key in changed
        ),
    ]


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in _NOT_SETTINGS}


def _choices(folder: Path, state: RunState) -> dict[str, str]:
    if state.job is not None:
        return state.job.choices
    from metaexp.config.yaml_files import read_mapping

    return {key: str(value) for key, value in read_mapping(folder / "choices.yaml").items()}


def _defaults(choices: Mapping[str, str], composer: Composer) -> dict[str, Any]:
    groups = composer.groups()
    chosen = [f"{group}={name}" for group, name in choices.items() if group in groups and group != "experiment"]
    return composer.job(chosen, Purpose.PLAN).settings.resolved


def _format_files(folder: Path, size: int) -> list[str]:
    there = [(name, what) for name, what in _FILES if os.path.lexists(folder / name)]
    if not there:
        return []
    sizes = [f"{format_size(_size(folder / name)):>7}" for name, _ in there]
    lines = [(str(folder / name), n_bytes, what) for (name, what), n_bytes in zip(there, sizes, strict=True)]
    return [f"files ({format_size(size)}):", *align_columns(lines, indent=2)]


def _size(path: Path) -> int:
    try:
        return size_of(path) if path.is_dir() and not path.is_symlink() else path.lstat().st_size
    except OSError:
        return 0


def _needs_settings(found: Found, state: RunState) -> bool:
    """Whether the next commands of a run read its configuration. Those of its sweep or search read their own."""
    return state.state == "completed" or (found.owner is None and state.state in ("stopped", "failed"))


def _next(found: Found, state: RunState) -> list[Step]:
    folder = found.path
    if state.state == "running":
        return [step("how far it is", "watch", found.owner or folder)]
    if state.state == "completed" and state.record is not None:
        test, is_fixed = state.record.test, attribute_of(state.record.config.get("dataset"), "fixed_tests") is True
        n_tests = None if test is None else test.n_episodes
        trust = trust_of_run(state.record)
        return after_run(folder, n_tests, is_fixed=is_fixed, has_weights=has_weights(folder), trust=trust)[:-1]
    if found.owner is not None and state.state in ("waiting", "stopped", "failed"):
        return _again(found.owner)
    if state.state == "stopped":
        return after_stop(folder, trust=trust_of_run(folder))
    if state.state == "failed":
        return [
            *after_stop(folder, trust=trust_of_run(folder)),
            step("the settings that it had", "ls", folder, "--json"),
        ]
    return []


def _again(owner: Path) -> list[Step]:
    """The command that runs what is left of a sweep or a search."""
    try:
        words = open_sweep(owner).head.command
    except RunFolderError:
        return []
    verb = [] if words[:1] == ["metaexp"] else ["metaexp", "search"]  # a search keeps its overrides only
    return [Step(shlex.join([*verb, *words]), "run what is left")]


def _format_owner(found: Found) -> str:
    row = owner_row(found)
    parts = [f"{found.path}: {row.state}, {row.what}, {format_size(row.facts['size'])}"]
    result = [] if row.result == NOTHING else [row.result]
    parts += result if row.error is None else [f"state: {format_reason(row.error)}"]
    again = _again(found.path)
    parts += [f"command: {item.command}" for item in again]
    rows = [run_row(job) for job in jobs(found)]
    parts.append(format_rows(rows, format_removed(row.removed) or "no jobs"))
    best = _best_trials(found) if found.kind == "search" and row.state != "running" else []
    problems = {path: problem_of_test(path, read_run(Found(path, "run", found.path))) for path in best}
    parts += [f"{path.name} cannot be tested: {format_reason(why)}" for path, why in problems.items() if why]
    whole = [path for path, why in problems.items() if not why]
    return "\n".join([*parts, format_next(_next_of_owner(found, row.state, [job.state for job in rows], again, whole))])


def _best_trials(found: Found) -> list[Path]:
    """The folders of the best trials of a search; none where its report cannot be read."""
    try:
        report = read_report(found.path)
    except RunFolderError:
        return []
    names = [name for name, number in report.numbers.items() if report.best and number == report.best[0]]
    return [found.path / name for name in names if kind_of(found.path / name) == "run"]


def _next_of_owner(
    found: Found, state: str, states: Sequence[str], again: Sequence[Step], best: Sequence[Path]
) -> list[Step]:
    """What one would do with a sweep or a search. ``best`` are its best trials that can be tested."""
    if state == "running":
        return [step("how far it is", "watch", found.path)]
    if found.kind == "sweep":
        command = shlex.split(again[0].command) if again else []
        return after_sweep(found.path, states, command)
    steps = [] if state == "completed" else list(again)
    return [*steps, *(step("test the best trial once", "evaluate", *trust_of_run(path), path) for path in best)]
