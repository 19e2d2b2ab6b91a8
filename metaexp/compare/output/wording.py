"""How a comparison is said: numbers, verdicts, and the plain sentences that come first."""

from __future__ import annotations

from metaexp.compare.comparison import Comparison, RowResult, Table, shared_device
from metaexp.compare.statistics.pairs import Estimate, Needs, Pair
from metaexp.results.wording import NOTHING, format_time

MINUS = "\N{MINUS SIGN}"


def format_mean(metric: str, value: float) -> str:
    """``98.27 %`` or ``0.512``."""
    return f"{value * 100:.2f} %" if metric == "accuracy" else f"{value:.3g}"


def format_range(metric: str, item: Estimate) -> str:
    """``97.9 to 98.6``, in the unit of :func:`format_mean`."""
    scale, form = (100.0, ".2f") if metric == "accuracy" else (1.0, ".3g")
    return f"{_signed(item.low * scale, form, plus=False)} to {_signed(item.high * scale, form, plus=False)}"


def format_difference(metric: str, value: float) -> str:
    """``+1.20 points`` for accuracies, ``\N{MINUS SIGN}0.031`` for others."""
    return f"{_signed(value * 100, '.2f')} points" if metric == "accuracy" else _signed(value, ".3g")


def format_p(p: float) -> str:
    """``0.032``, ``< 0.0001``, ``1``."""
    if p < 0.0001:
        return "< 0.0001"
    return "1" if p > 0.9995 else f"{p:.2g}" if p < 0.01 else f"{p:.3f}".rstrip("0")


def format_rank(row: RowResult) -> str:
    """``1``, or ``1=`` where the rank is shared."""
    return f"{row.rank}{'=' if row.tied else ''}"


def format_seeds(row: RowResult) -> str:
    """The number of seeds."""
    return f"{len(row.runs)}"


def format_memory(n_bytes: float | None) -> str:
    """``1.57 GiB`` or ``312 MiB``."""
    if n_bytes is None:
        return NOTHING
    return f"{n_bytes / 2**30:.2f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.0f} MiB"


def format_count(value: float | None) -> str:
    """A whole number with commas."""
    return NOTHING if value is None else f"{value:,.0f}"


def format_throughput(value: float | None) -> str:
    """Three digits."""
    return NOTHING if value is None else (f"{value:,.0f}" if value >= 100 else f"{value:.3g}")


def format_required_sample(needs: Needs | None) -> str:
    """What would settle an open pair."""
    if needs is None:
        return NOTHING
    parts = [f"{_about(needs.episodes)} episodes"] if needs.episodes else []
    parts += [f"{needs.seeds:,} seeds each"] if needs.seeds else []
    return " or ".join(parts) if parts else "no practical number"


def headline(table: Table) -> list[str]:
    """Which is better, by how much, how sure, at what cost: a few plain sentences."""
    sentences = [_best(table)]
    sentences += [_against(table, row) for row in table.rows[1:]]
    if len(table.rows) > 1:
        sentences.append(_costs(table))
    single = [row.label for row in table.rows if len(row.runs) == 1]
    if single:
        every = len(single) == len(table.rows)
        names = "Every row has" if every else f"{_list(single)} {'has' if len(single) == 1 else 'have'}"
        those = "" if every else " with it" if len(single) == 1 else " with them"
        sentences.append(
            f"{names} one seed only: intervals{those} are over episodes and say nothing about other seeds."
        )
    elif min(len(row.runs) for row in table.rows) == 2:
        sentences.append("A row with two seeds has intervals that are wide and only roughly right.")
    sentences += _unfair(table)
    return sentences


