"""Numbers, labels and calibrations that are given in Python: taken as they are meant, or refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import metaexp as mx
from metaexp.run.predict.given import as_labels, as_tensor

NUMBERS = np.array([[0.25, 1.5], [-3.0, 2.0]])


@pytest.mark.parametrize(
    "give",
    [
        np.float16,
        np.longdouble,
        lambda x: x.astype(">f4"),
        lambda x: x.astype("<f8"),
        np.asfortranarray,
        lambda x: x[::-1][::-1],
        lambda x: x.tolist(),
        torch.from_numpy,
        lambda x: torch.from_numpy(x).bfloat16().requires_grad_(),
    ],
)
def test_real_numbers_of_any_kind_are_the_same_numbers(give: Callable[[Any], Any]) -> None:
    found = as_tensor(give(NUMBERS), "x")
    assert (found.dtype, found.requires_grad, found.device.type) == (torch.float32, False, "cpu")
    assert torch.equal(found, torch.tensor([[0.25, 1.5], [-3.0, 2.0]]))
    assert not torch.equal(found, as_tensor(give(NUMBERS + 1), "x"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (NUMBERS.astype("complex64"), r"x is an array of complex64; give real numbers, such as x\.astype\('float32'\)"),
        (NUMBERS.astype(str), "x is an array of <U32; give real numbers"),
        (NUMBERS.astype(object), "x is an array of object; give real numbers"),
        (np.array(["2020-01-01"], "M8[D]"), r"x is an array of datetime64\[D\]"),
        ([[1.0, 2.0], [3.0]], "x is not an array of numbers: "),
        (torch.zeros(2, 2).to_sparse(), "x is a tensor that is float32, sparse_coo, on cpu; give a dense one of real"),
        (torch.zeros(2, 2, device="meta"), "x is a tensor that is float32, strided, on meta"),
        (torch.zeros(2, dtype=torch.complex64), "x is a tensor that is complex64, strided, on cpu"),
    ],
)
def test_what_are_not_real_numbers_is_refused(values: Any, message: str) -> None:
    with pytest.raises(mx.ConfigError, match=message):
        as_tensor(values, "x")


def test_a_number_that_float32_does_not_have_is_refused_without_a_warning_of_numpy(
    recwarn: pytest.WarningsRecorder,
) -> None:
    with pytest.raises(mx.ConfigError, match=r"x has values that are not finite as float32, such as 1e\+300"):
        as_tensor([1e300, 1.0], "x")
    assert not recwarn.list


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1, "wren", 3], "y has labels of several kinds, such as 1 and 'wren'. Give all as texts, or all as numbers"),
        (("a", 2.5, "b"), "y has labels of several kinds, such as 'a' and 2.5"),
        (["a", True, "b"], "y has labels of several kinds, such as 'a' and True"),
        ([b"a", "b", "c"], "y has labels of several kinds, such as b'a' and 'b'"),
        (np.array([1, "a", 2], object), "y has labels of several kinds"),
        (np.array([{}, {1: 2}, {}], object), "y has labels that cannot be sorted"),
        ({1, 2, 3}, r"y has shape \(\); give one label for each of the 3 examples"),
        (["a", None, "b"], "y has missing labels"),
        ([1.0, np.ma.masked, 2.0], "y has missing labels"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_labels_that_would_come_back_as_others_are_refused(y: Any, message: str) -> None:
    with pytest.raises(mx.ConfigError, match=message):
        as_labels(y, 3)


@pytest.mark.parametrize(
    ("y", "names"),
    [
        (["b", "a", np.str_("c")], ["a", "b", "c"]),
        ([2, 1.5, True], [1.0, 1.5, 2.0]),
        (np.array(["b", "a", "c"], object), ["a", "b", "c"]),
        (torch.tensor([7, 5, 9]), [5, 7, 9]),
    ],
)
def test_labels_of_one_kind_come_back_as_they_were_given(y: Any, names: list[Any]) -> None:
    found, numbers = as_labels(y, 3)
    assert found.tolist() == names
    assert [names[number] for number in numbers] == [label if isinstance(label, str) else float(label) for label in y]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> mx.Run:
    """A run on two-way two-shot tasks of vectors."""
    place = tmp_path_factory.mktemp("run")
    generator = np.random.default_rng(0)
    np.savez(place / "own.npz", x=generator.normal(size=(150, 3)).astype(np.float32), y=np.repeat(np.arange(15), 10))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metaexp.run.outputs.draw", lambda *_: {})
        return mx.train(
            "dataset=arrays", f"dataset.file={place / 'own.npz'}", "algorithm=proto_net", "model=mlp",
            "model.hidden=[4]", "task.n_way=2", "task.k_shot=2", "task.n_query=2", "train.steps=1",
            "train.meta_batch_size=1", "train.eval_episodes=2", "eval.episodes=6", "eval.weights=last", "device=cpu",
            "tracker=files", folder=place / "run",
        )  # fmt: skip


@pytest.mark.filterwarnings("error")
def test_sets_of_tasks_that_were_not_calibrated_for_bring_a_warning(run: mx.Run) -> None:
    two_shots = run.calibrate(0.8)
    x, query = np.eye(3, dtype=np.float32).repeat(2, 0), np.ones((2, 3), np.float32)
    learner = run.learner().adapt(x[:4], ["a", "a", "b", "b"])
    sets = learner.sets(query, two_shots)
    with pytest.warns(UserWarning, match=r"on 2-way 1-shot tasks, .* a 2-way 2-shot task, .*n_way=2, k_shot=2\)"):
        assert len(learner.sets(query, run.calibrate(0.8, k_shot=1))) == len(sets) == 2
    with pytest.warns(UserWarning, match=r"on 2-way 2-shot tasks, .* a 3-way 2-shot task, so the coverage"):
        run.learner().adapt(x, [0, 0, 1, 1, 2, 2]).sets(query, two_shots)
    with pytest.warns(UserWarning, match=r"on 2-way 2-shot tasks, .* a 2-way 1-shot task"):
        run.learner().adapt(x[:3], [0, 0, 1]).sets(query, two_shots)
    with pytest.raises(mx.ConfigError, match=r"0\.9 is not a calibration; give what run\.calibrate\(0\.9\) returns"):
        learner.sets(query, 0.9)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("level", "wanted", "message"),
    [
        (0.8, {"episodes": 0}, r"a coverage of 0\.8 needs at least 4 calibration episodes; 0 were asked for"),
        (0.8, {"k_shot": 0}, r"task\.k_shot=0"),
        (0.8, {"n_way": 0}, r"task\.n_way=0"),
        (80, {}, r"a coverage of 80 \(level, or --conformal\) must be between 0 and 1"),
    ],
)
def test_zero_is_not_the_default_of_a_calibration(
    run: mx.Run, level: float, wanted: dict[str, int], message: str, tmp_path: Path
) -> None:
    with pytest.raises(mx.ConfigError, match=message):
        run.calibrate(level, **wanted)
    assert run.calibrate(0.8).n_episodes == 6
