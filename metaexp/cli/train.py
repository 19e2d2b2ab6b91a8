"""``metaexp train``: one run, many runs, or the rest of an interrupted one."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from metaexp.cli.arguments import OVERRIDES, SWEEPS, Options, make_parser, parse, print_help
from metaexp.config.classes.attributes import attribute_of
from metaexp.config.command_line.section_overrides import continues_run
from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.config.yaml_files import to_yaml
from metaexp.core.errors import ConfigError
from metaexp.core.terminal_text import print_phase, print_text, terminal_width
from metaexp.machine.launch import refuse
from metaexp.machine.single_rank import SINGLE, Ranks
from metaexp.results.record import RunRecord
from metaexp.run.initial.command import compose_run
from metaexp.run.initial.resumed import asks_to_resume, resumed_folder
from metaexp.sweep.groups import asks_for_seeds

_COLUMNS = 116
"""Letters of a line of experiments."""


class TrainOptions(Options):
    """Options of ``metaexp train``.

    Attributes:
        cfg: Which configuration to show: ``job``, ``hydra`` or ``all``; None trains.
        resolve: Whether to resolve interpolations in it.
        package: The part of it to show; None for all.
        multirun: Whether to run every combination of values.
        info: Whether to list the files that the configuration is made of.
    """

    cfg: str | None
    resolve: bool
    package: str | None
    multirun: bool
    info: bool


def main(arguments: Sequence[str], ranks: Ranks = SINGLE) -> int:
    """Run ``metaexp train`` and return its exit code.

    Args:
        arguments: The arguments after the verb.
        ranks: The ranks of this launch; a single one without torchrun.
    """
    parser = _parser()
    options = parse(parser, arguments, TrainOptions())
    if options.help:
        print_help(parser, _further_help(options))
        return 0
    if options.info:
        print_text(ranks.run(lambda: format_files(options)))
        return 0
    if asks_to_resume(options.overrides):
        return _resume(options, ranks)
    if options.cfg is not None:
        print_text(ranks.run(lambda: format_configuration(options)), end="")
        return 0
    if options.multirun or asks_for_seeds(options.overrides):
        ranks.run(_refuse_ranks)
        from metaexp.sweep.run import run_all

        return run_all(options.overrides, options.config_dir, options.config_name)
    return _train(options, ranks)


def _train(options: TrainOptions, ranks: Ranks) -> int:
    new = ranks.run(lambda: compose_run(options.overrides, options.config_dir, options.config_name))

    if ranks.rank == 0:
        print_phase(f"loading torch for {new.settings.name}")
    from metaexp.run.job import run_job  # imports torch, and so comes after the check

    finished = run_job(new.settings, new.provenance, new.run_dir, ranks=ranks)
    return _print(finished.record, finished.folder, ranks)


def _refuse_ranks() -> None:
    refuse(
        "a sweep (-m, train.seeds)",
        "Start it without torchrun; to share one run between processes, leave out -m and train.seeds.",
    )


def _resume(options: TrainOptions, ranks: Ranks) -> int:
    folder = ranks.run(lambda: resumed_folder(options.overrides, is_many=options.multirun))

    from metaexp.run.job import resume_job

    finished = resume_job(folder, ranks=ranks)
    return _print(finished.record, finished.folder, ranks)


def _print(record: RunRecord, folder: Path, ranks: Ranks) -> int:
    from metaexp.results.display.terminal import print_summary
    from metaexp.run.own_options import trust_of_run

    if ranks.rank == 0:
        is_fixed = attribute_of(record.config.get("dataset"), "fixed_tests") is True
        print_summary(record, folder, fixed_tests=is_fixed, trust=trust_of_run(record))
    return 0


def format_configuration(options: TrainOptions) -> str:
    """Check the configuration and format it as YAML, for ``--cfg``.

    Args:
        options: The parsed arguments.

    Raises:
        ConfigError: The configuration is wrong. The message lists all mistakes.
    """
    if continues_run(options.overrides):
        if options.cfg != "job" or options.package is not None:
            raise ConfigError("with from=RUN, --cfg job shows the configuration; the run is not composed by Hydra.")
        from metaexp.run.initial.parent import read_further

        return to_yaml(read_further(options.overrides, options.config_dir, Purpose.PLAN_FURTHER).settings.resolved)
    composed = Composer(options.config_dir, options.config_name).job(options.overrides, Purpose.PLAN).composed
    shown = {"job": composed.config, "hydra": OmegaConf.create({"hydra": composed.hydra})}
    part = OmegaConf.merge(*shown.values()) if options.cfg == "all" else shown[str(options.cfg)]
    if options.resolve:
        OmegaConf.resolve(part)
    if options.package is None or options.package == "_global_":
        return OmegaConf.to_yaml(part)
    node = OmegaConf.select(part, options.package)
    if node is None:
        raise ConfigError(f"--package {options.package}: the configuration has no such part.")
    return f"# @package {options.package}\n{OmegaConf.to_yaml(node)}" if OmegaConf.is_config(node) else f"{node}\n"


def format_files(options: TrainOptions) -> str:
    """Format the files that a configuration is made of, for ``--info``: in their order, later ones win.

    Args:
        options: The parsed arguments.

    Raises:
        ConfigError: The configuration is wrong. The message lists all mistakes.
    """
    composer = Composer(options.config_dir, options.config_name)
    composer.job(options.overrides, Purpose.PLAN)
    shipped = ("main", "schema")
    rows: list[tuple[str, str]] = []
    for file in composer.loader.files:
        path = file.config_path or ""
        found = composer.loader.repository.load_config(path) if path and not path.startswith("hydra") else None
        if found is not None:
            rows.append((f"{path}.yaml", "metaexp" if found.provider in shipped else str(options.config_dir)))
    width = max(len(path) for path, _ in rows)
    lines = [f"  {path:{width}}  {where}" for path, where in rows]
    where = "metaexp" if options.config_dir is None else f"{options.config_dir}, then metaexp"
    return "\n".join(
        [
            f"files, looked for in {where}; each is applied on top of those above it:",
            *lines,
            f"then the command line: {shlex.join(options.overrides) or 'nothing'}",
            "`--cfg job` prints what they give.",
        ]
    )


def _further_help(options: TrainOptions) -> str:
    groups = Composer(options.config_dir, options.config_name).groups()
    lines = [f"  {name}: {', '.join(choices)}" for name, choices in groups.items() if name != "experiment"]
    more = [
        "groups and their choices:",
        *lines,
        "",
        "experiments, by algorithm (experiment=NAME):",
        *format_experiments(groups.get("experiment", []), groups.get("algorithm", [])),
        "",
        "`metaexp train --cfg job` prints every key with its value. It takes the same overrides.",
    ]
    return f"{OVERRIDES}\n{SWEEPS}\n" + "\n".join(more) + "\n"


def format_experiments(experiments: Sequence[str], algorithms: Sequence[str]) -> list[str]:
    """Format the names of experiments in columns, with a heading for each algorithm.

    Args:
        experiments: All names. Each begins with the name of its algorithm, but for those of the user.
        algorithms: The names of algorithms.
    """
    found: dict[str, list[str]] = {}
    for name in experiments:
        own = [a for a in algorithms if name == a or name.startswith(f"{a}_")]
        found.setdefault(max(own, key=len, default="others"), []).append(name)
    width = max(map(len, experiments), default=0)
    n_columns = max(1, int(min(_COLUMNS, terminal_width() - 4)) // (width + 2))
    lines = []
    for algorithm, names in found.items():
        n_rows = -(-len(names) // n_columns)
        rows = ["  ".join(f"{name:{width}}" for name in names[i::n_rows]).rstrip() for i in range(n_rows)]
        lines += [f"  {algorithm}", *(f"    {row}" for row in rows)]
    return lines


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "train",
        "Train an algorithm on a dataset. Validation chooses the best weights, and these are tested once.\n"
        "A new run folder keeps everything: configuration, metrics, checkpoints, figures and record.",
    )
    parser.add_argument(
        "-cn", "--config-name", default="config", metavar="NAME", help="use this root file in place of config"
    )
    parser.add_argument("-m", "--multirun", action="store_true", help="run every combination of values: seed=0,1,2")
    parser.add_argument("-c", "--cfg", choices=["job", "hydra", "all"], help="print the configuration and exit")
    parser.add_argument("-p", "--package", metavar="KEY", help="with --cfg: print only this part")
    parser.add_argument(
        "--info", action="store_true", help="list the files that the configuration is made of, and exit"
    )
    parser.add_argument("--resolve", action="store_true", help="with --cfg: replace interpolations by their values")
    parser.epilog = (
        "resume=RUN_FOLDER continues an interrupted run as if it had never stopped.\n"
        "train.seeds=5 trains five seeds together, each in a run folder of its own, as a sweep.\n"
        "from=RUN_FOLDER train.steps=N continues from a run's last checkpoint to N steps, in a new run folder.\n"
        "model.weights=FILE_OR_RUN starts from the weights in a file or of another run.\n"
        "torchrun --nproc-per-node=4 -m metaexp train ... trains one run on several processes."
    )
    return parser
