"""eval.metrics=[per_class]: the accuracy of each named class, from the test episodes to pages and comparisons."""

from __future__ import annotations

import csv
import shutil
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import torch

import metaexp as mx
from metaexp.cli.main import main
from metaexp.compare.gather import gather
from metaexp.core.errors import ConfigError, RunFolderError
from metaexp.core.metric import extra_metric
from metaexp.core.types import EpisodeClasses
from metaexp.data.base import TaskSource
from metaexp.report.publish import publish
from metaexp.report.rows import Entry
from metaexp.report.run_page import format_run_page
from metaexp.results.per_class.files import CLASSES_FILE, CONFUSIONS_FILE, Confusion, over_episodes, read_classes
from metaexp.results.record import read_record

SMALL = [
    "algorithm=proto_net", "model=mlp", "model.hidden=[8]", "dataset.train_classes=8", "dataset.val_classes=5",
    "dataset.test_classes=7", "dataset.per_class=6", "train.steps=3", "train.meta_batch_size=2", "train.eval_every=2",
    "train.eval_episodes=4", "eval.episodes=40", "device=cpu", "tracker=files", "device.threads=1",
]  # fmt: skip
WITH = "eval.metrics=[per_class,nll]"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> mx.Run:
    """A run with the metric, and with figures."""
    return mx.train(*SMALL, WITH, folder=tmp_path_factory.mktemp("runs") / "with")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> mx.Run:
    """The same run without it, and with figures."""
    return mx.train(*SMALL, "eval.metrics=[nll]", folder=tmp_path_factory.mktemp("runs") / "without")


def test_answers_are_added_up_by_class() -> None:
    first = EpisodeClasses(("a", "b", "c"), [[2, 1, 0], [0, 3, 0], [1, 2, 0]])
    second = EpisodeClasses(("c", "a"), [[1, 0], [1, 1]])
    c, a, b = over_episodes([first, second])
    assert (c.name, c.right, c.queries, c.episodes) == ("c", 1, 4, 2)
    assert c.confusions == (Confusion("b", 2, 3), Confusion("a", 1, 4))
    assert (a.name, a.right, a.queries, a.confusions) == ("a", 3, 5, (Confusion("b", 1, 3), Confusion("c", 1, 5)))
    assert (b.accuracy, b.confusions) == (1.0, ())


def test_the_metric_is_the_mean_over_classes_and_ignores_classes_without_a_query() -> None:
    scores = torch.eye(3)[[0, 0, 1, 2, 1]]
    y = torch.tensor([0, 0, 0, 0, 1])
    assert float(extra_metric("per_class", scores, y)) == pytest.approx((0.5 + 1.0) / 2)


def test_the_files_agree_with_each_other_and_with_the_test(run: mx.Run) -> None:
    right, queries = defaultdict[int, int](int), defaultdict[int, int](int)
    by_class, right_of = Counter[str](), Counter[str]()
    with (run.folder / CONFUSIONS_FILE).open(newline="") as file:
        for row in csv.DictReader(file):
            episode, count = int(row["episode"]), int(row["queries"])
            queries[episode] += count
            by_class[row["class"]] += count
            if row["class"] == row["taken_for"]:
                right[episode] += count
                right_of[row["class"]] += count
    assert [right[i] / queries[i] for i in range(40)] == pytest.approx(run.test_episodes[-1])
    with (run.folder / CLASSES_FILE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["class"]: int(row["queries"]) for row in rows} == by_class
    assert {row["class"]: int(row["right"]) for row in rows if row["right"] != "0"} == right_of
    assert [float(row["accuracy"]) for row in rows] == sorted(float(row["accuracy"]) for row in rows)
    assert len(rows) == 7
    assert all(name.startswith("test/") for name in by_class)
    assert sum(by_class.values()) == 40 * 5 * 5
    found = read_classes(run.folder / CLASSES_FILE, run.record.test_classes_sha256)
    assert [str(item.right) for item in found] == [row["right"] for row in rows]
    assert found[0].confusions[0].name == rows[0]["taken_for_1"]
    assert (run.folder / "plots" / "hardest_classes.png").is_file()


