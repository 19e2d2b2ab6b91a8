"""Numbers and verdicts of a comparison as text, and the sentences above its tables."""

from __future__ import annotations

from metaexp.compare.comparison import ComparedRuns, RowResult, Table, shared_device
from metaexp.compare.output.fairness import (
    format_names,
    format_other_differences,
    format_two_seeds,
    format_unequal_conditions,
)
from metaexp.compare.statistics.pairs import Estimate, Pair
from metaexp.compare.statistics.required_sample import MOST_EPISODES, MOST_SEEDS
from metaexp.core.counted import counted
from metaexp.core.metric import format_digits, format_metric_name, is_hit_rate
from metaexp.results.display.wording import NOTHING, format_times

MINUS = "\N{MINUS SIGN}"
_MOST_SENTENCES = 5
"""Above the tables of a task."""
_MOST_TIMES = 6
"""Rows whose time is in a sentence; of more rows, the shortest and the longest."""


def format_mean(metric: str, value: float) -> str:
    """Return ``98.27 %`` or ``0.512``.

    Args:
        metric: The name of the metric, such as ``accuracy``.
        value: Its mean; for accuracies in [0, 1].
    """
    return f"{value * 100:.2f} %" if is_hit_rate(metric) else format_digits(value)


def format_range(metric: str, estimate: Estimate) -> str:
    """Return ``97.9 to 98.6``, in the unit of :func:`format_mean`; ``-`` where there is no interval.

    Args:
        metric: The name of the metric.
        estimate: The mean with its interval.
    """
    if estimate.low is None or estimate.high is None:
        return NOTHING
    low, high = (_format_signed(metric, end, plus=False) for end in (estimate.low, estimate.high))
    return f"{low} to {high}"


def format_difference(metric: str, value: float) -> str:
    """Return ``+1.20 points`` for accuracies, ``\N{MINUS SIGN}0.031`` for others.

    Args:
        metric: The name of the metric.
        value: The difference of two means.
    """
    return _format_signed(metric, value) + (" points" if is_hit_rate(metric) else "")


def format_p(p: float | None) -> str:
    """Return ``0.032``, ``< 0.0001`` or ``1``; ``-`` where there is none."""
    if p is None:
        return NOTHING
    if p < 0.0001:
        return "< 0.0001"
    return "1" if p > 0.9995 else f"{p:.2g}" if p < 0.01 else f"{p:.3f}".rstrip("0")


def format_rank(row: RowResult) -> str:
    """Return ``1``, or ``1-3`` where a row may hold several places; ``-`` for a row with one seed."""
    if row.rank is None:
        return NOTHING
    return f"{row.rank}" if row.rank == row.rank_last else f"{row.rank}-{row.rank_last}"


def format_seeds(row: RowResult) -> str:
    """Return the number of seeds."""
    return f"{len(row.runs)}"


def format_memory(n_bytes: float | None) -> str:
    """Return ``1.57 GiB`` or ``312 MiB``."""
    if n_bytes is None:
        return NOTHING
    return f"{n_bytes / 2**30:.2f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.0f} MiB"


def format_count(value: float | None) -> str:
    """Return a whole number with commas."""
    return NOTHING if value is None else f"{value:,.0f}"


def format_required_sample(pair: Pair) -> str:
    """Return the sample that would show the difference of an open pair, or what a pair lacks for a verdict."""
    if not pair.difference.over_seeds:
        return "more than one seed of each row"
    required = pair.required_sample
    if required is None:
        return NOTHING
    parts = [f"{_format_estimate(required.episodes)} episodes"] if required.episodes else []
    parts += [f"{counted(required.seeds, 'seed')} each"] if required.seeds else []
    return " or ".join(parts) if parts else f"more than {MOST_SEEDS:,} seeds or {MOST_EPISODES:,} episodes"


def format_headline(table: Table) -> list[str]:
    """Return five sentences at most: which row is better, by how much, how sure that is, and at what cost."""
    first = [*format_unequal_conditions(table), *_format_caution(table), _format_best(table)]
    last = [*format_two_seeds(table), *format_other_differences(table)]
    if len(table.rows) == 1:
        return [*first, *last]
    room = max(_MOST_SENTENCES - len(first) - len(last), 1)
    others = [_format_against(table, row) for row in table.rows[1:]]
    if len(others) > room:
        others = [_format_all_others(table)]
    return [*first, *others, *([_format_costs(table)] if len(others) < room else []), *last]


