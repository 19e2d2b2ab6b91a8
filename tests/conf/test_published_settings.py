"""Every experiment that quotes a published number has the settings it was published with, as typed here once more.

Sources are the papers and the authors' code, as the experiments' own headers name them; where an experiment departs
from these on purpose, its header says so and the value is here as the departure.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

CONF = Path(__file__).resolve().parents[2] / "conf"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast as OmegaConf's, to see which keys there are
PUBLISHED = sorted(
    path.stem
    for path in (CONF / "experiment").glob("*.yaml")
    if "value" in (yaml.load(path.read_text(), _LOADER).get("reference") or {})
)
Expected = dict[str, Any]
OMNIGLOT_TASKS = [(5, 1), (5, 5), (20, 1), (20, 5)]
MAML_SPLIT = {"dataset.split": "maml", "dataset.resize": "nearest", "dataset.image_size": 28, "dataset.normalise": None}


def loaded(path: Path) -> dict[str, Any]:
    content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def experiment(name: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Group -> choice, and the values, of an experiment's file over those of the experiment that it starts from."""
    own = loaded(CONF / "experiment" / f"{name}.yaml")
    choices: dict[str, str] = {}
    values: dict[str, Any] = {}
    for line in own.pop("defaults"):
        if isinstance(line, dict):
            ((override, choice),) = line.items()
            choices[override.removeprefix("override /")] = choice
        elif line != "_self_":
            choices, values = experiment(line)
    for section, content in own.items():
        values[section] = values.get(section, {}) | content
    return choices, values


def settings_of(name: str) -> dict[str, Any]:
    """Dotted key -> value of an experiment over the files of the groups that it chooses. Choices are keys too."""
    choices, own = experiment(name)
    settings: dict[str, Any] = {}
    for group, choice in choices.items():
        settings[group] = choice
        both = loaded(CONF / group / f"{choice}.yaml") | own.get(group, {})
        settings |= {f"{group}.{key}": value for key, value in both.items()}
    parts = ("train", "augment", "eval", "reference")
    settings |= {f"{part}.{key}": value for part in parts for key, value in own.get(part, {}).items()}
    inherited = {f"train.{key}": settings[f"task.{key}"] for key in ("n_way", "k_shot", "n_query")}
    return inherited | settings


def maml() -> Iterator[tuple[str, Expected]]:
    """Finn et al. (2017), appendix A.1; main.py, maml.py, utils.py of cbfinn/maml."""
    common = {
        "optimizer": "adam", "optimizer.lr": 1e-3, "schedule": "constant", "train.steps": 60_000, "eval.episodes": 600,
        "algorithm.first_order": False, "algorithm.adapt": "no_batch_norm", "algorithm.batch_norm": "transductive",
        "model.norm_scale": False, "model.norm_eps": 1e-3, "eval.weights": "last",
    }  # fmt: skip
    on_omniglot = MAML_SPLIT | {
        "clip": "none", "dataset.rotations": "per_class", "dataset.rotations_in": "all", "dataset.invert": True,
    }  # fmt: skip
    for n_way, k_shot in OMNIGLOT_TASKS:
        rates = (0.4, 1, 3, 32) if n_way == 5 else (0.1, 5, 5, 16)
        inner = dict(zip(MAML_KEYS, rates, strict=True))
        shape = {"train.n_way": n_way, "train.k_shot": k_shot, "train.n_query": k_shot, "task.n_query": k_shot}
        settings = common | on_omniglot | inner | shape
        conv = {"model": "omniglot_conv", "model.channels": 64, "model.head_init": "normal"}
        conv |= {"algorithm.inner_loss_reduction": "sum_over_k"}
        yield f"maml_omniglot_{n_way}way_{k_shot}shot", settings | conv
        if n_way == 5:
            perceptron = {"model.hidden": [256, 128, 64, 64], "algorithm.inner_loss_reduction": "sum_over_k"}
            yield f"maml_omniglot_mlp_{n_way}way_{k_shot}shot", settings | perceptron
    for k_shot, meta_batch_size in ((1, 4), (5, 2)):
        inner = dict(zip(MAML_KEYS, (0.01, 5, 10, meta_batch_size), strict=True))
        shape = {"train.k_shot": k_shot, "train.n_query": 15, "task.n_query": k_shot}
        clip = {"clip": "value", "clip.threshold": pytest.approx(10 * k_shot / 75, abs=1e-4)}
        net = {"model": "conv4_maml", "model.channels": 32, "algorithm.inner_loss_reduction": "sum_over_k"}
        yield f"maml_mini_imagenet_5way_{k_shot}shot", common | inner | shape | clip | net


