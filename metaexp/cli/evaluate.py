"""``metaexp evaluate RUN``: test the selected weights of a finished run on any bank, way, shot or dataset that fits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metaexp.cli.arguments import Options, make_parser, parse, starts_with_folder
from metaexp.config.revise import revise
from metaexp.core.errors import ConfigError
from metaexp.core.terminal_text import print_text
from metaexp.run.folder import existing

_OVERRIDES = """\
overrides: the configuration is that of the run; give what you want to change:
  metaexp evaluate RUN eval.episodes=2000
  metaexp evaluate RUN task.k_shot=5 dataset=omniglot algorithm.inner_steps_test=10
"""


class EvaluateOptions(Options):
    """Options of ``metaexp evaluate``.

    Attributes:
        allow_trained_classes: Whether to test also on classes that the run was trained on.
    """

    allow_trained_classes: bool


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp evaluate`` and return its exit code.

    Args:
        arguments: The arguments after the verb.
    """
    parser = make_parser(
        "evaluate",
        "Test the selected weights of a finished run. The result is saved in the run folder.",
        "RUN, OVERRIDE",
    )
    parser.usage = "metaexp evaluate RUN [OVERRIDE ...] [--allow-trained-classes] [--config-dir DIR] [--trust PACKAGE]"
    parser.add_argument(
        "--allow-trained-classes",
        action="store_true",
        help="also test on classes that the run was trained on; the result shows how many they are",
    )
    options = parse(parser, arguments, EvaluateOptions())
    if options.help:
        print_text(f"{parser.format_help()}\n{_OVERRIDES}", end="")
        return 0
    if not starts_with_folder(options.overrides):
        raise ConfigError("give the folder of a finished run first: metaexp evaluate RUN [OVERRIDE ...].")
    path, overrides = Path(options.overrides[0]).expanduser(), options.overrides[1:]
    revise(*existing(path).read_config(), overrides, options.config_dir)  # reports problems before torch is imported

    from metaexp.results.terminal import print_evaluation
    from metaexp.run.evaluate import evaluate_run

    print_evaluation(*evaluate_run(path, overrides, options.config_dir, None, options.allow_trained_classes))
    return 0
