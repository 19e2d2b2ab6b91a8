"""The page on speed shows what the records of its benchmarks say, and the steps are compared as it says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from programs import load_program

from metaexp.core.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "speed.md"
RECORDS = ROOT / "benchmarks" / "records"


@pytest.mark.parametrize(
    ("record", "key"), [("learners_cpu", "ratio"), ("learners_cpu_again", "ratio"), ("whole_runs", "mb_training")]
)
def test_the_page_is_that_of_the_records(record: str, key: str, tmp_path: Path) -> None:
    page = load_program("benchmarks/speed_page.py")
    text = PAGE.read_text()
    assert page.on_page(text) == text, "run python benchmarks/speed_page.py --page docs/speed.md"
    shutil.copytree(RECORDS, tmp_path / "records")
    path = tmp_path / "records" / f"{record}.json"
    found = json.loads(path.read_text())
    next(iter(found["results"].values()))[key] += 1.0
    path.write_text(json.dumps(found))
    assert page.on_page(text, tmp_path / "records") != text


def test_a_difference_beyond_rounding_stops_a_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    agreement = load_program("benchmarks/agreement.py")
    loss, gradients = torch.tensor(2.0).double(), {"a": torch.ones(3).double(), "b": torch.full((2,), 1e-4).double()}
    for factor, said in ((1 + 1e-12, None), (1 + 1e-7, "differ by 1.0e-07"), (torch.nan, "differ by")):
        for other in ((loss * factor, gradients), (loss, gradients | {"b": gradients["b"] * factor})):
            if said is None:
                assert agreement.require_equal("it", other, (loss, gradients), 1e-5) < agreement.TOLERANCE
                continue
            with pytest.raises(SystemExit, match=f"it: the (losses|gradients of b) {said}"):
                agreement.require_equal("it", other, (loss, gradients), 1e-5)


def test_a_step_is_timed_only_after_its_loss_and_gradients_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    learners = load_program("benchmarks/learners.py")
    pair = learners.in_type(learners.torch.float64, "anil")
    assert learners.check_equal("anil", pair) < 1e-8
    wrong = pair._replace(plain_loss=lambda: pair.plain_loss() * 1.001)
    with pytest.raises(SystemExit, match="the losses differ by"):
        learners.check_equal("anil", wrong)
    off = pair._replace(arrange=lambda gradients: [*gradients[:-1], gradients[-1] * (1 + 1e-6)])
    with pytest.raises(SystemExit, match="the gradients of .*bias differ by 1.0e-06"):
        learners.check_equal("anil", off)
    share = learners.share_of_products(learners.step(pair.ours, pair.our_loss))
    assert 0.05 < share < 0.95


@pytest.mark.parametrize("wrong", [None, "lstm.weight_hh", "input_gate.bias"])
def test_meta_lstm_is_timed_only_after_the_gradient_of_each_parameter_agrees(
    wrong: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    benchmark = load_program("benchmarks/meta_lstm.py")
    setting = benchmark.Setting((1, 16, 16), 1, 2)
    ours, plain = benchmark.meta_lstm(setting), benchmark.Plain(setting)
    plain.copy_weights(ours)
    names = [name for name, p in plain.named_parameters() if p.requires_grad]
    by_gate = benchmark.gradients_by_gate

    def a_little_off(*arguments: object) -> list[object]:
        named = zip(names, by_gate(*arguments), strict=True)
        return [gradient * (1 + 1e-6) if name == wrong else gradient for name, gradient in named]

    monkeypatch.setattr(benchmark, "gradients_by_gate", a_little_off)
    if wrong is None:
        benchmark.check_equal(ours, plain, benchmark.tasks(setting, 1, benchmark.torch.device("cpu")))
        return
    with pytest.raises(SystemExit, match=f"Meta-LSTM: the gradients of {wrong} differ by"):
        benchmark.check_equal(ours, plain, benchmark.tasks(setting, 1, benchmark.torch.device("cpu")))


def test_relation_net_is_timed_only_after_the_gradient_of_each_parameter_agrees(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    benchmark = load_program("benchmarks/relation_net.py")
    ours, plain = benchmark.relation_net((1, 28, 28), 1), benchmark.Plain((1, 28, 28), 1)
    plain.copy_weights(ours)
    task = benchmark.task((1, 28, 28), benchmark.TaskShape(2, 1, 2), benchmark.torch.device("cpu"))
    benchmark.check_equal(ours, plain, task)

    wrong = benchmark.Plain((1, 28, 28), 1)
    wrong.copy_weights(ours)
    loss_of = benchmark.Plain.loss

    def off(module: Any, episode: object) -> Any:
        next(module.parameters()).register_hook(lambda gradient: gradient * (1 + 1e-6))
        return loss_of(module, episode)

    monkeypatch.setattr(benchmark.Plain, "loss", off)
    with pytest.raises(SystemExit, match=r"the gradients of embedding\.0\.weight differ by 1.0e-06"):
        benchmark.check_equal(ours, wrong, task)


@pytest.mark.parametrize("wrong", [None, "rate", "order", "a small gradient"])
def test_maml_is_timed_only_after_the_gradient_of_each_parameter_agrees(
    wrong: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    benchmark = load_program("benchmarks/maml.py")
    monkeypatch.setattr(benchmark, "N_TASKS", 2)
    device, ours = benchmark.torch.device("cpu"), benchmark.ours

    def off(model: Any, episodes: object, chunk_size: int | None, first_order: bool = False) -> Any:
        if chunk_size is None and wrong == "order":
            return ours(model, episodes, chunk_size, not first_order)
        side = ours(model, episodes, chunk_size, first_order)
        if chunk_size is None and wrong == "a small gradient":
            smallest = min((p for p in model.parameters() if p.dim() == 1), key=len)
            smallest.register_hook(lambda gradient: gradient * (1 + 1e-6))
        return side

    if wrong in ("order", "a small gradient"):
        monkeypatch.setattr(benchmark, "ours", off)
    if wrong == "rate":
        made, rates = benchmark.MAML, iter([2.0, 2.001] * 4)
        monkeypatch.setattr(benchmark, "MAML", lambda model, _, *rest: made(model, next(rates), *rest))
    if wrong is None:
        benchmark.check_equal(None, device)
        return
    said = {"rate": "the losses differ", "order": "the gradients of", "a small gradient": "differ by 1.0e-06"}
    with pytest.raises(SystemExit, match=f"all tasks at once.*{said[wrong]}"):
        benchmark.check_equal(None, device)


def test_learn2learn_computes_the_step_that_it_is_timed_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    benchmark = load_program("benchmarks/maml.py")
    try:
        package = benchmark.import_learn2learn()
    except ConfigError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(benchmark, "N_TASKS", 2)
    benchmark.check_equal(package, benchmark.torch.device("cpu"))
    theirs = benchmark.theirs
    monkeypatch.setattr(benchmark, "theirs", lambda *given: theirs(*given[:3], first_order=True))
    with pytest.raises(SystemExit, match="learn2learn, and a loop over tasks: the gradients of"):
        benchmark.check_equal(package, benchmark.torch.device("cpu"))
