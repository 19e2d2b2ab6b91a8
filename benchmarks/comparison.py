"""How often the 95 % intervals of `metaexp compare` hold the true difference, over simulated comparisons.

Each simulated comparison has two rows of runs on the same test episodes: right answers of Q queries are binomial, with
log-odds that are the sum of a row's mean, a run, an episode, an episode by row, all but the first normal. The true
difference is known by quadrature. Beside the intervals of metaexp stand ones that are wrong on purpose.
The page is written from the record of a simulation, which is made only where no record is given:

    python benchmarks/comparison.py --output benchmarks/records/comparison.json       simulates
    python benchmarks/comparison.py --record benchmarks/records/comparison.json --page docs/comparing.md
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metaexp.compare.statistics.effects import effect, standard_errors, summarise, unpaired_variance
from metaexp.compare.statistics.pairs import LEVEL, holm
from metaexp.core.errors import ConfigError
from metaexp.core.files import write_atomically
from metaexp.core.intervals import student_tails
from metaexp.results.markdown import between_markers, table

Array = NDArray[np.float64]
EPISODES = 600
SPREADS = {"none": (0.0, 0.0), "small": (0.05, 0.05), "middle": (0.15, 0.15), "large": (0.5, 0.5)}
"""Standard deviation of runs in log-odds, of both rows; that of episodes is 0.8, and 0.4 more by row."""
UNEQUAL = "large, one row"
"""Runs of the second row do not differ at all: the hardest case for few seeds, and not part of the mixture."""
QUERIES = (5, 75)
LOG_ODDS = (1.5, 1.0)


class Setting(NamedTuple):
    """One kind of comparison: runs of each row, queries per episode, the name of the spread of runs."""

    seeds: int
    queries: int
    spread: str


class Covered(NamedTuple):
    """Over comparisons of one setting: whether each interval held the truth, all (n,) bool. ``ratio``: the factor by
    which pairing narrowed the median interval."""

    paired: NDArray[np.bool_]
    unpaired: NDArray[np.bool_]
    naive: NDArray[np.bool_]
    episodes_only: NDArray[np.bool_]
    ratio: float


INTERVALS = Covered._fields[:4]
SETTINGS = [Setting(1, q, "none") for q in QUERIES] + [
    Setting(seeds, q, spread) for seeds in (2, 3, 5) for q in QUERIES for spread in SPREADS
]
SETTINGS += [Setting(seeds, q, UNEQUAL) for seeds in (3, 5) for q in QUERIES]


def main(arguments: list[str] | None = None) -> int:
    """Simulate or read a record, print the table, and write it into the page; exit code 0."""
    parser = argparse.ArgumentParser(prog="python benchmarks/comparison.py", description=_head(), allow_abbrev=False)
    parser.add_argument("--comparisons", type=int, default=2000, help="of the two sentences (2000)")
    parser.add_argument("--each", type=int, default=1000, help="comparisons of each line of the table (1000)")
    parser.add_argument("--record", type=Path, metavar="FILE", help="take an earlier result, and simulate nothing")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the table between the page's coverage markers")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the result as JSON")
    options = parser.parse_args(arguments)
    found = read(options.record) if options.record else measure(options.comparisons, options.each)
    print(report(found))
    if options.output:
        write_atomically(options.output, (json.dumps(found, indent=2) + "\n").encode())
    if options.page:
        write_atomically(options.page, on_page(options.page.read_text("utf-8"), found).encode())
    return 0


def _head() -> str:
    return (__doc__ or "").partition("\n")[0]


def measure(comparisons: int, each: int) -> dict[str, Any]:
    """Simulate everything: what the record holds. Shares are fractions of 1."""
    results = {setting: simulate(setting, each, seed) for seed, setting in enumerate(SETTINGS)}
    return {
        "comparisons": comparisons,
        "each": each,
        "mixture": mixture(comparisons),
        "false_claims": family(comparisons),
        "settings": [
            {**s._asdict(), **{kind: share(getattr(c, kind)) for kind in INTERVALS}, "ratio": c.ratio}
            for s, c in results.items()
        ],
    }


def read(path: Path) -> dict[str, Any]:
    """A record that :func:`measure` gave. Raises ConfigError where there is none."""
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        report(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--record {path} is no record of this benchmark ({type(error).__name__}: {error}); "
            "benchmarks/records/comparison.json is one."
        ) from error
    return found


def on_page(text: str, found: dict[str, Any]) -> str:
    """The text of a page with the table of a record."""
    return between_markers(text, "coverage", report(found))


def simulate(setting: Setting, n: int, seed: int, controls: bool = True) -> Covered:
    """``n`` comparisons of one setting. controls: also the intervals that are wrong on purpose (else all False)."""
    generator = np.random.default_rng(seed)
    blocks = [_block(setting, min(250, n - start), generator, controls) for start in range(0, n, 250)]
    stacked = [np.concatenate([block[i] for block in blocks]) for i in range(4)]
    return Covered(*stacked, ratio=float(np.median([block.ratio for block in blocks])))


def _block(setting: Setting, n: int, generator: np.random.Generator, controls: bool) -> Covered:
    # The interval of single runs speaks of their weights: there the rows' means are those of the runs.
    spreads = SPREADS.get(setting.spread, (SPREADS["large"][0], 0.0)) if setting.seeds > 1 else (0.0, 0.0)
    episodes = 0.8 * generator.standard_normal((n, 1, EPISODES))
    values = [_row(generator, mean, spread, episodes, setting) for mean, spread in zip(LOG_ODDS, spreads, strict=True)]
    first, second = map(summarise, values)
    pair = effect(first, second)
    (error,) = standard_errors([pair], draws=2000, seed=int(generator.integers(2**31)))
    truth = _mean(LOG_ODDS[0], spreads[0]) - _mean(LOG_ODDS[1], spreads[1])
    away = np.abs(pair.value - truth)
    apart, none = np.sqrt(unpaired_variance(first, second, pair)), np.zeros(n, dtype=bool)
    return Covered(
        _inside(away, error, pair.freedom),
        _inside(away, apart, pair.freedom) if controls else none,
        _inside_naive(values, truth, generator) if controls else none,
        _inside(away, np.sqrt(pair.over_episodes), np.full(n, EPISODES - 1.0)) if controls else none,
        float(np.median(apart / error)),
    )


def _row(generator: np.random.Generator, mean: float, spread: float, episodes: Array, setting: Setting) -> Array:
    """Fractions of right answers (n, S, E)."""
    n = len(episodes)
    runs = spread * generator.standard_normal((n, setting.seeds, 1))
    by_row = 0.4 * generator.standard_normal((n, 1, EPISODES))
    chance = 1.0 / (1.0 + np.exp(-(mean + runs + episodes + by_row)))
    return generator.binomial(setting.queries, chance) / setting.queries


def _mean(log_odds: float, spread: float) -> float:
    """The mean of the logistic function over normal log-odds, by Gauss and Hermite."""
    places, weights = _QUADRATURE
    total = math.sqrt(0.8**2 + 0.4**2 + spread**2)
    return float((weights / (1.0 + np.exp(-(log_odds + total * places)))).sum() / weights.sum())


_QUADRATURE = np.polynomial.hermite_e.hermegauss(80)


def _inside(away: Array, error: Array, freedom: Array) -> NDArray[np.bool_]:
    """Whether the 95 % interval of each comparison holds the truth: p of the truth is at least 5 %."""
    return np.array(_p_values(away, error, freedom)) >= LEVEL


def _p_values(away: Array, error: Array, freedom: Array) -> list[float]:
    return [student_tails(a / e, f) for a, e, f in zip(away, error, freedom, strict=True)]


def _inside_naive(rows: list[Array], truth: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Percentiles of means of runs and episodes drawn with replacement, without any correction for few runs."""
    n, n_runs, n_episodes = rows[0].shape
    draws = 200
    weights = generator.multinomial(n_episodes, np.full(n_episodes, 1 / n_episodes), size=draws) / n_episodes
    drawn = np.zeros((n, draws))
    for sign, values in zip((1.0, -1.0), rows, strict=True):
        runs = generator.multinomial(n_runs, np.full(n_runs, 1 / n_runs), size=draws) / n_runs  # (draws, S)
        drawn += sign * (runs * (values @ weights.T).transpose(0, 2, 1)).sum(-1)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=1)
    return np.asarray((low <= truth) & (truth <= high))


