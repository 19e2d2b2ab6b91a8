"""A mixture of two datasets of the same classes, each divided in its own way, trains on classes of its test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import metaexp as mx

SHARED = r"dataset=twice of one, other: \d+ of the \d+ test classes are training classes, too, such as \w+: "


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
    return mx.train(
        "dataset=twice", "algorithm=proto_net", "model=mlp", "model.hidden=[4]", "task=5way_1shot", "task.n_query=1",
        "train.steps=1", "train.meta_batch_size=2", "train.eval_episodes=2", "eval.episodes=2", "device=cpu",
        "tracker=files", *overrides, config_dir="conf",
    )  # fmt: skip


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