def _format_all_others(table: Table) -> str:
    """One sentence about many rows; each has its line in the table."""
    best, others = table.rows[0].name, [row for row in table.rows[1:] if row.to_best is not None]
    pairs = [table.pairs[row.to_best] for row in others if row.to_best is not None]
    behind = [table.lead(pair).mean for pair in pairs]
    (near, nearest), (far, farthest) = (
        end(zip(behind, (row.name for row in others), strict=True)) for end in (min, max)
    )
    them = counted(len(others), "other")
    least, most = _format_gap(table.metric, abs(near)), _format_gap(table.metric, abs(far))
    if near < 0.0:
        text = f"The {them} range from {least} ahead of {best} ({nearest}) to {most} behind it ({farthest})"
    else:
        text = f"The {them} are {least} ({nearest}) to {most} ({farthest}) behind {best}"
    n_worse = sum(pair.decision == "different" for pair in pairs)
    n_of_them = "all" if n_worse == len(others) else f"{n_worse or 'none'} of them"
    verdicts = f"; {n_of_them} {'are' if n_worse > 1 else 'is'} significantly worse"
    has_verdicts = any(pair.decision in ("different", "open") for pair in pairs)
    return f"{text}{verdicts if has_verdicts else ''}. The table lists each."


def _format_caution(table: Table) -> list[str]:
    """The warning about rows of one seed, which comes first."""
    single = [row.name for row in table.single_seed_rows]
    if not single:
        return []
    if len(single) == len(table.rows):
        subject = "There is one seed" if len(single) == 1 else "Every row has one seed"
        return [
            f"{subject}: the numbers are about these trained weights on these test tasks, not about the "
            "algorithms. Another seed may change the order, so there is no rank and no verdict. Train at least 3 seeds "
            "of each to compare algorithms."
        ]
    verb, those = ("has", "its number is") if len(single) == 1 else ("have", "their numbers are")
    return [
        f"{format_names(single)} {verb} one seed: {those} about those trained weights, not about the algorithm. "
        f"So {'it has' if len(single) == 1 else 'they have'} no rank and no verdict."
    ]


def _format_best(table: Table) -> str:
    best, others = table.rows[0], [row for row in table.rows[1:] if row.rank is not None]
    number = f"{format_mean(table.metric, best.estimate.mean)}{_format_in_brackets(table.metric, best.estimate)}"
    what = format_metric_name(table.metric)
    if len(table.rows) == 1:
        return f"{best.name} reaches {number} {what}. There is nothing to compare it with."
    if not others:
        which = (
            "is the only row with several seeds" if best.estimate.over_seeds else "has the best mean of these weights"
        )
        return f"{best.name} {which}: {number} {what}."
    pairs = {row.name: table.pairs[row.to_best] for row in others if row.to_best is not None}
    equals = [label for label, pair in pairs.items() if not pair.significant]
    among = "" if len(others) == len(table.rows) - 1 else "Of the rows with several seeds, "
    if not equals:
        losers = "all others" if len(others) > 1 else others[0].name
        return f"{among}{best.name} is better than {losers}: {number} {what}."
    text = f"{among}{best.name} has the best mean: {number} {what}."
    if len(equals) == len(others):
        return f"{text} {'None of the others' if among else 'No other row'} is significantly worse."
    return f"{text} But {format_names(equals)} {'are' if len(equals) > 1 else 'is'} not significantly worse."


def _format_against(table: Table, row: RowResult) -> str:
    assert row.to_best is not None
    pair = table.pairs[row.to_best]
    lead, best = table.lead(pair), table.rows[0].name
    gap = _format_gap(table.metric, abs(lead.mean))
    if pair.decision == "different":
        brackets = _format_in_brackets(table.metric, lead, f"corrected p {_format_equals(pair.corrected)}")
        return f"{row.name} is {gap} worse than {best}{brackets}."
    if lead.mean < 0.0:
        lead = lead.negated()
        text = f"{row.name} is {gap} ahead of {best}"
    else:
        text = f"{row.name} is {gap} behind {best}"
    if pair.decision == "open":
        brackets = _format_in_brackets(table.metric, lead, f"corrected p {_format_equals(pair.corrected)}")
        return f"{text}{brackets}. This is not significant. {_format_required(table, pair)}"
    return f"{text}{_format_in_brackets(table.metric, lead, _format_scope(table, pair))}: no verdict."


