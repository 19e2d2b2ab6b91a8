"""The options that all verbs with a configuration share. They have Hydra's names."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from metaexp.cli.other_words import format_other_option
from metaexp.config.project import OwnFiles, own_file_options, use_own_files
from metaexp.core.counted import shortened
from metaexp.core.errors import ConfigError
from metaexp.core.terminal_text import print_text, wrap_lines

OVERRIDES = """\
overrides:
  GROUP=CHOICE         choose a file of a group: algorithm=maml dataset=omniglot device=cuda
  KEY=VALUE            set one value: seed=3 train.steps=2000 algorithm.inner_lr=0.1
  experiment=NAME      start from a published setting; other overrides are applied to it
If a key is given twice, the last one counts.
"""


class Options(argparse.Namespace):
    """Parsed arguments.

    Attributes:
        overrides: All arguments that are not options.
        help: Whether help was asked for.
        config_dir: The user's own configuration folder; None if there is none.
        config_name: Name of the root file.
        trust: Packages whose classes the configuration may use.
        given: The options of the command line that name the user's own files and packages. What the project or the
            environment names is not among them, because they name it for the next command, too.
    """

    overrides: list[str]
    help: bool
    config_dir: Path | None
    config_name: str = "config"  # only a few verbs take it
    trust: list[str]
    given: list[str]


Given = TypeVar("Given", bound=Options)


_MOST = 1_000_000_000
_KEY = re.compile(r"[a-z_]+(\.[a-z0-9_]+)*")
"""What a key of the configuration looks like."""


class Parser(argparse.ArgumentParser):
    """An argument parser that prints no control characters and explains an option that is none, or of other verbs.

    Args:
        verb: Name of the verb.
        description: What it does, for its help.
        allow_abbrev: Whether options may be cut short.
        options: Other options of argparse.
    """

    def __init__(self, verb: str, description: str, *, allow_abbrev: bool = False, **options: Any) -> None:
        super().__init__(
            prog=f"metaexp {verb}", description=description, allow_abbrev=allow_abbrev,
            formatter_class=argparse.RawDescriptionHelpFormatter, **options,
        )  # fmt: skip

        self._verb = verb

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments, as every method that parses does in the end.

        Args:
            args: The arguments after the verb.
            namespace: Gets the parsed values.

        Raises:
            ConfigError: Another verb has an option among them, and this one has not.
        """
        if other := format_other_option(self._verb, args or (), self._option_string_actions):
            raise ConfigError(other)
        return super().parse_known_args(args, namespace)

    def _print_message(self, message: str, file: Any = None) -> None:
        print_text(wrap_lines(message or ""), end="", file=file or sys.stderr)

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and what to write instead, and exit with code 2.

        Args:
            message: What argparse says.

        Raises:
            ConfigError: The value of an option is not such a number; see :func:`whole_number` and :func:`number`.
        """
        current = sys.exception()
        if isinstance(current, argparse.ArgumentError) and isinstance(current.__context__, argparse.ArgumentTypeError):
            raise ConfigError(f"{current.argument_name} {current.message}") from None
        unknown = message.partition("unrecognized arguments: ")[2].split()
        words = [word.lstrip("-") for word in unknown if word.startswith("--")]
        overrides = [word if "=" in word else f"{word}=VALUE" for word in words if "=" in word or _KEY.fullmatch(word)]
        overrides = overrides if any("OVERRIDE" in str(action.metavar) for action in self._actions) else []
        super().error(message + (f"; write {' '.join(overrides)}, without --" if overrides else ""))


def whole_number(text: str) -> int:
    """Read a whole number from 1 to a billion, as ``type`` of ``add_argument``.

    Args:
        text: The value of the option.

    Raises:
        ArgumentTypeError: The text is anything else. :class:`Parser` names the option.
    """
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{shortened(text)} must be a whole number from 1 on.")
    if number > _MOST:
        raise argparse.ArgumentTypeError(f"{shortened(text)} is too large; {_MOST:,} at most.")
    return number


def number(allowed: str) -> Callable[[str], float]:
    """Return a function that reads a number, for ``type`` of ``add_argument``.

    Args:
        allowed: The numbers that are allowed, for the message. The verb checks the range.
    """

    def read(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text} must be {allowed}.") from None

    return read


def split_keys(text: str) -> list[str]:
    """Return the keys of an option such as ``--show train.steps,seed``, as ``type`` of ``add_argument``."""
    return [key.strip() for key in text.split(",") if key.strip()]


def make_parser(verb: str, description: str, words: str = "OVERRIDE") -> argparse.ArgumentParser:
    """Make a parser for overrides, ``--config-dir``, ``--trust`` and ``--help``. The verb itself prints the help.

    Args:
        verb: Name of the verb.
        description: What it does, for its help.
        words: The name of the arguments that are not options, for its help.
    """
    parser = Parser(verb, description, add_help=False)
    parser.add_argument("overrides", nargs="*", metavar=words, help="see below")
    parser.add_argument("-h", "--help", action="store_true", help="show this help message and exit")
    parser.add_argument(
        "-cd",
        "--config-dir",
        type=Path,
        metavar="DIR",
        help="a folder with configuration files of your own; else METAEXP_CONFIG_DIR or that of metaexp.toml",
    )
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="allow the configuration to use classes of this package: its name (installed, or in the current folder), "
        "or its path. METAEXP_TRUST=A,B and `metaexp trust` do it for more than one command",
    )
    return parser


def print_help(parser: argparse.ArgumentParser, more: str) -> None:
    """Print the help of a verb.

    Args:
        parser: The verb's parser.
        more: What follows its options, with the end of its last line.
    """
    print_text(wrap_lines(f"{parser.format_help()}\n{more}"), end="")


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str], options: Given) -> Given:
    """Parse arguments, and find the user's own files and code. Wrong options end the process with exit code 2.

    ``config_dir`` and ``trust`` of the result have what the environment and the project name, too.

    Args:
        parser: The verb's parser.
        arguments: The arguments after the verb.
        options: Gets the parsed values.

    Returns:
        ``options``.
    """
    parser.parse_intermixed_args(list(arguments), namespace=options)
    options.given = own_file_options(options.config_dir, options.config_name, options.trust)
    own = use_own_files(options.config_dir, options.trust)
    options.config_dir, options.trust = own.config_dir, list(own.trust)
    print_origin(own)
    return options


def print_origin(own: OwnFiles) -> None:
    """Print on standard error what named the user's own files, where the command line did not."""
    if own.origin and os.environ.get("RANK", "0") == "0":
        print_text(f"using {own.origin}", file=sys.stderr)


