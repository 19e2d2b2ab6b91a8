"""``metaexp check``: test an algorithm of metaexp, or your own, on tiny tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from metaexp.cli.arguments import Options, make_parser, parse
from metaexp.config.check import check
from metaexp.config.classes.targets import trust
from metaexp.config.compose import Composer
from metaexp.config.interpolation import resolve_all
from metaexp.config.overrides import apply, sort_overrides
from metaexp.config.schema import ClassSpec
from metaexp.core.errors import ConfigError, ExitCode
from metaexp.core.terminal_text import make_console, print_text

_USAGE = """\
examples:
  metaexp check algorithm=maml                       an algorithm with the values of its file
  metaexp check algorithm=maml first_order=true      the same with another value
  metaexp check experiment=maml_sinusoid             with the values of an experiment
  metaexp check my_package.my_file:MyAlgorithm inner_lr=0.1
                                                     a class of your own; naming it trusts its package, which is
                                                     installed or in the current folder
  metaexp check --config-dir my_conf --trust my_package algorithm=mine

The inner loop has 3 steps where only the equations matter, and 50 where it has to learn, unless you set its steps.
The exit code is 0 if no fault was found, and 11 otherwise.
"""


class CheckTarget(NamedTuple):
    """The algorithm to examine.

    Attributes:
        name: Its name.
        spec: Its class with arguments.
        given: Keys that were given on the command line.
    """

    name: str
    spec: ClassSpec
    given: frozenset[str]


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp check`` and return its exit code: 0 if no fault was found, otherwise 11."""
    parser = make_parser("check", "Test on tiny tasks, in float64, whether an algorithm does what it says.")
    parser.usage = (
        "metaexp check algorithm=NAME | PACKAGE.MODULE:CLASS [KEY=VALUE ...] [--config-dir DIR] [--trust PKG]"
    )
    options = parse(parser, arguments, Options())
    composer = Composer(options.config_dir)
    if options.help:
        print_text(f"{parser.format_help()}\n{_USAGE}\nalgorithms: {', '.join(composer.groups()['algorithm'])}")
        return 0
    return _examine(read_target(options.overrides, composer))


def read_target(arguments: Sequence[str], composer: Composer) -> CheckTarget:
    """Find the algorithm that the arguments name. Does not import torch.

    Args:
        arguments: The arguments after the verb, without options.
        composer: Composes configurations.

    Raises:
        ConfigError: With all problems.
    """
    targets = [line for line in arguments if "=" not in line and ":" in line]
    overrides = [add_section(line) for line in arguments if line not in targets]
    given = frozenset(_key(line).partition(".")[2] for line in overrides if _key(line).startswith("algorithm."))
    files = [line for line in overrides if _key(line) in ("algorithm", "experiment")]
    if len(targets) + len(files) != 1:
        known = ", ".join(composer.groups()["algorithm"])
        raise ConfigError(
            "give one algorithm to check: algorithm=NAME, experiment=NAME, or package.module:Class of your own; "
            f"{len(targets) + len(files)} were given. Known algorithms: {known}."
        )
    if targets:
        return CheckTarget(targets[0].rpartition(":")[2], _class_spec(targets[0], overrides, composer), given)
    settings = composer.settings(overrides, on_this_machine=False)
    return CheckTarget(settings.choices["algorithm"], settings.algorithm, given)


def add_section(line: str) -> str:
    """Put ``algorithm.`` before a key without a section: ``inner_lr=0.1`` becomes ``algorithm.inner_lr=0.1``."""
    if "=" not in line or _key(line).partition(".")[0] in ("algorithm", "experiment"):
        return line
    bare = line.lstrip("+~")
    return f"{line[: len(line) - len(bare)]}algorithm.{bare}"


def _class_spec(target: str, overrides: Sequence[str], composer: Composer) -> ClassSpec:
    """The checked class with its arguments."""
    module, _, name = target.partition(":")
    if module.endswith(".py") or not all(part.isidentifier() for part in [*module.split("."), name]):
        raise ConfigError(
            f"{target} is not the place of a class; write package.module:Class, such as my_package.my_file:MyAlgorithm."
        )
    trust(module.partition(".")[0])
    given = sort_overrides([f"++{line.lstrip('+')}" if "=" in line else line for line in overrides], composer.loader)
    composed = composer.compose([])
    composed.config.algorithm = {"_target_": f"{module}.{name}"}
    misapplied, _ = apply(given.values, composed.config)
    config, unresolved = resolve_all(composed.config)
    problems = [*given.problems, *misapplied, *unresolved]
    return check(
        config, composed.choices, on_this_machine=False, earlier_problems=problems, ignored=given.broken
    ).algorithm


def _key(line: str) -> str:
    return line.lstrip("+~").partition("=")[0]


def _examine(target: CheckTarget) -> int:
    import torch

    from metaexp.cli.examination import make_subject, shorten_loops
    from metaexp.doctor.examine import examine
    from metaexp.doctor.report import is_all_ok, print_report
    from metaexp.doctor.subject import FEW_STEPS

    torch.set_num_threads(1)  # more threads are slower for tiny tensors
    console = make_console()
    subject = make_subject(target.name, target.spec, target.given)
    with console.status("examining") as status:
        sections = examine(subject, lambda kind, name: status.update(f"examining: {name} ({kind})"))
    print_report(f"{subject.cls.__name__}, examined on tiny tasks in float64", sections, console)
    shorter = ", ".join(f"{key}={value}" for key, value in shorten_loops(target.spec, FEW_STEPS, target.given).items())
    if shorter:
        console.print(f"examined with {shorter}; give a key to examine it with another value", soft_wrap=True)
    return ExitCode.OK if is_all_ok(sections) else ExitCode.DIFFERENT