def mixture(n: int) -> float:
    """Coverage over ``n`` comparisons that are spread evenly over the settings with 3 and 5 seeds."""
    chosen = [setting for setting in SETTINGS if setting.seeds >= 3 and setting.spread != UNEQUAL]
    each = [n // len(chosen) + (i < n % len(chosen)) for i in range(len(chosen))]
    held = [simulate(s, k, 1000 + i, controls=False).paired for i, (s, k) in enumerate(zip(chosen, each, strict=True))]
    return share(np.concatenate(held))


def family(n: int, n_rows: int = 4, seed: int = 7) -> float:
    """The share of ``n`` tables of equal rows, 3 seeds each, with any difference called significant."""
    generator = np.random.default_rng(seed)
    pairs = [(i, j) for i in range(n_rows) for j in range(i + 1, n_rows)]
    claims = 0
    for block in range(0, n, 100):
        size = min(100, n - block)
        setting = Setting(3, 5, list(SPREADS)[1 + block // 100 % 3])
        episodes = 0.8 * generator.standard_normal((size, 1, EPISODES))
        rows = [summarise(_row(generator, 1.5, SPREADS[setting.spread][0], episodes, setting)) for _ in range(n_rows)]
        effects = [effect(rows[i], rows[j]) for i, j in pairs]
        errors = standard_errors(effects, draws=2000, seed=block)
        p = np.array([_p_values(np.abs(e.value), error, e.freedom) for e, error in zip(effects, errors, strict=True)])
        claims += sum(min(holm(list(column))) < LEVEL for column in p.T)
    return claims / n


def share(held: NDArray[np.bool_]) -> float:
    """The fraction that is true."""
    return float(np.mean(held))


def report(found: dict[str, Any]) -> str:
    """The table of the page, in Markdown, from a record."""
    header = ["Seeds", "Queries", "Spread of runs", "metaexp", "Not paired", "Naive bootstrap", "Episodes only"]
    rows = [
        [
            str(line["seeds"]), str(line["queries"]), line["spread"], *(f"{line[kind]:.1%}" for kind in INTERVALS),
            f"{line['ratio']:.2f} x",
        ]
        for line in found["settings"]
    ]  # fmt: skip
    single = [line["paired"] for line in found["settings"] if line["seeds"] >= 3 and line["spread"] != UNEQUAL]
    n = found["comparisons"]
    return (
        f"Over {n:,} comparisons spread evenly over the settings with 3 and 5 seeds, the intervals held the true "
        f"difference in **{found['mixture']:.1%}**; in single settings from {min(single):.1%} to {max(single):.1%}. "
        f"In {n:,} tables of four equal rows with 3 seeds, any difference was called significant in "
        f"**{found['false_claims']:.1%}**. Each line below is {found['each']:,} comparisons on {EPISODES} episodes.\n\n"
        f"{table([*header, 'Narrower'], rows, right=(0, 1, 3, 4, 5, 6, 7))}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