SWEEPS = """\
sweeps (with -m):
  KEY=A,B,C            run every combination of the values; also range(0,5) and choice(a,b)
  sweep=NAME           a ready-made sweep, a file of conf/sweep; other overrides are applied to it
  sweep.name=NAME      what the folder of the sweep is called; by default, after the keys that vary
  sweep.n_jobs=2       how many jobs run at the same time on this machine; they share its cores; auto: one a core
  train.seeds=5        train five seeds together in one process, which is faster on small networks; or a list: [0,3,7]
  sweep.together=true  train jobs together that differ only in the seed, optimizer, schedule, clip or validation
  sweep.fork=false     start each job in a new Python process; by default jobs on the CPU are forked, which is faster
  sweep.on_error=...   after a failed job: continue with the others, stop, or retry it (sweep.retries=2 times)
  sweep.new=true       start a new sweep, even if the same command already has one
  sweep.reuse=true     copy completed runs that the jobs would repeat, for instance when you add seeds
  hydra/launcher=...   where jobs run: joblib, submitit_local, submitit_slurm or ray (install it first)

Give the same command again to continue a sweep: finished jobs are kept, interrupted ones are resumed, and failed ones
are tried again.
"""


def starts_with_folder(overrides: Sequence[str]) -> bool:
    """Return whether the first argument is a run folder, not an override. A folder's path may contain ``=``."""
    return bool(overrides) and ("=" not in overrides[0] or Path(overrides[0]).expanduser().is_dir())