MAML_KEYS = ["algorithm.inner_lr", "algorithm.inner_steps", "algorithm.inner_steps_test", "train.meta_batch_size"]


def sinusoids() -> Iterator[tuple[str, Expected]]:
    """Finn et al. (2017), section 5.1: MAML, and one network pre-trained on all tasks, whose step size was tuned.

    The authors test on 600 tasks; ours is the departure.
    """
    common = {
        "train.k_shot": 10, "train.n_query": 10, "task.k_shot": 5, "task.n_query": 5, "train.steps": 70_000,
        "train.meta_batch_size": 25, "optimizer.lr": 1e-3, "eval.episodes": 10_000, "model.hidden": [40, 40],
        "model.use_batch_norm": False, "model.init_std": 0.01, "dataset.amplitude": [0.1, 5.0],
        "dataset.x": [-5.0, 5.0], "eval.weights": "last", "dataset.phase": [0.0, pytest.approx(3.14159265)],
    }  # fmt: skip
    for name, n_steps in (("", 1), ("_5steps", 5)):
        yield f"maml_sinusoid{name}", common | dict(zip(MAML_KEYS, (0.01, 1, n_steps, 25), strict=True))
    for name, n_steps in (("", 1), ("_5steps", 5), ("_10steps", 10)):
        yield f"fine_tune_sinusoid{name}", common | {"algorithm.tune": "all", "algorithm.tune_steps": n_steps}


def meta_sgd_sinusoids() -> Iterator[tuple[str, Expected]]:
    """Li et al. (2017), section 4.1: Meta-SGD and MAML on sinusoids of several frequencies. Test tasks are ours."""
    common = {
        "dataset": "sinusoid", "dataset.amplitude": [0.1, 5.0], "dataset.frequency": [0.8, 1.2],
        "dataset.phase": [0.0, pytest.approx(3.14159265)], "dataset.x": [-5.0, 5.0], "model.hidden": [40, 40],
        "model.use_batch_norm": False, "model.init_std": 0.01, "train.n_query": 10, "task.n_query": 100,
        "train.steps": 60_000, "train.meta_batch_size": 4, "algorithm.inner_steps": 1, "algorithm.inner_steps_test": 1,
        "optimizer": "adam", "optimizer.lr": 1e-3, "eval.episodes": 10_000, "eval.weights": "last",
    }  # fmt: skip
    for k_shot in (5, 10, 20):
        shape = {"train.k_shot": k_shot, "task.k_shot": k_shot, "task.n_way": 0}
        rates = {"algorithm.alpha_min": 0.005, "algorithm.alpha_max": 0.1}
        yield f"meta_sgd_sinusoid_{k_shot}shot", common | shape | rates
        yield f"maml_meta_sgd_sinusoid_{k_shot}shot", common | shape | {"algorithm.inner_lr": 0.01}


def first_order_maml() -> Iterator[tuple[str, Expected]]:
    """As second-order MAML: Finn et al. (2017), section 5.2; on Omniglot quoted by Nichol et al. (2018)."""
    for name, settings in maml():
        if "_mlp_" not in name:
            yield name.replace("maml", "maml_first_order", 1), settings | {"algorithm.first_order": True}


def anil() -> Iterator[tuple[str, Expected]]:
    """Raghu et al. (2020) compare with MAML, whose settings these are."""
    for name, settings in maml():
        if "_mlp_" not in name and name not in ("maml_omniglot_5way_1shot", "maml_omniglot_5way_5shot"):
            not_given = {"algorithm.adapt", "model.head_init", "eval.weights"}
            yield name.replace("maml", "anil", 1), {k: v for k, v in settings.items() if k not in not_given}


