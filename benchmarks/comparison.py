"""How often the 95 % intervals of `metaexp compare` hold the true difference, and equal rows get different ranks.

Every simulated table has rows of runs on the same test episodes, from one of two generators of right answers:

* logistic: log-odds that are the sum of a row's mean and of a run, an episode and an episode by row, all normal;
* power: a run's quality is beta distributed (skewed, and more so near 1), an episode takes it to a log-normal power.
  The method was not made with it in view.

True differences are known by quadrature. Beside the intervals of metaexp stand ones that are wrong on purpose.
The page is written from the record of a simulation, which is made only where no record is given:

    python benchmarks/comparison.py --output benchmarks/records/comparison.json       simulates
    python benchmarks/comparison.py --record benchmarks/records/comparison.json --page docs/comparing.md
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metaexp.compare.statistics.effects import Row, difference_variances, pairing_gain, summarise
from metaexp.compare.statistics.pairs import LEVEL, estimate_difference
from metaexp.core.disk.files import write_atomically
from metaexp.core.errors import ConfigError
from metaexp.core.intervals import student_quantile
from metaexp.results.display.markdown import between_markers, format_table

Array = NDArray[np.float64]
Held = NDArray[np.bool_]
SPREADS = {"none": 0.0, "small": 0.05, "middle": 0.15, "large": 0.5}
"""Standard deviation of runs in log-odds; that of episodes is 0.8, and 0.4 more by row."""
ONE_ROW = "large, first row"
"""The runs of the second row do not differ at all: the hardest case for few seeds."""
LOG_ODDS = (1.5, 1.0)


class Setting(NamedTuple):
    """One kind of comparison.

    Attributes:
        seeds: Runs of each row.
        queries: Per episode.
        spread: Its name in ``SPREADS``.
        generator: logistic or power.
        episodes: Of the test bank.
        ceiling: Whether the rows are right nearly always.
    """

    seeds: tuple[int, ...]
    queries: int
    spread: str
    generator: str = "logistic"
    episodes: int = 600
    ceiling: bool = False


class Covered(NamedTuple):
    """Whether each interval contained the truth, all (n,) bool, and the median factor by which pairing narrowed it."""

    paired: Held
    unpaired: Held
    naive: Held
    episodes_only: Held
    ratio: float


INTERVALS = Covered._fields[:4]
_EQUAL = [(2, 2), (3, 3), (5, 5)]
_MIXED = [(2, 3), (2, 5), (2, 10), (3, 10)]
SETTINGS = [
    *(Setting((1, 1), queries, "none") for queries in (5, 75)),
    *(Setting(s, q, spread) for s, q, spread in itertools.product(_EQUAL, (5, 75), SPREADS)),
    *(Setting(s, 75, spread) for s, spread in itertools.product(_MIXED, ("small", "large"))),
    *(Setting(s, q, ONE_ROW) for s, q in itertools.product([*_EQUAL, (2, 10), (10, 2)], (5, 75))),
    *(Setting(s, 15, spread, "power") for s, spread in itertools.product(
        [(1, 1), (2, 2), (3, 3), (2, 10)], ("none", "small", "large")) if s != (1, 1) or spread == "none"),
    *(Setting(s, 5, "small", g, episodes=100, ceiling=True) for s, g in itertools.product(
        [(1, 1), (2, 2), (3, 3)], ("logistic", "power"))),
]  # fmt: skip
TABLES = [
    Setting(seeds, queries, spread, generator, episodes, ceiling)
    for seeds in [
        (1,) * 4,
        (2,) * 4,
        (3,) * 4,
        (5,) * 4,
        (2, 2),
        (2, 3),
        (2, 5),
        (1, 3),
        (1, 5),
        (3, 3, 3, 1),
        (2, 3, 5),
        (2, 10),
        (2, 2, 10, 10),
    ]
    for queries, spread, generator, episodes, ceiling in [
        (75, "small", "logistic", 600, False),
        (15, "large", "power", 600, False),
        (1, "middle", "power", 50, False),  # ties: an episode is right or wrong
        (5, "small", "power", 100, True),
    ]
]
"""Tables of equal rows: each should give a rank difference in at most 5 %."""


def main(arguments: list[str] | None = None) -> int:
    """Simulate or read a record, print the tables, and write them into the page; exit code 0."""
    parser = argparse.ArgumentParser(prog="python benchmarks/comparison.py", description=_head(), allow_abbrev=False)
    parser.add_argument("--each", type=int, default=1000, help="comparisons, or tables, of each line (1000)")
    parser.add_argument("--record", type=Path, metavar="FILE", help="take an earlier result, and simulate nothing")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the tables between the page's markers")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the result as JSON")
    options = parser.parse_args(arguments)
    found = read(options.record) if options.record else measure(options.each)
    print(report(found))
    if options.output:
        write_atomically(options.output, (json.dumps(found, indent=2) + "\n").encode())
    if options.page:
        write_atomically(options.page, on_page(options.page.read_text("utf-8"), found).encode())
    return 0


def _head() -> str:
    return (__doc__ or "").partition("\n")[0]


def measure(each: int) -> dict[str, Any]:
    """Simulate everything: what the record holds. Shares are fractions of 1."""
    lines = []
    for seed, setting in enumerate(SETTINGS):
        found = simulate(setting, each, seed)
        shares = {kind: share(getattr(found, kind)) for kind in INTERVALS}
        lines.append({**setting._asdict(), **shares, "ratio": found.ratio})
    tables = [{**s._asdict(), "claims": claims(s, each, seed)} for seed, s in enumerate(TABLES)]
    return {"each": each, "settings": lines, "tables": tables}


def read(path: Path) -> dict[str, Any]:
    """A record that :func:`measure` gave. Raises ConfigError where there is none."""
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        report(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--record {path} is not a record of this benchmark ({type(error).__name__}: {error}); "
            "benchmarks/records/comparison.json is one."
        ) from error
    return found


def on_page(text: str, found: dict[str, Any]) -> str:
    """The text of a page with the tables of a record."""
    return between_markers(text, "coverage", report(found))


def simulate(setting: Setting, n: int, seed: int, controls: bool = True) -> Covered:
    """Compare two rows ``n`` times. controls: also the intervals that are wrong on purpose (else all False)."""
    generator = np.random.default_rng([seed, 1])
    blocks = [_block(setting, min(250, n - start), generator, controls) for start in range(0, n, 250)]
    stacked = [np.concatenate([block[i] for block in blocks]) for i in range(4)]
    return Covered(*stacked, ratio=float(np.median([block.ratio for block in blocks])))


def _block(setting: Setting, n: int, generator: np.random.Generator, controls: bool) -> Covered:
    spreads = (SPREADS.get(setting.spread, SPREADS["large"]), SPREADS.get(setting.spread, 0.0))
    values, truths = _rows(setting, LOG_ODDS, spreads, n, generator)
    rows, truth = [summarise(value) for value in values], truths[0] - truths[1]
    ends = [estimate_difference(first, second, True) for first, second in zip(*map(_each, rows), strict=True)]
    held = [item.low <= truth <= item.high for item in ends if item.low is not None and item.high is not None]
    gains, none = pairing_gain(*rows), np.zeros(n, dtype=bool)
    if not controls:
        return Covered(np.array(held), none, none, none, float(np.median(gains)))
    variance = difference_variances(*rows)[0].difference
    away, one = np.square(rows[0].mean - rows[1].mean - truth), student_quantile(0.975, setting.episodes - 1.0) ** 2
    many = np.array([student_quantile(0.975, round(float(f), 1)) for f in variance.degrees_of_freedom]) ** 2
    margin = one * variance.over_episodes + many * variance.over_runs
    total = rows[0].episode_means.var(-1, ddof=1) + rows[1].episode_means.var(-1, ddof=1)
    return Covered(
        np.array(held),
        away <= one * total / setting.episodes + margin - one * variance.over_episodes,
        _inside_naive(values, truth, generator),
        away <= one * np.var(rows[0].episode_means - rows[1].episode_means, axis=-1, ddof=1) / setting.episodes,
        float(np.median(gains)),
    )


def claims(setting: Setting, n: int, seed: int) -> float:
    """The share of ``n`` tables of equal rows with any difference called significant, by Holm's method.

    Holm's method claims something where the smallest p-value is below the level over the number of pairs.
    """
    generator = np.random.default_rng([seed, 2])
    pairs = [
        (i, j) for i, j in itertools.combinations(range(len(setting.seeds)), 2)
        if min(setting.seeds[i], setting.seeds[j]) > 1
    ]  # fmt: skip
    found, count = 0, len(setting.seeds)
    for start in range(0, n if pairs else 0, 100):
        size = min(100, n - start)
        values, _ = _rows(setting, (LOG_ODDS[0],) * count, (SPREADS[setting.spread],) * count, size, generator)
        rows = [_each(summarise(value)) for value in values]
        found += sum(any(_claims(rows[i][t], rows[j][t], LEVEL / len(pairs)) for i, j in pairs) for t in range(size))
    return found / n


def _claims(first: Row, second: Row, level: float) -> bool:
    variance = difference_variances(first, second)[0].difference
    if abs(first.mean - second.mean) < 1.5 * math.sqrt(variance.over_episodes + variance.over_runs):
        return False  # no interval is that narrow
    found = estimate_difference(first, second, True, level)
    return found.low is not None and found.high is not None and (found.low > 0 or found.high < 0)


def _each(row: Row) -> list[Row]:
    """One row for each of its comparisons."""
    return [Row(*parts) for parts in zip(*row, strict=True)]


def _rows(
    setting: Setting, means: tuple[float, ...], spreads: tuple[float, ...], n: int, generator: np.random.Generator
) -> tuple[list[Array], list[float]]:
    """Fractions of right answers (n, S, E) of every row, and the true means.

    The interval of a pair with single runs speaks of their weights: their runs do not differ.
    """
    make = {"logistic": _logistic, "power": _power}[setting.generator]
    shared = generator.standard_normal((n, 1, setting.episodes))
    values, truths = [], []
    for n_runs, mean, spread in zip(setting.seeds, means, spreads, strict=True):
        value, truth = make(setting, n_runs, mean + 4.0 * setting.ceiling, spread, shared, generator)
        values.append(value)
        truths.append(truth)
    return values, truths


def _logistic(
    setting: Setting, n_runs: int, mean: float, spread: float, shared: Array, generator: np.random.Generator
) -> tuple[Array, float]:
    n = len(shared)
    runs = spread * generator.standard_normal((n, n_runs, 1))
    by_row = generator.standard_normal((n, 1, setting.episodes))
    chance = 1.0 / (1.0 + np.exp(-(mean + runs + 0.8 * shared + 0.4 * by_row)))
    total = math.sqrt(0.8**2 + 0.4**2 + spread**2)
    truth = _average(1.0 / (1.0 + np.exp(-(mean + total * _PLACES))))
    return generator.binomial(setting.queries, chance) / setting.queries, truth


def _power(
    setting: Setting, n_runs: int, mean: float, spread: float, shared: Array, generator: np.random.Generator
) -> tuple[Array, float]:
    n, quality = len(shared), 1.0 / (1.0 + math.exp(-mean))
    by_row = generator.standard_normal((n, 1, setting.episodes))
    power = np.exp(0.5 * shared + 0.3 * by_row)
    powers = np.exp(math.hypot(0.5, 0.3) * _PLACES)
    if spread == 0.0:
        chance, truth = quality**power * np.ones((1, n_runs, 1)), _average(quality**powers)
    else:
        size = 1.0 / (spread**2 * quality * (1.0 - quality))  # a beta with the same spread near its mean
        a, b = quality * size, (1.0 - quality) * size
        chance = generator.beta(a, b, (n, n_runs, 1)) ** power
        moment = [math.lgamma(a + p) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(a + b + p) for p in powers]
        truth = _average(np.exp(moment))
    return generator.binomial(setting.queries, chance) / setting.queries, truth


_PLACES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(80)


def _average(values: Array) -> float:
    """The mean of a function of a normal variable, given its values at ``_PLACES``, by Gauss and Hermite."""
    return float((_WEIGHTS * values).sum() / _WEIGHTS.sum())


def _inside_naive(rows: list[Array], truth: float, generator: np.random.Generator) -> Held:
    """Percentiles of means of runs and episodes drawn with replacement, without any correction for few runs."""
    n, _, n_episodes = rows[0].shape
    draws = 200
    weights = generator.multinomial(n_episodes, np.full(n_episodes, 1 / n_episodes), size=draws) / n_episodes
    drawn = np.zeros((n, draws))
    for sign, values in zip((1.0, -1.0), rows, strict=True):
        n_runs = values.shape[1]
        runs = generator.multinomial(n_runs, np.full(n_runs, 1 / n_runs), size=(n, draws)) / n_runs
        drawn += sign * (runs * (values @ weights.T).transpose(0, 2, 1)).sum(-1)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=1)
    return np.asarray((low <= truth) & (truth <= high))


def share(held: Held) -> float:
    """The fraction that is true."""
    return float(np.mean(held))


def report(found: dict[str, Any]) -> str:
    """The tables of the page, in Markdown, from a record."""
    lines, each = found["settings"], found["each"]
    plain = [line for line in lines if line["spread"] != ONE_ROW and min(line["seeds"]) > 1]
    hard = [line for line in lines if line["spread"] == ONE_ROW]
    worst = min(hard, key=lambda line: line["paired"])
    claimed = [line["claims"] for line in found["tables"]]
    header = ["Seeds", "Generator", "Episodes", "Queries", "Spread of runs"]
    covered = [
        [*_setting(line), *(f"{line[kind]:.1%}" for kind in INTERVALS), f"{line['ratio']:.2f} x"] for line in lines
    ]
    equal = [[*_setting(line), f"{line['claims']:.1%}"] for line in found["tables"]]
    names = ["metaexp", "Not paired", "Naive bootstrap", "Episodes only", "Narrower"]
    mean = sum(line["paired"] for line in plain) / len(plain)
    return (
        f"Each line is {each:,} simulated comparisons. With several seeds in both rows and equal spread, the intervals "
        f"contained the true difference in **{mean:.1%}**; in single lines from "
        f"{min(n['paired'] for n in plain):.1%} to {max(n['paired'] for n in plain):.1%}. "
        f"Where only one row's seeds differ, the lowest is "
        f"{worst['paired']:.1%} ({_counts(worst['seeds'])} seeds).\n\n"
        f"{format_table([*header, *names], covered, right=(0, 2, 3, 5, 6, 7, 8, 9))}\n"
        f"Equal rows should not get different ranks. Each line is {each:,} tables of equal rows, and the share in "
        f"which any difference was called significant: at most **{max(claimed):.1%}**.\n\n"
        f"{format_table([*header, 'Rank difference'], equal, right=(0, 2, 3, 5))}"
    )


def _setting(line: dict[str, Any]) -> list[str]:
    ceiling = ", nearly always right" if line["ceiling"] else ""
    return [
        _counts(line["seeds"]),
        line["generator"],
        str(line["episodes"]),
        str(line["queries"]),
        line["spread"] + ceiling,
    ]


def _counts(seeds: list[int]) -> str:
    return ", ".join(map(str, seeds))


if __name__ == "__main__":
    raise SystemExit(main())