def test_no_other_number_changes(run: mx.Run, plain: mx.Run) -> None:
    assert plain.record.test == run.record.test
    assert plain.record.episode_bank == run.record.episode_bank
    assert plain.record.config_hash == run.record.config_hash
    assert plain.test_episodes == run.test_episodes
    assert plain.record.metrics == [score for score in run.record.metrics if score.metric == "nll"]
    assert plain.record.test_classes_sha256 is None
    assert not (plain.folder / CLASSES_FILE).exists()
    assert not (plain.folder / "plots" / "hardest_classes.png").exists()


@pytest.mark.usefixtures("no_figures")
def test_a_later_test_a_page_and_a_comparison_show_the_classes(
    run: mx.Run, plain: mx.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = mx.train(*SMALL, "eval.metrics=[per_class]", "algorithm=nearest_neighbour", folder=tmp_path / "other")
    hardest = read_classes(run.folder / CLASSES_FILE, run.record.test_classes_sha256)[0]
    assert main(["compare", str(run.folder), str(other.folder), "--output", str(tmp_path / "page")]) == 0
    printed = capsys.readouterr().out
    assert "Accuracy of the hardest classes:" in printed
    assert hardest.name in printed
    page = (tmp_path / "page" / "README.md").read_text()
    assert f"{hardest.accuracy * 100:.1f} %" in page[page.index("accuracy of the hardest classes") :]
    assert "Hardest classes" in (tmp_path / "page" / "index.html").read_text()
    with (tmp_path / "page" / "classes.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 14
    mine = [line for line in lines if line["row"] == "proto_net" and line["class"] == hardest.name]
    assert [float(line["accuracy"]) for line in mine] == [hardest.accuracy]

    assert main(["compare", str(plain.folder), str(other.folder), "--output", str(tmp_path / "page")]) == 0
    assert not (tmp_path / "page" / "classes.csv").exists()
    assert "hardest classes" not in (tmp_path / "page" / "README.md").read_text()

    capsys.readouterr()
    assert main(["evaluate", str(plain.folder), "eval.metrics=[per_class]"]) == 0
    printed = capsys.readouterr().out
    assert f"hardest of 7 classes: {hardest.name} {hardest.accuracy * 100:.1f} % of {hardest.queries} que" in printed
    (file_of_test,) = (plain.folder / "evaluations").glob("*_classes.csv")
    assert file_of_test.read_bytes() == (run.folder / CLASSES_FILE).read_bytes()

    copy = publish(run.folder, tmp_path / "results", "mine")
    text = format_run_page(Entry("mine", read_record(copy), stale=False), copy)
    assert "| Hardest of 7 classes | Accuracy | Queries | Taken for |" in text
    assert f"| {hardest.name} | {hardest.accuracy * 100:.1f} % | {hardest.queries} |" in text


def test_a_changed_file_is_refused(run: mx.Run, tmp_path: Path) -> None:
    path = Path(shutil.copytree(run.folder, tmp_path / "runs" / "run")) / CLASSES_FILE
    path.write_text(path.read_text().replace("test/", "tset/", 1))
    with pytest.raises(RunFolderError, match="was changed after the test"):
        read_classes(path, run.record.test_classes_sha256)
    found = gather([tmp_path / "runs"])
    assert found.runs == []
    assert "was changed after the test" in found.left_out[0].reason
    path.unlink()  # a copy that was published without it
    assert gather([tmp_path / "runs"]).runs[0].classes == ()


@pytest.mark.usefixtures("no_figures")
def test_data_without_names_have_the_metric_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run: mx.Run
) -> None:
    monkeypatch.setattr("metaexp.data.classification.tasks.ClassTasks.class_names", TaskSource.class_names)
    unnamed = mx.train(*SMALL, WITH, folder=tmp_path / "run")
    assert "does not name the classes of its episodes" in "".join(capsys.readouterr())
    assert unnamed.record.metrics == run.record.metrics
    assert not (unnamed.folder / CLASSES_FILE).exists()


def test_regression_has_no_classes() -> None:
    with pytest.raises(ConfigError, match="per_class is not a metric of regression"):
        mx.train("dataset=sinusoid", WITH)