def meta_sgd() -> Iterator[tuple[str, Expected]]:
    """Li et al. (2017): one inner step, rates in U(0.005, 0.1); the rest as MAML."""
    inner = {
        "algorithm.alpha_min": 0.005, "algorithm.alpha_max": 0.1,
        "algorithm.inner_steps": 1, "algorithm.inner_steps_test": 1,
    }  # fmt: skip
    theirs = {"algorithm.inner_lr", "algorithm.adapt", "algorithm.inner_loss_reduction", "clip", "clip.threshold"}
    theirs |= {"model.head_init", "eval.weights"}
    for name, settings in maml():
        if "_mlp_" not in name and "20way" not in name:
            rest = {key: value for key, value in settings.items() if key not in theirs}
            yield name.replace("maml", "meta_sgd", 1), rest | inner


def maml_plus_plus() -> Iterator[tuple[str, Expected]]:
    """Antoniou et al. (2019) and AntreasAntoniou/HowToTrainYourMAMLPytorch: 100 epochs of 500 updates."""
    common = {
        "algorithm.inner_steps": 5, "algorithm.inner_steps_test": 5, "algorithm.learn_inner_lr": True,
        "algorithm.per_step_batch_norm": True, "algorithm.epoch": 500, "algorithm.batch_norm": "transductive",
        "train.steps": 50_000, "optimizer": "adam", "optimizer.lr": 1e-3, "eval.episodes": 600, "model": "conv4",
    }  # fmt: skip
    on_omniglot = {
        "algorithm.inner_lr": 0.1, "algorithm.multi_step_loss_epochs": 10, "train.meta_batch_size": 8,
        "model.channels": 64, "task.n_query": 1, "train.n_query": 1, "clip": "none",
        "schedule": "cosine", "schedule.final": 0.01, "schedule.every": 500,
        "dataset.rotations": "per_class", "dataset.rotations_in": "train", "dataset.invert": False,
    }  # fmt: skip
    on_mini_imagenet = {
        "algorithm.inner_lr": 0.01, "algorithm.multi_step_loss_epochs": 15, "train.meta_batch_size": 2,
        "model.channels": 48, "clip": "value", "clip.threshold": 10.0, "schedule": "constant",
    }  # fmt: skip
    for k_shot in (1, 5):
        shot = {"train.k_shot": k_shot}
        yield f"maml_plus_plus_omniglot_5way_{k_shot}shot", common | MAML_SPLIT | on_omniglot | shot
        yield f"maml_plus_plus_mini_imagenet_5way_{k_shot}shot", common | on_mini_imagenet | shot


def reptile() -> Iterator[tuple[str, Expected]]:
    """Nichol et al. (2018) and the README of openai/supervised-reptile."""
    common = {
        "optimizer": "sgd", "optimizer.lr": 1.0, "optimizer.momentum": 0.0, "schedule": "linear", "schedule.final": 0.0,
        "train.meta_batch_size": 5, "task.n_query": 1, "eval.episodes": 10_000, "algorithm.inner_steps_test": 50,
        "algorithm.adam_state": "carried", "model.norm_scale": True, "eval.weights": "last",
    }  # fmt: skip
    keys = ("inner_lr", "inner_steps", "inner_batch_size", "inner_batch_size_test")
    on_omniglot = MAML_SPLIT | {
        "model": "omniglot_conv", "model.pool": "flatten", "dataset.rotations": "classes",
        "dataset.rotations_in": "train", "dataset.invert": False, "train.k_shot": 10,
    }  # fmt: skip
    for kind, mode in (("reptile", "support_and_query"), ("reptile_transductive", "transductive")):
        statistics = {"algorithm.batch_norm": mode}
        for n_way, k_shot in OMNIGLOT_TASKS:
            values = (1e-3, 5, 10, 5) if n_way == 5 else (5e-4, 10, 20, 10)
            inner = {f"algorithm.{key}": value for key, value in zip(keys, values, strict=True)}
            shape = {"task.k_shot": k_shot, "train.n_way": n_way, "train.steps": 100_000 if n_way == 5 else 200_000}
            yield f"{kind}_omniglot_{n_way}way_{k_shot}shot", common | on_omniglot | statistics | inner | shape
        for k_shot, batch_size_test in ((1, 5), (5, 15)):
            values = (1e-3, 8, 10, batch_size_test)
            inner = {f"algorithm.{key}": value for key, value in zip(keys, values, strict=True)}
            shape = {"task.k_shot": k_shot, "train.k_shot": 15, "train.steps": 100_000, "model.channels": 32}
            yield f"{kind}_mini_imagenet_5way_{k_shot}shot", common | statistics | inner | shape


