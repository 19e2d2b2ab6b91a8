"""A regression whose adaptation diverged says so at its end, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from metaexp.cli.main import main
from metaexp.config.compose import Composer
from metaexp.config.purpose import Purpose
from metaexp.config.schema import Settings
from metaexp.core.types import EvalResult
from metaexp.run.evaluation.divergence import doubts, remedies


def settings(*overrides: str) -> Settings:
    return Composer().settings(["algorithm=maml", "device=cpu", *overrides], Purpose.PLAN)


@pytest.mark.parametrize(
    ("dataset", "scale"),
    [
        (["dataset=regression_table"], ", or set dataset.standardise=both."),
        (["dataset=regression_table", "dataset.standardise=inputs"], ", or set dataset.standardise=both."),
        (["dataset=time_series"], ", or set dataset.standardise=values."),
        (["dataset=regression_table", "dataset.standardise=both"], "."),
        (["dataset=sinusoid"], "."),
        (["dataset=glyphs"], "."),
    ],
)
def test_what_to_do_is_said_with_the_keys_of_the_run(dataset: list[str], scale: str) -> None:
    found = settings(*dataset, "algorithm.inner_lr=0.25", "optimizer.lr=0.125")
    assert remedies(found) == f"Lower optimizer.lr=0.125 or algorithm.inner_lr=0.25{scale}"
    assert remedies(found, "wait").endswith(", or wait.")


def result(after: list[float], before: float = 4.0) -> EvalResult:
    last = torch.tensor(after, dtype=torch.float64)
    return EvalResult(float(last.mean()), 0.0, len(after), last, torch.stack([torch.full_like(last, before), last]))


@pytest.mark.parametrize(
    ("after", "n_diverged"), [([1.0] * 20, 0), ([39.0] * 20, 0), ([1.0] * 19 + [41.0], 1), ([1e9] * 20, 20)]
)
def test_errors_far_above_those_before_adaptation_are_warned_of(after: list[float], n_diverged: int) -> None:
    lines = doubts(result(after), settings("dataset=regression_table"))
    assert len(lines) == bool(n_diverged)
    if n_diverged:
        assert f"adaptation diverged in {n_diverged} of 20 test tasks" in lines[0]
        assert "dataset.standardise=both" in lines[0]


def test_accuracies_and_algorithms_without_steps_have_no_divergence() -> None:
    assert doubts(result([1.0] * 20, 0.01), settings("dataset=glyphs")) == []
    assert "lower than that of guessing" in doubts(result([0.0, 0.1] * 10, 0.1), settings("dataset=glyphs"))[0]
    one_state = result([1e9] * 20)
    assert doubts(one_state._replace(per_step=one_state.per_step[1:]), settings("dataset=sinusoid")) == []
    assert "adaptation diverged in 20 of 20 test tasks" in doubts(one_state, settings("dataset=sinusoid"))[0]


@pytest.mark.parametrize(
    ("slope", "rate", "message"),
    [
        (1.0, 0.01, ""),
        (1e3, 0.01, "adaptation diverged in"),
        (1e3, 0.1, "is not finite. Lower optimizer.lr"),
    ],
)
def test_a_run_on_raw_targets_says_it_at_its_end_and_so_does_a_later_test(
    slope: float,
    rate: float,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"t{task},{x / 10},{slope * (task - 6) * x / 10}" for task in range(12) for x in range(-10, 10)]
    (tmp_path / "table.csv").write_text("\n".join(["task,x,y", *rows, ""]))
    short = ["train.steps=1", "train.meta_batch_size=2", "train.eval_episodes=4", "eval.episodes=6", "tracker=files"]
    words = ["dataset=regression_table", "paths.data=.", "algorithm=maml", "task.n_query=5", "device=cpu", *short]
    assert main(["train", *words, f"algorithm.inner_lr={rate}"]) == (5 if "finite" in message else 0)
    said = " ".join(" ".join(capsys.readouterr()).split())
    assert message in said
    assert ("set dataset.standardise=both" in said) == bool(message)
    assert ("diverged" in said or "not finite" in said) == bool(message)
    if "finite" in message:
        return
    (run,) = (record.parent for record in tmp_path.rglob("record.json"))
    for rates, later in (([], message), (["algorithm.inner_lr=100,1000"], "is not finite. Lower optimizer.lr=")):
        main(["evaluate", str(run), "eval.episodes=8", *rates])
        said = " ".join(" ".join(capsys.readouterr()).split())
        assert later in said
        assert ("set dataset.standardise=both" in said) == bool(later)
        assert ("diverged" in said) == ("diverged" in later)
