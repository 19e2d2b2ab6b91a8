"""The options that verbs with a configuration share, as Hydra has them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from metaexp.config.classes.targets import trust
from metaexp.core.terminal_text import print_text

OVERRIDES = """\
overrides:
  GROUP=CHOICE         choose a file of a group: algorithm=maml dataset=omniglot device=cuda
  KEY=VALUE            set one value: seed=3 train.steps=2000 algorithm.inner_lr=0.1
  experiment=NAME      start from a published setting; other overrides are applied to it
"""


class Options(argparse.Namespace):
    """Parsed arguments. ``overrides`` are all those that are no option."""

    overrides: list[str]
    help: bool
    config_dir: Path | None
    config_name: str
    trust: list[str]


Given = TypeVar("Given", bound=Options)


class Parser(argparse.ArgumentParser):
    """A parser whose messages obey no terminal, and that knows an override written as an option."""

    def _print_message(self, message: str, file: Any = None) -> None:
        print_text(message or "", end="", file=file or sys.stderr)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, with what to write, and end with exit code 2."""
        unknown = message.partition("unrecognized arguments: ")[2].split()
        overrides = [word.lstrip("-") for word in unknown if word.startswith("--") and "=" in word]
        super().error(message + (f"; write {' '.join(overrides)}, without --" if overrides else ""))


def parser(verb: str, description: str) -> argparse.ArgumentParser:
    """A parser of overrides, ``--config-dir``, ``--trust`` and ``--help`` (which is left to the verb)."""
    made = Parser(
        prog=f"metaexp {verb}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    made.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="see below")
    made.add_argument("-h", "--help", action="store_true", help="show this help message and exit")
    made.add_argument(
        "-cd", "--config-dir", type=Path, metavar="DIR", help="a folder with configuration files of your own"
    )
    made.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="allow the configuration to use classes of this package (installed, or in the current folder)",
    )
    return made


def parse(made: argparse.ArgumentParser, arguments: Sequence[str], options: Given) -> Given:
    """Parse into ``options``, and trust what is to be trusted. Wrong options end the process with exit code 2."""
    made.parse_intermixed_args(list(arguments), namespace=options)
    for package in options.trust:
        trust(package)
    return options


SWEEPS = """\
sweeps (with -m):
  KEY=A,B,C            run every combination of the values; also range(0,5) and choice(a,b)
  sweep=NAME           a ready-made sweep, a file of conf/sweep; other overrides are applied to it
  sweep.n_jobs=2       how many jobs run at the same time on this machine; they share its cores
  sweep.on_error=...   after a failed job: continue with the others, stop, or retry it (sweep.retries=2 times)
  sweep.new=true       start a new sweep, even if the same command already has one
  sweep.reuse=true     copy completed runs that the jobs would repeat, for instance when you add seeds
  hydra/launcher=...   where jobs run: joblib, submitit_local, submitit_slurm or ray (install it first)

Give the same command again to continue a sweep: finished jobs are kept, interrupted ones are resumed, and failed ones
are tried again.
"""


def starts_with_folder(overrides: Sequence[str]) -> bool:
    """Whether the first argument names a run folder, rather than setting a value. A folder's path may hold ``=``."""
    return bool(overrides) and ("=" not in overrides[0] or Path(overrides[0]).expanduser().is_dir())
