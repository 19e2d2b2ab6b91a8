"""What differs between two runs: all of it, the likeliest first, and plainly when there is nothing."""

from __future__ import annotations

import dataclasses
import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from metaexp.compare.output.explanation import print_explanation
from metaexp.compare.why import KINDS, Explanation, explain, read_side
from metaexp.core.errors import RunFolderError
from metaexp.results.record import Git, Machine, read_record, write_record
from tests.compare.conftest import MakeRun, decide, keep


def explained(first: Path, second: Path) -> Explanation:
    return explain(read_side(first), read_side(second), decide)


def printed(explanation: Explanation) -> str:
    console = Console(file=io.StringIO(), width=160, highlight=False)
    print_explanation(explanation, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def twins(make_run: MakeRun, tmp_path: Path) -> tuple[Path, Path]:
    first = make_run("maml", 0)
    shutil.copytree(first, tmp_path / "twin")
    return first, tmp_path / "twin"


def changed(folder: Path, **fields: object) -> None:
    write_record(dataclasses.replace(read_record(folder), **fields), folder)  # type: ignore[arg-type]


def test_why_says_that_two_equal_runs_do_not_differ(twins: tuple[Path, Path]) -> None:
    found = explained(*twins)
    assert found.findings == []
    text = printed(found)
    assert "Every test episode gave the same number, to the last bit" in text
    assert "Nothing that is recorded differs." in text


def test_other_numbers_without_a_difference_point_at_what_is_not_recorded(make_run: MakeRun, tmp_path: Path) -> None:
    first, second = make_run("maml", 0), make_run("maml", 0)
    found = explained(first, second)
    assert found.findings == []
    assert any("suspect an operation that is not deterministic" in line for line in found.numbers)
    assert any("95 % interval" in line and "episodes differ" in line for line in found.numbers)


def test_why_lists_the_number_of_processes(twins: tuple[Path, Path]) -> None:
    changed(twins[1], device=Machine("cpu", "AMD EPYC", "float32", 2, True, None, ranks=4))
    (found,) = explained(*twins).findings
    assert found == ("machine", "used ranks", "1", "4")


def test_a_trial_that_was_tested_later_is_explained_by_that_test(twins: tuple[Path, Path]) -> None:
    """And that it was not tested at once says nothing about the episodes."""
    first, second = twins
    record = read_record(second)
    keep(second, record, "later")
    changed(second, test=None, config=record.config | {"eval": record.config["eval"] | {"test": False}})
    (found,) = explained(first, second).findings
    assert found == ("other settings", "eval.test", "-", "false")
    assert "to the last bit" in printed(explained(first, second))
    (second / "evaluations" / "later.json").unlink()
    assert "only one was tested" in printed(explained(first, second))


def test_every_difference_is_found_and_ordered(twins: tuple[Path, Path]) -> None:
    first, second = twins
    record = read_record(second)
    config = record.config | {"seed": 1, "train": {"steps": 9}, "tracker": {}, "eval": {"episodes": 80, "seed": 3}}
    changed(
        second, status="interrupted", config=config, seed=1, steps=9, selected_step=4, data_hash="f" * 64,
        episode_bank="0" * 64, git=Git("b" * 40, True), versions={"metaexp": "0.1.0", "torch": "2.14"},
        device=Machine("cuda", "H100", "bf16", 1, True, None), exact_resume=False,
    )  # fmt: skip
    found = explained(first, second)
    kinds = [finding.kind for finding in found.findings]
    order = [kind.name for kind in KINDS]
    assert kinds == sorted(kinds, key=order.index)
    assert set(kinds) == set(order)
    keys = {finding.key: (finding.kind, finding.first, finding.second) for finding in found.findings}
    assert keys["train.steps"] == ("configuration", "6000", "9")
    assert keys["seed"] == ("seed", "0", "1")
    assert keys["eval.seed"] == ("test episodes", "1000", "3")
    assert keys["commit"] == ("code", "aaaaaaaaaaaa", "bbbbbbbbbbbb with uncommitted changes")
    assert keys["torch"] == ("versions", "2.13.0+cpu", "2.14")
    assert keys["used precision"] == ("machine", "float32", "bf16")
    assert keys["resumed bit for bit"] == ("course", "true", "false")
    assert any("not tested on the same episodes" in line for line in found.numbers)
    text = printed(found)
    assert text.index("test episodes:") < text.index("configuration:") < text.index("code:") < text.index("machine:")


def test_two_checkouts_with_changes_may_differ_though_their_commit_does_not(twins: tuple[Path, Path]) -> None:
    for folder in twins:
        changed(folder, git=Git("a" * 40, True))
    assert [(f.kind, f.key) for f in explained(*twins).findings] == [("code", "uncommitted changes")]


def test_an_untested_run_has_no_number(twins: tuple[Path, Path]) -> None:
    changed(twins[1], test=None)
    assert explained(*twins).numbers == ["There are no two numbers to compare: only one was tested."]


def test_a_folder_without_a_record_is_refused(tmp_path: Path, twins: tuple[Path, Path]) -> None:
    with pytest.raises(RunFolderError, match="is not a run folder"):
        explained(twins[0], tmp_path / "nothing")


def test_numbers_of_two_metrics_have_their_names_and_are_not_compared(make_run: MakeRun) -> None:
    """As those of a classification and of a regression."""
    accuracy, error = make_run("maml", 0), make_run("maml", 0, metric="mse")
    (line,) = explained(accuracy, error).numbers
    assert line.startswith("They were tested by different metrics: test accuracy ")
    assert ", and test mse " in line
    assert explained(error, make_run("maml", 0, metric="mse")).numbers[0].startswith("test mse: ")


@pytest.mark.parametrize(("model", "kind"), [("none", "other settings"), ("net", "configuration")])
def test_why_says_that_settings_of_a_network_that_was_not_made_decide_nothing(
    make_run: MakeRun, model: str, kind: str
) -> None:
    first, second = (make_run("own", 0, model=model, config={"model.width": width}) for width in (8, 9))
    assert ("model.width", kind) in [(finding.key, finding.kind) for finding in explained(first, second).findings]
