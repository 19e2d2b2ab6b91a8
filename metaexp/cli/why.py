"""``metaexp why RUN_A RUN_B``: what differs between two runs and could explain different numbers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from metaexp.cli.arguments import Parser
from metaexp.config.identity import numeric_part, with_added_keys
from metaexp.core.terminal_text import make_console
from metaexp.results.record import RunRecord, read_record
from metaexp.run.integrity import check_run_files

_DESCRIPTION = """\
List what differs between two runs and could explain different numbers: test episodes, data, configuration, code,
versions and device. The likeliest cause comes first. Only the two folders are read."""


class _Options(argparse.Namespace):
    first: Path
    second: Path


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp why`` and return its exit code. Differences are not errors."""
    parser = Parser("why", _DESCRIPTION)
    parser.add_argument("first", type=Path, metavar="RUN_A", help="a run folder, or a published copy")
    parser.add_argument("second", type=Path, metavar="RUN_B", help="another one")
    options = parser.parse_args(arguments, namespace=_Options())
    for folder in (options.first, options.second):
        check_run_files(folder, read_record(folder))  # before numpy is imported

    from metaexp.compare.output.explanation import print_explanation
    from metaexp.compare.why import explain, read_side

    sides = [read_side(folder) for folder in (options.first, options.second)]
    first, second = (side._replace(record=_with_added_keys(side.record)) for side in sides)
    explanation = explain(first, second, numeric_part)

    print_explanation(explanation, make_console())
    return 0


def _with_added_keys(record: RunRecord) -> RunRecord:
    """The record of an earlier version with the keys that were added since, which had their defaults then."""
    return replace(record, config=with_added_keys(record.config))
