"""When a measured number reproduces a published one, and when it does not."""

from __future__ import annotations

import dataclasses

import pytest

from metaexp.config.experiment_header import stated_departures
from metaexp.results.record import Reference, Score, Verdict
from metaexp.results.verdict import format_margin, margin, reproduction_verdict

PAPER = Reference("Finn et al.", "Table 1", "accuracy", 0.987, 0.004, "600 tasks")
ERROR = Reference("Finn et al.", "Table 2", "mse", 0.67, None, "600 sinusoids")
SEEDS = (0.986, 0.987, 0.988)


def _accuracy(mean: float, ci95: float = 0.003) -> Score:
    return Score("accuracy", mean, ci95, 600)


def _verdict(test: Score, reference: Reference = PAPER, steps: int = 60000, **more: object) -> Verdict:
    found = reproduction_verdict(test, reference, steps, 60000, **more)  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("mean", "seeds", "kind"),
    [
        (0.987, SEEDS, "reproduced"),
        (0.985, (0.984, 0.985, 0.986), "reproduced"),
        (0.980, (0.979, 0.980, 0.981), "undecided"),  # 0.7 points below, and the interval reaches beyond one point
        (0.987, (0.977, 0.987, 0.997), "undecided"),  # the mean is right, and three such seeds show nothing
        (0.987, (0.9869, 0.9871), "reproduced"),
        (0.987, (0.982, 0.992), "undecided"),  # Student's quantile of two seeds is 6.3
        (0.960, (0.959, 0.960, 0.961), "not_reproduced"),
        (1.0, (1.0, 1.0, 1.0), "undecided"),
    ],
)
def test_several_seeds_must_be_equal_within_a_point_by_two_one_sided_tests(
    mean: float, seeds: tuple[float, ...], kind: str
) -> None:
    verdict = _verdict(_accuracy(mean), seeds=seeds)
    assert verdict.kind == kind
    assert f"{len(seeds)} seeds" in verdict.text
    assert verdict.difference == pytest.approx(mean - 0.987)
    assert ("reproduced within 1 point" in verdict.text) == (kind == "reproduced")


def test_the_lack_of_a_difference_is_not_equality() -> None:
    """The intervals overlap by far, so no test would find a difference."""
    wide = _verdict(_accuracy(0.985, 0.02), seeds=SEEDS)
    assert (wide.kind, wide.text) == (
        "undecided", "undecided, the interval is too wide for 1 point: 0.2 points below, 3 seeds",
    )  # fmt: skip
    assert _verdict(_accuracy(0.985, 0.002), seeds=SEEDS).kind == "reproduced"


def test_a_wide_published_interval_counts_too() -> None:
    loose = dataclasses.replace(PAPER, ci95=0.0184)
    assert _verdict(_accuracy(0.987), loose, seeds=SEEDS).kind == "undecided"


@pytest.mark.parametrize(
    ("mean", "kind", "text"),
    [
        (0.987, "within", "within 1 point: 0.0 points above, one seed"),
        (0.975, "undecided", "undecided, the interval is too wide for 1 point: 1.2 points below, one seed"),
        (0.95, "not_reproduced", "not reproduced: 3.7 points below, one seed"),
    ],
)
def test_one_seed_is_said_to_be_one_and_never_reproduces(mean: float, kind: str, text: str) -> None:
    assert (_verdict(_accuracy(mean)).kind, _verdict(_accuracy(mean)).text) == (kind, text)
    assert _verdict(_accuracy(mean), seeds=[mean]).text == text


@pytest.mark.parametrize(
    ("mean", "kind"), [(0.67, "reproduced"), (0.70, "reproduced"), (0.73, "undecided"), (0.85, "not_reproduced")]
)
def test_an_error_is_judged_relative_to_the_published_one(mean: float, kind: str) -> None:
    seeds = (mean - 0.005, mean, mean + 0.005)
    verdict = _verdict(Score("mse", mean, 0.02, 600), ERROR, seeds=seeds)
    assert verdict.kind == kind
    assert margin(ERROR) == pytest.approx(0.067)
    assert format_margin(ERROR) == "0.067"


