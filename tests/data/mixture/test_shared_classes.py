"""A mixture of two datasets of the same classes, each divided in its own way, trains on classes of its test."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from known_classes import forbid

import metaexp as mx
from metaexp.cli.main import main

SHARED = r"dataset=twice of one, other: \d+ of the \d+ test classes are training classes, too, such as \w+: "


TINY = [
    "dataset=twice", "algorithm=proto_net", "model=mlp", "model.hidden=[4]", "task=5way_1shot", "task.n_query=1",
    "train.steps=1", "train.meta_batch_size=2", "train.eval_episodes=2", "eval.episodes=2", "device=cpu",
    "tracker=files",
]  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, no_figures: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a file of examples, a file of others, and a mixture."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METAEXP_DATA", str(tmp_path))
    generator = np.random.default_rng(0)
    for name in ("one", "other"):
        x = generator.integers(0, 256, (80, 1, 4, 4), dtype=np.uint8)
        np.savez(tmp_path / f"{name}.npz", x=x, y=np.repeat(np.arange(40), 2))
    np.savez(tmp_path / "renamed.npz", x=np.load("one.npz")["x"], y=[f"class {row // 2}" for row in range(80)])
    (tmp_path / "conf" / "dataset").mkdir(parents=True)
    (tmp_path / "conf" / "dataset" / "twice.yaml").write_text(
        "defaults: [arrays@domains.one, arrays@domains.other, _self_]\n"
        "_target_: metaexp.data.mixture.dataset.Mixture\n"
        "domains:\n  one: {file: one.npz}\n  other: {file: one.npz}\n"
    )
    return tmp_path


def train(*overrides: str) -> mx.Run:
    return mx.train(*TINY, *overrides, config_dir="conf")


@pytest.mark.parametrize("other", ["one.npz", "renamed.npz"], ids=["by name", "by examples"])
def test_a_class_that_is_trained_on_in_another_part_of_a_mixture_is_not_tested(
    place: Path, other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    divided = [f"dataset.domains.other.file={other}", "dataset.domains.other.split_seed=3"]
    with pytest.raises(mx.ConfigError, match=SHARED + ".*same split_seed.*eval.test=false"):
        train(*divided)
    assert not Path("outputs").exists()
    capsys.readouterr()
    run = train(*divided, "eval.test=false")
    assert run.record.test is None
    assert "the same split_seed" in (shown := capsys.readouterr().err)
    assert "warning: dataset=twice of one, other: " in shown
    assert "validation classes are training classes, too" in shown


def test_the_same_classes_divided_in_the_same_way_are_tested(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train().record.test is not None
    assert train("dataset.domains.other.file=other.npz").record.val_classes_trained == 0
    assert "training classes, too" not in capsys.readouterr().err


DIVIDED = "dataset.domains.other.split_seed=3"
SEVERAL = {
    "plan": ["plan", "seed=0,1", f"{DIVIDED.partition('=')[0]}=0,3"],
    "train": ["train", "-m", "seed=0,1", f"{DIVIDED.partition('=')[0]}=0,3"],
    "search": ["search", "optimizer.lr=0.1,0.01", DIVIDED, "search.test_best=true", "search.trials=2"],
}


@pytest.mark.parametrize("verb", SEVERAL)
def test_a_command_of_several_jobs_says_it_once_and_loads_nothing(
    place: Path, verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(monkeypatch, "metaexp.data.mixture.dataset.Mixture.load")
    name, *words = SEVERAL[verb]
    assert main([name, "-cd", "conf", *TINY, *words]) == 2
    said = capsys.readouterr().err
    assert len(re.findall("test classes are training classes, too", said)) == 1
    assert "same split_seed" in said
    assert verb == "search" or ("job 1 (" in said and "The other 2 of 4 jobs are correct." in said)
    assert not Path("outputs").exists()


def test_a_plan_warns_of_validation_and_says_nothing_of_parts_divided_in_one_way(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "-cd", "conf", *TINY, "seed=0,1", DIVIDED, "eval.test=false"]) == 0
    assert re.search(r"every job: \S+ \S+ .*validation classes are training classes, too", capsys.readouterr().out)
    for alike in ("dataset.domains.other.split_seed=0", "dataset.domains.other.file=other.npz"):
        assert main(["plan", "-cd", "conf", *TINY, "seed=0,1", alike]) == 0
        assert "training classes, too" not in capsys.readouterr().out


def test_a_single_run_is_refused_before_its_data_are_loaded(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid(monkeypatch, "metaexp.data.mixture.dataset.Mixture.load")
    with pytest.raises(mx.ConfigError, match=SHARED):
        train(DIVIDED)


def test_other_classes_of_the_same_names_are_told_apart_by_the_name_of_the_file(place: Path) -> None:
    """Classes are named after their file, so that a file is known wherever it is."""
    (place / "elsewhere").mkdir()
    (place / "other.npz").rename(place / "elsewhere" / "one.npz")
    elsewhere = [DIVIDED, "dataset.domains.other.file=elsewhere/one.npz"]
    with pytest.raises(mx.ConfigError, match=SHARED + ".*rename the file or folder of one"):
        train(*elsewhere)
    (place / "elsewhere" / "one.npz").rename(place / "elsewhere" / "two.npz")
    assert train(DIVIDED, "dataset.domains.other.file=elsewhere/two.npz").record.test is not None
