"""From Python: the same runs as on the command line, bit for bit, and what can be done with them."""

from __future__ import annotations

import errno
import hashlib
import inspect
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from changed_settings import CALLS, unchanged_settings

import metaexp as mx
from metaexp.cli.main import main
from metaexp.compare.gather import gather
from metaexp.core.errors import ConfigError, MetaexpError, RunFolderError
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode
from metaexp.data.base import MetaDataset
from metaexp.models.torch_settings import settings_now
from metaexp.results.record import read_record
from metaexp.results.run_table import RunTable
from metaexp.run.initial.command import compose_run
from metaexp.run.integrity import check_numbers
from metaexp.run.job import run_job

SMALL = [
    "algorithm=proto_net", "model=mlp", "model.hidden=[8]", "dataset.train_classes=8", "dataset.val_classes=5",
    "dataset.test_classes=5", "dataset.per_class=6", "train.steps=3", "train.meta_batch_size=2", "train.eval_every=2",
    "train.eval_episodes=4", "eval.episodes=6", "device=cpu", "tracker=files", "device.threads=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> mx.Run:
    return mx.train(*SMALL, folder=tmp_path_factory.mktemp("runs") / "one", seed=3)


def test_importing_the_package_takes_no_torch_and_lists_every_name() -> None:
    code = (
        "import sys, metaexp; print(sorted(m for m in ('torch', 'numpy', 'hydra') if m in sys.modules), dir(metaexp))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[] ")
    assert all(f"'{name}'" in done.stdout for name in mx.__all__)
    assert all(getattr(mx, name) is not None for name in mx.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        mx.trian  # type: ignore[attr-defined]  # noqa: B018 - a type checker sees it, too


def test_a_run_from_python_is_that_of_the_command_line_to_the_last_bit(run: mx.Run, tmp_path: Path) -> None:
    def files(folder: Path) -> list[bytes]:
        return [(folder / name).read_bytes() for name in ("metrics.jsonl", "checkpoints/best.safetensors")]

    assert main(["train", *SMALL, "seed=3", f"hydra.run.dir={tmp_path / 'cli'}"]) == 0
    assert files(tmp_path / "cli") == files(run.folder)
    other = mx.train(*SMALL, folder=tmp_path / "other", seed=4)
    assert files(other.folder) != files(run.folder)
    assert mx.train(*SMALL, f"hydra.run.dir={tmp_path / 'there'}").folder == tmp_path / "there"


@pytest.mark.parametrize("given", [SMALL, ("seed=3",), {"seed": 3}, 3, None])
def test_what_is_not_a_text_is_refused_as_an_override(given: object) -> None:
    for function in (mx.train, lambda item: mx.dataset("glyphs", item)):
        with pytest.raises(ConfigError, match=r" is not an override: each is a text .* Write \* in front of a list"):
            function(given)


def test_a_long_thing_that_is_not_an_override_is_named_by_its_beginning_and_its_length() -> None:
    with pytest.raises(ConfigError, match=r"^\['a+\.\.\. \(5,004 characters\) is not an override: "):
        mx.train(["a" * 5000])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^'a+\.\.\. \(5,000 characters\)' is not an override; write key=value"):
        mx.train("a" * 5000)


def test_a_run_is_read_from_its_place_after_the_current_folder_has_changed(
    run: mx.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.folder.parent)
    found = mx.load_run(run.folder.name)
    monkeypatch.chdir(tmp_path)
    assert list(found.figures) == list(run.figures) != []
    assert found.metrics == run.metrics
    assert found.settings == run.settings
    assert found.learner().interface == run.learner().interface
    with pytest.raises(RunFolderError, match="is not a run folder: there is no such folder"):
        mx.load_run(run.folder.name)


def test_modes_of_torch_around_a_call_change_no_number(tmp_path: Path) -> None:
    lines = ["algorithm=maml", *SMALL[1:]]
    glyphs = [line for line in SMALL if line.startswith("dataset.")]

    def results(folder: Path) -> list[object]:
        run = mx.train(*lines, folder=folder)
        episode = mx.dataset("glyphs", *glyphs).episodes("test", [3])
        x, y, query = episode.support.x[0], episode.support.y[0], episode.query.x[0]
        scores = [run.learner().adapt(x, y).scores(query), run.learner().adapt(x.tolist(), y.tolist()).scores(query)]
        names = ("metrics.jsonl", "test_episodes.csv", "checkpoints/best.safetensors")
        return [*((folder / name).read_bytes() for name in names), *(item.tobytes() for item in (x.numpy(), *scores))]

    usual = results(tmp_path / "usual")
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
            assert results(tmp_path / "again") == usual
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_loaded_run_has_settings_record_metrics_and_episodes(run: mx.Run) -> None:
    found = mx.load_run(run.folder)
    assert found.record == run.record
    assert found.settings.seed == 3
    assert found.metrics[-1]["step"] == 3
    assert [line["val/accuracy"] for line in found.metrics if "val/accuracy" in line] != []
    assert np.mean(found.test_episodes[-1]) == pytest.approx(
        json.loads((run.folder / "record.json").read_text())["test"]["mean"]
    )
    assert "test accuracy" in repr(found)


CHANGES = {
    "a digit": lambda text: text.replace('"step": 2', '"step": 1', 1),
    "cut": lambda text: text[: len(text) // 2],
    "a line after the test": lambda text: text + '{"step": 3, "train/loss": 0.5}\n',
    "the last line": lambda text: "".join(text.splitlines(keepends=True)[:-1]),
    "twice": lambda text: text * 2,
    "none": lambda text: "",
    "the mean of the test": lambda text: text.replace('"test/accuracy": 0', '"test/accuracy": 1', 1),
    "a key of the test": lambda text: text.replace('"test/ci95"', '"test/ci96"', 1),
    "the interval of the test": lambda text: text.replace('"test/ci95": 0', '"test/ci95": 1', 1),
    "the step of the test": lambda text: text.replace('{"step": 3, "test/', '{"step": 4, "test/', 1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_metrics_that_are_not_those_of_the_run_are_refused(run: mx.Run, tmp_path: Path, change: str) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    path = tmp_path / "run" / "metrics.jsonl"
    assert mx.load_run(tmp_path / "run").metrics == run.metrics
    path.write_text(CHANGES[change](path.read_text()))
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl"):
        mx.load_run(tmp_path / "run").metrics  # noqa: B018


def rotate_episodes(path: Path) -> None:
    """The mean and its interval stay what they are; pairs with the episodes of other runs do not."""
    header, first, *rest = path.read_text().splitlines()
    values = [line.partition(",")[2] for line in [*rest, first]]
    path.write_text("\n".join([header, *(f"{number},{line}" for number, line in enumerate(values)), ""]))


def test_episodes_in_another_order_are_refused_by_all_who_read_them(run: mx.Run, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("run", "other")]
    for folder in folders:
        shutil.copytree(run.folder, folder)
    content = (run.folder / "test_episodes.csv").read_bytes()
    assert run.record.test_episodes_sha256 == hashlib.sha256(content).hexdigest()
    assert mx.load_run(folders[0]).test_episodes == run.test_episodes
    assert explain_runs(*folders) == 0
    rotate_episodes(folders[0] / "test_episodes.csv")
    with pytest.raises(RunFolderError, match=r"test_episodes\.csv was changed after the test"):
        mx.load_run(folders[0]).test_episodes  # noqa: B018
    with pytest.raises(RunFolderError, match="was changed after the test"):
        check_numbers(folders[0], read_record(folders[0]))
    assert explain_runs(*folders) == 4
    assert [out.reason for out in gather([folders[0]]).left_out] == [
        "test_episodes.csv was changed after the test: its SHA-256 is not that of the record. Restore it."
    ]


def explain_runs(first: Path, second: Path) -> int:
    return main(["why", str(first), str(second)])


def test_episodes_that_are_not_those_of_the_record_are_refused(run: mx.Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    path = tmp_path / "run" / "test_episodes.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], lines[-1].rpartition(",")[0] + ",0.015625", ""]))
    with pytest.raises(RunFolderError, match=r"the mean of test_episodes\.csv is not the test result of record\.json"):
        mx.load_run(tmp_path / "run").test_episodes  # noqa: B018
    path.write_text("\n".join([*lines[:-1], ""]))
    with pytest.raises(RunFolderError, match=r"has 5 episodes where record\.json says 6"):
        mx.load_run(tmp_path / "run").test_episodes  # noqa: B018


def test_a_folder_that_cannot_be_read_is_an_error_of_metaexp(run: mx.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path, **_: object) -> object:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "stat", denied)
    for action in (lambda: mx.load_run(run.folder), lambda: run.metrics, lambda: mx.compare_runs([run.folder])):
        with pytest.raises(MetaexpError, match="cannot be used: Permission denied"):
            action()


def test_predictions_on_arrays_are_those_of_the_evaluation(run: mx.Run) -> None:
    """Each test episode, adapted to and predicted from arrays, has the accuracy that the run recorded."""
    from metaexp.machine.device import use_device
    from metaexp.run.build import load_dataset

    with use_device(run.settings.device) as compute:
        dataset = load_dataset(run.settings, compute, lambda _: None)
        source = dataset.tasks(run.settings.task.shape, run.settings.eval.seed)
    import torch

    names = np.array(["ash", "beech", "cedar", "elm", "fir"])
    for index, recorded in enumerate(run.test_episodes[-1]):
        episode = source.episodes("test", torch.tensor([index]))
        (x, y, _), (query, truth, _) = episode
        learner = run.adapt(x[0].numpy(), names[y[0].numpy()])
        found = learner.predict(query[0])
        assert np.mean(found == names[truth[0].numpy()]) == pytest.approx(recorded)
        assert learner.scores(query[0].tolist()).shape == (len(found), 5)
        assert list(run.predict(x[0], y[0], query[0])) == [int(np.flatnonzero(names == name)[0]) for name in found]


def test_examples_that_do_not_fit_are_refused_with_what_would(run: mx.Run) -> None:
    with pytest.raises(ConfigError, match=r"x has shape \(5, 3\); this run takes \(S, 1, 28, 28\)"):
        run.adapt(np.zeros((5, 3)), np.arange(5))
    with pytest.raises(ConfigError, match="y has shape \\(4,\\); give one label for each of the 5 examples"):
        run.adapt(np.zeros((5, 1, 28, 28)), np.arange(4))


def test_runs_are_compared_as_data(run: mx.Run, tmp_path: Path) -> None:
    others = [mx.train(*SMALL, "algorithm=nearest_neighbour", folder=tmp_path / f"nn{s}", seed=s) for s in (3, 4)]
    found = mx.compare([run, *others], by=["algorithm"])
    labels = sorted(row["label"] for row in found.rows)
    assert ["nearest_neighbour" in labels[0], "proto_net" in labels[1]] == [True, True]
    assert sorted(len(row["seeds"]) for row in found.rows) == [1, 2]
    assert {row["mean"] for row in found.rows} >= {run.record.test.mean if run.record.test else None}
    (pair,) = found.pairs
    assert {pair["first"], pair["second"]} == {row["label"] for row in found.rows}
    with pytest.raises(RunFolderError):
        mx.compare_runs(tmp_path / "nowhere")
    with pytest.raises(RunFolderError, match=r"^none of these runs can be compared: there are none\.$"):
        mx.compare([])


def test_both_names_of_a_comparison_take_the_same_arguments() -> None:
    short, long = (inspect.signature(function).parameters.values() for function in (mx.compare, mx.compare_runs))
    assert [(one.name, one.kind, one.default) for one in short] == [(one.name, one.kind, one.default) for one in long]


def test_later_tests_and_other_metrics_are_compared_as_on_the_command_line(tmp_path: Path) -> None:
    settings = [*SMALL, "algorithm=nearest_neighbour", "eval.metrics=[nll]"]
    trained = [mx.train(*settings, folder=tmp_path / f"nn{seed}", seed=seed) for seed in (3, 4)]
    for one in trained:
        one.evaluate("task.k_shot=2", "task.n_query=2")
    assert [len(row["seeds"]) for row in mx.compare(trained).rows] == [2]
    later = mx.compare(trained, evaluations=True)
    assert sorted(len(row["seeds"]) for row in later.rows) == [2, 2]
    (row,) = mx.compare(trained, metric="nll").rows
    losses = [one.record.metrics[0].mean for one in trained]
    assert row["mean"] == pytest.approx(sum(losses) / 2)
    with pytest.raises(ConfigError, match="evaluations=True compares accuracies or squared errors"):
        mx.compare(trained, metric="nll", evaluations=True)


def test_the_folder_of_a_sweep_is_refused_for_a_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"hydra\.sweep\.dir is the folder of a sweep; give hydra\.run\.dir"):
        mx.train(*SMALL, f"hydra.sweep.dir={tmp_path}/sweep")
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_exceptions_of_metaexp(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="algoritm is not a key"):
        mx.train("algoritm=maml")
    with pytest.raises(RunFolderError, match="there is no such folder"):
        mx.load_run(tmp_path / "nowhere")
    assert issubclass(ConfigError, mx.MetaexpError)


@pytest.fixture
def outputs(run: mx.Run, tmp_path: Path) -> Path:
    """A folder with the run, one of another algorithm, one whose record is damaged, and a folder without a record."""
    shutil.copytree(run.folder, tmp_path / "outputs" / "a")
    mx.train(*SMALL, "algorithm=nearest_neighbour", folder=tmp_path / "outputs" / "b", seed=4)
    shutil.copytree(run.folder, tmp_path / "outputs" / "c")
    (tmp_path / "outputs" / "c" / "record.json").write_text("{")
    (tmp_path / "outputs" / "d").mkdir()
    return tmp_path / "outputs"


def test_runs_are_listed_as_rows_by_columns_and_by_keys_of_the_configuration(run: mx.Run, outputs: Path) -> None:
    table = mx.runs(outputs)
    assert [row["algorithm"] for row in table] == ["proto_net", "nearest_neighbour"]
    assert [(row["seed"], row["status"], row["n_way"]) for row in table] == [(3, "completed", 5), (4, "completed", 5)]
    assert table[0]["test"] == (run.record.test.mean if run.record.test else None)
    assert list(table.left_out) == [outputs / "c"]
    assert [row["seed"] for row in mx.runs(outputs, algorithm="nearest_neighbour")] == [4]
    assert [row["seed"] for row in mx.runs(outputs, seed=[3, 4])] == [3, 4]
    assert len(mx.runs(outputs, **{"train.steps": 3})) == 2
    assert [row["seed"] for row in mx.runs(outputs, optimizer="adam", task="5way_1shot")] == [3, 4]
    assert len(mx.runs(outputs, optimizer="sgd")) == 0
    assert [row["seed"] for row in mx.runs(outputs, folder=str(outputs / "b"))] == [4]
    assert len(mx.runs(outputs, **{"train.steps": 4})) == 0
    assert len(mx.runs(outputs / "a", outputs / "b", algorithm="proto_net", seed=4)) == 0
    assert [row["seed"] for row in table[1:]] == [4]
    with pytest.raises(
        ConfigError,
        match=r"no run has a key algoritm\. Did you mean algorithm\? Known: folder, name,.* keys of the configuration",
    ):
        mx.runs(outputs, algoritm="maml")
    with pytest.raises(RunFolderError, match="there is no such folder"):
        mx.runs(outputs / "nowhere")


SAID_OF_VALUES: list[tuple[dict[str, Any], str]] = [
    (
        {"algorithm": "proto_nett"},
        r"algorithm=proto_nett: no run has it.* Did you mean proto_net\? The runs have proto_",
    ),
    ({"algorithm": ["proto_net", "Mamll"]}, "algorithm=Mamll: .*METAEXP_CONFIG_DIR or metaexp.toml"),
    ({"dataset": "omniglott"}, r"dataset=omniglott: .*Did you mean omniglot\? The runs have glyphs\."),
    ({"task": "5way-1shot"}, r"task=5way-1shot: .*Did you mean 5way_1shot\? The runs have 5way_1shot\."),
    ({"optimizer": "adamw"}, r"optimizer=adamw: .*Did you mean adam\?"),
    ({"experiment": "maml_sinusoids"}, r"Did you mean maml_sinusoid\? No run has any"),
    ({"seed": "3"}, r"seed='3' is a text, so no run has it\. The runs have 3, 4\."),
    ({"name": 3}, r"name=3 is not a text, so no run has it\."),
    ({"train.steps": ["three"]}, r"train\.steps='three' is a text"),
]


def test_a_value_that_no_run_can_have_is_warned_of_with_the_nearest(outputs: Path) -> None:
    for filters, said in SAID_OF_VALUES:
        with pytest.warns(UserWarning, match=said) as heard:
            mx.runs(outputs, **filters)
        assert [warning.filename for warning in heard] == [__file__]


@pytest.mark.parametrize("kind", [np.array, frozenset, iter, lambda seeds: dict.fromkeys(seeds).keys()])
def test_several_values_may_be_in_any_collection(outputs: Path, kind: Callable[[list[int]], Any]) -> None:
    assert [row["seed"] for row in mx.runs(outputs, seed=kind([3, 4]))] == [3, 4]
    assert [row["seed"] for row in mx.runs(outputs, seed=kind([4, 5]))] == [4]


def test_a_path_is_a_text(outputs: Path, recwarn: pytest.WarningsRecorder) -> None:
    assert len(mx.runs(outputs, folder=Path("nowhere"))) == 0
    assert not recwarn.list


def test_a_value_that_a_run_may_have_another_day_is_not_warned_of(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    (tmp_path / "conf" / "algorithm").mkdir(parents=True)
    (tmp_path / "conf" / "algorithm" / "of_my_own.yaml").write_text("_target_: metaexp.algorithms.maml.MAML\n")
    monkeypatch.setenv("METAEXP_CONFIG_DIR", str(tmp_path / "conf"))
    for filters in ({"algorithm": "maml"}, {"algorithm": "of_my_own"}, {"seed": 7}, {"name": "mine"}, {"notes": "x"}):
        assert len(mx.runs(outputs, **filters)) == 0
    assert not recwarn.list
    monkeypatch.delenv("METAEXP_CONFIG_DIR")
    with pytest.warns(UserWarning, match="algorithm=of_my_own: no run has it"):
        mx.runs(outputs, algorithm="of_my_own")


def test_a_status_that_there_is_not_is_an_error(outputs: Path) -> None:
    assert len(mx.runs(outputs, status=["failed", "completed"])) == 2
    with pytest.raises(ConfigError, match=r"status='complete' is not a status of runs\. Did you mean completed\?"):
        mx.runs(outputs, status="complete")


def test_a_table_and_a_comparison_show_which_runs_they_leave_out(outputs: Path) -> None:
    bad = RunTable([], {Path(f"run_{number}"): "<b>damaged" for number in range(12)})
    comparison = mx.compare_runs(outputs, by="algorithm")
    assert [item.name for item in comparison.left_out] == ["c"]
    table = mx.runs(outputs)
    for shown, name in ((comparison, "c: "), (table, f"{outputs / 'c'}: ")):
        for text in (repr(shown), shown._repr_html_()):
            assert text.count(f"left out: {name}") == 1
    assert repr(bad).count("damaged") == bad._repr_html_().count("&lt;b&gt;damaged") == 10
    assert all("left out: 2 more, see left_out" in text for text in (repr(bad), bad._repr_html_()))
    whole = mx.runs(outputs / "a", outputs / "b")
    for complete in (whole, mx.compare_runs(whole, by="algorithm")):
        assert "left out" not in repr(complete) + complete._repr_html_()


def test_a_table_of_runs_is_shown_compared_and_made_a_frame(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = mx.runs(outputs)
    assert repr(table).count("test accuracy") == 2
    assert table._repr_html_().count("<tr>") == 3
    comparison = mx.compare_runs(table, by=["algorithm"])
    assert {row["label"] for row in comparison.rows} == {"nearest_neighbour", "proto_net"}
    assert mx.compare_runs(table, by="algorithm").rows == comparison.rows
    table.rows[0]["name"] = "<script>"
    assert "<script>" not in table._repr_html_()
    for found in (table, comparison):
        monkeypatch.setitem(sys.modules, "pandas", None)
        with pytest.raises(ConfigError, match="needs pandas: pip install pandas"):
            found.to_frame()
        monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=lambda rows: ("frame", rows)))  # type: ignore[arg-type]
        assert found.to_frame() == ("frame", found.rows)


def test_a_dataset_has_the_very_episodes_of_a_run(run: mx.Run) -> None:
    glyphs = mx.dataset("glyphs", *(line for line in SMALL if line.startswith("dataset.")))
    assert glyphs.digest == run.record.data_hash
    assert (glyphs.kind, glyphs.input_shape) == ("classification", (1, 28, 28))
    assert glyphs.capacity == {"train": (8, 6), "val": (5, 6), "test": (5, 6)}
    episodes = glyphs.episodes("test", range(6))
    found = [
        np.mean(
            run.predict(episodes.support.x[i], episodes.support.y[i], episodes.query.x[i])
            == episodes.query.y[i].numpy()
        )
        for i in range(6)
    ]
    assert found == pytest.approx(run.test_episodes[-1])
    assert not np.array_equal(glyphs.episodes("test", [0], seed=7).support.x, episodes.support.x[:1])
    with pytest.raises(ConfigError, match=r"split=tset is unknown; there are train, val, test"):
        glyphs.episodes("tset", [0])  # type: ignore[arg-type]
    for wrong in ([], [-1], 5, [1.0], ["1"], None):
        with pytest.raises(ConfigError, match=re.escape(f"indices={wrong} must be at least one whole number >= 0")):
            glyphs.episodes("test", wrong)  # type: ignore[arg-type]
    assert np.array_equal(glyphs.episodes("test", np.arange(2)).support.x, episodes.support.x[:2])
    with pytest.raises(ConfigError, match="glyfs"):
        mx.dataset("glyfs")


@pytest.mark.parametrize("name", CALLS)
def test_episodes_leave_the_settings_of_torch_as_the_caller_has_them(name: str) -> None:
    """Also where a dataset of one's own changes them."""
    change, _ = CALLS[name]
    found = mx.dataset("sinusoid")
    source = found.data.tasks(TaskShape(0, 1, 1), 0)
    episode = source.episodes("test", torch.arange(1))

    def episodes(*_: object) -> Episode:
        change()
        return episode

    found.data = cast(MetaDataset, SimpleNamespace(tasks=lambda *_: SimpleNamespace(episodes=episodes)))
    with unchanged_settings():
        before = settings_now()
        assert found.episodes("test", [0]) is episode
        assert settings_now() == before
        change()
        assert settings_now() != before


def test_compare_is_the_function_and_the_package() -> None:
    """In a process that knows no other name of metaexp, whatever was imported before."""
    code = """
import os, sys
import metaexp as mx
assert "torch" not in sys.modules
import matplotlib.figure, torch  # once, not in every case
for before in ("", "mx.runs", "mx.train", "from metaexp.compare.comparison import compare"):
    if child := os.fork():
        assert os.waitpid(child, 0)[1] == 0, before
        continue
    exec(before)
    try:
        mx.compare("nowhere", by=["seed"])
    except mx.MetaexpError as error:
        print(error, flush=True)
    from metaexp.compare.rows import RowOfRuns
    assert callable(mx.compare) and mx.compare.__name__ == "metaexp.compare"
    os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.count("nowhere: there is no such folder") == 4, done.stderr
    assert done.returncode == 0, done.stderr


def test_the_import_takes_a_tenth_of_a_second_of_work() -> None:
    """Counted in modules, which no load of the machine changes: none of its own rooms is imported, and no library."""
    code = "import sys; before = set(sys.modules); import metaexp; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = {name for name in done.stdout.split() if name.partition(".")[0] not in sys.stdlib_module_names}
    assert found == {"metaexp", "metaexp.compare"}  # a docstring, made callable
    assert len(done.stdout.split()) < 15


def test_a_run_that_was_stopped_continues_from_python_to_the_last_bit(run: mx.Run, tmp_path: Path) -> None:
    new = compose_run([*SMALL, "seed=3"])
    run_job(new.settings, new.provenance, tmp_path / "stopped", stop_after=2)
    assert mx.load_run(tmp_path / "stopped").record.status == "interrupted"
    for words, keywords in (
        ("a resumed run stays in its own folder", {"folder": tmp_path / "other"}),
        ("a resumed run continues with its own configuration; remove seed=4", {"seed": 4}),
    ):
        with pytest.raises(ConfigError, match=words):
            mx.train(f"resume={tmp_path / 'stopped'}", **keywords)
    with pytest.raises(RunFolderError):
        mx.train(f"resume={tmp_path / 'nowhere'}")
    done = mx.train(f"resume={tmp_path / 'stopped'}")
    assert done.folder == tmp_path / "stopped"
    assert done.record.status == "completed"
    assert done.metrics == run.metrics
    assert done.metrics != mx.train(*SMALL, folder=tmp_path / "another", seed=4).metrics


def test_one_package_can_be_trusted_by_its_name(run: mx.Run) -> None:
    assert mx.load_run(run.folder, trust="json").folder == run.folder
    with pytest.raises(ConfigError, match="^trust=no_such_package: there is no such package"):
        mx.load_run(run.folder, trust="no_such_package")


class NotAvailable:
    """As NA of pandas."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise TypeError("boolean value of NA is ambiguous")


@pytest.mark.parametrize("missing", [None, float("nan"), np.datetime64("NaT"), NotAvailable()])
def test_a_label_that_is_missing_is_refused(run: mx.Run, missing: object) -> None:
    learner = run.learner()
    x = np.zeros((4, *learner.interface.input_shape), np.float32)
    y = np.array([1.0, 2.0, 1.0, missing], dtype=object)
    with pytest.raises(ConfigError, match="y has missing labels"):
        learner.adapt(x, y)
    names = learner.adapt(x, [1.0, 2.0, 1.0, 2.0]).names
    assert names is not None
    assert names.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("mask", [[False, False, False, True], [True] * 4])
def test_values_below_a_mask_are_not_taken(run: mx.Run, mask: list[bool]) -> None:
    learner = run.learner()
    x, y = np.zeros((4, *learner.interface.input_shape), np.float32), [1, 2, 1, 2]
    for masked in (np.ma.array(y, mask=mask), [*np.ma.array(y, mask=mask)], [1, 2, 1, np.ma.masked]):
        with pytest.raises(ConfigError, match=r"y has missing labels \(None, NaN, NA or masked\)"):
            learner.adapt(x, masked)
    hidden = np.ma.array(x)
    hidden[np.array(mask)] = np.ma.masked
    adapted = learner.adapt(x, y)
    for masked in (hidden, [*hidden]):
        with pytest.raises(ConfigError, match=r"x has masked values \(numpy\.ma\).* or fill it in"):
            learner.adapt(masked, y)
        with pytest.raises(ConfigError, match="the query has masked values"):
            adapted.predict(masked)
    unmasked = np.ma.array(y, mask=False)
    names = learner.adapt(np.ma.array(x), unmasked).names
    assert names is not None
    assert names.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda _: mx.train(config_dir="nope"), "config_dir=nope: there is no such folder"),
        (lambda _: mx.dataset("glyphs", config_dir="nope"), "config_dir=nope: there is no such folder"),
        (lambda _: mx.dataset("glyphs", trust=["a.b"]), "trust=a.b: give the name of one top-level package"),
        (lambda _: mx.train("hydra.searchpath=[x]"), "config_dir=DIR"),
        (lambda run: mx.compare([run], by="nope"), "by=nope: no run has this key"),
    ],
)
def test_an_error_names_the_argument_and_not_the_option_of_the_command_line(
    run: mx.Run, capsys: pytest.CaptureFixture[str], call: Callable[[mx.Run], object], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        call(run)
    assert said in str(caught.value)
    assert "--" not in str(caught.value)
    assert main(["compare", str(run.folder), "--by", "nope"]) == 2
    assert "--by nope: no run has this key" in capsys.readouterr().err
