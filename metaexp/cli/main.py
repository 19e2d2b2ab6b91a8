"""``metaexp VERB ...``: the command line. Each verb is one entry of a table and one function, imported when called.

Importing this module imports neither torch nor Hydra.
"""

from __future__ import annotations

import codecs
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import metaexp
from metaexp.cli.other_words import format_wish
from metaexp.config.classes.values import format_nearest
from metaexp.core.counted import counted
from metaexp.core.disk.errors import explain_disk_error, is_disks_fault
from metaexp.core.errors import ConfigError, ExitCode, MetaexpError
from metaexp.core.terminal_text import print_phase, print_text
from metaexp.machine.collector import collect_rarely
from metaexp.machine.launch import launched, refuse
from metaexp.machine.single_rank import Ranks
from metaexp.machine.threads import let_threads_sleep


class Verb(NamedTuple):
    """One verb of the command line.

    Attributes:
        summary: What it does, for ``metaexp --help``.
        function: The ``module:function`` that takes its arguments.
        is_slow: Whether it imports Hydra and torch before it can say anything about its work.
    """

    summary: str
    function: str
    is_slow: bool = False


VERBS = {
    "train": Verb(
        "train, validate and test (-m: many runs; resume=RUN: continue a run)", "metaexp.cli.train:main", is_slow=True
    ),
    "plan": Verb(
        "list the jobs of `train -m`: what is done, how long the rest takes", "metaexp.cli.plan:main", is_slow=True
    ),
    "evaluate": Verb(
        "test a finished run again, also on other data or tasks", "metaexp.cli.evaluate:main", is_slow=True
    ),
    "predict": Verb(
        "name new images with the adapted learner of a run, or predict values", "metaexp.cli.predict:main", is_slow=True
    ),
    "data": Verb("find or download a dataset, check it and describe it", "metaexp.cli.data:main"),
    "check": Verb("test an algorithm, network or dataset: does it do what it says?", "metaexp.cli.check:main"),
    "new": Verb("write an algorithm, model, dataset or experiment of your own to start from", "metaexp.cli.new:main"),
    "compare": Verb("compare runs: which is better, how certain, at what cost", "metaexp.cli.compare:main"),
    "ls": Verb("list runs, sweeps and searches: state, size, result; by any setting", "metaexp.cli.folders.ls:main"),
    "show": Verb("show a run, a sweep or a search: settings, results, files", "metaexp.cli.folders.show:main"),
    "watch": Verb("watch a running sweep, search or run: phase, step, time left", "metaexp.cli.folders.watch:main"),
    "rm": Verb("remove runs, sweeps or searches that no process uses", "metaexp.cli.folders.rm:main"),
    "why": Verb("list what differs between two runs", "metaexp.cli.why:main"),
    "reproduce": Verb(
        "repeat a run and compare, or check the number of a paper", "metaexp.cli.reproduce:main", is_slow=True
    ),
    "search": Verb(
        "search for hyper-parameters that do well on validation tasks", "metaexp.cli.search:main", is_slow=True
    ),
    "wandb-sweep": Verb("write a sweep file for Weights & Biases", "metaexp.cli.wandb_sweep:main"),
    "trust": Verb(
        "allow a project to run its code: the packages that its metaexp.toml names", "metaexp.cli.trust:main"
    ),
    "completion": Verb("print the script with which bash, zsh or fish completes", "metaexp.cli.completion:main"),
    "report": Verb("write the tables of results from committed records", "metaexp.cli.report:main"),
    "leaderboard": Verb("write a page of runs, each measured again from its weights", "metaexp.cli.leaderboard:main"),
}

USAGE = """metaexp {version}: an experiment framework for meta-learning.

usage: metaexp VERB [arguments]     (metaexp VERB --help explains them)

{verbs}

Start with `metaexp train`. It trains MAML on made-up characters, which takes a minute or so."""


