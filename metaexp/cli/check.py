"""``metaexp check``: test an algorithm on tiny tasks, a network or a dataset, of metaexp or your own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from metaexp.cli.arguments import Options, make_parser, parse, print_help
from metaexp.config.check import SECTIONS, SLOTS, check
from metaexp.config.classes.source import class_attribute, derives_from, derives_from_library, find_class
from metaexp.config.classes.targets import trust
from metaexp.config.command_line.apply import apply
from metaexp.config.command_line.override_text import key_of
from metaexp.config.command_line.overrides import sort_overrides
from metaexp.config.compose import Composer
from metaexp.config.interpolation import resolve_all
from metaexp.config.purpose import Purpose
from metaexp.config.schema import Settings
from metaexp.core.errors import ConfigError, ExitCode
from metaexp.core.terminal_text import make_console, print_text
from metaexp.results.display.next_steps import after_check, format_next

if TYPE_CHECKING:
    from metaexp.doctor.report import Part

Kind = Literal["algorithm", "model", "dataset"]
_KINDS: tuple[Kind, ...] = ("algorithm", "model", "dataset")
_FILES = (*_KINDS, "experiment")
_SECTIONS = frozenset({*SECTIONS, *SLOTS, "tracker"})
"""What a key with a dot may begin with, where it is not an argument of the class that is examined."""

_USAGE = """\
examples:
  metaexp check algorithm=maml                       an algorithm with the values of its file
  metaexp check algorithm=maml first_order=true      the same with another value
  metaexp check experiment=maml_sinusoid             the algorithm of an experiment, with its values
  metaexp check model=conv4                          a network, on examples of several shapes
  metaexp check dataset=glyphs                       a dataset, which is loaded
  metaexp check dataset=omniglot paths.data=here     the same, of files in a folder
  metaexp check my_package.my_file:MyAlgorithm inner_lr=0.1
                                                     a class of your own; naming it trusts its package, which is
                                                     installed or in the current folder
  metaexp check --config-dir my_conf --trust my_package algorithm=mine

The inner loop has 3 steps where only the equations matter, and 50 where it has to learn, unless you set its steps.
The exit code is 0 if no fault was found, and 11 otherwise.
"""


class CheckTarget(NamedTuple):
    """What to examine.

    Attributes:
        kind: Whether it is an algorithm, a network or a dataset.
        name: Its name.
        settings: The checked configuration that names it.
        given: Keys of it that were given on the command line.
    """

    kind: Kind
    name: str
    settings: Settings
    given: frozenset[str]


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp check`` and return its exit code: 0 if no fault was found, otherwise 11."""
    parser = make_parser(
        "check", "Test whether an algorithm, a network or a dataset does what it says: an algorithm on tiny tasks."
    )
    parser.usage = (
        "metaexp check algorithm=NAME | model=NAME | dataset=NAME | PACKAGE.MODULE:CLASS [KEY=VALUE ...] "
        "[--config-dir DIR] [--trust PKG]"
    )
    options = parse(parser, arguments, Options())
    composer = Composer(options.config_dir)
    if options.help:
        names = "\n".join(f"{kind}s: {', '.join(composer.groups()[kind])}" for kind in _KINDS)
        print_help(parser, f"{_USAGE}\n{names}\n")
        return 0
    target = read_target(options.overrides, composer)
    examine = {"algorithm": _examine, "model": _examine_network, "dataset": _examine_dataset}[target.kind]
    code = examine(target)
    is_file = all("=" in line for line in options.overrides)  # a class has no name that train takes
    if code == ExitCode.OK and is_file:
        words = [*options.given, *(add_section(line, target.kind) for line in options.overrides)]
        print_text(format_next(after_check(target.kind, words)))
    return code


def read_target(arguments: Sequence[str], composer: Composer) -> CheckTarget:
    """Find what the arguments name. Does not import torch.

    Args:
        arguments: The arguments after the verb, without options.
        composer: Composes configurations.

    Raises:
        ConfigError: The configuration is wrong. The message lists all mistakes.
    """
    targets = [line for line in arguments if "=" not in line and ":" in line]
    files = [line for line in arguments if key_of(line) in _FILES]
    if len(targets) + len(files) != 1:
        known = ", ".join(composer.groups()["algorithm"])
        raise ConfigError(
            "give one thing to check: algorithm=NAME, model=NAME, dataset=NAME, experiment=NAME, or "
            f"package.module:Class of your own; {len(targets) + len(files)} were given. Known algorithms: {known}."
        )
    kind = _kind_of_class(targets[0]) if targets else _kind_of_file(files[0])
    overrides = [add_section(line, kind) for line in arguments if line not in targets]
    given = frozenset(key_of(line).partition(".")[2] for line in overrides if key_of(line).startswith(f"{kind}."))
    if targets:
        name = targets[0].rpartition(":")[2]
        return CheckTarget(kind, name, _class_settings(targets[0], kind, overrides, composer), given)
    settings = composer.settings(overrides, Purpose.LOOK if kind == "dataset" else Purpose.PLAN)
    return CheckTarget(kind, settings.choices[kind], settings, given)


