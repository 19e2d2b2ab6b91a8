"""What a run says at its end."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from metaexp.results.display.terminal import print_evaluation, print_summary
from metaexp.results.display.wording import format_reference, format_score, format_value, shown_steps
from metaexp.results.evaluations import Evaluation
from metaexp.results.record import Machine, Reference, RunRecord, Score, Task, Verdict

RECORD = RunRecord(
    status="completed",
    name="maml-glyphs",
    algorithm="maml",
    dataset="glyphs",
    model="conv4",
    task=Task(5, 1, 15),
    seed=0,
    config={},
    config_hash="0" * 64,
    steps=1000,
    selected_step=800,
    val=Score("accuracy", 0.91, 0.011, 200),
    test=Score("accuracy", 0.9, 0.01, 600),
    after_steps=[Score("accuracy", 0.2, 0.01, 600), Score("accuracy", 0.9, 0.01, 600)],
    batch_norm="transductive",
    first_order=False,
    seconds=130.0,
)


def printed(record: RunRecord, folder: Path) -> str:
    text = io.StringIO()
    print_summary(record, folder, Console(file=text, width=100))
    return text.getvalue()


def test_results_folder_and_figures_are_printed(tmp_path: Path) -> None:
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "learning_curve.png").touch()
    text = printed(RECORD, tmp_path)
    for words in (
        "maml on glyphs, 5-way 1-shot", "90.00 ± 1.00 %", "600", "91.00 ± 1.10 %", "200",
        "after 0 to 1 steps of adaptation: 20.00 %, 90.00 %", "weights after 800 of 1,000 steps",
        "batch norm transductive", "second order", "2 min", f"run folder: {tmp_path}\n",
        f"figure: {tmp_path / 'plots' / 'learning_curve.png'}\n",
    ):  # fmt: skip
        assert words in text, words
    assert "published" not in text


def test_a_run_that_was_not_tested_says_so_and_how_to_test_it(tmp_path: Path) -> None:
    text = printed(replace(RECORD, test=None, after_steps=[], val=Score("mse", 0.5, 0.1, 200)), tmp_path)
    assert "not tested, as eval.test=false says\n" in text
    assert f"next:\n  metaexp evaluate {tmp_path} " in text
    assert "mean squared error" in text
    assert "not tested" not in printed(RECORD, tmp_path)


def test_a_published_number_and_the_verdict_stand_beside_ours(tmp_path: Path) -> None:
    reference = Reference("Finn et al. 2017", "1", "accuracy", 0.987, 0.004, "600 tasks")
    verdict = Verdict("shortened", -0.087, "shortened (1,000 of 60,000 steps): 8.7 points below")
    text = printed(replace(RECORD, reference=reference, verdict=verdict), tmp_path)
    assert "98.7 ± 0.4 %" in text
    assert "shortened" in text


def test_an_algorithm_without_steps_or_inner_gradient_says_no_more_than_it_has(tmp_path: Path) -> None:
    text = printed(replace(RECORD, after_steps=[], first_order=None), tmp_path)
    assert "steps of adaptation" not in text
    assert "order" not in text


def test_of_many_adaptation_steps_some_are_shown_with_their_numbers(tmp_path: Path) -> None:
    scores = [Score("accuracy", 0.2 + step / 100, 0.01, 600) for step in range(51)]
    text = printed(replace(RECORD, after_steps=scores), tmp_path)
    line = "test accuracy after 0, 1, 2, 5, 10, 20 and 50 steps of adaptation: 20.00 %, 21.00 %, 22.00 %, 25.00 %, "
    assert line + "30.00 %, 40.00 %, 70.00 %\n" in text
    assert "after 0 to 10 steps" in printed(replace(RECORD, after_steps=scores[:11]), tmp_path)
    assert "after 0, 1, 2, 5, 10 and 11 steps" in printed(replace(RECORD, after_steps=scores[:12]), tmp_path)


@pytest.mark.parametrize("last", [0, 1, 10, 11, 50, 100, 137, 1000, 1001])
def test_the_steps_shown_are_few_and_have_the_first_and_the_last(last: int) -> None:
    steps = shown_steps(last)
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (0, last)
    assert len(steps) <= 13
    assert last > 10 or len(steps) == last + 1


@pytest.mark.parametrize("width", [40, 300])
def test_paths_are_never_broken(tmp_path: Path, width: int) -> None:
    text = io.StringIO()
    print_summary(RECORD, tmp_path, Console(file=text, width=width))
    assert f"run folder: {tmp_path}\n" in text.getvalue()


def test_one_episode_is_printed_without_an_interval() -> None:
    assert format_score(Score("accuracy", 0.5, 0.0, 1)) == "50.00 % (one episode: no interval)"
    assert format_score(Score("mse", 0.5, 0.0, 1)) == "0.500 (one episode: no interval)"
    assert format_score(Score("accuracy", 0.5, 0.01, 2)) == "50.00 ± 1.00 %"


@pytest.mark.parametrize(
    ("mean", "ci95", "text"),
    [
        (3.68, 0.5, "3.68 ± 0.50"),
        (2.6, 0.13, "2.60 ± 0.13"),
        (0.65, 0.0261, "0.650 ± 0.026"),
        (4.0, 1.349, "4.0 ± 1.3"),
        (0.99, 0.0996, "0.99 ± 0.10"),
        (123.4, 56.0, "123 ± 56"),
        (0.65, None, "0.650"),
        (123.4, None, "123"),
        (0.5, 0.0, "0.500 ± 0"),
        (2e-9, 3e-9, "2e-09 ± 3e-09"),
    ],
)
def test_an_error_has_the_digits_that_its_interval_has(mean: float, ci95: float | None, text: str) -> None:
    assert format_value("mse", mean, ci95) == text


def test_a_published_number_has_as_many_digits_as_its_interval() -> None:
    published = Reference("a paper", "Table 1", "mse", 0.9, 0.16, "")
    assert format_reference(published) == "0.90 ± 0.16"
    assert format_reference(replace(published, metric="accuracy", value=0.682, ci95=0.0066)) == "68.20 ± 0.66 %"
    assert format_reference(replace(published, ci95=None)) == "0.9"


def test_an_evaluation_ends_with_the_command_that_shows_its_run(tmp_path: Path) -> None:
    evaluation = Evaluation(
        run="a run", run_config_hash="0", overrides=[], algorithm="maml", dataset="glyphs", task=Task(5, 5, 15),
        eval_seed=0, selected_step=800, test=Score("accuracy", 0.9, 0.01, 600), after_steps=[], batch_norm="none",
        data_hash="d", episode_bank="e", config={}, config_hash="f",
        device=Machine("cpu", "a processor", "float32", 2, True, None), versions={}, finished="",
    )  # fmt: skip
    text = io.StringIO()
    print_evaluation(evaluation, tmp_path / "a run" / "evaluations" / "x.json", Console(file=text, width=100))
    assert f"next:\n  metaexp show '{tmp_path / 'a run'}'  # " in text.getvalue()
    text = io.StringIO()
    print_evaluation(evaluation, None, Console(file=text, width=100))  # it could not be written
    assert "next:" not in text.getvalue()
