"""A composed configuration checked as a whole: every problem, at once, in words that help."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from metaexp.config import check as check_module
from metaexp.config.check import check
from metaexp.config.purpose import Purpose
from metaexp.config.schema import Settings
from metaexp.core.errors import ConfigError, MachineError
from metaexp.core.fit.task_fit import DataFacts, Tasks, fit_problems
from metaexp.core.shapes import Capacity, TaskShape

CHOICES = {"algorithm": "maml", "dataset": "glyphs", "task": "5way_1shot"}
GOOD: dict[str, Any] = {
    "seed": 0,
    "train": {
        "steps": 10,
        "meta_batch_size": 4,
        "n_way": 5,
        "k_shot": 1,
        "n_query": 15,
        "eval_every": 5,
        "eval_episodes": 8,
        "checkpoint_every": 5,
        "log_every": 1,
    },
    "eval": {"episodes": 8, "seed": 1000},
    "task": {"n_way": 5, "k_shot": 1, "n_query": 15},
    "device": {
        "accelerator": "cpu",
        "precision": "float32",
        "threads": None,
        "deterministic": True,
        "task_chunk": None,
    },
    "paths": {"data": "./data", "outputs": "./outputs"},
    "algorithm": {
        "_target_": "metaexp.algorithms.maml.MAML",
        "inner_lr": 0.4,
        "inner_steps": 1,
        "inner_steps_test": 3,
        "first_order": False,
        "inner_loss_reduction": "mean",
        "adapt": "all",
        "batch_norm": "transductive",
    },
    "model": {
        "_target_": "metaexp.models.mlp.MLP",
        "hidden": [40],
        "use_batch_norm": False,
        "norm_scale": False,
        "norm_eps": 1.0e-3,
        "weight_init": "default",
        "init_std": 0.01,
    },
    "dataset": {
        "_target_": "metaexp.data.glyphs.Glyphs",
        "train_classes": 20,
        "val_classes": 10,
        "test_classes": 12,
        "per_class": 20,
        "seed": 0,
    },
    "optimizer": {"_target_": "torch.optim.Adam", "lr": 1, "betas": [0.9, 0.999]},
    "schedule": {"_target_": "metaexp.core.optim.Constant"},
    "clip": {"_target_": "metaexp.core.optim.NoClip"},
    "tracker": {},
}
MISSING = object()

MLFLOW = {
    "_target_": "metaexp.tracking.mlflow.MlflowTracker",
    "uri": "sqlite:///a.db",
    "experiment": "metaexp",
    "artifacts": False,
    "flush_seconds": 10.0,
    "timeout": 10.0,
}


def changed(**changes: Any) -> dict[str, Any]:
    """The good configuration with values at dotted keys (``__`` for a full stop) replaced or taken out."""
    config = copy.deepcopy(GOOD)
    for path, value in changes.items():
        *sections, key = path.split("__")
        node = config
        for section in sections:
            node = node[section]
        if value is MISSING:
            del node[key]
        else:
            node[key] = value
    return config


def problems(config: dict[str, Any], choices: dict[str, str] = CHOICES) -> list[str]:
    """What is wrong with it; [] when nothing is."""
    try:
        check(config, choices, Purpose.CONTINUE)
    except ConfigError as error:
        return error.problems
    return []


def test_a_good_configuration_becomes_typed_settings() -> None:
    settings = check(GOOD, CHOICES, Purpose.CONTINUE)
    assert isinstance(settings, Settings)
    assert settings.train.shape == TaskShape(5, 1, 15)
    assert settings.algorithm.arguments["inner_lr"] == 0.4
    assert settings.choices == CHOICES
    assert settings.experiment is None
    assert settings.reference is None


def test_numbers_are_kept_in_one_form_so_that_equal_settings_have_equal_hashes() -> None:
    assert repr(check(GOOD, CHOICES, Purpose.CONTINUE).resolved["optimizer"]["lr"]) == "1.0"
    assert repr(check(GOOD, CHOICES, Purpose.CONTINUE).resolved["train"]["steps"]) == "10"


CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown key of a section": (
        {"train__stps": 3},
        ["train.stps is not a key of train. Did you mean train.steps?"],
    ),
    "unknown argument of a class": (
        {"algorithm__inner_lrr": 3},
        ["algorithm.inner_lrr is not an argument of metaexp.algorithms.maml.MAML. Did you mean algorithm.inner_lr?"],
    ),
    "a name that is like none of its section": (
        {"algorithm__momentum": 3},
        [
            "algorithm.momentum is not an argument of metaexp.algorithms.maml.MAML. Known: inner_lr, inner_steps, "
            "inner_steps_test, first_order, inner_loss_reduction, adapt, batch_norm, engine."
        ],
    ),
    "unknown key at the top": ({"seeed": 3}, ["seeed is not a key of the configuration. Did you mean seed?"]),
    "a key with no near name": (
        {"eval__zzz": 3},
        ["eval.zzz is not a key of eval. Known: episodes, seed, test, weights, metrics."],
    ),
    "the right key in the wrong section": (
        {"eval__meta_batch_size": 3},
        ["eval.meta_batch_size is not a key of eval. Did you mean train.meta_batch_size?"],
    ),
    "an argument where there is none": (
        {"clip__threshold": 3},
        ["clip.threshold is not an argument of metaexp.core.optim.NoClip. There are none."],
    ),
    "missing value": (
        {"algorithm__inner_lr": MISSING},
        ["algorithm.inner_lr is missing; it must be a finite number > 0."],
    ),
    "missing section": ({"schedule": MISSING}, ["schedule is missing; the configuration must have it."]),
    "value left open": ({"seed": "???"}, ["seed has no value; give it one: it must be an integer >= 0."]),
    "wrong type": ({"train__steps": "many"}, ["train.steps=many must be an integer >= 0."]),
    "a number in quotation marks": (
        {"train__steps": "4"},
        ["train.steps='4' must be an integer >= 0, and is text. Write 4, without quotation marks."],
    ),
    "a switch in quotation marks": (
        {"eval__test": "true"},
        ["eval.test='true' must be true or false, and is text. Write true, without quotation marks."],
    ),
    "a list in quotation marks": (
        {"model__hidden": "[8, 8]"},
        [
            "model.hidden='[8, 8]' must be a list, each item an integer, and is text. Write [8, 8], without quotation "
            "marks."
        ],
    ),
    "a negative number in quotation marks": ({"train__steps": "-4"}, ["train.steps=-4 must be an integer >= 0."]),
    "a file chosen by its name alone": (
        {"optimizer": "adam"},
        [
            "optimizer=adam must be a mapping. A file of the group optimizer is chosen by `- override /optimizer: "
            "adam` in the defaults at the top of your file, or by optimizer=adam on the command line."
        ],
    ),
    "a device chosen by its name alone": (
        {"device": "cpu"},
        [
            "device=cpu must be a mapping. A file of the group device is chosen by `- override /device: cpu` "
            "in the defaults at the top of your file, or by device=cpu on the command line."
        ],
    ),
    "what belongs on the command line": (
        {"experiment": "mine"},
        ["experiment is not a key of the configuration. It belongs on the command line, not in a file: experiment=..."],
    ),
    "a key with a dot": (
        {"train.steps": 4},
        [
            "train.steps is not a key of the configuration. A file has no dots in keys. Write train: and below it, "
            "indented, steps: ..."
        ],
    ),
    "a fraction of a step": ({"train__steps": 1.5}, ["train.steps=1.5 must be an integer >= 0."]),
    "a switch that is a number": ({"algorithm__first_order": 1}, ["algorithm.first_order=1 must be true or false."]),
    "not a number": ({"optimizer__lr": float("nan")}, ["optimizer.lr=nan must be a finite number >= 0."]),
    "infinite": ({"algorithm__inner_lr": float("inf")}, ["algorithm.inner_lr=inf must be a finite number > 0."]),
    "not a number in a list": (
        {"optimizer__betas": [0.9, float("nan")]},
        ["optimizer.betas=[0.9,nan] must be a list of 2, each item a finite number >= 0 and < 1."],
    ),
    "zero shots": ({"task__k_shot": 0}, ["task.k_shot=0 must be an integer >= 1."]),
    "negative shots": ({"train__k_shot": -1}, ["train.k_shot=-1 must be an integer >= 1."]),
    "an unlisted choice": (
        {"algorithm__adapt": "some"},
        ["algorithm.adapt=some must be one of all, no_batch_norm, head."],
    ),
    "a section that is a number": ({"train": 3}, ["train=3 must be a mapping."]),
    "a node without a class": ({"clip": 3}, ["clip=3 must be a mapping with a _target_ that names a class."]),
    "a tracker that is a number": ({"tracker": 3}, ["tracker=3 must be a mapping from names to trackers, or {}."]),
    "a tracker without a name": (
        {"tracker": {"_target_": "my_code.trackers.Mine", "url": 3}},
        [
            "tracker._target_=my_code.trackers.Mine stands at the top of its file, and several trackers may run at "
            "once. Put the lines of each one under a key of your choice: mine: {_target_: ...}."
        ],
    ),
    "a mistyped name of a tracker": (
        {"tracker": {"mlflow": MLFLOW, "mlfow": {"uri": "sqlite:///b.db"}}},
        ["tracker.mlfow has no _target_ that names its class. Did you mean tracker.mlflow?"],
    ),
    "a mistyped name of a domain": (
        {
            "dataset": {
                "_target_": "metaexp.data.mixture.dataset.Mixture",
                "domains": {"old": GOOD["dataset"], "odl": {"seed": 5}},
            }
        },
        ["dataset.domains.odl has no _target_ that names its class. Did you mean dataset.domains.old?"],
    ),
    "what the framework provides": (
        {"model__n_outputs": 3},
        ["model.n_outputs comes from the framework. Remove it."],
    ),
    "a switch of hydra's instantiate": (
        {"model___partial_": True},
        ["model._partial_ is not a key; only _target_ is special. Remove it."],
    ),
    "a class of another kind": (
        {"model___target_": "metaexp.algorithms.maml.MAML"},
        [
            "model._target_=metaexp.algorithms.maml.MAML is not a Network; model needs a class derived from "
            "metaexp.models.base.Network or from torch.nn.Module."
        ],
    ),
    "a class that is not there": (
        {"optimizer___target_": "torch.optim.Adamm"},
        ["optimizer._target_=torch.optim.Adamm: torch.optim has no class Adamm. Did you mean Adam?"],
    ),
    "a file that names its own section": (
        {"clip": {"clip": {"_target_": "metaexp.core.optim.NoClip"}}},
        [
            "clip={clip:{_target_:metaexp.core.optim.NoClip}} must be a mapping with a _target_ that names a class. "
            "Remove the line `clip:` from its file, and the blanks before the lines below it."
        ],
    ),
    "a module that is not there": (
        {"clip___target_": "metaexp.core.clips.NoClip"},
        ["clip._target_=metaexp.core.clips.NoClip: there is no module metaexp.core.clips."],
    ),
    "more ways than classes": (
        {"task__n_way": 11, "train__n_way": 11},
        ["task.n_way=11 needs as many classes; the val split of glyphs has 10. Lower task.n_way."],
    ),
    "more training ways than classes": (
        {
            "train__n_way": 21,
            "algorithm": {
                "_target_": "metaexp.algorithms.proto_net.ProtoNet",
                "distance": "cosine",
                "batch_norm": "running",
            },
        },
        ["train.n_way=21 needs as many classes; the train split of glyphs has 20. Lower train.n_way."],
    ),
    "more examples than a class has": (
        {"task__k_shot": 6, "train__k_shot": 6},
        [
            "task.k_shot=6 and task.n_query=15 need 21 examples per class; glyphs has 20. "
            "Lower task.k_shot or task.n_query."
        ],
    ),
    "one way": (
        {"task__n_way": 1, "train__n_way": 1},
        ["task.n_way=1 leaves nothing to tell apart; set task.n_way to 2 or more."],
    ),
    "no ways for classification": (
        {"task__n_way": 0, "train__n_way": 0},
        [
            "task.n_way=0 means regression, but dataset=glyphs is for classification. "
            "Choose a classification task, such as task=5way_1shot."
        ],
    ),
    "other ways in training for a fixed head": (
        {"train__n_way": 10},
        [
            "train.n_way=10 and task.n_way=5 differ, but MAML can only be tested with as many classes as it was "
            "trained with. Leave train.n_way out, or set both alike."
        ],
    ),
    "tf32 on a processor": (
        {"device__precision": "tf32"},
        [
            "device.precision=tf32 is a mode of NVIDIA GPUs, and device.accelerator=cpu. "
            "Set device.precision=float32, or device=cuda."
        ],
    ),
    "an empty path": (
        {"paths__data": ""},
        ["paths.data and paths.outputs must not be empty; the current folder is '.'."],
    ),
    "a reference without a value": (
        {"reference": {"paper": "A", "table": "1", "metric": "accuracy", "ci95": None, "protocol": "p"}},
        ["reference.value is missing; it must be a finite number."],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_mistake_gets_its_sentence_and_no_other(name: str) -> None:
    changes, expected = CASES[name]
    assert problems(changed(**changes)) == expected
    assert problems(GOOD) == []


def test_all_problems_are_reported_at_once() -> None:
    changes: dict[str, Any] = {}
    expected: set[str] = set()
    for name in ("unknown key of a section", "not a number", "unlisted choice", "one way", "tf32 on a processor"):
        found = next(key for key in CASES if name in key)
        changes |= CASES[found][0]
        expected |= set(CASES[found][1])
    assert set(problems(changed(**changes))) == expected


def test_a_value_that_training_takes_over_from_the_task_is_reported_once() -> None:
    assert problems(changed(task__k_shot=0, train__k_shot=0)) == ["task.k_shot=0 must be an integer >= 1."]
    assert len(problems(changed(task__k_shot=0, train__k_shot=-1))) == 2


def test_regression_data_ask_for_a_regression_task() -> None:
    shape, regression = TaskShape(5, 1, 15), TaskShape(0, 10, 10)
    (problem,) = fit_problems(DataFacts("sinusoid", "regression", None), None, Tasks(shape, shape))
    assert "dataset=sinusoid" in problem
    assert "task=regression_10shot" in problem
    assert fit_problems(DataFacts("sinusoid", "regression", None), None, Tasks(regression, regression)) == []


def test_what_only_the_files_tell_is_left_until_they_are_read() -> None:
    shape = TaskShape(500, 1, 15)
    assert fit_problems(DataFacts("folder", "classification", None), None, Tasks(shape, shape)) == []
    capacity = {"train": Capacity(10, 20), "val": Capacity(600, 20), "test": Capacity(600, 20)}
    assert len(fit_problems(DataFacts("folder", "classification", capacity), None, Tasks(shape, shape))) == 1  # type: ignore[arg-type]


def test_an_accelerator_that_is_not_here_is_an_error_of_the_machine(no_cuda: Callable[[], None]) -> None:
    no_cuda()
    config = changed(device__accelerator="cuda")
    with pytest.raises(MachineError, match=r"device.accelerator=cuda is not on this machine.*device=cpu"):
        check(config, CHOICES, Purpose.CONTINUE)
    assert check(config, CHOICES, Purpose.PLAN).device.accelerator == "cuda"


@pytest.mark.parametrize("purpose", Purpose)
def test_the_purpose_decides_what_is_asked(purpose: Purpose, no_cuda: Callable[[], None]) -> None:
    no_cuda()
    asked = []
    for error, name, change in [
        (MachineError, "accelerator", {"device__accelerator": "cuda"}),
        (ConfigError, "training", {"train__patience": 3, "eval__weights": "last"}),
        (ConfigError, "weights", {"model__weights": "/nowhere.pt", "model__weights_sha256": "0" * 64}),
    ]:
        try:
            check(changed(**change), CHOICES, purpose)
        except error:
            asked.append(name)
    assert asked == {
        Purpose.TRAIN: ["accelerator", "training", "weights"],
        Purpose.PLAN: ["training", "weights"],
        Purpose.LOOK: ["training", "weights"],
        Purpose.EXAMINE: ["training"],
        Purpose.CONTINUE: ["accelerator", "training"],
        Purpose.PLAN_FURTHER: ["training"],
        Purpose.TEST: ["accelerator"],
        Purpose.READ: [],
    }.get(purpose)


def test_a_missing_accelerator_is_named_with_the_other_problems(no_cuda: Callable[[], None]) -> None:
    no_cuda()
    found = problems(changed(device__accelerator="cuda", seed=-1))
    assert len(found) == 2
    assert "seed=-1" in found[0]
    assert "device.accelerator=cuda" in found[1]


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Takes the accelerators away."""
    return lambda: monkeypatch.setattr(check_module, "why_missing", lambda name: None if name == "cpu" else "none here")


WANDB = {
    "_target_": "metaexp.tracking.wandb.WandbTracker", "mode": "offline", "project": "metaexp", "entity": None,
    "group": None, "tags": [], "artifacts": False, "system_metrics": False, "timeout": 10.0, "upload_timeout": 10.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [("tags", ["t" * 65], "tracker.wandb.tags has the tag"), ("project", "a/b", "tracker.wandb.project")],
)
def test_names_that_wandb_refuses_are_problems_of_the_configuration(key: str, value: object, found: str) -> None:
    check({**GOOD, "tracker": {"wandb": WANDB}}, CHOICES, Purpose.CONTINUE)
    with pytest.raises(ConfigError, match=found):
        check({**GOOD, "tracker": {"wandb": {**WANDB, key: value}}}, CHOICES, Purpose.CONTINUE)


def test_an_unknown_mode_in_the_environment_is_a_problem_where_wandb_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "onlien")
    check(GOOD, CHOICES, Purpose.CONTINUE)
    with pytest.raises(ConfigError, match="WANDB_MODE='onlien'"):
        check({**GOOD, "tracker": {"wandb": WANDB}}, CHOICES, Purpose.CONTINUE)