def test_a_cut_schedule_that_gets_there_says_after_how_many_steps() -> None:
    verdict = _verdict(_accuracy(0.987), steps=6000, seeds=SEEDS)
    assert verdict.kind == "reproduced"
    assert verdict.text == "reproduced: reached after 6,000 of 60,000 steps, within 1 point, 3 seeds"
    full = _verdict(_accuracy(0.987), seeds=SEEDS)
    assert full.text == "reproduced within 1 point, 3 seeds"


@pytest.mark.parametrize(("mean", "seeds"), [(0.987, ()), (0.95, (0.949, 0.95, 0.951))])
def test_a_cut_schedule_that_does_not_show_it_is_shortened(mean: float, seeds: tuple[float, ...]) -> None:
    verdict = _verdict(_accuracy(mean), steps=59999, seeds=seeds)
    assert verdict.kind == "shortened"
    assert verdict.text.startswith("shortened (59,999 of 60,000 steps): ")
    assert "reproduced" not in verdict.text


def test_a_published_schedule_counts_where_the_experiment_has_a_shorter_one() -> None:
    reference = dataclasses.replace(PAPER, steps=60000)
    verdict = reproduction_verdict(_accuracy(0.95), reference, 6000, 6000)
    assert verdict is not None
    assert verdict.text.startswith("shortened (6,000 of 60,000 steps)")
    alone = reproduction_verdict(_accuracy(0.95), PAPER, 6000, 6000)
    assert alone is not None
    assert alone.kind == "not_reproduced"


@pytest.mark.parametrize(
    ("n", "named"),
    [(1, "(a=0)"), (3, "(a=0, b=1, c=2)"), (4, "(a=0, b=1, c=2, d=3)"), (6, "(a=0, b=1, c=2 and 3 more)")],
)
def test_a_verdict_names_the_settings_that_were_changed(n: int, named: str) -> None:
    changes = [f"{key}={number}" for number, key in enumerate("abcdef"[:n])]
    assert f"changed settings {named}: " in _verdict(_accuracy(0.9), PAPER, 60000, deviations=changes).text
    assert "changed" not in _verdict(_accuracy(0.9), PAPER, 60000).text


@pytest.mark.parametrize("steps", [6000, 60000])
def test_changed_settings_are_never_called_reproduced(steps: int) -> None:
    verdict = _verdict(
        _accuracy(0.987), PAPER, steps, deviations=["algorithm.first_order=true", "b=2"], seeds=SEEDS
    )  # fmt: skip
    assert verdict.kind == "changed"
    assert "changed settings (algorithm.first_order=true, b=2)" in verdict.text
    assert verdict.text.startswith("shortened (6,000 of 60,000 steps), changed") == (steps == 6000)
    assert "reproduced" not in verdict.text


@pytest.mark.parametrize("change", ["task.k_shot=10", "task.n_way=20", "dataset=glyphs"])
def test_another_task_is_not_held_against_the_published_number(change: str) -> None:
    text = _verdict(_accuracy(0.95), deviations=[change]).text
    assert text == f"another task than the published one, changed settings ({change})"
    assert "points below" in _verdict(_accuracy(0.95), deviations=["task.n_query=10"]).text
    assert "points below" in _verdict(_accuracy(0.95), deviations=["algorithm.task.k_shot=1"]).text


def test_departures_stand_in_the_verdict_up_to_the_first_sentence() -> None:
    text = "images are not augmented. We test 1000 tasks once."
    verdict = _verdict(_accuracy(0.987), seeds=SEEDS, departs=text)
    assert verdict.text == "reproduced within 1 point, 3 seeds, with departures: images are not augmented"
    assert "departures" not in _verdict(_accuracy(0.987), seeds=SEEDS).text
    of_authors = _verdict(_accuracy(0.987), departs="settings are those of Snell et al. (2017). Otherwise none.").text
    assert of_authors.endswith("with departures: settings are those of Snell et al. (2017)")
    long = _verdict(_accuracy(0.987), departs="word " * 60).text
    assert long.endswith(" word ...")
    assert len(long) < 180


def test_a_header_that_departs_in_nothing_is_not_a_departure() -> None:
    assert stated_departures("meta_lstm_mini_imagenet_5way_1shot") == ""
    assert stated_departures("no_such_experiment") == stated_departures(None) == ""
    assert stated_departures("maml_omniglot_5way_1shot").startswith("the authors' split depends on the order")


def test_another_metric_gives_no_verdict() -> None:
    assert reproduction_verdict(Score("mse", 0.987, 0.003, 600), PAPER, 60000, 60000) is None