def _format_scope(table: Table, pair: Pair) -> str:
    """Whether the interval of a pair without a verdict is over episodes, or over the seeds of one row too."""
    if pair.difference.over_seeds:
        return ""
    several = [table.rows[i].name for i in (pair.first, pair.second) if len(table.rows[i].runs) > 1]
    return f"over episodes and the seeds of {several[0]}" if several else "over episodes"


def _format_required(table: Table, pair: Pair) -> str:
    required, interval = pair.required_sample, pair.difference
    if required is not None and (required.episodes or required.seeds):
        return f"If this is the true difference, about {format_required_sample(pair)} would be enough to show it."
    most = max(abs(interval.low or 0.0), abs(interval.high or 0.0))
    allowed = f"The true difference can be as large as {_format_gap(table.metric, most)}."
    if required is None:
        return f"{allowed} No spread was measured, so we cannot say how many episodes or seeds would show it."
    if interval.mean == 0.0:
        return allowed
    return f"{allowed} If it is as small as measured, it takes {format_required_sample(pair)} to show it."


def _format_in_brackets(metric: str, estimate: Estimate, more: str = "") -> str:
    """`` (95 % interval 97.9 to 98.6; corrected p = 0.03)``, or that there is no interval."""
    if estimate.low is None:
        text = "no interval: no spread that could be measured"
    elif more.startswith("over"):
        text, more = f"95 % interval {more} {format_range(metric, estimate)}", ""
    else:
        text = f"95 % interval {format_range(metric, estimate)}"
    return f" ({text}; {more})" if more else f" ({text})"


def _format_costs(table: Table) -> str:
    timed = [row for row in table.rows if row.cost.seconds is not None]
    if len(timed) < 2:
        return "The records do not say what the runs cost."
    times = format_times([row.cost.seconds for row in timed])
    if len(timed) > _MOST_TIMES:
        found = sorted(zip(timed, times, strict=True), key=lambda each: each[0].cost.seconds or 0.0)
        text = " to ".join(f"{time} ({row.name})" for row, time in (found[0], found[-1]))
    else:
        text = ", ".join(f"{row.name} {time}" for row, time in zip(timed, times, strict=True))
    device = shared_device(table)
    where = f"on {device}" if device else "on different devices, so the times cannot be compared"
    return f"Mean time of a run, {where}: {text}."


def format_legend(comparison: ComparedRuns) -> list[str]:
    """Return the lines that say how to read the tables."""
    lines = [
        "All rows were tested on the same episodes, so differences are paired: the difference of two rows is computed "
        "for each episode, from their means over seeds. A table shows the mean of these differences.",
        "Intervals are 95 % confidence intervals over seeds and episodes, by Student's t distribution. They are not "
        "corrected for the number of comparisons. Corrected p-values are, by Holm's method.",
        "A rank such as 2-4 is the range of places that a row may have. The row comes after all rows that are "
        "significantly better (corrected p < 0.05). It comes before all rows that are significantly worse. Where this "
        "rule would place a row above one with a better mean, both get the wider range. A row with one seed has no "
        "rank.",
        "Batch norm is where the statistics come from at test: the current batch with the other queries "
        "(transductive), the support set (episode), or averages over training (running). A network without batch norm "
        "has none.",
    ]
    factors = [
        pair.pairing_gain for table in comparison.tables for pair in table.pairs if pair.pairing_gain is not None
    ]
    if factors:
        low, high = min(factors), max(factors)
        text = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
        lines.insert(
            1, f"Pairing makes their intervals {text} times narrower than if each row had episodes of its own."
        )
    return lines


def _format_gap(metric: str, value: float) -> str:
    return f"{value * 100:.2f} points" if is_hit_rate(metric) else format_digits(value)


def _format_equals(p: float | None) -> str:
    text = format_p(p)
    return text if text.startswith("<") else f"= {text}"


def _format_signed(metric: str, value: float, plus: bool = True) -> str:
    text = f"{abs(value) * 100:.2f}" if is_hit_rate(metric) else format_digits(abs(value))
    if float(text) == 0.0:
        return text
    return f"{MINUS if value < 0 else '+' if plus else ''}{text}"


def _format_estimate(number: int) -> str:
    """A number rounded up to two digits, since it is an estimate."""
    scale = 10 ** max(len(str(number)) - 2, 0)
    return f"{-(-number // scale) * scale:,}"