_SHOWN = {"-h", "--help", "-c", "--cfg", "--info"}
"""Options with which they only print something."""
_ASCII = {"\u00b1": "+-", "\u2026": "...", "\u2013": "-", "\u2014": "-", "\u00d7": "x", "\u2019": "'"}
"""Replacements for characters of our messages on a terminal that shows ASCII only."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The arguments after the program's name; ``sys.argv`` by default.

    Returns:
        The exit code of the process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    _accept_any_text()
    _draw_to_files()
    let_threads_sleep()
    with collect_rarely(is_process=arguments is None):
        return _run_and_explain(given)


def _run_and_explain(given: list[str]) -> int:
    """Run one command in this process, which torchrun may have started, and explain its error if it has one."""
    launch = None
    try:
        launch = launched()
        if launch is None:
            return _run(given)
        from metaexp.machine.ranks import join_ranks

        with join_ranks(launch) as ranks:
            return _run(given, ranks)
    except BaseException as error:
        return _end(given, error, is_shown=launch is None or launch.rank == 0)


def _run(given: list[str], ranks: Ranks | None = None) -> int:
    """Run one command in this process. ``ranks`` is given if torchrun started it."""
    if given[:1] == ["help"] and given[1:2] and given[1] in VERBS:
        given = [given[1], "--help"]
    if not given or given[0] in ("-h", "--help", "help"):
        print_text(format_usage())
        return ExitCode.OK if given else ExitCode.CONFIG
    if given[0] in ("-V", "--version"):
        print_text(f"metaexp {metaexp.__version__}")
        return 0
    name, *rest = given
    _refuse_empty(rest)
    if name in VERBS and VERBS[name].is_slow and not _SHOWN & set(rest) and (ranks is None or ranks.rank == 0):
        print_phase("reading the configuration")  # within a tenth of a second, before Hydra and torch are imported
    if ranks is None:
        return _function(given)(rest)
    function = ranks.run(lambda: _function(given, is_shared=True))
    return function(rest, ranks)


def _refuse_empty(words: list[str]) -> None:
    """Refuse an empty word or option: as a path it would be the current folder, which nobody has named."""
    for word, before in zip(words, ["", *words], strict=False):
        option, is_given, value = word.partition("=") if word.startswith("--") else (before, True, word)
        if is_given and not value.strip() and option not in ("--title", "--complete"):
            what = f"{option}= has no value" if word else "a word after the verb is empty"
            raise ConfigError(
                f"{what}. Give what belongs there, or leave it out. A variable of the shell that is not set is empty."
            )


def _accept_any_text() -> None:
    """If output can only be ASCII, print "+-" for a plus-minus sign and "?" for unknown characters."""
    codecs.register_error("metaexp", _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="metaexp")


def _draw_to_files() -> None:
    """Ignore the matplotlib backend of a notebook: commands draw to files, and it may not be installed here."""
    if os.environ.get("MPLBACKEND", "").startswith("module://"):
        del os.environ["MPLBACKEND"]


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(_ASCII.get(letter, "?") for letter in letters), error.end


def _end(given: list[str], error: BaseException, *, is_shown: bool) -> int:
    """Print an error that a user can act on and return its exit code; raise any other."""
    name = "metaexp" if not given else f"metaexp {given[0]}"
    if isinstance(error, BrokenPipeError):  # the reader of our output, such as head, has ended
        sys.stderr.close()
        return ExitCode.OK
    if isinstance(error, OSError):
        error = explain_disk_error(error) or error
    if isinstance(error, KeyboardInterrupt):
        text, code = f"{name}: interrupted", int(ExitCode.INTERRUPTED)
    elif isinstance(error, ConfigError):
        text, code = format_problems(name, error), error.exit_code
    elif isinstance(error, MetaexpError):
        text, code = f"{name}: {error}", ExitCode.MACHINE if is_disks_fault(error) else error.exit_code
    else:
        raise error
    if is_shown:
        print_text(text, file=sys.stderr)
    return code


def format_usage() -> str:
    """Format the help of ``metaexp`` itself."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:{width}}  {verb.summary}" for name, verb in VERBS.items())
    return USAGE.format(version=metaexp.__version__, verbs=verbs)


def format_problems(command: str, error: ConfigError) -> str:
    """Format the problems of a configuration, one in each line.

    Args:
        command: The command that found them, such as ``metaexp train``.
        error: The problems.
    """
    n_found = len(error.problems) + error.n_more
    if n_found == 1 and not error.notes:
        return f"{command}: {error.problems[0]}"
    lines = [f"  - {problem}" for problem in error.problems]
    lines += [f"  - and {error.n_more} more"] if error.n_more else []
    found = f"{command}: {counted(n_found, 'problem')}; nothing was started."
    return "\n".join([found, *lines, *(f"  {note}" for note in error.notes)])


def _function(given: list[str], *, is_shared: bool = False) -> Callable[..., int]:
    """Import the function of the verb that was given. Only ``train`` may run under torchrun."""
    name = given[0]
    if name not in VERBS:
        hint = format_wish(given, VERBS) or format_nearest(name, VERBS)
        raise ConfigError(f"there is no such verb.{hint} Known: {', '.join(VERBS)}.")
    if is_shared and name != "train":
        refuse("this verb", "Start it without torchrun.")
    module, _, function = VERBS[name].function.partition(":")
    found: Callable[..., int] = getattr(importlib.import_module(module), function)
    return found