@pytest.mark.parametrize("mean", [0.987, 0.95, 1.0])
def test_one_episode_decides_nothing(mean: float) -> None:
    """Its interval is recorded as 0, which would make every difference certain."""
    verdict = _verdict(Score("accuracy", mean, 0.0, 1))
    assert verdict.kind == "undecided"
    assert verdict.text.startswith("undecided, one episode gives no interval: ")
    assert "one episode" not in _verdict(Score("accuracy", mean, 0.0, 2)).text


def test_a_number_made_on_a_stand_in_is_never_reproduced() -> None:
    verdict = _verdict(_accuracy(0.987), is_stand_in=True, seeds=SEEDS)
    assert (verdict.kind, verdict.text) == ("changed", "made on a stand-in: says nothing about the published number")


@pytest.mark.parametrize(("n_episodes", "kind"), [(2, "undecided"), (355, "undecided"), (356, "within")])
def test_the_same_accuracy_in_all_episodes_has_the_interval_of_the_rule_of_three(n_episodes: int, kind: str) -> None:
    """What happens in 0.84 % of episodes is missed by 355 of them with 5 %; the distance is the other 0.16 points."""
    assert ((1 - 0.0084) ** n_episodes > 0.05) == (kind == "undecided")
    assert _verdict(Score("accuracy", 0.9854, 0.0, n_episodes), _exact(0.987)).kind == kind
    assert _verdict(Score("accuracy", 0.9854, 0.001, 2), _exact(0.987)).kind == "within"


def test_what_is_beyond_the_margin_is_shown_at_a_stricter_level_than_what_is_within() -> None:
    """2.5 % on the side of the published number: -log(0.025) = 3.69 episodes of n, where 3 are not enough."""
    far = 0.987 - 0.01 - 3.5 / 1000
    assert _verdict(Score("accuracy", far, 0.0, 1000), _exact(0.987)).kind == "undecided"
    assert _verdict(Score("accuracy", far - 0.3 / 1000, 0.0, 1000), _exact(0.987)).kind == "not_reproduced"


@pytest.mark.parametrize("seeds", [(0.987, 0.987), (0.987, 0.987, 0.987)])
def test_seeds_with_the_same_score_count_as_one(seeds: tuple[float, ...]) -> None:
    verdict = _verdict(_accuracy(0.987), seeds=seeds)
    assert (verdict.kind, verdict.text) == (
        "within",
        f"within 1 point: 0.0 points above, {len(seeds)} seeds with the same score",
    )
    assert _verdict(_accuracy(0.987), seeds=(*seeds, 0.9871)).kind == "reproduced"


def test_an_error_says_whether_more_is_better() -> None:
    far = dataclasses.replace(ERROR, value=1.0)
    assert "0.370 below (better)" in _verdict(Score("mse", 0.63, 0.001, 600), far).text
    assert "0.370 above (worse)" in _verdict(Score("mse", 1.37, 0.001, 600), far).text
    assert "(" not in _verdict(_accuracy(0.5)).text


def test_an_error_that_is_the_same_in_all_episodes_decides_nothing() -> None:
    verdict = _verdict(Score("mse", 0.67, 0.0, 600), ERROR, seeds=(0.66, 0.67, 0.68))
    assert verdict.text.startswith("undecided, all 600 episodes have the same error, which gives no interval: ")
    assert _verdict(Score("mse", 0.67, 1e-6, 600), ERROR).kind == "within"


@pytest.mark.parametrize("mean", [0.0, 1e-9, 0.5])
def test_a_published_error_of_zero_is_never_reproduced(mean: float) -> None:
    verdict = _verdict(Score("mse", mean, 1e-9, 600), dataclasses.replace(ERROR, value=0.0), seeds=(mean, mean + 1e-9))
    assert verdict.text.startswith("undecided, a published error of 0 leaves no margin: ")


def test_decimal_rounding_does_not_decide() -> None:
    assert abs(0.977 - 0.987) > 0.01
    assert _verdict(_accuracy(0.977, 1e-15), _exact(0.987)).kind == "within"
    assert _verdict(_accuracy(0.9769, 1e-15), _exact(0.987)).kind == "not_reproduced"


def _exact(value: float) -> Reference:
    return dataclasses.replace(PAPER, value=value, ci95=None)
