"""Time series of one's own, from CSV and .npz files, cut into windows."""

import json
import math
from datetime import date, timedelta

import numpy as np
import pytest
import torch

import metaexp as mx
from metaexp.core.errors import DataError, MissingDataError
from metaexp.core.shapes import SPLITS, TaskShape
from metaexp.data.regression.series_file import read_series
from metaexp.data.time_series import TimeSeries

N_SERIES, STEPS = 8, 50


def dataset(file="mine.csv", **changes):
    given = {"file": file, "length": 4, "horizon": 2, "fractions": [0.5, 0.25, 0.25], "split_seed": 0, **changes}
    return TimeSeries(**given)


def value(series, step):
    """A value that names its series and step."""
    return 1000 * series + step


def write(folder, header="series,v", rows=None):
    if rows is None:
        rows = [f"s{n},{value(n, step)}" for n in range(N_SERIES) for step in range(STEPS)]
    (folder / "mine.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def all_examples(loaded):
    return torch.cat([loaded.x.flatten(1), loaded.y], 1)


def test_an_example_is_a_window_of_a_series_and_what_follows_it(tmp_path):
    loaded = dataset().load(write(tmp_path), print)
    assert loaded.kind == "regression"
    assert (loaded.input_shape, loaded.target_size) == ((4, 1), 2)
    steps = all_examples(loaded) % 1000
    assert steps.diff(dim=1).eq(1).all()
    assert loaded.capacity()["train"].per_class == STEPS // 6
    for split in SPLITS:
        episode = loaded.tasks(TaskShape(0, 3, 4), seed=1).episodes(split, torch.arange(30))
        series = torch.cat([episode.support.y, episode.query.y], 1) // 1000
        assert (series == series[:, :1, :1]).all()
        assert {f"s{int(n)}" for n in series[:, 0, 0]} == set(loaded.task_names[split])


def test_no_two_windows_share_a_value_unless_a_stride_says_so(tmp_path):
    apart = all_examples(dataset().load(write(tmp_path), print))
    assert len(apart.unique()) == apart.numel()
    near = all_examples(dataset(stride=1).load(tmp_path, print))
    assert len(near) == N_SERIES * (STEPS - 5)
    assert len(near.unique()) < near.numel()


@pytest.mark.parametrize("date", [False, True])
def test_lines_in_any_order_are_sorted_by_time(tmp_path, date):
    def when(step):
        return f"2026-{step // 28 + 1:02d}-{step % 28 + 1:02d}" if date else step / 4

    rows = [f"s{n},{when(step)},{value(n, step)}" for n in range(N_SERIES) for step in range(STEPS)]
    inorder = dataset().load(write(tmp_path), print)
    shuffled = np.random.default_rng(0).permutation(rows).tolist()
    assert dataset().load(write(tmp_path, "series,time,v", shuffled), print).digest == inorder.digest
    without = [",".join(row.split(",")[::2]) for row in shuffled]
    assert dataset().load(write(tmp_path, rows=without), print).digest != inorder.digest


def test_a_csv_and_arrays_of_the_same_numbers_are_the_same_data(tmp_path):
    names = np.repeat(np.arange(N_SERIES), STEPS)
    values = value(names, np.tile(np.arange(STEPS), N_SERIES)).astype(np.float64)
    from_csv = dataset().load(write(tmp_path), print)
    for change in (0.0, 1.0):
        np.savez(tmp_path / "mine.npz", series=[f"s{n}" for n in names], values=values + change)
        assert (dataset("mine.npz").load(tmp_path, print).digest == from_csv.digest) == (change == 0.0)


@pytest.mark.parametrize("empty", ["", "NaN", "NA"])
def test_no_window_has_a_missing_value_and_what_is_left_out_is_said(tmp_path, empty):
    rows = [
        f"s{n},{empty if (n, step) == (3, 7) else value(n, step)}" for n in range(N_SERIES) for step in range(STEPS)
    ]
    said = []
    loaded = dataset().load(write(tmp_path, rows=rows), said.append)
    assert len(loaded.x) == N_SERIES * (STEPS // 6) - 1
    assert all_examples(loaded).isfinite().all()
    assert sum(line.endswith("mine.csv: 1 window with missing values.") for line in said) == 1


def uneven(folder, times, ending, **changes):
    """The warnings of steps that are not equally long, in a file whose series have these times."""
    series, when = np.repeat([f"s{n}" for n in range(N_SERIES)], len(times)), list(times) * N_SERIES
    if ending == "npz":
        as_array = np.array(when, "datetime64[s]" if isinstance(when[0], str) else None)
        np.savez(folder / "mine.npz", series=series, values=np.arange(len(when)) * 1.0, time=as_array)
    else:
        write(folder, "series,time,v", [f"{series[i]},{time},{i}" for i, time in enumerate(when)])
    said = []
    dataset(f"mine.{ending}", **changes).load(folder, said.append)
    return [line for line in said if "longer or shorter" in line]


@pytest.mark.parametrize("ending", ["csv", "npz"])
@pytest.mark.parametrize("unit", [1, 0.1, 3_600_000_000_000])
def test_windows_across_a_gap_in_time_are_warned_of(tmp_path, ending, unit):
    even = [step * unit for step in range(STEPS)]
    assert uneven(tmp_path, even, ending) == []
    gap = even[:20] + [time + 30 * unit for time in even[20:]]
    (warning,) = uneven(tmp_path, gap, ending)
    assert f"mine.{ending}: {N_SERIES} of {N_SERIES * (STEPS // 6)} windows go across a step" in warning
    assert f"such as in series s0 from {gap[19]} to {gap[20]}. " in warning
    assert f"{N_SERIES * 5} of" in uneven(tmp_path, gap, ending, stride=1)[0]
    at_the_border = even[:18] + [time + 30 * unit for time in even[18:]]
    assert uneven(tmp_path, at_the_border, ending) == []
    assert len(uneven(tmp_path, [*even[:20], even[19] + 0.25 * unit, *even[20:]], ending)) == 1


@pytest.mark.parametrize("ending", ["csv", "npz"])
def test_months_are_equally_long_and_days_without_weekends_are_not(tmp_path, ending):
    months = [f"{2020 + month // 12}-{month % 12 + 1:02d}-01" for month in range(30)]
    assert uneven(tmp_path, months, ending) == []
    (warning,) = uneven(tmp_path, [f"2026-01-{day:02d}" for day in range(5, 31) if day % 7 not in (3, 4)], ending)
    assert "from 2026-01-09" in warning
    assert "to 2026-01-12" in warning


@pytest.mark.parametrize("ending", ["csv", "npz"])
def test_dates_without_hyphens_have_equal_steps_at_the_end_of_a_month(tmp_path, ending):
    days = [int(f"{date(2026, 1, 20) + timedelta(day):%Y%m%d}") for day in range(60)]
    assert uneven(tmp_path, days, ending) == []
    assert uneven(tmp_path, [(2020 + month // 12) * 100 + month % 12 + 1 for month in range(30)], ending) == []
    (warning,) = uneven(tmp_path, days[:20] + days[30:], ending)
    assert f"from {days[19]} to {days[30]}. " in warning
    no_dates = [20260100 + step for step in range(40)]  # 20260132 is none
    assert uneven(tmp_path, no_dates, ending) == []
    assert len(uneven(tmp_path, no_dates[:20] + no_dates[30:], ending)) == 1


@pytest.mark.parametrize("ending", ["csv", "npz"])
@pytest.mark.parametrize("unit", [1, 0.1, 1_000_000_000])
@pytest.mark.parametrize("step", [1.25, 1.5, 1.618, 1.75])
@pytest.mark.parametrize("rounding", [round, math.floor])
def test_even_times_that_are_rounded_are_equally_long(tmp_path, ending, unit, step, rounding):
    even = [rounding(place * step) * unit for place in range(100)]
    assert uneven(tmp_path, even, ending) == []
    (warning,) = uneven(tmp_path, even[:50] + [time + 9 * unit for time in even[50:]], ending)
    assert f"mine.{ending}: {N_SERIES} of {N_SERIES * 16} windows" in warning


@pytest.mark.parametrize("ending", ["csv", "npz"])
@pytest.mark.parametrize(
    "steps",
    [
        [1, 1, 1, 1, 1, 2] * 9,  # days without Sundays
        [1] * 20 + [2] + [1] * 20,  # one is missing
        [2] * 20 + [1] * 20,  # another rate from the middle on
        [1, 2, 1, 2],  # too few to say
        [1.0, 1.6] * 20,
    ],
)
def test_rounding_does_not_explain_other_uneven_steps(tmp_path, ending, steps):
    assert len(uneven(tmp_path, np.cumsum([0, *steps]).tolist(), ending, length=1, horizon=1, stride=1)) == 1


def test_no_window_goes_across_steps_that_are_written_as_missing(tmp_path):
    rows = [f"s{n},{t},{'' if 20 <= t < 30 else t}" for n in range(N_SERIES) for t in range(STEPS)]
    said = []
    dataset().load(write(tmp_path, "series,time,v", rows), said.append)
    assert not any("longer or shorter" in line for line in said)


def test_some_columns_are_forecast_from_all(tmp_path):
    rows = [f"s{n},{step},{-step},{10 * step}" for n in range(N_SERIES) for step in range(STEPS)]
    write(tmp_path, "series,a,b,c", rows)
    loaded = dataset(targets=["c", "a"]).load(tmp_path, print)
    assert (loaded.input_shape, loaded.target_size) == ((4, 3), 4)
    assert loaded.x[0].tolist() == [[0, 0, 0], [1, -1, 10], [2, -2, 20], [3, -3, 30]]
    assert loaded.y[0].tolist() == [40, 4, 50, 5]
    assert dataset(values=["b"]).load(tmp_path, print).y[0].tolist() == [-4, -5]
    before, after = loaded.continuation(loaded.x[:1], loaded.y[:1])
    assert (before.tolist(), after.tolist()) == ([[0, 10, 20, 30]], [[40, 50]])


def test_columns_are_standardised_by_the_training_series_alone(tmp_path):
    rows = [f"s{n},{n + step % 3},{100 * n - step}" for n in range(N_SERIES) for step in range(STEPS)]
    write(tmp_path, "series,a,b", rows)
    plain, scaled = (dataset(standardise=s).load(tmp_path, print) for s in ("none", "values"))
    table = plain.table("train")
    train = torch.cat([torch.arange(f, f + n) for f, n in zip(table.first, table.length, strict=True)])
    assert torch.allclose(scaled.x[train].mean((0, 1)), torch.zeros(2), atol=1e-5)
    assert torch.allclose(scaled.x[train].std((0, 1), correction=0), torch.ones(2), atol=1e-5)
    targets = scaled.y.view(-1, 2, 2)
    assert torch.allclose(targets[train].mean((0, 1)), torch.zeros(2), atol=1e-5)
    others = torch.ones(len(scaled.x), dtype=torch.bool).index_fill(0, train, False)
    assert not torch.allclose(scaled.x[others].mean((0, 1)), torch.zeros(2), atol=1e-2)
    assert scaled.digest != plain.digest


def test_a_series_without_a_window_is_refused_or_left_out(tmp_path):
    rows = [f"s{n},{step}" for n in range(N_SERIES) for step in range(5 if n == 2 else STEPS)]
    write(tmp_path, rows=rows)
    wrong = r"series s2 has no window of dataset\.length=4 and dataset\.horizon=2 without .* dataset\.min_examples=1"
    with pytest.raises(DataError, match=wrong):
        dataset().load(tmp_path, print)
    with pytest.raises(DataError, match=wrong):
        dataset().capacity_in(tmp_path)
    said = []
    loaded = dataset(min_examples=1).load(tmp_path, said.append)
    assert sum(capacity.n_classes for capacity in loaded.capacity().values()) == N_SERIES - 1
    assert any("1 series with fewer than 1 example (dataset.min_examples): s2 (0)" in line for line in said)
    assert dataset(min_examples=1).capacity_in(tmp_path) == loaded.capacity()


def test_a_column_divides_the_series(tmp_path):
    rows = [f"{n},{s},{step}" for n, s in (("a", "test"), ("b", "train"), ("c", "val")) for step in range(20)]
    loaded = dataset().load(write(tmp_path, "series,split,v", rows), print)
    assert loaded.task_names == {"train": ("b",), "val": ("c",), "test": ("a",)}


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("name,v", ["a,1"], r"no column series; it has name, v\. Give each step the name of its series"),
        ("series,time", ["a,1"], "has no column of values beside series, time"),
        ("series,v", [], "has no values"),
        ("series,v", ["a,1", "a,one"], "line 3: v is 'one'; it must be a finite number.* missing, leave it empty"),
        ("series,v", ["a,1", "a,2_0"], r"line 3: v is '2_0'.* Write numbers without underscores: 20\.$"),
        ("series,time,v", ["a,1_0,1"], r"line 2: time is '1_0'; .*2026-01-31\. Write .* without underscores: 10\.$"),
        ("series,v", ["a,1", 'a," 2,5"'], r"line 3: v is '2,5'.* Write numbers with a decimal point: 2\.5\.$"),
        ("series,v", ["a,1e39"], "line 2: v is '1e39'"),
        ("series,time,v", ["a,1,1", "a,1,2"], "series a has two lines with the same time"),
        ("series,time,v", ["a,soon,1"], "line 2: time is 'soon'; it must be a number or a date such as 2026-01-31"),
        ("series,time,v", ["a,inf,1"], "line 2: time is 'inf'"),
        ("series,split,v", ["a,train,1", "a,test,1"], "series a is in train and in test"),
        ("series,split,v", ["a,dev,1"], "split is 'dev' for series a"),
        ("series,split,v", ["a,train,1", "b,val,1"], "no series is in test"),
        ("series,v", ["a,1", "b,1"], "no series has a window of .* the longest series has 1 step"),
        ("series,v", [f"{n},{s}" for n in "ab" for s in range(9)], "has 2 tasks, which cannot be divided"),
    ],
)
def test_a_wrong_csv_is_refused_by_line_or_column(tmp_path, header, rows, message):
    with pytest.raises(DataError, match=message):
        dataset().load(write(tmp_path, header, rows), print)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": None}, "has no array values; it has series"),
        ({"values": np.zeros((20, 2, 2))}, r"values is float64 of shape \(20, 2, 2\)"),
        ({"values": np.array(["a"] * 20)}, "values is <U1"),
        ({"values": np.full(20, np.inf)}, "infinite, or too large for float32. Put nan where a value is missing"),
        ({"values": np.zeros(19)}, "different numbers of steps: series 20, values 19"),
        ({"time": np.full(20, np.nan)}, r"time is float64 of shape \(20,\)"),
        ({"series": np.zeros(20)}, "series is float64"),
    ],
)
def test_wrong_arrays_are_refused_by_name(tmp_path, change, message):
    arrays = {"values": np.arange(20.0), "series": np.repeat(np.arange(2), 10)} | change
    np.savez(tmp_path / "mine.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(DataError, match=message):
        dataset("mine.npz").load(tmp_path, print)


@pytest.mark.parametrize("ending", ["csv", "npz"])
def test_the_column_that_loses_digits_is_named(tmp_path, ending):
    series, load = np.repeat([f"s{n}" for n in range(6)], STEPS), np.tile(np.arange(STEPS) % 7, 6) * 1.0
    load[5] = np.nan
    meter = 4e8 + np.arange(len(load)) * 0.25
    if ending == "npz":
        np.savez(tmp_path / "mine.npz", series=series, values=np.stack([load, meter], 1))
    else:
        write(tmp_path, "series,0,1", [f"{series[i]},{load[i]},{x!r}" for i, x in enumerate(meter.tolist())])
    lines = []
    dataset(f"mine.{ending}").load(tmp_path, lines.append)
    (warning,) = [line for line in lines if "float32 rounds" in line]
    assert "float32 rounds 1 by" in warning
    assert any("1 window with missing values" in line for line in lines)


@pytest.mark.parametrize("ending", ["csv", "npz"])
def test_times_in_nanoseconds_keep_their_order(tmp_path, ending):
    """Two that are one nanosecond apart are the same as float64."""
    series, step = np.repeat([f"s{n}" for n in range(6)], STEPS), np.tile(np.arange(STEPS), 6)
    time, values = 1_790_000_000_000_000_000 - step, step * 1.0  # the last step comes first
    assert len(set(time.astype(np.float64).tolist())) < STEPS
    if ending == "npz":
        np.savez(tmp_path / "mine.npz", series=series, values=values, time=time)
    else:
        write(tmp_path, "series,time,load", [f"{series[i]},{time[i]},{values[i]}" for i in range(len(step))])
    content = read_series(tmp_path / f"mine.{ending}", None, None)
    assert content.series["s0"][:, 0].tolist() == sorted(step[:STEPS].tolist(), reverse=True)
    twice = time.copy()
    twice[1] = twice[0]
    np.savez(tmp_path / "twice.npz", series=series, values=values, time=twice)
    with pytest.raises(DataError, match="series s0 has two lines with the same time"):
        read_series(tmp_path / "twice.npz", None, None)


@pytest.mark.parametrize("ending", ["csv", "npz"])
def test_a_column_of_large_whole_numbers_with_gaps_is_warned_of(tmp_path, ending):
    series, count = np.repeat([f"s{n}" for n in range(6)], STEPS), 2**54 + np.tile(np.arange(STEPS), 6)
    if ending == "npz":
        np.savez(tmp_path / "mine.npz", series=series, values=count)
    else:
        write(tmp_path, "series,count", [f"{series[i]},{'' if i == 3 else count[i]}" for i in range(len(count))])
    (note,) = read_series(tmp_path / f"mine.{ending}", None, None).notes
    assert "values that differ become the same" in note


def test_unknown_columns_and_a_missing_file_name_their_keys(tmp_path):
    with pytest.raises(MissingDataError, match=r"dataset\.file=mine\.csv: there is no file .* name of the series"):
        dataset().load(tmp_path, print)
    write(tmp_path)
    with pytest.raises(DataError, match=r"dataset\.targets names z; the values of .* are v"):
        dataset(targets=["z"]).load(tmp_path, print)
    with pytest.raises(DataError, match=r"no column z; .* dataset\.values"):
        dataset(values=["z"]).load(tmp_path, print)


def test_a_run_forecasts_series_and_draws_what_follows(tmp_path):
    rows = [f"s{n},{step % 7},{np.sin(0.2 * n + 0.3 * step):.5f}" for n in range(N_SERIES) for step in range(120)]
    write(tmp_path, "series,day,v", rows)
    done = mx.train(
        "dataset=time_series", f"dataset.file={tmp_path}/mine.csv", "dataset.length=6", "dataset.horizon=3",
        "dataset.targets=[v]",
        "model=lstm", "model.hidden=8", "algorithm=maml", "task.k_shot=3", "task.n_query=4", "train.steps=3",
        "train.meta_batch_size=2", "train.eval_every=3", "train.eval_episodes=4", "eval.episodes=4", "tracker=files",
        "device.accelerator=cpu", "device.threads=1", folder=tmp_path / "run",
    )  # fmt: skip
    record = json.loads((done.folder / "record.json").read_text())
    assert record["test"]["metric"] == "mse"
    assert (done.folder / "plots" / "adapted_sequences.png").is_file()