def meta_lstm() -> Iterator[tuple[str, Expected]]:
    """config/*.lua and meta-learner-lstm.lua of twitter/meta-learning-lstm."""
    common = {
        "optimizer": "adam", "optimizer.lr": 1e-3, "schedule": "constant", "clip": "norm", "clip.threshold": 0.25,
        "train.meta_batch_size": 1, "train.n_query": 15, "task.n_query": 15, "train.eval_every": 1000,
        "train.eval_episodes": 100, "eval.episodes": 600, "algorithm.hidden": 20, "algorithm.preprocess_p": 10.0,
        "algorithm.recurrent_gate": "pre_sigmoid", "algorithm.divide_gradient_by_batch": True,
        "algorithm.init_range": 0.01, "algorithm.forget_bias": [4.0, 5.0], "algorithm.input_bias": [-5.0, -4.0],
        "model.channels": 32, "model.norm_eps": 1e-3, "model.norm_init": "uniform", "model.norm_scale": True,
        "dataset.normalise": None, "eval.weights": "last",
    }  # fmt: skip
    for k_shot, epochs, batch_size, steps, momentum in ((1, 12, 5, 75_000, 0.9), (5, 8, 25, 50_000, 0.95)):
        yield f"meta_lstm_mini_imagenet_5way_{k_shot}shot", common | {
            "algorithm.inner_epochs": epochs, "algorithm.inner_epochs_test": epochs,
            "algorithm.inner_batch_size": batch_size, "train.steps": steps, "model.norm_momentum": momentum,
            "train.k_shot": k_shot,
        }  # fmt: skip


def relation_net() -> Iterator[tuple[str, Expected]]:
    """The scripts and README of floodsung/LearningToCompare_FSL."""
    common = {
        "optimizer": "adam", "optimizer.lr": 1e-3, "schedule": "step", "schedule.every": 100_000, "schedule.gamma": 0.5,
        "clip": "norm_per_module", "clip.threshold": 0.5, "train.meta_batch_size": 1, "model": "relation_embedding",
        "model.channels": 64, "algorithm.relation_channels": 64, "algorithm.relation_hidden": 8,
        "algorithm.class_map": "sum", "algorithm.batch_norm": "transductive", "dataset.normalise": [0.92206, 0.08426],
    }  # fmt: skip
    on_omniglot = {
        "dataset.split": "maml", "dataset.rotations": "per_episode", "dataset.rotations_in": "all",
        "dataset.invert": False, "dataset.image_size": 28, "algorithm.relation_padding": 1,
        "train.steps": 1_000_000, "eval.episodes": 1000,
    }  # fmt: skip
    for (n_way, k_shot), n_query in zip(OMNIGLOT_TASKS, (19, 15, 10, 5), strict=True):
        shape = {"train.n_way": n_way, "train.k_shot": k_shot, "train.n_query": n_query, "task.n_query": k_shot}
        yield f"relation_net_omniglot_{n_way}way_{k_shot}shot", common | on_omniglot | shape
    for k_shot, n_query, at_test, chunks in ((1, 15, 3, 5), (5, 10, 5, 3)):
        shape = {"train.k_shot": k_shot, "train.n_query": n_query, "task.n_query": at_test}
        length = {"train.steps": 500_000, "eval.episodes": 600 * chunks, "algorithm.relation_padding": 0}
        yield f"relation_net_mini_imagenet_5way_{k_shot}shot", common | shape | length


def proto_net() -> Iterator[tuple[str, Expected]]:
    """Snell et al. (2017) and jakesnell/prototypical-networks."""
    common = {
        "optimizer": "adam", "optimizer.lr": 1e-3, "schedule": "step", "schedule.every": 2000, "schedule.gamma": 0.5,
        "train.meta_batch_size": 1, "algorithm.distance": "squared_euclidean", "algorithm.batch_norm": "running",
        "model": "conv4", "model.channels": 64, "task.n_query": 15, "clip": "none",
    }  # fmt: skip
    for n_way, k_shot in OMNIGLOT_TASKS:
        shape = {"train.n_way": 60, "train.k_shot": k_shot, "train.n_query": 5, "task.n_way": n_way}
        shape["reference.steps"] = 31_500 if k_shot == 1 else None  # trainval.py adds 200 epochs of 100 to the best
        yield f"proto_net_omniglot_{n_way}way_{k_shot}shot", common | SNELLS_OMNIGLOT | shape
        if k_shot == 1:
            both = {
                "dataset.split": "vinyals_trainval",
                "eval.weights": "last",
                "train.steps": 11_500,
            }  # the last training, run_trainval.py
            yield f"proto_net_omniglot_{n_way}way_1shot_trainval", common | SNELLS_OMNIGLOT | shape | both
    for k_shot, n_way in ((1, 30), (5, 20)):
        shape = {"train.n_way": n_way, "train.k_shot": k_shot, "train.n_query": 15, "eval.episodes": 600}
        yield f"proto_net_mini_imagenet_5way_{k_shot}shot", common | shape


