"""``metaexp evaluate RUN``: test the selected weights of finished runs on any bank, way, shot or dataset that fits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from metaexp.cli.arguments import Options, make_parser, parse, print_help
from metaexp.compare.find import run_folders
from metaexp.config.compose import Composer
from metaexp.config.revise import check_idle, revise
from metaexp.core.disk.nearest import format_nearest_path
from metaexp.core.errors import ConfigError, ExitCode, MetaexpError, RunFolderError
from metaexp.core.terminal_text import make_console, print_phase, print_text
from metaexp.results.display.next_steps import format_next, step
from metaexp.results.job_note import format_removed
from metaexp.results.record import RECORD_FILE, read_record
from metaexp.run.folder import existing
from metaexp.run.integrity import check_config
from metaexp.sweep.expand import expand

if TYPE_CHECKING:
    from metaexp.run.evaluation.evaluate import Evaluated

_OVERRIDES = """\
overrides: the configuration is that of the run; give what you want to change:
  metaexp evaluate RUN eval.episodes=2000
  metaexp evaluate RUN task.k_shot=5 dataset=omniglot algorithm.inner_steps_test=10
several runs, and several values: each run is tested with each combination
  metaexp evaluate outputs/SWEEP task.n_way=5,20 task.k_shot=1,5
  metaexp compare outputs/SWEEP --evaluations
"""


class EvaluateOptions(Options):
    """Options of ``metaexp evaluate``.

    Attributes:
        allow_trained_classes: Whether to test also on classes that the run was trained on.
    """

    allow_trained_classes: bool


class Test(NamedTuple):
    """One test of one run."""

    run: Path
    overrides: list[str]


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp evaluate`` and return its exit code."""
    parser = make_parser(
        "evaluate",
        "Test the selected weights of finished runs. The results are saved in the run folders.",
        "RUN, OVERRIDE",
    )
    parser.usage = (
        "metaexp evaluate RUN [RUN ...] [OVERRIDE ...] [--allow-trained-classes] [--config-dir DIR] [--trust PACKAGE]"
    )
    parser.add_argument(
        "--allow-trained-classes",
        action="store_true",
        help="also test on classes that the run was trained on; the result shows how many they are",
    )
    options = parse(parser, arguments, EvaluateOptions())
    if options.help:
        print_help(parser, _OVERRIDES)
        return 0
    places, overrides = split_arguments(options.overrides)
    if not places:
        raise ConfigError("give the folder of a finished run first: metaexp evaluate RUN [OVERRIDE ...].")
    composer = Composer(options.config_dir)
    several = len(places) > 1 or (places[0].is_dir() and not _is_run(places[0]))
    if several or any(line.is_sweep_override() for line in map(composer.parse, overrides) if not isinstance(line, str)):
        return _evaluate_all(places, expand(composer, overrides), options)
    return _evaluate_one(places[0], overrides, options)


def split_arguments(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Separate folders from overrides. An argument with ``=`` is a folder if there is such a folder.

    Args:
        words: The arguments of a command line.

    Returns:
        Folders and overrides.

    Raises:
        ConfigError: An argument is neither a folder nor an override.
    """
    places: list[Path] = []
    overrides: list[str] = []
    wrong: list[str] = []
    for number, word in enumerate(words):
        place = Path(word).expanduser()
        if place.is_dir() or (number == 0 and "=" not in word):
            places.append(place)
        elif "=" in word or word.startswith("~"):
            overrides.append(word)
        else:
            wrong.append(
                f"{word!r} is neither the folder of a run nor an override.{format_nearest_path(place, kind='folder')} "
                "Write an override as key=value, such as task.k_shot=5."
            )
    if wrong:
        raise ConfigError(wrong)
    return places, overrides


def _is_run(folder: Path) -> bool:
    """Whether a folder is that of a run. An empty folder counts as one, because the message is then clearer."""
    return any((folder / name).exists() for name in (RECORD_FILE, "config.yaml")) or not any(folder.iterdir())


def _evaluate_one(path: Path, overrides: list[str], options: EvaluateOptions) -> int:
    config, choices = existing(path).read_config()
    check_config(path, config)
    revise(config, choices, overrides, options.config_dir)  # reports problems before torch is imported

    print_phase("loading torch")
    from metaexp.results.display.terminal import print_evaluation
    from metaexp.run.evaluation.evaluate import evaluate_run

    print_evaluation(*evaluate_run(path, overrides, options.config_dir, None, options.allow_trained_classes))
    return 0


def _evaluate_all(places: Sequence[Path], changes: Sequence[list[str]], options: EvaluateOptions) -> int:
    """Test each run with each list of overrides, and print a table."""
    tests = [Test(run, overrides) for run in _finished_runs(places) for overrides in changes]
    _check_all(tests, options)

    from metaexp.results.display.terminal import format_evaluations
    from metaexp.run.evaluation.evaluate import evaluate_run

    console = make_console()
    found: list[Evaluated] = []
    failed = 0
    for number, test in enumerate(tests, 1):
        console.print(f"{number} of {len(tests)}: {test.run} {' '.join(test.overrides)}".rstrip(), soft_wrap=True)
        try:
            found.append(
                evaluate_run(test.run, test.overrides, options.config_dir, None, options.allow_trained_classes)
            )
        except MetaexpError as error:  # the others are tested
            failed += 1
            console.print(f"  failed: {error}", soft_wrap=True)
    if found:
        console.print(format_evaluations([kept.evaluation for kept in found]))
    again = step("which is better on each task", "compare", *places, "--evaluations")
    console.print(format_next([again] if any(kept.path for kept in found) else []), soft_wrap=True)
    return ExitCode.JOBS_FAILED if failed else 0


def _finished_runs(places: Sequence[Path]) -> list[Path]:
    """The completed runs in or below some folders. Other runs below a folder are skipped; removed ones are named."""
    found: list[Path] = []
    removed: list[Path] = []
    for place in places:
        below = run_folders([place], removed=removed)
        if below == [place]:
            found.append(place)  # given by itself, so an error says what is wrong with it
            continue
        for folder in below:
            try:
                is_completed = read_record(folder).status == "completed"
            except RunFolderError:
                is_completed = False
            if is_completed:
                found.append(folder)
    if removed:
        print_text(f"left out: {format_removed(removed)}", flush=True)
    if not found:
        raise RunFolderError(f"{', '.join(map(str, places))}: no run in there is completed. `metaexp ls` lists them.")
    return list(dict.fromkeys(found))


def _check_all(tests: Sequence[Test], options: EvaluateOptions) -> None:
    """Find what is wrong with any test, before the first one starts and before torch is imported."""
    problems: dict[str, list[Path]] = {}
    for test in tests:
        try:
            config, choices = existing(test.run).read_config()
            check_idle(config, revise(config, choices, test.overrides, options.config_dir).resolved)
        except ConfigError as error:
            for problem in error.problems:
                problems.setdefault(problem, []).append(test.run)
    if problems:
        raise ConfigError(
            [
                problem if len(set(runs)) == len({test.run for test in tests}) else f"{runs[0]}: {problem}"
                for problem, runs in problems.items()
            ]
        )
