"""Runs on a mixture of datasets: every algorithm, episodes of any size, and a result for each dataset."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from metaexp.cli.main import main
from metaexp.config.compose import Composer
from metaexp.config.schema import Settings
from metaexp.core.algorithm import Algorithm
from metaexp.core.intervals import mean_interval
from metaexp.core.over_tasks import over_tasks
from metaexp.doctor.differences import largest_difference
from metaexp.machine.device import use_device
from metaexp.machine.single_rank import SINGLE
from metaexp.run.build import build, make_step
from metaexp.run.evaluation.evaluator import Evaluator

FILE = """
defaults:
  - glyphs@domains.old
  - glyphs@domains.new
  - _self_
_target_: metaexp.data.mixture.dataset.Mixture
least_ways: null
varied_shots: false
most_support: 500
unequal_queries: false
alike: 1
stand_in: false
domains:
  old: {train_classes: 8, val_classes: 6, test_classes: 6, per_class: 8}
  new: {train_classes: 7, val_classes: 6, test_classes: 6, per_class: 10, seed: 5}
"""
ANY_WAY = ["dataset.least_ways=2", "dataset.varied_shots=true", "dataset.unequal_queries=true"]
ANY_SHOT = ["dataset.varied_shots=true", "dataset.unequal_queries=true"]
ALGORITHMS = {
    "proto_net": ("conv4", ANY_WAY),
    "matching_net": ("conv4", ANY_WAY),
    "relation_net": ("relation_embedding", ANY_WAY),
    "nearest_neighbour": ("conv4", ANY_WAY),
    "fine_tune": ("conv4", ANY_WAY),
    "maml": ("omniglot_conv", ANY_SHOT),
    "anil": ("omniglot_conv", ANY_SHOT),
    "maml_plus_plus": ("omniglot_conv", ANY_SHOT),
    "meta_sgd": ("omniglot_conv", ANY_SHOT),
    "reptile": ("omniglot_conv", ANY_SHOT),
    "meta_lstm": ("conv4_ravi", ANY_SHOT),
}


SHORT = {
    "fine_tune": ["algorithm.tune_steps=4"],
    "reptile": ["algorithm.inner_steps=3", "algorithm.inner_steps_test=4"],
    "maml_plus_plus": ["algorithm.inner_steps=2", "algorithm.inner_steps_test=2"],
    "meta_lstm": ["algorithm.inner_epochs=3", "algorithm.inner_epochs_test=4"],
}
"""Inner loops of fewer steps, where there are many."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the data, which are drawn once."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def own(tmp_path: Path, data: Path, no_figures: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a mixture of one's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(data / "cache"))
    (tmp_path / "data").symlink_to(data)
    (tmp_path / "conf" / "dataset").mkdir(parents=True)
    (tmp_path / "conf" / "dataset" / "two_hands.yaml").write_text(FILE)
    return tmp_path


def overrides(own: Path, algorithm: str, *more: str) -> list[str]:
    model, sampling = ALGORITHMS[algorithm]
    return [
        f"algorithm={algorithm}", *SHORT.get(algorithm, []), f"model={model}", "model.channels=8",
        "dataset=two_hands", *sampling, "task.n_way=4", "task.k_shot=3",
        "task.n_query=2", "train.meta_batch_size=3", "train.steps=2", "train.eval_every=2", "train.eval_episodes=4",
        "eval.episodes=8", "device=cpu", "tracker=files",
        f"paths.data={own / 'data'}", f"paths.outputs={own / 'out'}", *more,
    ]  # fmt: skip


def settings(own: Path, algorithm: str, *more: str) -> Settings:
    return Composer(own / "conf").settings(overrides(own, algorithm, *more))


def gradients_of(algorithm: Algorithm) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in algorithm.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_every_algorithm_computes_episodes_of_any_size_as_if_each_were_alone(own: Path, algorithm: str) -> None:
    chosen = settings(own, algorithm)
    with use_device(chosen.device) as compute:
        parts = build(chosen, compute, print)
        source = parts.dataset.tasks(chosen.task.shape, 0)
        indices = torch.arange(6)
        assert len(source.alike("test", indices)) > 2
        together = Evaluator(source, 0, compute, 6).evaluate(parts.algorithm, "test", 6, lambda _: None)
        alone = Evaluator(source, 0, compute, 1).evaluate(parts.algorithm, "test", 6, lambda _: None)
        assert torch.allclose(together.per_episode, alone.per_episode)
        assert together.domains == ("old", "new") * 3
        if parts.optimizer is None:
            return
        step = make_step(chosen, parts, compute, SINGLE)
        assert step is not None
        parts.algorithm.train()
        parts.algorithm.set_progress(1, 2)
        losses = step.compute_mean(1).losses
        gradients = gradients_of(parts.algorithm)
        step.optimizer.zero_grad()
        expected, before = [], {name: t.clone() for name, t in parts.algorithm.state_dict().items()}
        for index in step.indices(1):
            loss = over_tasks(parts.algorithm.meta_loss, parts.train_source.episodes("train", index[None]), 1)
            (loss.sum() / step.tasks).backward()
            parts.algorithm.load_state_dict(before)  # Reptile carries Adam's moments from task to task
            expected.append(loss.detach())
        assert torch.allclose(losses, torch.cat(expected), rtol=1e-4, atol=1e-5)
        assert largest_difference(gradients, gradients_of(parts.algorithm), 1e-2)[1] < 1e-3
        if step.tasks > 1:
            assert not torch.allclose(losses, torch.cat(expected).flip(0))


def test_a_run_has_a_result_for_each_dataset_in_record_file_and_comparison(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(2):
        for learner in ("proto_net", "nearest_neighbour"):
            command = ["train", *overrides(own, learner, f"seed={seed}"), "--config-dir", str(own / "conf")]
            assert main(command) == 0
    printed = capsys.readouterr().out
    assert "test on old " in printed
    runs = sorted((own / "out").glob("proto_net*"))
    record = json.loads((runs[0] / "record.json").read_text())
    assert record["dataset"] == "two_hands of old, new, any way, any shot"
    rows = list(csv.DictReader((runs[0] / "test_episodes.csv").open()))
    assert [row["domain"] for row in rows] == ["old", "new"] * 4
    for name, score in record["domains"].items():
        values = [float(row["after_0"]) for row in rows if row["domain"] == name]
        interval = mean_interval(values)
        assert (score["mean"], score["ci95"], score["n_episodes"]) == (interval.mean, interval.ci95, 4)
    total = sum(score["mean"] for score in record["domains"].values()) / 2
    assert record["test"]["mean"] == pytest.approx(total)
    assert main(["compare", str(own / "out"), "--output", str(own / "compared")]) == 0
    table = capsys.readouterr().out
    for name in ("two_hands of old, new, any way, any shot: old", "two_hands of old, new, any way, any shot: new"):
        assert name in table
    assert main(["evaluate", str(runs[0]), "eval.episodes=6", "--config-dir", str(own / "conf")]) == 0
    assert "test on old " in capsys.readouterr().out
    assert main(["show", str(runs[0])]) == 0
    assert "test on old " in capsys.readouterr().out
    assert main(["evaluate", str(runs[0]), "task.k_shot=1", "eval.episodes=6", "--config-dir", str(own / "conf")]) == 0
    assert main(["compare", str(own / "out"), "--evaluations", "--output", str(own / "also")]) == 0
    assert "any shot: new, 4-way 1-shot" in " ".join(capsys.readouterr().out.split())
    kept, _ = (runs[0] / "evaluations").glob("*.csv")
    assert kept.read_text().splitlines()[0].endswith(",domain")


def test_a_mixture_passes_every_check_of_a_dataset(
    own: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAEXP_DATA", str(own / "data"))
    command = ["check", "dataset=two_hands", "--config-dir", str(own / "conf")]
    assert main(command) == 0
    assert main([*command, "dataset.varied_shots=true"]) == 2
    assert "these checks compare episodes of one shape" in capsys.readouterr().err


def test_a_file_of_episodes_with_another_domain_is_refused(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *overrides(own, "nearest_neighbour"), "--config-dir", str(own / "conf")]) == 0
    (run,) = (own / "out").iterdir()
    file = run / "test_episodes.csv"
    file.write_text(file.read_text().replace(",old", ",new", 1))
    capsys.readouterr()
    assert main(["compare", str(run)]) != 0
    assert "test_episodes.csv" in capsys.readouterr().err


def test_a_run_continues_on_the_same_episodes(own: Path) -> None:
    for _ in range(2):
        assert main(["train", *overrides(own, "proto_net"), "--config-dir", str(own / "conf")]) == 0
    first, second = (json.loads((run / "record.json").read_text()) for run in sorted((own / "out").iterdir()))
    for key in ("episode_bank", "data_hash", "test_episodes_sha256", "config_hash"):
        assert first[key] == second[key]
    assert main(["train", *overrides(own, "proto_net", "eval.seed=9"), "--config-dir", str(own / "conf")]) == 0
    third = json.loads((max((own / "out").iterdir()) / "record.json").read_text())
    assert third["episode_bank"] != first["episode_bank"]


@pytest.mark.parametrize(
    ("algorithm", "more", "message"),
    [
        ("maml", ["dataset.least_ways=2"], "MAML has one output for each class. Set dataset.least_ways=null"),
        ("proto_net", ["dataset.least_ways=1"], "dataset.least_ways=1 leaves nothing to tell apart"),
        ("proto_net", ["dataset.stand_in=true"], None),
        ("proto_net", ["dataset.domains.old.per_class=0"], "dataset.domains.old.per_class=0 must be an integer >= 1"),
        ("proto_net", ["+dataset.domains.more={_target_: os.system}"], "is refused, and nothing of it was imported"),
    ],
)
def test_what_cannot_be_mixed_is_refused(
    own: Path, capsys: pytest.CaptureFixture[str], algorithm: str, more: list[str], message: str | None
) -> None:
    code = main(["train", *overrides(own, algorithm, *more, "train.steps=0"), "--config-dir", str(own / "conf")])
    if message is None:  # glyphs have no real images, so there is nothing to replace
        assert code == 0
        return
    assert code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("domains", "message"),
    [
        ({}, "dataset.domains has 0 datasets; a mixture needs at least two"),
        ("one", "dataset.domains has 1 dataset; a mixture needs at least two"),
        ("sinusoid", "dataset.domains.b is for regression; a mixture is of classification datasets"),
        ("mixture", "dataset.domains.b is a mixture itself"),
    ],
)
def test_other_data_do_not_mix(domains: Any, message: str) -> None:
    from metaexp.core.errors import ConfigError
    from metaexp.data.glyphs import Glyphs
    from metaexp.data.mixture.dataset import Mixture
    from metaexp.data.sinusoid import Sinusoid

    glyphs = Glyphs(5, 5, 5, 5, 0)
    other = {
        "sinusoid": Sinusoid([0.1, 5.0], [0.0, 3.0], [-5.0, 5.0]),
        "mixture": Mixture({"a": glyphs, "b": glyphs}),
    }
    mixed = {"one": {"a": glyphs}} | {name: {"a": glyphs, "b": found} for name, found in other.items()}
    with pytest.raises(ConfigError, match=message):
        Mixture(domains if isinstance(domains, dict) else mixed[domains])