def challenge() -> Iterator[tuple[str, Expected]]:
    """Lake's one-shot challenge: ProtoNet as by Snell et al. on Omniglot, on the background set alone."""
    shape = {"train.n_way": 60, "train.k_shot": 1, "train.n_query": 5, "task.n_way": 20, "task.n_query": 1}
    own = {"dataset": "omniglot_challenge", "dataset.rotations_in": "train", "eval.episodes": 20}
    theirs = dict(proto_net())["proto_net_omniglot_20way_1shot"]
    not_here = {"dataset.split", "reference.steps"}
    yield "proto_net_omniglot_challenge", {k: v for k, v in theirs.items() if k not in not_here} | shape | own


SNELLS_OMNIGLOT = {
    "dataset.split": "vinyals", "dataset.rotations": "classes", "dataset.rotations_in": "all", "dataset.invert": True,
    "dataset.resize": "nearest", "dataset.image_size": 28, "eval.episodes": 1000,
}  # fmt: skip


def matching_net() -> Iterator[tuple[str, Expected]]:
    """matching-net-classifier.lua and its config in twitter/meta-learning-lstm; on Omniglot as ProtoNets."""
    lua = {
        "optimizer": "adam", "optimizer.lr": 1e-4, "schedule": "constant", "train.steps": 75_000,
        "train.meta_batch_size": 1, "train.n_query": 15, "eval.episodes": 600, "model": "conv4", "model.channels": 64,
        "algorithm.dropout": 0.1, "algorithm.fce_steps": 3, "eval.weights": "last",
        "model.norm_init": "uniform", "model.norm_eps": 1e-3,
    }  # fmt: skip
    for k_shot in (1, 5):
        shot = {"train.k_shot": k_shot}
        yield f"matching_net_mini_imagenet_5way_{k_shot}shot", lua | shot | {"algorithm.fce": False}
        yield f"matching_net_fce_mini_imagenet_5way_{k_shot}shot", lua | shot | {"algorithm.fce": True}
    for n_way, k_shot in OMNIGLOT_TASKS:
        shape = {"train.n_way": n_way, "train.k_shot": k_shot, "algorithm.fce": False}
        yield f"matching_net_omniglot_{n_way}way_{k_shot}shot", SNELLS_OMNIGLOT | shape


def baselines() -> Iterator[tuple[str, Expected]]:
    """Pre-training of twitter/meta-learning-lstm, and of Chen et al. (2019) with the settings of LibFewShot.

    These are in its reproduce/Baseline, reproduce/Baseline++ and core/data: 400 epochs of batches of 16.
    """
    lua = {
        "optimizer": "adam", "optimizer.lr": 1e-3, "train.steps": 30_000, "train.meta_batch_size": 64,
        "model": "conv4", "model.channels": 64, "algorithm.space": "embedding", "eval.episodes": 600,
        "algorithm.distance": "cosine", "eval.weights": "last", "model.norm_init": "uniform", "model.norm_eps": 1e-3,
    }  # fmt: skip
    lib_few_shot = {
        "optimizer": "adam", "optimizer.lr": 1e-3, "train.steps": 400 * 38_400 // 16, "train.meta_batch_size": 16,
        "model": "conv4", "model.channels": 64, "algorithm.tune": "head", "algorithm.tune_lr": 0.01,
        "algorithm.tune_weight_decay": 0.001, "eval.episodes": 5 * 600, "eval.weights": "last",
        "dataset.normalise": [
            pytest.approx([value / 255 for value in (120.39586422, 115.59361427, 104.54012653)], abs=1e-6),
            pytest.approx([value / 255 for value in (70.68188272, 68.27635443, 72.54505529)], abs=1e-6),
        ],
        "augment.flip": True, "augment.brightness": 0.4, "augment.contrast": 0.4, "augment.saturation": 0.4,
    }  # fmt: skip
    for k_shot, steps in ((1, 100 * 2), (5, 100 * 7)):  # 100 passes over 5 or 25 images in batches of 4
        shape = {"task.k_shot": k_shot, "task.n_query": 15}
        yield f"nearest_neighbour_mini_imagenet_5way_{k_shot}shot", lua | shape
        for kind, head in (("fine_tune", "linear"), ("fine_tune_cosine", "cosine")):
            tuned = {"algorithm.head": head, "algorithm.tune_steps": steps, "algorithm.cosine_scale": 2.0}
            yield f"{kind}_mini_imagenet_5way_{k_shot}shot", lib_few_shot | shape | tuned
    pixels = {"algorithm.space": "inputs", "algorithm.distance": "cosine", "train.steps": 0}  # Vinyals et al. (2016)
    for n_way, k_shot in OMNIGLOT_TASKS:
        shape = {"task.n_way": n_way, "task.k_shot": k_shot}
        yield f"nearest_neighbour_omniglot_{n_way}way_{k_shot}shot", SNELLS_OMNIGLOT | pixels | shape


