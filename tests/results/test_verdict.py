"""When a measured number reproduces a published one, and when it does not."""

from __future__ import annotations

import pytest

from metaexp.results.record import Reference, Score
from metaexp.results.verdict import reproduction_verdict

PAPER = Reference("Finn et al.", "Table 1", "accuracy", 0.987, 0.004, "600 tasks")
ERROR = Reference("Finn et al.", "Table 2", "mse", 0.67, None, "600 sinusoids")


def _accuracy(mean: float, ci95: float = 0.003) -> Score:
    return Score("accuracy", mean, ci95, 600)


@pytest.mark.parametrize(
    ("mean", "kind", "text"),
    [
        (0.987, "reproduced", "reproduced"),
        (0.9825, "reproduced", "reproduced"),
        (0.9915, "reproduced", "reproduced"),
        (0.978, "within", "within 0.9 points below"),
        (0.998, "within", "within 1.1 points above"),
        (0.95, "not_reproduced", "not reproduced: 3.7 points below"),
    ],
)
def test_a_full_run_is_judged_by_its_distance(mean: float, kind: str, text: str) -> None:
    verdict = reproduction_verdict(_accuracy(mean), PAPER, steps=60000, full_steps=60000)
    assert verdict is not None
    assert (verdict.kind, verdict.text) == (kind, text)
    assert verdict.difference == pytest.approx(mean - 0.987)


def test_an_interval_that_holds_anything_confirms_nothing() -> None:
    for test, reference in ((_accuracy(0.95, 0.06), PAPER), (Score("mse", 0.8, 0.4, 600), ERROR)):
        verdict = reproduction_verdict(test, reference, steps=60000, full_steps=60000)
        assert verdict is not None
        assert verdict.kind == "undecided"
        assert verdict.text.startswith("undecided, the interval is too wide: ")
    far = reproduction_verdict(_accuracy(0.5, 0.06), PAPER, steps=60000, full_steps=60000)
    assert far is not None
    assert far.kind == "not_reproduced"


@pytest.mark.parametrize(
    ("mean", "kind", "text"),
    [
        (0.70, "reproduced", "reproduced"),
        (0.77, "within", "within 0.1 above"),
        (0.90, "not_reproduced", "not reproduced: 0.23 above"),
        (0.30, "not_reproduced", "not reproduced: 0.37 below"),
    ],
)
def test_an_error_is_judged_relative_to_the_published_one(mean: float, kind: str, text: str) -> None:
    verdict = reproduction_verdict(Score("mse", mean, 0.05, 600), ERROR, steps=70000, full_steps=None)
    assert verdict is not None
    assert (verdict.kind, verdict.text) == (kind, text)


@pytest.mark.parametrize("mean", [0.95, 0.987, 0.999])
def test_a_cut_schedule_is_never_called_reproduced(mean: float) -> None:
    verdict = reproduction_verdict(_accuracy(mean), PAPER, steps=59999, full_steps=60000)
    assert verdict is not None
    assert verdict.kind == "shortened"
    assert verdict.text.startswith("shortened (59,999 of 60,000 steps): ")
    assert "reproduced" not in verdict.text


@pytest.mark.parametrize("steps", [6000, 60000])
def test_changed_settings_are_never_called_reproduced(steps: int) -> None:
    verdict = reproduction_verdict(
        _accuracy(0.987), PAPER, steps, 60000, ["algorithm.first_order: false -> true", "b: 1 -> 2"]
    )
    assert verdict is not None
    assert verdict.kind == "changed"
    assert "algorithm.first_order: false -> true and 1 more" in verdict.text
    assert verdict.text.startswith("shortened (6,000 of 60,000 steps), changed") == (steps == 6000)
    assert "reproduced" not in verdict.text


def test_another_metric_gives_no_verdict() -> None:
    assert reproduction_verdict(Score("mse", 0.987, 0.003, 600), PAPER, 60000, 60000) is None


@pytest.mark.parametrize("mean", [0.987, 0.95, 1.0])
def test_one_episode_decides_nothing(mean: float) -> None:
    """Its interval is recorded as 0, which would make every difference certain."""
    verdict = reproduction_verdict(Score("accuracy", mean, 0.0, 1), PAPER, 60000, 60000)
    assert verdict is not None
    assert verdict.kind == "undecided"
    assert verdict.text.startswith("undecided, one episode gives no interval: ")
    two = reproduction_verdict(Score("accuracy", mean, 0.0, 2), PAPER, 60000, 60000)
    assert two is not None
    assert two.kind != "undecided"


def test_a_number_made_on_a_stand_in_is_never_reproduced() -> None:
    verdict = reproduction_verdict(_accuracy(0.987), PAPER, 60000, 60000, (), is_stand_in=True)
    assert verdict is not None
    assert (verdict.kind, verdict.text) == ("changed", "made on a stand-in: says nothing about the published number")
