"""An algorithm whose constructor takes no network gets none: ``model`` changes no number, and that is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from metaexp.config.check import check
from metaexp.config.purpose import Purpose
from metaexp.core.errors import ConfigError
from metaexp.core.types import Examples
from metaexp.machine.device import Compute
from metaexp.results.record import read_record, write_record
from metaexp.run.build import Parts, build
from metaexp.run.evaluation.evaluate import evaluate_run
from metaexp.run.folder import RunFolder
from metaexp.run.initial.algorithm import build_algorithm
from metaexp.run.initial.network import Interface
from metaexp.run.integrity import check_run_files
from metaexp.run.job import format_start, resume_job, run_job
from metaexp.run.predict.predict import make_learner
from metaexp.run.progress import Lines

CPU = Compute(torch.device("cpu"), "test", "float32", 1, True, None)
SAID = "the constructor of algorithm=tiny has no argument `model`, so model="


@pytest.fixture(autouse=True)
def alone(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """An algorithm that draws its own weights takes the place of one that has none."""

    def construct(self: nn.Module) -> None:
        nn.Module.__init__(self)
        self.own = nn.Linear(1, 1)

    def predict(self: Any, adapted: Tensor, x: Tensor) -> Tensor:
        out: Tensor = self.own(x) + adapted
        return out

    monkeypatch.setattr(tiny.SupportMean, "__init__", construct)
    monkeypatch.setattr(tiny.SupportMean, "predict", predict)


def built(tiny: ModuleType, seed: int = 0, width: int = 8, name: str = "SupportMean", **how: Any) -> Parts:
    given = {} if name == "SupportMean" else {"inner_lr": 0.1}
    settings = tiny.settings(
        Path("unused"), seed=seed, model__width=width, algorithm={"_target_": f"tiny_runs.{name}", **given}
    )
    return build(settings, CPU, lambda _: None, **how)


def first_weight(parts: Parts) -> list[float]:
    weight: list[float] = next(parts.algorithm.parameters()).flatten().tolist()
    return weight


@pytest.mark.parametrize("begins", [True, False])
def test_its_weights_depend_on_the_seed_and_not_on_the_network_that_is_chosen(tiny: ModuleType, begins: bool) -> None:
    weight = first_weight(built(tiny, width=8, begins=begins))
    assert weight == first_weight(built(tiny, width=9, begins=begins))
    assert weight != first_weight(built(tiny, seed=1, begins=begins))
    other = [first_weight(built(tiny, width=width, name="TinyMAML", begins=begins)) for width in (8, 9)]
    assert other[0] != other[1]


def test_a_network_that_does_not_fit_the_data_does_not_matter(
    tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: nn.Module, **given: object) -> None:
        raise ConfigError("this network is for images")

    monkeypatch.setattr(tiny.Net, "__init__", lambda self, input_shape, n_outputs, width, dropout: refuse(self))
    built(tiny)
    with pytest.raises(ConfigError, match="this network is for images"):
        built(tiny, name="TinyMAML")


def test_it_is_said_once_where_a_run_begins(tiny: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    built(tiny)
    assert caplog.text.count(SAID) == 1
    caplog.clear()
    built(tiny, begins=False)
    built(tiny, name="TinyMAML")
    assert SAID not in caplog.text


@pytest.mark.parametrize("purpose", Purpose)
def test_weights_for_its_network_are_refused_in_a_new_run(tiny: ModuleType, tmp_path: Path, purpose: Purpose) -> None:
    (tmp_path / "some.pt").touch()
    known = tiny.settings(tmp_path)
    model = {"_target_": "tiny_runs.Net", "width": 8, "dropout": 0.1, "weights": str(tmp_path / "some.pt")}
    with_weights = {**known.resolved, "model": model}
    check(with_weights, known.choices, purpose)
    alone = {**with_weights, "algorithm": {"_target_": "tiny_runs.SupportMean"}}
    if purpose.is_new:
        with pytest.raises(ConfigError, match="no argument `model`, so it has no network to begin with these weights"):
            check(alone, known.choices, purpose)
    else:
        assert check(alone, known.choices, purpose).model.options["weights"] == model["weights"]


def test_a_run_of_before_that_did_not_use_its_weights_can_be_continued_and_tested(
    tiny: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "no_weights.pt").touch()
    model = {"_target_": "tiny_runs.Net", "width": 8, "dropout": 0.1, "weights": str(tmp_path / "no_weights.pt")}
    settings = tiny.settings(tmp_path, algorithm={"_target_": "tiny_runs.SupportMean"}, model=model)
    assert len(first_weight(build(settings, CPU, lambda _: None, begins=False))) == 1


def test_it_can_be_made_for_a_later_test(tiny: ModuleType) -> None:
    settings = tiny.settings(Path("unused"), algorithm={"_target_": "tiny_runs.SupportMean"})
    algorithm = build_algorithm(settings, Interface((1,), 1)).eval()
    x = torch.zeros(3, 1)
    assert algorithm.predict(algorithm.adapt(Examples(x, x)), x).shape == (3, 1)


def test_start_line_and_record_name_no_network(tiny: ModuleType, tmp_path: Path, silent: Lines) -> None:
    settings = tiny.settings(tmp_path, algorithm={"_target_": "tiny_runs.SupportMean"})
    run = run_job(settings, display=silent)
    assert run.record.model == "none"
    assert "INFO no network: 2 meta-parameters;" in (run.folder / "run.log").read_text()
    assert read_record(run.folder).model == "none"
    check_run_files(run.folder, run.record)  # choices.yaml has the name that was chosen
    evaluate_run(run.folder, display=silent)
    assert f"{run.record.algorithm} with no network," in repr(make_learner(RunFolder(run.folder), settings))
    assert "no network:" not in "\n".join(format_start(replace(run.record, model="Net"), "cpu", run.folder))


def test_a_record_of_before_that_names_the_chosen_network_is_read_tested_and_continued(
    tiny: ModuleType, tmp_path: Path, silent: Lines
) -> None:
    settings = tiny.settings(tmp_path, algorithm={"_target_": "tiny_runs.SupportMean"})
    run = run_job(settings, display=silent, stop_after=2)
    before = replace(run.record, model=settings.chosen_file("model"))
    assert before.model not in ("none", run.record.model)
    write_record(before, run.folder)
    assert read_record(run.folder) == before
    check_run_files(run.folder, before)
    assert resume_job(run.folder, silent).record.status == "completed"
