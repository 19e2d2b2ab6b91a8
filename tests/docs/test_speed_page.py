"""The page on speed shows what the records of its benchmarks say, and the steps are compared as it says."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from programs import load_program

from metaexp.core.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "speed.md"
RECORDS = ROOT / "benchmarks" / "records"


@pytest.fixture
def learners() -> ModuleType:
    return load_program("benchmarks/learners.py")


@pytest.mark.parametrize(
    ("record", "key"),
    [
        *((name, "ratio") for name in load_program("benchmarks/speed_page.py").LEARNERS),
        ("whole_runs", "cache_seconds"),
        ("memory", "mb_peak"),
        ("task_chunk", "ratio"),
        ("validation", "ratio"),
    ],
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


def test_a_step_is_timed_only_after_its_loss_and_gradients_agree(learners: ModuleType) -> None:
    pair = learners.in_type(torch.float64, "anil")
    assert learners.check_equal("anil", pair) < 1e-8
    wrong = pair._replace(plain_backward=lambda: pair.plain_backward() * 1.001)
    with pytest.raises(SystemExit, match="the losses differ by"):
        learners.check_equal("anil", wrong)
    off = pair._replace(arrange=lambda gradients: [*gradients[:-1], gradients[-1] * (1 + 1e-6)])
    with pytest.raises(SystemExit, match="the gradients of .*bias differ by 1.0e-06"):
        learners.check_equal("anil", off)
    share = learners.share_of_products(learners.step(pair.ours, pair.our_backward))
    assert 0.05 < share < 0.95


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("meta_lstm", ["lstm.weight_hh", "input_gate.bias"]),
        ("relation_net", ["embedding.0.weight"]),
        ("maml_against_learn2learn", ["module.blocks.0.norm.bias", "module.head.bias"]),
    ],
)
def test_the_gradient_of_each_parameter_is_compared(
    name: str, parameters: list[str], learners: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a small one, such as that of Meta-LSTM's recurrent weights. Of learn2learn's 32 tasks, two are enough."""
    pairs = sys.modules[learners.PAIRS[name].__module__]
    few_tasks = pairs.few_tasks
    monkeypatch.setattr(pairs, "few_tasks", lambda shape, count=pairs.TASKS: few_tasks(shape, min(count, 2)))
    try:
        pair = learners.in_type(torch.float64, name)
    except ConfigError as error:
        pytest.skip(str(error))
    assert learners.check_equal(name, pair) < 1e-8
    for parameter in parameters:
        wrong = pair.plain.get_parameter(parameter).register_hook(lambda gradient: gradient * (1 + 1e-6))
        with pytest.raises(SystemExit, match=f"{name}: the gradients of {parameter} differ by 1.0e-06"):
            learners.check_equal(name, pair)
        wrong.remove()


def test_the_table_of_learners_is_one_of_many_columns_which_stand_closer_together() -> None:
    page = (ROOT / "docs/speed.md").read_text()
    (header,) = re.findall(r"^\| Learner .*\|$", page, re.MULTILINE)
    rules = (ROOT / "docs/_site/site.css").read_text()
    ((fewest, padding),) = re.findall(
        r"has\(th:nth-child\((\d+)\)\) :is\(th, td\) \{\s*padding-inline: ([\d.]+)em", rules
    )
    assert header.count("|") - 1 >= int(fewest)
    assert float(padding) < 1.25  # that of other tables


def test_only_columns_of_sentences_and_of_names_are_wide() -> None:
    rules = (ROOT / "docs/_site/site.css").read_text().split("}")
    wide = [rule for rule in rules if re.search(r"min-width: [1-9]", rule)]
    assert len(wide) == 3
    for rule in wide:
        selector = rule.partition("{")[0]
        assert "td:first-child" in selector or ':not([style*="right"])' in selector, selector