FAMILIES = [
    maml, first_order_maml, sinusoids, meta_sgd_sinusoids, anil, meta_sgd, maml_plus_plus, reptile, meta_lstm,
    relation_net, proto_net, matching_net, baselines, challenge,
]  # fmt: skip
PAGE = {name: settings for family in FAMILIES for name, settings in family()}
VARIANTS = {  # of an experiment, for small machines -> what it has instead
    f"{name}_omniglot_5way_1shot_two_cores": {
        "optimizer.lr": 3e-3, "schedule": "cosine", "schedule.final": 0.01, "schedule.every": 500,
        "schedule._target_": "metaexp.core.optim.Cosine", "model.head_init": "xavier", "train.steps": 6000,
        "train.eval_episodes": 1000, "eval.weights": "best", "reference.steps": 60_000,
    }
    for name in ("maml", "maml_first_order")
}  # fmt: skip


def unlike_the_page(name: str, found: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Key -> what the experiment has, and what was published, where these differ."""
    return {key: (found.get(key), value) for key, value in PAGE[name].items() if found.get(key) != value}


def test_every_experiment_with_a_published_number_is_on_the_page() -> None:
    assert set(PUBLISHED) == set(PAGE)


@pytest.mark.parametrize("name", PUBLISHED)
def test_settings_are_those_that_were_published(name: str) -> None:
    n_way, k_shot = (PAGE[name].get(f"task.{key}") for key in ("n_way", "k_shot"))
    found = settings_of(name)
    assert unlike_the_page(name, found) == {}
    if name.endswith("shot"):
        ways = f"{found['task.n_way']}way_" if found["task.n_way"] else ""
        assert f"_{ways}{found['task.k_shot']}shot" in name
        assert {n_way, k_shot} <= {None, found["task.n_way"], found["task.k_shot"]}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_differs_from_its_paper_in_what_its_header_lists_and_in_nothing_else(name: str) -> None:
    paper, variant = settings_of(name.removesuffix("_two_cores")), settings_of(name)
    changed = {key: value for key, value in variant.items() if paper.get(key) != value}
    assert changed == VARIANTS[name]
    text = (CONF / "experiment" / f"{name}.yaml").read_text(encoding="utf-8")
    header = " ".join(line.lstrip("# ") for line in text.partition("defaults:")[0].splitlines())
    for said in ("6,000 of 60,000 steps", "Xavier-uniform", "starts at 0.003", "best on validation"):
        assert said in header
    own = OmegaConf.load(CONF / "experiment" / f"{name}.yaml").reference
    assert own == {"steps": 60_000}  # the published number is that of the experiment that it starts from


def test_a_wrong_value_a_wrong_choice_and_a_missing_key_are_seen() -> None:
    name = "relation_net_omniglot_5way_1shot"
    right = settings_of(name)
    assert unlike_the_page(name, right | {"algorithm.class_map": "mean"}) == {"algorithm.class_map": ("mean", "sum")}
    assert unlike_the_page(name, right | {"clip": "norm"}) == {"clip": ("norm", "norm_per_module")}
    assert set(unlike_the_page(name, {k: v for k, v in right.items() if k != "train.n_query"})) == {"train.n_query"}