def add_section(line: str, section: str) -> str:
    """Put a section before a key without one: ``inner_lr=0.1`` becomes ``algorithm.inner_lr=0.1``.

    ``paths.data=here`` has one. ``device=cuda`` has none: a class may have an argument of the name of a section.

    Args:
        line: An argument of the command line.
        section: The section of the configuration, such as ``algorithm``.
    """
    first, dot, _ = key_of(line).partition(".")
    if "=" not in line or first in (section, *_FILES) or (dot and first in _SECTIONS):
        return line
    bare = line.lstrip("+~")
    return f"{line[: len(line) - len(bare)]}{section}.{bare}"


def _kind_of_file(line: str) -> Kind:
    return next((kind for kind in _KINDS if kind == key_of(line)), "algorithm")


def _kind_of_class(target: str) -> Kind:
    """What a class is, by its base. One of an unknown base counts as an algorithm, and the check says what is wrong."""
    module, _, name = target.partition(":")
    if module.endswith(".py") or not all(part.isidentifier() for part in [*module.split("."), name]):
        raise ConfigError(
            f"{target} is not the place of a class; write package.module:Class, such as my_package.my_file:MyAlgorithm."
        )
    trust(module.partition(".")[0])
    source = find_class(f"{module}.{name}")
    if source is not None:
        for kind in ("algorithm", "dataset"):
            if derives_from(source, SLOTS[kind].base):
                return "algorithm" if kind == "algorithm" else "dataset"
        if derives_from(source, SLOTS["model"].base) or derives_from_library(source, SLOTS["model"].library):
            return "model"
    return "algorithm"


def _class_settings(target: str, kind: Kind, overrides: Sequence[str], composer: Composer) -> Settings:
    """The settings with a class in the place of a chosen file."""
    given = sort_overrides([f"++{line.lstrip('+')}" if "=" in line else line for line in overrides], composer.loader)
    path = target.replace(":", ".")
    source = find_class(path)
    is_regression = kind == "dataset" and source is not None and class_attribute(source, "kind") == "regression"
    composed = composer.compose(["task=regression_10shot", "model=mlp_sinusoid"] if is_regression else [])
    composed.config[kind] = {"_target_": path}
    misapplied, _ = apply(given.values, composed.config)
    config, unresolved = resolve_all(composed.config)
    problems = [*given.problems, *misapplied, *unresolved]
    purpose = Purpose.EXAMINE if kind == "dataset" else Purpose.PLAN
    return check(config, composed.choices, purpose, earlier_problems=problems, ignored=given.broken)


def _examine(target: CheckTarget) -> int:
    import torch

    from metaexp.cli.examination import make_subject, shorten_loops
    from metaexp.doctor.examine import examine
    from metaexp.doctor.report import is_all_ok, print_report
    from metaexp.doctor.subject import FEW_STEPS
    from metaexp.machine.compiler import put_off_compiler

    put_off_compiler()
    torch.set_num_threads(1)  # more threads are slower for tiny tensors
    console = make_console()
    spec = target.settings.algorithm
    subject = make_subject(target.name, spec, target.given)
    with console.status("examining") as status:
        sections = examine(subject, lambda kind, name: status.update(f"examining: {name} ({kind})"))
    print_report(f"{subject.cls.__name__}, examined on tiny tasks in float64", sections, console)
    shorter = ", ".join(f"{key}={value}" for key, value in shorten_loops(spec, FEW_STEPS, target.given).items())
    if shorter:
        console.print(f"examined with {shorter}; give a key to examine it with another value", soft_wrap=True)
    return ExitCode.OK if is_all_ok(sections) else ExitCode.DIFFERENT


def _examine_network(target: CheckTarget) -> int:
    import torch
    from torch import nn

    from metaexp.config.classes.make import make
    from metaexp.doctor.network import examine_network
    from metaexp.machine.compiler import put_off_compiler

    put_off_compiler()
    torch.set_num_threads(1)

    def build(*, input_shape: tuple[int, ...], n_outputs: int | None) -> nn.Module:
        return make(target.settings.model, nn.Module, input_shape=input_shape, n_outputs=n_outputs)

    title = f"{target.settings.model.path.rpartition('.')[2]}, a network, examined on examples of several shapes"
    return _print(title, lambda watch: examine_network(target.name, build, watch))


def _examine_dataset(target: CheckTarget) -> int:
    from metaexp.config.classes.make import make
    from metaexp.config.contradictions import data_facts
    from metaexp.core.fit.task_fit import Tasks, fit_problems
    from metaexp.data.base import Dataset
    from metaexp.doctor.dataset import examine_dataset

    settings = target.settings
    facts = data_facts(settings.dataset, settings.choices, settings.paths.data)
    tasks = Tasks(settings.train.shape, settings.task.shape)
    if facts.fixed is None and (problems := fit_problems(facts, None, tasks)):
        raise ConfigError(problems)

    def build() -> Dataset:
        return make(settings.dataset, Dataset)  # type: ignore[type-abstract]

    title = f"{settings.dataset.path.rpartition('.')[2]}, a dataset, loaded and examined"
    return _print(title, lambda watch: examine_dataset(build, settings.paths.data, settings.task.shape, watch))


def _print(title: str, examine: Callable[[Callable[[str, str], None]], list[Part]]) -> int:
    from metaexp.doctor.report import is_all_ok, print_parts

    console = make_console()
    with console.status("examining") as status:
        parts = examine(lambda heading, name: status.update(f"examining: {name} ({heading})"))
    print_parts(title, parts, console)
    return ExitCode.OK if is_all_ok(parts) else ExitCode.DIFFERENT
