"""``metaexp search``: hyper-parameters chosen by a sampler, judged on validation tasks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from metaexp.cli.arguments import Options, make_parser, parse, print_help
from metaexp.search.prepare import prepare

_OVERRIDES = """\
overrides are those of metaexp train, with some keys that vary, and those of the search:
  metaexp search 'algorithm.inner_lr=tag(log, interval(0.01, 1))' train.meta_batch_size=4,8,16 search.trials=30
  metaexp search search=grid algorithm.inner_steps=1,2,5 search.workers=2
  KEY=A,B,C or KEY=range(1, 9)                        one of these values
  KEY=interval(0.1, 1) or KEY=int(interval(1, 8))     any number, or any integer, in between
  KEY=tag(log, interval(1e-4, 1))                     any number in between, on a logarithmic scale
  search=tpe | random | grid                          how hyper-parameters are chosen
  search.trials=N search.workers=N search.seed=N      how many in all, how many at the same time, the sampler's seed
  search.pruner=median | halving | none               how bad trials are stopped early
  search.storage=journal | sqlite search.folder=DIR   where the search is stored
  search.fork=false                                   start each trial in a new Python process, which takes longer
  search.test_best=true                               test the best trial once, when all are done
Give the same command again to continue until search.trials are done. In a second terminal, it shares the work.
"""


class SearchArguments(Options):
    """Options of ``metaexp search``."""


def main(arguments: Sequence[str]) -> int:
    """Run ``metaexp search`` and return its exit code."""
    parser = _parser()
    options = parse(parser, arguments, SearchArguments())
    if options.help:
        print_help(parser, _OVERRIDES)
        return 0
    prepared = prepare(options.overrides, options.config_dir, options.config_name)

    from metaexp.search.run import search  # imports optuna

    return search(prepared, options.overrides, options.config_dir, options.config_name)


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "search",
        "Search for good hyper-parameters. A sampler proposes them. Each trial trains in a process of its own and is\n"
        "judged on validation tasks. Bad trials are stopped early. No trial sees a test task. It needs optuna.",
    )
    parser.add_argument(
        "-cn", "--config-name", default="config", metavar="NAME", help="use this root file in place of config"
    )
    return parser