def _best(table: Table) -> str:
    best, others = table.rows[0], table.rows[1:]
    number = (
        f"{format_mean(table.metric, best.estimate.mean)} (95 % interval {format_range(table.metric, best.estimate)})"
    )
    what = {"accuracy": "accuracy", "mse": "mean squared error"}[table.metric]
    if not others:
        return f"{best.label} reaches {number} {what}. There is nothing to compare it with."
    equals = [row.label for row in others if row.to_best is not None and not table.pairs[row.to_best].significant]
    if not equals:
        return f"{best.label} is better than {'all others' if len(others) > 1 else others[0].label}: {number} {what}."
    if len(equals) == len(others):
        return f"No row can be told apart from {best.label}, which has the best mean: {number} {what}."
    return f"{best.label} has the best mean, {number} {what}, but {_list(equals)} cannot be told apart from it."


def _against(table: Table, row: RowResult) -> str:
    assert row.to_best is not None
    pair = table.pairs[row.to_best]
    gap = _gap(table.metric, abs(pair.difference.mean))
    side = "worse than" if pair.significant else "behind"
    interval = _interval(table.metric, pair)
    text = f"{row.label} is {gap} {side} {table.rows[0].label} ({interval}; corrected p {_equals(pair.corrected)})"
    if pair.significant:
        return f"{text}."
    return f"{text}: open. {_settling(pair)}"


def _settling(pair: Pair) -> str:
    needs = pair.needs
    if needs is None or (needs.episodes is None and needs.seeds is None):
        return "If they differ, it is by too little for any practical number of episodes or seeds to show."
    return f"If this is the true difference, about {format_required_sample(needs)} would show it."


def _interval(metric: str, pair: Pair) -> str:
    """The interval of how far the first is ahead; negative means behind."""
    item = pair.difference
    if metric != "accuracy":
        item = Estimate(-item.mean, -item.high, -item.low, item.over_seeds)
    return f"95 % interval {format_range(metric, item)}"


def _costs(table: Table) -> str:
    timed = [row for row in table.rows if row.cost.seconds is not None]
    if len(timed) < 2:
        return "The records do not say what the runs cost."
    times = ", ".join(f"{row.label} {format_time(row.cost.seconds)}" for row in timed)
    device = shared_device(table)
    where = f"on {device}" if device else "on different devices, so that times do not compare"
    return f"Mean time of a run, {where}: {times}."


def _unfair(table: Table) -> list[str]:
    keys = [difference.key for difference in table.differences if not difference.own]
    if not keys:
        return []
    shown = ", ".join(keys[:6]) + (f" and {len(keys) - 6} more" if len(keys) > 6 else "")
    return [f"Beside the algorithms' own settings, rows differ in {shown}; see below before calling this fair."]


def legend(comparison: Comparison) -> list[str]:
    """How to read the tables."""
    lines = [
        "Every row was tested on the same episodes, so differences are paired: episode by episode, mean over seeds.",
        "Intervals are 95 % and come from a hierarchical bootstrap over seeds and episodes, with Student quantiles for "
        "the number of seeds. They are not corrected for the number of comparisons; p-values are, by Holm's method.",
        "A rank is 1 + the number of rows that are significantly better (corrected p < 0.05); = marks a shared rank.",
        "Batch norm says where the statistics at test come from: the current batch with the other queries "
        "(transductive), the support set (episode), averages of training (running), or nowhere (none).",
    ]
    factors = [pair.narrower for table in comparison.tables for pair in table.pairs if pair.narrower is not None]
    if factors:
        low, high = min(factors), max(factors)
        text = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
        lines.insert(
            1, f"Pairing makes these intervals {text} times narrower than tests on separate episodes would have."
        )
    return lines


def _gap(metric: str, value: float) -> str:
    return f"{value * 100:.2f} points" if metric == "accuracy" else f"{value:.3g}"


def _equals(p: float) -> str:
    text = format_p(p)
    return text if text.startswith("<") else f"= {text}"


def _signed(value: float, form: str, plus: bool = True) -> str:
    text = format(abs(value), form)
    if float(text) == 0.0:
        return text
    return f"{MINUS if value < 0 else '+' if plus else ''}{text}"


def _about(number: int) -> str:
    """Two digits: more would claim too much."""
    scale = 10 ** max(len(str(number)) - 2, 0)
    return f"{-(-number // scale) * scale:,}"


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
